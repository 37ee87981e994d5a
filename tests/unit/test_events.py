"""Asynchronous events: tried again as AWS does it, hours of it in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.errors import ResourceNotFound, TooManyRequests
from lambent.events.worker import EventWorker
from lambent.functions.types import EventInvokeConfig, Outcome
from lambent.queue.base import Event
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
        self.gone = False
        self.answers: Callable[[int], Any] = lambda attempt: FINE
        # What was run: when, which request.
        self.runs: list[tuple[float, str]] = []
        self.held: asyncio.Event | None = None

    async def get(self, account: str, region: str, name: str) -> Any:
        if self.gone:
            raise ResourceNotFound

        return SimpleNamespace(
            event_invoke={"$LATEST": self.config}, reserved_concurrency=self.reserved
        )

    async def invoke(self, *args: Any, request_id: str, **more: Any) -> tuple[str, Outcome]:
        self.runs.append((self.clock.time() - START, request_id))
        if self.held is not None:
            await self.held.wait()
        answer = self.answers(len(self.runs))
        if isinstance(answer, Exception):
            raise answer
        return request_id, answer


class World:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.functions = Functions(self.clock)
        self.queue = SqliteQueue(path / "queue.db")
        self.ends: list[tuple[str, str, int]] = []
        self.worker = EventWorker(
            self.queue,
            self.functions,  # type: ignore[arg-type]
            self.functions,  # type: ignore[arg-type]
            self.clock,
            60.0,
            lambda event, condition: self.ends.append((event.id, condition, event.failures)),
        )

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
        assert world.ends == [("one", "Success", 0)]
        assert await world.queue.depth("1/r/f") == 0

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
        assert world.ends == [("one", "RetriesExhausted", 3)]
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
        assert world.ends == [("one", "RetriesExhausted", retries + 1)]

    play(scenario)


def test_throttles_back_off_and_use_up_no_attempt(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.answers = lambda n: TooManyRequests() if n < 12 else FAILED
        await world.accept()
        await world.settle()
        for _ in range(600):
            await world.pass_time(1)
        assert world.times[:9] == [0, 1, 3, 7, 15, 31, 63, 127, 255]
        for _ in range(60):
            await world.pass_time(60)
        waits = [b - a for a, b in zip(world.times, world.times[1:], strict=False)]
        # Five minutes at most; then the function fails three times, a minute and two apart.
        assert max(waits) <= 360 and world.ends == [("one", "RetriesExhausted", 3)]
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
        assert world.ends == [("one", "EventAgeExceeded", 0)]
        assert max(world.times) < 60

    play(scenario)


def test_a_function_that_may_not_run_at_all_ends_it_at_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.reserved = 0
        await world.accept()
        await world.settle()
        assert world.ends == [("one", "ZeroReservedConcurrency", 0)]
        assert world.functions.runs == []

    play(scenario)


def test_an_event_of_a_deleted_function_ends(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.gone = True
        await world.accept()
        await world.settle()
        assert world.ends == [("one", "FunctionDeleted", 0)]

    play(scenario)


def test_many_events_of_one_function_do_not_keep_another_waiting(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.functions.held = asyncio.Event()
        for number in range(400):
            await world.accept(f"noisy-{number}", "noisy")
        await world.settle()
        assert len(world.functions.runs) == 256
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
        assert world.ends == []

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
