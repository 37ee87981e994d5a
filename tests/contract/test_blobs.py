"""What every blob store promises."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.blobs.files import FileBlobs


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_a_blob_is_found_by_its_digest(tmp_path: Path) -> None:
    async def scenario() -> None:
        blobs = FileBlobs(tmp_path)
        await blobs.open()
        digest = await blobs.put(chunks(b"hello ", b"there"))
        assert digest == hashlib.sha256(b"hello there").hexdigest()
        assert await blobs.exists(digest)
        assert (await blobs.local(digest)).read_bytes() == b"hello there"
        assert await blobs.put(chunks(b"hello there")) == digest
        assert await blobs.digests() == [digest]
        await blobs.delete(digest)
        await blobs.delete(digest)
        assert not await blobs.exists(digest)
        with pytest.raises(FileNotFoundError):
            await blobs.local(digest)

    asyncio.run(scenario())


def test_an_interrupted_put_leaves_nothing(tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    async def scenario() -> None:
        blobs = FileBlobs(tmp_path)
        await blobs.open()
        with pytest.raises(ConnectionError):
            await blobs.put(breaking())
        assert os.listdir(tmp_path / "incoming") == []
        (tmp_path / "incoming" / "left").write_bytes(b"by a crash")
        await blobs.open()
        assert os.listdir(tmp_path / "incoming") == []
        assert await blobs.digests() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "digest", ["", "..", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"]
)
def test_what_is_no_digest_is_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError):
        asyncio.run(FileBlobs(tmp_path).exists(digest))
