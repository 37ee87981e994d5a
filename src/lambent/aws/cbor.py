"""CBOR (RFC 8949), as far as Smithy's RPC v2 protocol uses it.

Read: integers, floats of every width, text, bytes, arrays, maps with text keys, tags (a timestamp,
tag 1, is its number of seconds), booleans, null; definite and indefinite lengths.  Written: the
same, with definite lengths.
"""

from __future__ import annotations

import struct
from typing import Any

_DEPTH = 64
_BREAK = object()


class CborError(Exception):
    """Not CBOR, or more than is read here."""


class Timestamp(float):
    """Seconds since the epoch, written with tag 1."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def _take(self, count: int) -> bytes:
        piece = self._data[self.place : self.place + count]
        if len(piece) < count:
            raise CborError("it ends too early")
        self.place += count
        return piece

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise CborError("a length that cannot be")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def value(self, depth: int = 0) -> Any:
        if depth > _DEPTH:
            raise CborError("it is nested too deeply")
        first = self._take(1)[0]
        kind, info = first >> 5, first & 31
        if kind == 7:
            return self._simple(info)
        if info == 31:
            return self._indefinite(kind, depth)
        argument = self._argument(info)
        if kind == 0:
            return argument
        if kind == 1:
            return -1 - argument
        if kind == 2:
            return self._take(argument)
        if kind == 3:
            return self._text(self._take(argument))
        if kind == 4:
            return [self.value(depth + 1) for _ in range(self._counted(argument))]
        if kind == 5:
            return dict(self._pair(depth) for _ in range(self._counted(argument)))
        return self.value(depth + 1)  # a tag says what the value is, which the model knows

    def _counted(self, argument: int) -> int:
        """No more items than there are bytes left."""
        if argument > len(self._data) - self.place:
            raise CborError("it ends too early")
        return argument

    @staticmethod
    def _text(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise CborError("text that is not UTF-8") from None

    def _pair(self, depth: int) -> tuple[str, Any]:
        key = self.value(depth + 1)
        if not isinstance(key, str):
            raise CborError("a key that is not text")
        return key, self.value(depth + 1)

    def _indefinite(self, kind: int, depth: int) -> Any:
        if kind in (2, 3):
            pieces: list[Any] = []
            while (piece := self.value(depth + 1)) is not _BREAK:
                if not isinstance(piece, bytes if kind == 2 else str):
                    raise CborError("pieces of different kinds")
                pieces.append(piece)
            return b"".join(pieces) if kind == 2 else "".join(pieces)
        if kind == 4:
            items = []
            while (item := self.value(depth + 1)) is not _BREAK:
                items.append(item)
            return items
        if kind != 5:
            raise CborError("a length that cannot be")
        found = {}
        while (key := self.value(depth + 1)) is not _BREAK:
            if not isinstance(key, str):
                raise CborError("a key that is not text")
            found[key] = self.value(depth + 1)
        return found

    def _simple(self, info: int) -> Any:
        if info in (20, 21):
            return info == 21
        if info in (22, 23):
            return None
        if info in (25, 26, 27):
            width = {25: ">e", 26: ">f", 27: ">d"}[info]
            return struct.unpack(width, self._take(struct.calcsize(width)))[0]
        if info == 31:
            return _BREAK
        raise CborError("a simple value that is unknown")


def loads(data: bytes) -> Any:
    """The one value that data holds; raises CborError."""
    reader = _Reader(data)
    value = reader.value()
    if value is _BREAK or reader.place != len(data):
        raise CborError("more or less than one value")
    return value


def _head(kind: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((kind << 5 | argument,))
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes((kind << 5 | info,)) + argument.to_bytes(width, "big")
    raise CborError("an integer of more than 64 bits")


def dumps(value: Any) -> bytes:
    """A value as CBOR."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, Timestamp):
        return _head(6, 1) + b"\xfb" + struct.pack(">d", value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, list | tuple):
        return _head(4, len(value)) + b"".join(dumps(each) for each in value)
    if isinstance(value, dict):
        pairs = b"".join(dumps(key) + dumps(each) for key, each in value.items())
        return _head(5, len(value)) + pairs
    raise CborError(f"a {type(value).__name__}")
