"""Aggregates on every Store there is: compare-and-swap, cache and notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lambent.store import repository as repository_module
from lambent.store.base import Store
from lambent.store.memory import MemoryStore
from lambent.store.repository import Missing, Repository, Taken
from lambent.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Counter:
    """An aggregate."""

    name: str
    value: int = 0


Scenario = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["sqlite", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            sqlite = request.param == "sqlite"
            store: Store = SqliteStore(tmp_path / "db") if sqlite else MemoryStore()
            await store.open()
            await scenario(store)
            await store.close()

        asyncio.run(main())

    return runner


def test_concurrent_changes_are_all_applied(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        repositories = [Repository(store, "c/", Counter) for _ in range(4)]
        await repositories[0].create("one", Counter("one"))

        async def count(repository: Repository[Counter]) -> None:
            for _ in range(25):
                await repository.change("one", lambda each: replace(each, value=each.value + 1))

        await asyncio.gather(*(count(each) for each in repositories))
        for repository in repositories:
            assert (await repository.get("one")).value == 100

    run(scenario)


def test_a_key_is_taken_once_and_missing_again_when_it_is_deleted(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        seen: list[tuple[str, Counter | None]] = []
        repository = Repository(store, "c/", Counter, lambda key, value: seen.append((key, value)))
        one = await repository.create("one", Counter("one"))
        with pytest.raises(Taken):
            await repository.create("one", Counter("two"))
        other = Repository(store, "c/", Counter)
        assert await other.get("one") == one and other.known("one") == one
        assert await repository.delete("one") == one
        assert other.known("one") is None
        for missing in (other.get("one"), other.delete("one"), other.change("one", lambda c: c)):
            with pytest.raises(Missing):
                await missing
        made = await other.change("one", lambda each: replace(each, value=7), lambda: Counter("n"))
        assert made == Counter("n", 7)
        assert seen == [("one", one), ("one", None), ("one", made)]

    run(scenario)


def test_pages_follow_the_keys(run: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        repository = Repository(store, "c/", Counter)
        for name in ("a/2", "a/1", "b/1", "a/3"):
            await repository.create(name, Counter(name))
        assert [each.name for each in await repository.page("a/", "", 2)] == ["a/1", "a/2"]
        assert [each.name for each in await repository.page("a/", "2", 2)] == ["a/3"]
        assert [each.name for each in await repository.everything()] == [
            "a/1", "a/2", "a/3", "b/1",
        ]  # fmt: skip

    run(scenario)


def test_what_is_kept_at_hand_is_bounded_in_bytes_and_the_rest_is_read_again(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_module, "_CACHED_BYTES", 10_000)

    async def scenario(store: Store) -> None:
        repository = Repository(store, "c/", Counter)
        for number in range(20):
            await repository.create(str(number), Counter("n" * 1000, number))
        at_hand = [each for each in range(20) if repository.known(str(each)) is not None]
        assert at_hand == list(range(11, 20))
        assert (await repository.get("0")).value == 0
        await repository.create("large", Counter("n" * 50_000))
        assert repository.known("19") is None and repository.known("large") is not None
        for number in range(20):
            await repository.delete(str(number))
        await repository.delete("large")
        assert repository._cached_bytes == 0

    run(scenario)
