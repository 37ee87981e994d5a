"""The Blobs seam: what every blob store promises (tests/contract/test_blobs.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol


class Blobs(Protocol):
    """Content-addressed bytes; a digest is 64 lower-case hexadecimal digits."""

    async def open(self) -> None:
        """Get ready; removes what an interrupted put left."""

    async def put(self, chunks: AsyncIterator[bytes]) -> str:
        """Store a stream and return its digest; durable when it returns."""

    async def exists(self, digest: str) -> bool:
        """Whether the blob is here, whole."""

    async def local(self, digest: str) -> Path:
        """A file with the blob's bytes; raises FileNotFoundError."""

    async def delete(self, digest: str) -> None:
        """Remove the blob; no error if it is gone."""

    async def digests(self) -> list[str]:
        """The digests of all blobs."""


class ObjectError(Exception):
    """An object could not be read: the service's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ObjectSource(Protocol):
    """Objects that customers keep elsewhere and name by bucket and key."""

    def read(self, bucket: str, key: str, version: str | None) -> AsyncIterator[bytes]:
        """An object in pieces; raises ObjectError."""
