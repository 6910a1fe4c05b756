"""The compiled border: the cffi module, the words of its enums, the layout both sides must share.

The module is loaded on first use, from this folder or from the one that PCGDP_DIR names (the
sanitized build), so that a program which never touches the datapath does not need it.
"""

import functools
import hashlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

from pcg.datapath.build import MODULE
from pcg.model.errors import BackendError


@functools.cache
def module() -> ModuleType:
    """The cffi module with its `ffi` and `lib`; BackendError when it was not built."""
    path = Path(os.environ.get("PCGDP_DIR", Path(__file__).parent)) / MODULE
    if not path.exists():
        raise BackendError("datapath library", f"{path} does not exist", "run `make build`")
    spec = importlib.util.spec_from_file_location("_pcgdp", path)
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except ImportError as error:
        raise BackendError("datapath library", str(error), "run `make clean build`") from None
    return loaded


def ffi():
    return module().ffi


def lib():
    return module().lib


@functools.cache
def words(enum: str, prefix: str = "PCGDP_") -> dict[int, str]:
    """Value -> name without its prefix.

    >>> sorted(words("pcgdp_role").items())
    [(0, 'DOWNLINK'), (1, 'UPLINK')]
    """
    elements = ffi().typeof(f"enum {enum}").elements
    return {value: name.removeprefix(prefix) for value, name in elements.items()}


@functools.cache
def tables() -> dict[str, int]:
    """Table name as records.py has it -> its number."""
    named = words("pcgdp_table", "PCGDP_T_").items()
    return {name.lower(): value for value, name in named if not name.startswith("PCGDP_")}


def _text_list(function, what: int) -> list[str]:
    out: list[str] = []
    while text := function(len(out), what):
        out.append(ffi().string(text).decode())
    return out


@functools.cache
def reason_names() -> list[str]:
    return _text_list(lib().pcgdp_reason, lib().PCGDP_NAME)


@functools.cache
def reason_texts() -> list[str]:
    return _text_list(lib().pcgdp_reason, lib().PCGDP_TEXT)


@functools.cache
def reason_advice() -> list[str]:
    """What to do about each."""
    return _text_list(lib().pcgdp_reason, lib().PCGDP_ADVICE)


@functools.cache
def stage_names() -> list[str]:
    return _text_list(lib().pcgdp_stage, lib().PCGDP_NAME)


@functools.cache
def stage_texts() -> list[str]:
    return _text_list(lib().pcgdp_stage, lib().PCGDP_TEXT)


@functools.cache
def shape() -> str:
    """16 hex digits of the ABI number, every struct's layout, the stages and the reasons.

    Two processes whose shapes differ must not exchange records: a packed array of one is noise to
    the other.
    """
    total = hashlib.sha256(str(lib().pcgdp_abi()).encode())
    total.update(repr((stage_names(), reason_names(), sorted(tables().items()))).encode())
    structs = ffi().list_types()[1]
    for name in sorted(set(structs) - {"pcgdp"}):  # which is opaque
        struct = ffi().typeof(f"struct {name}")
        fields = [(n, f.offset, f.type.cname) for n, f in struct.fields]
        total.update(repr((name, ffi().sizeof(struct), fields)).encode())
    return total.hexdigest()[:16]
