"""What every EventQueue promises."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from lambent.queue import base
from lambent.queue.base import Answer, Backlog, Depth, Ending, Event, EventQueue
from lambent.queue.sqlite import SqliteQueue


class WholeQueue(EventQueue, Backlog, Protocol):
    """What an embedded queue is."""


Scenario = Callable[[WholeQueue], Awaitable[None]]
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
    async def scenario(queue: WholeQueue) -> None:
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

    async def scenario(queue: WholeQueue) -> None:
        await queue.put(whole, 1.0)
        (leased,), _ = await queue.lease(whole.shard, 1.0, 1)
        assert replace(leased, key=0) == whole
        changed = replace(
            leased,
            failures=1,
            refusals=2,
            answer=Answer(b"{}", "7", "Unhandled"),
            ending=Ending("RetriesExhausted", 9.0, "arn:a"),
        )
        await queue.retry(changed, 50.0)
        assert await queue.lease(whole.shard, 49.0, 1) == ([], 50.0)
        (again,), _ = await queue.lease(whole.shard, 50.0, 1)
        assert again == changed
        await queue.ack(again)
        assert await queue.depths() == {}

    run(scenario)


def test_shards_are_apart(run: Run) -> None:
    async def scenario(queue: WholeQueue) -> None:
        await queue.put(event("a", "one"), 7.0)
        await queue.put(event("b", "two"), 5.0)
        await queue.put(event("c", "two"), 6.0)
        assert await queue.shards() == {"1/r/one": 7.0, "1/r/two": 5.0}
        leased, _ = await queue.lease("1/r/two", 9.0, 1)
        assert [each.id for each in leased] == ["b"]
        assert await queue.shards() == {"1/r/one": 7.0, "1/r/two": 6.0}
        depths = {name: depth.waiting for name, depth in (await queue.depths("1/r/")).items()}
        assert depths == {"1/r/one": 1, "1/r/two": 2}
        assert await queue.depths("1/q/") == {}

    run(scenario)


def test_what_was_leased_at_the_end_is_there_at_the_start(run: Run) -> None:
    async def first(queue: WholeQueue) -> None:
        await queue.put(event("a"), 1.0)
        await queue.put(event("b"), 2.0)
        leased, _ = await queue.lease("1/r/f", 9.0, 1)
        assert [each.id for each in leased] == ["a"]

    async def second(queue: WholeQueue) -> None:
        leased, _ = await queue.lease("1/r/f", 9.0, 9)
        assert [each.id for each in leased] == ["a", "b"]

    run(first)
    run(second)


def test_the_oldest_is_known_also_when_it_is_not_the_next(run: Run) -> None:
    async def scenario(queue: WholeQueue) -> None:
        for identifier, accepted in (("a", 10.0), ("b", 20.0)):
            await queue.put(event(identifier, accepted=accepted), accepted)
        (first,), _ = await queue.lease("1/r/f", 15.0, 1)
        assert (await queue.depths())["1/r/f"] == Depth(2, 0, 10.0)
        await queue.retry(replace(first, failures=1), 90.0)
        assert (await queue.depths())["1/r/f"] == Depth(2, 0, 10.0)
        await queue.give_up(replace(first, failures=2), 95.0)
        assert (await queue.depths())["1/r/f"] == Depth(1, 1, 20.0)

    run(scenario)


def test_what_is_laid_aside_is_not_leased_and_can_begin_anew(run: Run) -> None:
    async def first(queue: WholeQueue) -> None:
        await queue.put(event("a"), 1.0)
        await queue.put(event("b"), 2.0)
        (leased,), _ = await queue.lease("1/r/f", 1.0, 1)
        await queue.give_up(replace(leased, failures=3, answer=Answer(b"no", "1")), 5.0)
        assert [(each.event.id, each.state) for each in await queue.peek("1/r/f", 9)] == [
            ("b", "waiting"),
            ("a", "failed"),
        ]
        assert [each.event.id for each in await queue.peek("1/r/f", 1)] == ["b"]

    async def second(queue: WholeQueue) -> None:
        assert await queue.shards() == {"1/r/f": 2.0}
        assert await queue.replay("1/r/f", 50.0) == 1
        assert await queue.replay("1/r/f", 50.0) == 0
        leased, _ = await queue.lease("1/r/f", 60.0, 9)
        assert [each.id for each in leased] == ["b", "a"]
        assert (leased[1].failures, leased[1].answer, leased[1].accepted) == (0, None, 50.0)
        states = [each.state for each in await queue.peek("1/r/f", 9)]
        assert states == ["running", "running"]

    run(first)
    run(second)


def test_what_is_removed_is_not_run_again(run: Run) -> None:
    async def scenario(queue: WholeQueue) -> None:
        for identifier in ("a", "b", "c"):
            await queue.put(event(identifier), 1.0)
        await queue.put(event("other", "g"), 1.0)
        running, _ = await queue.lease("1/r/f", 1.0, 2)
        await queue.give_up(running[0], 2.0)
        assert await queue.purge("1/r/f") == 3
        # What takes the place of what was removed is not what was removed.
        await queue.put(event("new"), 3.0)
        await queue.retry(running[1], 3.0)
        await queue.ack(running[1])
        leased, _ = await queue.lease("1/r/f", 9.0, 9)
        assert [each.id for each in leased] == ["new"]
        assert set(await queue.depths()) == {"1/r/f", "1/r/g"}

    run(scenario)


def test_only_so_many_are_laid_aside_and_only_so_long(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.queue.sqlite.KEPT_EVENTS", 3)

    async def scenario(queue: WholeQueue) -> None:
        async def failed() -> list[str]:
            return [each.event.id for each in await queue.peek("1/r/f", 99)]

        for number in range(5):
            await queue.put(event(str(number)), 1.0)
            (leased,), _ = await queue.lease("1/r/f", 1.0, 1)
            await queue.give_up(leased, 10.0 + number)
        assert await failed() == ["2", "3", "4"]
        await queue.put(event("late"), 1.0)
        (leased,), _ = await queue.lease("1/r/f", 1.0, 1)
        await queue.give_up(leased, 13.5 + base.KEPT_SECONDS)
        assert await failed() == ["4", "late"]
        assert (await queue.depths())["1/r/f"] == Depth(0, 2, None)

    run(scenario)


def test_large_events_are_leased_a_few_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.queue.sqlite._LEASE_BYTES", 1_000)

    async def scenario(queue: WholeQueue) -> None:
        for identifier in ("a", "b", "c", "d"):
            await queue.put(event(identifier, payload=b"x" * 600), 1.0)
        leased, following = await queue.lease("1/r/f", 9.0, 10)
        assert ([each.id for each in leased], following) == (["a", "b"], 1.0)
        leased, following = await queue.lease("1/r/f", 9.0, 10)
        assert ([each.id for each in leased], following) == (["c", "d"], None)

    run(scenario)


def test_an_event_whose_end_could_not_be_written_can_be_leased_again(tmp_path: Path) -> None:
    async def main() -> None:
        queue = SqliteQueue(tmp_path / "queue.db")
        await queue.open()
        await queue.put(event("a"), 1.0)
        (leased,), _ = await queue.lease("1/r/f", 1.0, 1)
        # Somebody holds the database, as a disk that is full would: nothing of it is begun.
        other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            await queue.ack(leased)
        other.execute("ROLLBACK")
        other.close()
        (again,), _ = await queue.lease("1/r/f", 1.0, 1)
        assert again == leased
        await queue.ack(again)
        assert await queue.depths() == {}
        await queue.close()

    asyncio.run(main())


def test_who_only_asks_is_answered_though_a_write_beside_him_fails(tmp_path: Path) -> None:
    async def main() -> None:
        queue = SqliteQueue(tmp_path / "queue.db")
        await queue.open()
        await queue.put(event("there"), 100.0)
        await queue._do(lambda connection: connection.execute("PRAGMA busy_timeout = 0"))
        other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # nothing can be written now
        # The thread is kept busy until all have come, and takes them as one batch.
        held = threading.Event()
        calls = (
            queue._do(lambda connection: held.wait(10)),
            queue.put(event("lost"), 101.0),
            queue.lease("1/r/f", 109.0, 9),
            queue.depths(),
        )
        pending = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0)
        held.set()
        _, put, leased, depths = await asyncio.gather(*pending, return_exceptions=True)
        other.close()
        assert isinstance(put, sqlite3.OperationalError)
        assert [each.id for each in leased[0]] == ["there"]  # type: ignore[index]
        assert depths == {"1/r/f": Depth(1, 0, 100.0)}
        await queue.close()

    asyncio.run(main())
