"""Asynchronous events: tried again as AWS does it, hours of it in milliseconds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.errors import ResourceNotFound, TooManyRequests
from lambent.events.destinations import DeliveryFailed
from lambent.events.worker import EventWorker
from lambent.functions.types import EventInvokeConfig, Outcome
from lambent.queue.base import Ending, Event
from lambent.queue.sqlite import SqliteQueue

START = 1_800_000_000.0
FINE = Outcome(b"null", "$LATEST")
FAILED = Outcome(b"{}", "$LATEST", "Unhandled")


class Functions:
    """A catalog of one kind of function, and the path to it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.config = EventInvokeConfig(0.0)
        self.reserved: int | None = None
        self.dead_letters: str | None = None
        self.gone = False
        self.answers: Callable[[int], Any] = lambda attempt: FINE
        # What was run: when, which request.
        self.runs: list[tuple[float, str]] = []
        self.held: asyncio.Event | None = None

    async def get(self, account: str, region: str, name: str) -> Any:
        if self.gone:
            raise ResourceNotFound

        configuration = SimpleNamespace(dead_letter_target=self.dead_letters)
        version = SimpleNamespace(configuration=configuration)
        return SimpleNamespace(
            event_invoke={"$LATEST": self.config},
            reserved_concurrency=self.reserved,
            find=lambda qualifier: version,
        )

    async def invoke(self, *args: Any, request_id: str, **more: Any) -> tuple[str, Outcome]:
        self.runs.append((self.clock.time() - START, request_id))
        if self.held is not None:
            await self.held.wait()
        answer = self.answers(len(self.runs))
        if isinstance(answer, Exception):
            raise answer
        return request_id, answer


class Listeners:
    """Destinations and dead-letter queues, some of which do not listen."""

    def __init__(self) -> None:
        # What they were told: who, which request, how it ended, after how many failures.
        self.told: list[tuple[str, str, str, int]] = []
        self.deaf: set[str] = set()

    async def tell(self, version: Any, event: Event, ending: Ending, arn: str) -> None:
        if arn in self.deaf:
            raise DeliveryFailed("it does not listen")
        self.told.append((arn, event.id, ending.condition, event.failures))

    async def bury(self, version: Any, event: Event, arn: str) -> None:
        if arn in self.deaf:
            raise DeliveryFailed("it does not listen")
        self.told.append((arn, event.id, "dead", event.failures))


class World:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.functions = Functions(self.clock)
        self.listeners = Listeners()
        self.queue = SqliteQueue(path / "queue.db")
        self.counts: Counter[str] = Counter()
        self.spare = True
        self.worker = EventWorker(
            self.queue,
            self.functions,  # type: ignore[arg-type]
            self.functions,  # type: ignore[arg-type]
            self.listeners,  # type: ignore[arg-type]
            self.clock,
            60.0,
            self.count,
            lambda: self.spare,
        )

    def count(self, event: Event, metric: str, value: float) -> None:
        self.counts[metric] += 1 if metric == "AsyncEventAge" else int(value)

    async def laid_aside(self) -> list[tuple[str, int]]:
        """Events that failed and nobody was told of: which request, after how many failures."""
        peeked = await self.queue.peek("1/r/f", 99)
        return [(each.event.id, each.event.failures) for each in peeked if each.state == "failed"]

    async def accept(self, identifier: str = "one", function: str = "f") -> None:
        await self.worker.accept(
            Event(identifier, "1", "r", function, None, b"{}", self.clock.time())
        )

    async def settle(self) -> None:
        """Let everything that can happen now happen."""
        for _ in range(60):
            await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    @property
    def times(self) -> list[float]:
        return [round(when, 3) for when, _ in self.functions.runs]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def runner(scenario: Callable[[World], Awaitable[None]]) -> None:
        async def whole() -> None:
            world = World(tmp_path)
            await world.queue.open()
            await world.worker.open()
            try:
                await scenario(world)
            finally:
                await world.worker.close(0.1)
                await world.queue.close()

        asyncio.run(whole())

    return runner


Play = Callable[[Callable[[World], Awaitable[None]]], None]


def test_an_event_that_succeeds_runs_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.accept()
        await world.settle()
        assert world.functions.runs == [(0.0, "one")]
        assert await world.queue.depths() == {}
        assert world.counts == {"AsyncEventsReceived": 1, "AsyncEventAge": 1}

    play(scenario)


def test_an_error_is_tried_again_after_one_minute_and_after_two(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.answers = lambda attempt: FAILED
        await world.accept()
        await world.settle()
        await world.pass_time(59)
        assert world.times == [0.0]
        await world.pass_time(1)
        await world.pass_time(119)
        assert world.times == [0.0, 60.0]
        await world.pass_time(1)
        assert world.times == [0.0, 60.0, 180.0]
        assert {request for _, request in world.functions.runs} == {"one"}
        assert await world.laid_aside() == [("one", 3)]
        assert world.counts["AsyncEventsDropped"] == 1
        await world.pass_time(30_000)
        assert len(world.functions.runs) == 3

    play(scenario)


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_function_may_say_how_often(play: Play, retries: int) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(0.0, maximum_retry_attempts=retries)
        world.functions.answers = lambda attempt: FAILED
        await world.accept()
        await world.settle()
        for _ in range(5):
            await world.pass_time(120)
        assert len(world.functions.runs) == retries + 1
        assert await world.laid_aside() == [("one", retries + 1)]

    play(scenario)


def test_throttles_back_off_and_use_up_no_attempt(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.answers = lambda n: TooManyRequests() if n < 12 else FAILED
        await world.accept()
        await world.settle()
        for turn in range(8):
            await world.pass_time(2**turn - 0.5)
            assert len(world.times) == turn + 1  # not before its time
            await world.pass_time(0.5)
        assert world.times == [0, 1, 3, 7, 15, 31, 63, 127, 255]
        for _ in range(66):
            await world.pass_time(60)
        waits = [b - a for a, b in zip(world.times, world.times[1:], strict=False)]
        # Five minutes at most; then the function fails three times, a minute and two apart.
        assert max(waits) <= 360 and await world.laid_aside() == [("one", 3)]
        assert len(world.functions.runs) == 11 + 3

    play(scenario)


@pytest.mark.parametrize("answer", [TooManyRequests(), OSError("the disk is gone")])
def test_an_event_that_is_never_run_ends_with_its_age(play: Play, answer: Exception) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(0.0, maximum_event_age=60)
        world.functions.answers = lambda attempt: answer
        await world.accept()
        await world.settle()
        for _ in range(70):
            await world.pass_time(1)
        assert await world.laid_aside() == [("one", 0)]
        assert max(world.times) < 60

    play(scenario)


def test_a_function_that_may_not_run_at_all_ends_it_at_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.reserved = 0
        await world.accept()
        await world.settle()
        assert await world.laid_aside() == [("one", 0)]
        assert world.functions.runs == []

    play(scenario)


def test_an_event_of_a_deleted_function_ends(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.gone = True
        await world.accept()
        await world.settle()
        assert await world.laid_aside() == [("one", 0)]
        world.functions.gone = False
        await world.queue.replay("1/r/f", world.clock.time())
        world.worker.expect("1/r/f")
        await world.settle()
        assert len(world.functions.runs) == 1 and await world.queue.depths() == {}

    play(scenario)


def test_many_events_of_one_function_do_not_keep_another_waiting(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.held = asyncio.Event()
        for number in range(400):
            await world.accept(f"noisy-{number}", "noisy")
        await world.settle()
        assert len(world.functions.runs) == 32
        await world.accept("quiet", "quiet")
        await world.settle()
        assert world.functions.runs[-1][1] == "quiet"
        world.functions.held.set()
        await world.settle()
        assert len(world.functions.runs) == 401

    play(scenario)


def test_what_waits_and_what_ran_when_the_server_died_runs_when_it_starts(tmp_path: Path) -> None:
    async def first() -> None:
        world = World(tmp_path)
        await world.queue.open()
        await world.worker.open()
        world.functions.held = asyncio.Event()
        await world.accept("running")
        await world.settle()
        await world.queue.put(
            replace(Event("later", "1", "r", "f", None, b"{}", START), failures=1), START + 60
        )
        await world.worker.close(0.0)
        await world.queue.close()

    async def second() -> None:
        world = World(tmp_path)
        await world.queue.open()
        await world.worker.open()
        await world.settle()
        assert world.functions.runs == [(0.0, "running")]
        await world.pass_time(60)
        assert world.functions.runs == [(0.0, "running"), (60.0, "later")]
        await world.worker.close(0.0)
        await world.queue.close()

    asyncio.run(first())
    asyncio.run(second())


# -- how many at once ---------------------------------------------------------------------------


async def _grown(world: World, seconds: int) -> list[int]:
    """How many events run after each second."""
    world.functions.held = asyncio.Event()
    for number in range(200):
        await world.accept(str(number))
    await world.settle()
    found = [len(world.functions.runs)]
    for _ in range(seconds):
        await world.pass_time(1)
        found.append(len(world.functions.runs))
    world.functions.held.set()
    await world.settle()
    return found


def test_more_run_at_once_while_the_machine_has_time_to_spare(play: Play) -> None:
    async def scenario(world: World) -> None:
        assert await _grown(world, 3) == [32, 64, 128, 200]

    play(scenario)


def test_no_more_run_at_once_on_a_machine_that_is_busy(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.spare = False
        assert await _grown(world, 3) == [32, 32, 32, 32]

    play(scenario)


def test_fewer_run_at_once_after_a_throttle(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.spare = False
        world.functions.answers = lambda attempt: TooManyRequests()
        for number in range(32):
            await world.accept(str(number))
        await world.settle()
        await world.pass_time(1)  # all are tried again, and throttled again
        world.functions.held = asyncio.Event()
        before = len(world.functions.runs)
        await world.pass_time(2)
        assert len(world.functions.runs) - before == 16
        world.functions.answers = lambda attempt: FINE
        world.functions.held.set()
        await world.settle()

    play(scenario)


def test_what_was_leased_ahead_and_removed_is_not_run(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.held = asyncio.Event()
        for number in range(100):
            await world.accept(str(number))
        await world.settle()
        assert len(world.functions.runs) == 32
        world.worker.forget("1/r/f")
        assert await world.queue.purge("1/r/f") == 100
        world.functions.held.set()
        await world.settle()
        assert len(world.functions.runs) == 32 and await world.queue.depths() == {}
        await world.accept("another")
        await world.settle()
        assert world.functions.runs[-1][1] == "another" and await world.queue.depths() == {}

    play(scenario)


# -- who is told --------------------------------------------------------------------------------


def test_destinations_are_told_of_success_and_of_failure(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(
            0.0, maximum_retry_attempts=1, on_success="arn:good", on_failure="arn:bad"
        )
        await world.accept("fine")
        await world.settle()
        world.functions.answers = lambda attempt: FAILED
        await world.accept("broken")
        await world.settle()
        await world.pass_time(60)
        assert world.listeners.told == [
            ("arn:good", "fine", "Success", 0),
            ("arn:bad", "broken", "RetriesExhausted", 2),
        ]
        assert await world.queue.depths() == {}

    play(scenario)


def test_a_dead_letter_queue_is_told_beside_a_destination(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(0.0, on_failure="arn:bad")
        world.functions.dead_letters = "arn:dlq"
        world.functions.reserved = 0
        await world.accept()
        await world.settle()
        assert world.listeners.told == [
            ("arn:dlq", "one", "dead", 0),
            ("arn:bad", "one", "ZeroReservedConcurrency", 0),
        ]

    play(scenario)


def test_who_does_not_listen_is_told_again_and_the_others_are_not(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(0.0, 0, on_failure="arn:bad")
        world.functions.dead_letters = "arn:dlq"
        world.functions.answers = lambda attempt: FAILED
        world.listeners.deaf = {"arn:bad"}
        await world.accept()
        await world.settle()
        assert world.listeners.told == [("arn:dlq", "one", "dead", 1)]
        await world.pass_time(1)
        await world.pass_time(2)
        assert world.counts["DestinationDeliveryFailures"] == 3
        world.listeners.deaf = set()
        await world.pass_time(4)
        assert world.listeners.told[1:] == [("arn:bad", "one", "RetriesExhausted", 1)]
        assert len(world.functions.runs) == 1 and await world.queue.depths() == {}

    play(scenario)


def test_an_event_whose_listener_never_listens_is_laid_aside(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.dead_letters = "arn:dlq"
        world.functions.config = EventInvokeConfig(0.0, maximum_retry_attempts=0)
        world.functions.answers = lambda attempt: FAILED
        world.listeners.deaf = {"arn:dlq"}
        await world.accept()
        await world.settle()
        for _ in range(80):
            await world.pass_time(60)
        assert world.listeners.told == [] and len(world.functions.runs) == 1
        assert world.counts["DeadLetterErrors"] > 10
        assert await world.laid_aside() == [("one", 1)]

    play(scenario)


def test_how_an_event_ended_is_known_also_when_the_server_dies_before_it_could_tell(
    tmp_path: Path,
) -> None:
    async def first() -> None:
        world = World(tmp_path)
        await world.queue.open()
        await world.worker.open()
        world.functions.config = EventInvokeConfig(0.0, 0, on_failure="arn:bad")
        world.functions.answers = lambda attempt: FAILED
        world.listeners.deaf = {"arn:bad"}
        await world.accept()
        await world.settle()
        await world.worker.close(0.0)
        await world.queue.close()

    async def second() -> None:
        world = World(tmp_path)
        await world.queue.open()
        await world.worker.open()
        await world.settle()
        await world.pass_time(1)
        assert world.functions.runs == []
        assert world.listeners.told == [("arn:bad", "one", "RetriesExhausted", 1)]
        await world.worker.close(0.0)
        await world.queue.close()

    asyncio.run(first())
    asyncio.run(second())


def test_a_success_that_nobody_can_be_told_of_any_more_is_no_failure(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.config = EventInvokeConfig(0.0, on_success="arn:good")
        world.listeners.deaf = {"arn:good"}
        await world.accept()
        await world.settle()
        world.functions.gone = True
        await world.pass_time(1)
        assert await world.queue.depths() == {} and world.counts["AsyncEventsDropped"] == 0

    play(scenario)


def test_an_event_whose_end_cannot_be_written_begins_again_later(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(world: World) -> None:
        other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        await world.queue._do(lambda connection: connection.execute("PRAGMA busy_timeout = 0"))
        world.functions.held = asyncio.Event()
        await world.accept()
        await world.settle()
        other.execute("BEGIN IMMEDIATE")  # nothing can be written now
        world.functions.held.set()
        async with asyncio.timeout(30):
            while (await world.queue.peek("1/r/f", 1))[0].state == "running":
                await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
        other.close()
        await world.pass_time(59)
        assert len(world.functions.runs) == 1
        await world.pass_time(1)
        assert len(world.functions.runs) == 2 and await world.queue.depths() == {}

    play(scenario)
