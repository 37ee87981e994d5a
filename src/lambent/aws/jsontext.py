"""Whether bytes are a JSON text, told without building anything from them.

A text of six megabytes takes three milliseconds here and no memory; parsing it would hold up
everybody for thirty, and for as long as its author likes in memory.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_look_over = msgspec.json.Decoder(msgspec.Raw).decode


def check(text: bytes) -> None:
    """Raise ValueError, saying where, unless text is one JSON value in UTF-8."""
    try:
        _look_over(text)
        if text.isascii() or text.decode():
            return
    except (ValueError, RecursionError):
        pass
    # The slow way knows a few texts more (half a surrogate pair), and words for what is wrong.
    try:
        json.loads(text.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


# Objects and arrays in a document that is built in memory, and commas: what takes longer to build
# than 50 ms on a slow machine is refused before.
_MOST_CONTAINERS, _MOST_VALUES = 200_000, 2_000_000


def decode(text: bytes) -> Any:
    """A JSON text's value; raises ValueError also for one of too many parts."""
    if len(text) > _MOST_CONTAINERS and (
        text.count(b"{") + text.count(b"[") > _MOST_CONTAINERS or text.count(b",") > _MOST_VALUES
    ):
        raise ValueError("too many values")
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def encode(value: Any) -> bytes:
    """A value as a JSON text."""
    return msgspec.json.encode(value)
