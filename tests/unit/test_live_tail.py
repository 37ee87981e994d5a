"""Live tails: how much, how long and how many at once, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lambent.api import live_tail
from lambent.api.context import Context
from lambent.api.live_tail import LiveTail
from lambent.api.scans import Scans
from lambent.clock import ManualClock
from lambent.errors import LimitExceeded
from lambent.iam.authenticate import Principal
from lambent.observe.logs import LogStore

ACCOUNT = "000000000000"
ARN = f"arn:aws:logs:r:{ACCOUNT}:log-group:/g"
Write = Callable[[int, list[str]], None]
Open = Callable[[], Awaitable[AsyncIterator[tuple[str, dict[str, Any]]]]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again without waiting."""
    monkeypatch.setattr(live_tail, "_LOOK_SECONDS", 0.0)


def play(tmp_path: Path, scenario: Callable[[Open, Write, ManualClock], Awaitable[None]]) -> None:
    async def whole() -> None:
        clock = ManualClock()
        store = LogStore(tmp_path / "logs", 1 << 20)
        write = store.writer(ACCOUNT, "r", "/g", "s")
        write(1, ["before"])
        await store.flush()
        tail = LiveTail(store, clock, Scans())
        context = Context(Principal(ACCOUNT, "key", "r", "logs"), "http://here", {})

        async def start() -> AsyncIterator[tuple[str, dict[str, Any]]]:
            answer = await tail.start_live_tail(context, {"logGroupIdentifiers": [ARN]})
            events: AsyncIterator[tuple[str, dict[str, Any]]] = answer["responseStream"]
            kind, _ = await anext(events)
            assert kind == "sessionStart"
            return events

        await scenario(start, write, clock)
        await store.flush()

    asyncio.run(whole())


def test_more_than_500_events_a_second_are_sampled(tmp_path: Path) -> None:
    async def scenario(start: Open, write: Write, clock: ManualClock) -> None:
        events = await start()
        write(2, [f"line {number}" for number in range(700)])
        _, update = await anext(events)
        assert update["sessionMetadata"] == {"sampled": True}
        assert [each["message"] for each in update["sessionResults"]] == [
            f"line {number}" for number in range(500)
        ]
        write(3, ["after"])
        _, update = await anext(events)
        assert update["sessionMetadata"] == {"sampled": False}
        assert [each["message"] for each in update["sessionResults"]] == ["after"]

    play(tmp_path, scenario)


def test_a_session_ends_after_three_hours(tmp_path: Path) -> None:
    async def scenario(start: Open, write: Write, clock: ManualClock) -> None:
        events = await start()
        await anext(events)
        clock.advance(3 * 3600)
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    play(tmp_path, scenario)


def test_a_hundred_may_look_at_once_and_one_that_ends_makes_room(tmp_path: Path) -> None:
    async def scenario(start: Open, write: Write, clock: ManualClock) -> None:
        sessions = [await start() for _ in range(100)]
        with pytest.raises(LimitExceeded):
            await start()
        await sessions[0].aclose()  # type: ignore[attr-defined]
        await start()

    play(tmp_path, scenario)
