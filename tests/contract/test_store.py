"""What every Store promises, on every Store there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lambent.store.base import ABSENT, Change, Conflict, Store
from lambent.store.memory import MemoryStore
from lambent.store.sealed import SealedStore
from lambent.store.sqlite import SqliteStore

Scenario = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["sqlite", "memory", "sealed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on an open store."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "db")
        if request.param == "sealed":
            store = SealedStore(store, b"k" * 32)
        await store.open()
        yield store
        await store.close()

    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            async with opened() as store:
                await scenario(store)

        asyncio.run(main())

    return runner


def test_what_was_put_can_be_got(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        assert await store.get("a") is None
        document = await store.put("a", b"1", ABSENT)
        assert await store.get("a") == document
        assert document.body == b"1" and document.revision > ABSENT

    run(scenario)


def test_revisions_grow_and_guard(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        first = await store.put("a", b"1", ABSENT)
        second = await store.put("a", b"2", first.revision)
        assert second.revision > first.revision
        for expected in (ABSENT, first.revision, second.revision + 1):
            with pytest.raises(Conflict):
                await store.put("a", b"3", expected)
            with pytest.raises(Conflict):
                await store.delete("a", expected)
        await store.delete("a", second.revision)
        assert await store.get("a") is None
        assert (await store.put("a", b"4", ABSENT)).revision > second.revision

    run(scenario)


def test_of_concurrent_writers_one_wins(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        results = await asyncio.gather(
            *(store.put("a", b"%d" % i, ABSENT) for i in range(50)), return_exceptions=True
        )
        winners = [each for each in results if not isinstance(each, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(each, Conflict) for each in results if each is not winners[0])
        assert await store.get("a") == winners[0]

    run(scenario)


def test_a_failed_write_undoes_only_itself(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await store.put("taken", b"", ABSENT)
        results = await asyncio.gather(
            store.put("a", b"1", ABSENT),
            store.put("taken", b"2", ABSENT),
            store.put("b", b"3", ABSENT),
            return_exceptions=True,
        )
        assert isinstance(results[1], Conflict)
        assert [each.key for each in await store.scan("")] == ["a", "b", "taken"]

    run(scenario)


def test_a_scan_goes_page_by_page_in_key_order(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        for key in ("p/c", "p/a", "q/a", "p/b", "p", "p/é"):
            await store.put(key, b"", ABSENT)
        assert [each.key for each in await store.scan("p/")] == ["p/a", "p/b", "p/c", "p/é"]
        page = await store.scan("p/", limit=2)
        rest = await store.scan("p/", after=page[-1].key)
        assert [each.key for each in rest] == ["p/c", "p/é"]

    run(scenario)


def test_watchers_hear_of_changes_under_their_prefix(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        heard: list[Change] = []
        stop = store.watch("p/", heard.append)
        document = await store.put("p/a", b"1", ABSENT)
        await store.put("q/a", b"1", ABSENT)
        await store.delete("p/a", document.revision)
        assert heard == [Change("p/a", document), Change("p/a", None)]
        stop()
        await store.put("p/b", b"1", ABSENT)
        assert len(heard) == 2

    run(scenario)


def test_a_store_survives_being_reopened(tmp_path: Path) -> None:
    async def write() -> int:
        store = SqliteStore(tmp_path / "db")
        await store.open()
        document = await store.put("a", b"1", ABSENT)
        await store.close()
        return document.revision

    async def read(revision: int) -> None:
        store = SqliteStore(tmp_path / "db")
        await store.open()
        document = await store.get("a")
        assert document is not None and document.revision == revision
        assert (await store.put("b", b"", ABSENT)).revision > revision
        await store.close()

    asyncio.run(read(asyncio.run(write())))


def test_a_full_disk_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    import sqlite3

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "db")
        await store.open()
        kept = await store.put("kept", b"1", ABSENT)
        # SQLite itself refuses to grow: what a full disk looks like from here.
        await store._do(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await store.put("big", b"x" * 1_000_000, ABSENT)
        await store._do(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        assert await store.get("kept") == kept and await store.get("big") is None
        await store.put("big", b"x" * 1_000_000, ABSENT)
        await store.close()

    asyncio.run(scenario())
