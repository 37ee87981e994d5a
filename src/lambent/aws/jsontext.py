"""JSON from outside: whether bytes are a JSON text, and what it says, within a budget.

A text of six megabytes is looked over in three milliseconds, which takes no memory; one of too many
parts is never built.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_look_over = msgspec.json.Decoder(msgspec.Raw).decode

# Objects and arrays in a document that is built in memory, the commas in it, and its strings: what
# takes longer to build than about 50 ms is refused before.
MOST_CONTAINERS = MOST_VALUES = 200_000
_MOST_STRINGS = 2 * MOST_VALUES


def check(text: bytes) -> None:
    """Raise ValueError, saying where, unless text is one JSON value in UTF-8."""
    try:
        _look_over(text)
        if text.isascii() or text.decode():
            return
    except (ValueError, RecursionError):
        pass
    _slowly(text)


def decode(text: bytes) -> Any:
    """A JSON text's value; raises ValueError also for one of too many parts."""
    if len(text) > MOST_CONTAINERS and _excessive(text) and _excessive(_without_strings(text)):
        raise ValueError("too many values")
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return _slowly(text)


def encode(value: Any) -> bytes:
    """A value as a JSON text."""
    return msgspec.json.encode(value)


def _excessive(text: bytes) -> bool:
    return text.count(b"{") + text.count(b"[") > MOST_CONTAINERS or text.count(b",") > MOST_VALUES


def _without_strings(text: bytes) -> bytes:
    """The structure of a text: what is between its strings."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    if plain.count(b'"') > 2 * _MOST_STRINGS:
        return text
    return b"".join(plain.split(b'"')[::2])


def _slowly(text: bytes) -> Any:
    """What takes longer knows a few texts more (half a surrogate pair), and says what is wrong."""
    try:
        return json.loads(text.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
