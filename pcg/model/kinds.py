"""Kinds of value that the types of desired state and settings are made of.

A kind says in its Meta what a reader of errors wants to know: `kind` and `use` for text that has
a pattern, `form` for text that has a canonical form (forms.py).
"""

from typing import Annotated

import msgspec


def _text(kind: str, use: str, pattern: str) -> msgspec.Meta:
    return msgspec.Meta(pattern=pattern, extra={"kind": kind, "use": use})


# A letter first: an id is never an address.
_ID_USE = "a letter, then at most 46 letters, digits, '.', '_' or '-'"
Id = Annotated[str, _text("an id", _ID_USE, r"^[A-Za-z][A-Za-z0-9._-]{0,46}\Z")]
# For people only; it ends up in tables and logs.
_LABEL_USE = "at most 255 characters, none of them a control character"
Label = Annotated[str, _text("a label", _LABEL_USE, r"^[^\x00-\x1f\x7f-\x9f]{0,255}\Z")]
Vni = Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF)]  # RFC 8926 section 3.4: 24 bits; 0 is BFD's
Mtu = Annotated[int, msgspec.Meta(ge=576, le=9216)]
Port16 = Annotated[int, msgspec.Meta(ge=0, le=65535)]

# Text with a canonical form (forms.py). Whether it is right is a rule's business, not the type's.
Address = Annotated[str, msgspec.Meta(extra={"form": "address"})]
Prefix = Annotated[str, msgspec.Meta(extra={"form": "prefix"})]
Span = Annotated[str, msgspec.Meta(extra={"form": "span"})]  # prefix, address or id
Mac = Annotated[str, msgspec.Meta(extra={"form": "mac"})]
GeneveOption = Annotated[str, msgspec.Meta(extra={"form": "option"})]  # class/type: "0x0104/0x80"
Hex = Annotated[str, msgspec.Meta(extra={"form": "hex"})]


class Value(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Base of every part of the document: immutable, compared by value."""
