"""What every EventQueue promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lambent.queue.base import Event, EventQueue
from lambent.queue.sqlite import SqliteQueue

Scenario = Callable[[EventQueue], Awaitable[None]]
Run = Callable[[Scenario], None]


def event(identifier: str, function: str = "f", **more: object) -> Event:
    made = Event(identifier, "1", "r", function, None, b'{"n": 1}', 100.0)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a scenario on an open queue; what it leaves is there in the next."""

    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            queue = SqliteQueue(tmp_path / "queue.db")
            await queue.open()
            try:
                await scenario(queue)
            finally:
                await queue.close()

        asyncio.run(main())

    return runner


def test_events_are_leased_when_due_the_longest_first_and_each_once(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        for identifier, due in (("late", 30.0), ("second", 20.0), ("first", 10.0)):
            await queue.put(event(identifier), due)
        assert await queue.lease("1/r/f", 5.0, 10) == ([], 10.0)
        leased, following = await queue.lease("1/r/f", 25.0, 10)
        assert ([each.id for each in leased], following) == (["first", "second"], 30.0)
        assert await queue.lease("1/r/f", 25.0, 10) == ([], 30.0)
        leased, following = await queue.lease("1/r/f", 30.0, 1)
        assert ([each.id for each in leased], following) == (["late"], None)

    run(scenario)


def test_an_event_comes_back_whole_and_with_its_counts(run: Run) -> None:
    whole = event("a", client_context='{"custom": 1}', trace_id="Root=1", qualifier="live")

    async def scenario(queue: EventQueue) -> None:
        await queue.put(whole, 1.0)
        (leased,), _ = await queue.lease(whole.shard, 1.0, 1)
        assert leased == whole
        await queue.retry(replace(whole, failures=1, refusals=2), 50.0)
        assert await queue.lease(whole.shard, 49.0, 1) == ([], 50.0)
        (again,), _ = await queue.lease(whole.shard, 50.0, 1)
        assert (again.failures, again.refusals) == (1, 2)
        await queue.ack(again)
        assert await queue.depth(whole.shard) == 0

    run(scenario)


def test_shards_are_apart(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        await queue.put(event("a", "one"), 7.0)
        await queue.put(event("b", "two"), 5.0)
        await queue.put(event("c", "two"), 6.0)
        assert await queue.shards() == {"1/r/one": 7.0, "1/r/two": 5.0}
        leased, _ = await queue.lease("1/r/two", 9.0, 1)
        assert [each.id for each in leased] == ["b"]
        assert await queue.shards() == {"1/r/one": 7.0, "1/r/two": 6.0}
        assert [await queue.depth(f"1/r/{name}") for name in ("one", "two", "no")] == [1, 2, 0]

    run(scenario)


def test_what_was_leased_at_the_end_is_there_at_the_start(run: Run) -> None:
    async def first(queue: EventQueue) -> None:
        await queue.put(event("a"), 1.0)
        await queue.put(event("b"), 2.0)
        leased, _ = await queue.lease("1/r/f", 9.0, 1)
        assert [each.id for each in leased] == ["a"]

    async def second(queue: EventQueue) -> None:
        leased, _ = await queue.lease("1/r/f", 9.0, 9)
        assert [each.id for each in leased] == ["a", "b"]

    run(first)
    run(second)
