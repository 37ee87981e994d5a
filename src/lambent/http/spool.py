"""Whole bodies of requests, of which little is in memory while their clients send them.

A small body is kept as it came; a larger one goes to a file without a name, and is read back when
it is needed.  Its digest is known when its last byte is in.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from typing import IO

# Pieces up to this size are hashed where they come in, larger ones in a thread: about 0.1 ms.
_AT_ONCE = 64 * 1024


LetGo = Callable[[int], object]
"""Takes note of so many bytes that are no longer kept."""


class Received:
    """A body that is wholly in; size: in bytes; sha256: in hexadecimal digits."""

    def __init__(
        self, size: int, sha256: str, kept: bytes, file: IO[bytes] | None, let_go: LetGo
    ) -> None:
        self.size = size
        self.sha256 = sha256
        self._kept = kept
        self._file = file
        self._let_go = let_go

    async def load(self) -> bytes:
        """Its bytes, once."""
        try:
            if self._file is None:
                return self._kept
            return await asyncio.to_thread(_read, self._file)
        finally:
            self.close()

    def close(self) -> None:
        """Forget it."""
        self._kept = b""
        if self._file is not None:
            self._file.close()
        self._let_go(self.size)
        self.size = 0


def _read(file: IO[bytes]) -> bytes:
    with file:
        file.seek(0)
        return file.read()


class Spool:
    """A body that is coming in; folder: of its file; kept_bytes: how many are in memory at most."""

    def __init__(self, folder: str | None, kept_bytes: int, let_go: LetGo) -> None:
        self._folder = folder
        self._kept_bytes = kept_bytes
        self._let_go = let_go
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._kept = 0
        self._file: IO[bytes] | None = None
        self.size = 0

    async def add(self, piece: bytes) -> None:
        """Take more of it."""
        self.size += len(piece)
        if len(piece) <= _AT_ONCE:
            self._digest.update(piece)
        else:
            await asyncio.to_thread(self._digest.update, piece)
        self._pieces.append(piece)
        self._kept += len(piece)
        if self._kept > self._kept_bytes:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        if self._file is None:
            # Closed by the reader of the body, or with its last use.
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._file.writelines(self._pieces)
        self._pieces, self._kept = [], 0

    async def end(self) -> Received:
        """The whole of it."""
        if self._file is not None:
            await asyncio.to_thread(self._flush)
        kept = b"" if self._file is not None else b"".join(self._pieces)
        return Received(self.size, self._digest.hexdigest(), kept, self._file, self._let_go)

    def close(self) -> None:
        """Forget what has come."""
        self._pieces, self._kept = [], 0
        if self._file is not None:
            self._file.close()
        self._let_go(self.size)
