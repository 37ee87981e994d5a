"""The embedded Blobs: one file each, written beside its place, fsynced, renamed into it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

_DIGEST = re.compile("[0-9a-f]{64}")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _add(digest: hashlib._Hash, file: IO[bytes], chunk: bytes) -> None:
    digest.update(chunk)
    file.write(chunk)


class FileBlobs:
    """See ``lambent.blobs.base.Blobs``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    async def open(self) -> None:
        def work() -> None:
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir(parents=True)

        await asyncio.to_thread(work)

    async def put(self, chunks: AsyncIterator[bytes]) -> str:
        digest = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(_add, digest, file, chunk)
                await asyncio.to_thread(self._settle, file, name, digest.hexdigest())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest.hexdigest()

    def _settle(self, file: object, name: str, digest: str) -> None:
        assert hasattr(file, "flush") and hasattr(file, "fileno")
        file.flush()
        os.fsync(file.fileno())
        target = self._path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(name, target)
        _sync_directory(target.parent)
        _sync_directory(self._root)

    async def exists(self, digest: str) -> bool:
        return self._path(digest).exists()

    async def local(self, digest: str) -> Path:
        path = self._path(digest)
        if not path.exists():
            raise FileNotFoundError(digest)
        return path

    async def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    async def digests(self) -> list[str]:
        return sorted(path.name for path in self._root.glob("??/*") if _DIGEST.fullmatch(path.name))

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest!r}")
        return self._root / digest[:2] / digest
