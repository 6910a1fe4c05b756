"""libpcap's own classic BPF interpreter, for comparison with ours."""

import ctypes

_pcap = ctypes.CDLL("libpcap.so.0.8")
_pcap.bpf_filter.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
_pcap.bpf_filter.restype = ctypes.c_uint
_pcap.bpf_validate.argtypes = [ctypes.c_char_p, ctypes.c_int]


def valid(program: bytes) -> bool:
    return bool(_pcap.bpf_validate(program, len(program) // 8))


def run(program: bytes, frame: bytes, length: int | None = None) -> int:
    """What it returns for a frame of `length` bytes on the wire."""
    return _pcap.bpf_filter(program, frame, length or len(frame), len(frame))
