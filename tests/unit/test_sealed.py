"""What lies in the database when documents are sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lambent.store.base import ABSENT, Change
from lambent.store.memory import MemoryStore
from lambent.store.sealed import SealedStore, Unreadable

KEY, OTHER = b"k" * 32, b"o" * 32
Scenario = Callable[[MemoryStore, SealedStore], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def whole() -> None:
        beneath = MemoryStore()
        store = SealedStore(beneath, KEY)
        await store.open()
        await scenario(beneath, store)

    asyncio.run(whole())


def test_nothing_of_a_document_can_be_read_beneath() -> None:
    async def scenario(beneath: MemoryStore, store: SealedStore) -> None:
        first = await store.put("f", b"password", ABSENT)
        one = await beneath.get("f")
        await store.put("f", b"password", first.revision)
        other = await beneath.get("f")
        assert one is not None and other is not None
        assert b"password" not in one.body and one.body != other.body

    play(scenario)


def test_whoever_watches_is_told_the_very_document_that_was_put() -> None:
    async def scenario(beneath: MemoryStore, store: SealedStore) -> None:
        seen: list[Change] = []
        store.watch("f", seen.append)
        body = b"body"
        document = await store.put("f", body, ABSENT)
        assert seen[0].document is not None and seen[0].document.body is body
        await store.delete("f", document.revision)
        assert seen[1] == Change("f", None)

    play(scenario)


def test_a_document_changed_moved_or_unsealed_is_refused() -> None:
    async def scenario(beneath: MemoryStore, store: SealedStore) -> None:
        await store.put("a", b"1", ABSENT)
        sealed = await beneath.get("a")
        assert sealed is not None
        turned = sealed.body[:-1] + bytes([sealed.body[-1] ^ 1])
        for key, body in (
            ("moved", sealed.body), ("turned", turned), ("cut", sealed.body[:9]), ("plain", b"{}"),
            ("empty", b""),
        ):  # fmt: skip
            await beneath.put(key, body, ABSENT)
            with pytest.raises(Unreadable):
                await store.get(key)

    play(scenario)


def test_another_key_is_noticed_when_the_store_is_opened() -> None:
    async def scenario(beneath: MemoryStore, store: SealedStore) -> None:
        again = SealedStore(beneath, KEY)
        await again.open()
        with pytest.raises(Unreadable, match="not the key it was written with"):
            await SealedStore(beneath, OTHER).open()

    play(scenario)
