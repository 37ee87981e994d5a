"""JSON documents with a few very long strings: an archive in base64.

Reading 70 MB in one piece would hold up everything else.  The long strings are cut out and decoded
in slices; what is left is small.  To be run in a thread: it gives the interpreter up after each
slice.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import time
from typing import Any

# Bodies over this many bytes are read so; what is left without long strings has no more.
FROM_BYTES = 1024 * 1024
_LONG = 64 * 1024
_MOST_STRINGS = 20_000
_SLICE = 1024 * 1024
_REST_SECONDS = 0.0005


class LongStrings:
    """What was cut out of a document, by the bytes that stand for it."""

    def __init__(self) -> None:
        self._contents: dict[bytes, bytes] = {}

    def cut(self, text: bytes) -> bytes:
        """The document with each long string replaced by a short one; raises ValueError.

        A replacement is base64 of bytes that were drawn at random, so no document has one.
        """
        pieces: list[bytes] = []
        at = strings = 0
        while (start := text.find(b'"', at)) >= 0:
            end = _end(text, start + 1)
            strings += 1
            if strings > _MOST_STRINGS:
                raise ValueError("too many values")
            if end - start > _LONG:
                token = os.urandom(24)
                self._contents[token] = _decoded(text, start + 1, end)
                pieces += [text[at:start], b'"', base64.b64encode(token), b'"']
            else:
                pieces.append(text[at : end + 1])
            at = end + 1
        pieces.append(text[at : at + FROM_BYTES + 1])
        left = b"".join(pieces)
        if len(left) > FROM_BYTES:
            raise ValueError("the request is too large")
        return left

    def put_back(self, value: Any) -> Any:
        """A value read from what ``cut`` left, with each replacement replaced again."""
        if isinstance(value, bytes):
            return self._contents.pop(value, value)
        if isinstance(value, dict):
            return {name: self.put_back(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.put_back(each) for each in value]
        return value

    @property
    def left(self) -> bool:
        """Whether a long string was where none can be."""
        return bool(self._contents)


def _end(text: bytes, at: int) -> int:
    """Where a string ends that begins before a place; raises ValueError."""
    for _ in range(_MOST_STRINGS):
        end = text.find(b'"', at)
        if end < 0:
            break
        first = end
        while text[first - 1] == 0x5C:
            first -= 1
        if (end - first) % 2 == 0:
            return end
        at = end + 1
    raise ValueError("a string does not end")


def _decoded(text: bytes, start: int, end: int) -> bytes:
    """The bytes of a string in base64, slice by slice; raises ValueError."""
    # Its memory grows without being copied, and is handed out as it is.
    whole = io.BytesIO()
    rest = b""
    while start < end:
        stop = min(start + _SLICE, end)
        if text[stop - 1] == 0x5C and stop < end:
            stop += 1
        piece = rest + text[start:stop].replace(b"\\/", b"/")
        quads = len(piece) if stop == end else len(piece) // 4 * 4
        rest = piece[quads:]
        if stop < end and b"=" in piece:
            raise ValueError("not base64")
        try:
            whole.write(binascii.a2b_base64(piece[:quads], strict_mode=True))
        except binascii.Error as error:
            raise ValueError(str(error)) from None
        start = stop
        time.sleep(_REST_SECONDS)
    return whole.getvalue()
