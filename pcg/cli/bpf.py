"""tcpdump's filter syntax, by tcpdump's own library: expression -> classic BPF.

libpcap is asked through ctypes. It says what is wrong with an expression, but of a syntax error not
where; that is found here, by asking it how far the expression can be read.
"""

import ctypes
import functools
import re
import struct

from pcg.model.errors import BackendError

LIBRARY = "libpcap.so.0.8"  # Debian's name for libpcap 1.x
ETHERNET = 1  # DLT_EN10MB
NETMASK_UNKNOWN = 0xFFFFFFFF
SYNTAX = "syntax error"  # in libpcap's words
UNKNOWN_HOST = "unknown host"  # likewise: it asked DNS, which knows no workload
# What may follow a beginning that is right so far: one of these makes a whole expression of it.
ENDINGS = ("", " 80", " 1.2.3.4", " 1", " tcp", " host 1.2.3.4", " 2:2:2:2:2:2", " 1.2.3.0/24")
ENDINGS += (" 0] = 1", "] = 1", " = 1", " 80-90", " portrange 1-2", ":1] = 1", " and tcp")


LOAD_ABSOLUTE = 0x20  # of an opcode's class and mode
KERNELS = 0xFFE00000  # offsets from here on are no bytes of a frame: linux/filter.h, SKF_LL_OFF


class FilterError(ValueError):
    """An expression that is none, in words for who wrote it."""


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_uint), ("code", ctypes.POINTER(Instruction)))


@functools.cache
def _pcap() -> ctypes.CDLL:
    try:
        pcap = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BackendError("filter", str(error), "install Debian's package libpcap0.8") from None
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    pcap.pcap_geterr.argtypes = pcap.pcap_close.argtypes = [ctypes.c_void_p]
    pcap.pcap_compile.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(Program),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    ]
    pcap.pcap_freecode.argtypes = [ctypes.POINTER(Program)]
    return pcap


def _compile(expression: str) -> tuple[bytes, str]:
    """(instructions as struct pcgdp_bpf, what is wrong): one of the two is empty."""
    pcap, program = _pcap(), Program()
    handle = pcap.pcap_open_dead(ETHERNET, 0xFFFF)
    try:
        text = expression.encode()
        if pcap.pcap_compile(handle, ctypes.byref(program), text, 1, NETMASK_UNKNOWN):
            return b"", pcap.pcap_geterr(handle).decode(errors="replace")
        code = ctypes.string_at(program.code, program.n * ctypes.sizeof(Instruction))
        pcap.pcap_freecode(ctypes.byref(program))
        return code, ""
    finally:
        pcap.pcap_close(handle)


def _readable(beginning: str) -> bool:
    """Whether something can follow that makes it right, or wrong in another way than its form."""
    closing = ")" * max(0, beginning.count("(") - beginning.count(")"))
    for ending in ENDINGS:
        _, wrong = _compile(beginning + ending + closing)
        if SYNTAX not in wrong:
            return True
    return False


def position(expression: str) -> int:
    """Where the first word stands that cannot stand there; the expression's length: it stops short.

    >>> position("tcp port 80 foo bar"), position("tcp and and udp"), position("tcp and")
    (12, 8, 7)
    """
    for word in re.finditer(r"\w[\w.:/-]*|[^\w\s]", expression):
        if not _readable(expression[: word.end()]):
            return word.start()
    return len(expression)


def compiled(expression: str) -> bytes:
    """Classic BPF of an expression in tcpdump's syntax; b"" of an empty one: every frame.

    Raises FilterError that says what is wrong and, under the expression, where.
    """
    if not expression.strip():
        return b""
    if "\0" in expression:
        raise FilterError("a zero byte is in it")
    program, wrong = _compile(expression)
    if SYNTAX in wrong:
        at = position(expression)
        what = "it stops short" if at == len(expression) else f"syntax error at column {at + 1}"
        raise FilterError(f"{what}:\n  {expression}\n  {' ' * at}^")
    if wrong:
        hint = "; filters take addresses, not our names" if UNKNOWN_HOST in wrong else ""
        raise FilterError(f"{wrong}{hint}: {expression}")
    for code, _, _, k in struct.iter_unpack("=HBBI", program):
        if code & ~0x18 == LOAD_ABSOLUTE and k >= KERNELS:
            raise FilterError(f"it asks the kernel, not the frame; say --direction: {expression}")
    return program
