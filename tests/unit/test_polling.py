"""When the event loop stays awake for an answer, and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from lambent.clock import ManualClock
from lambent.pool.polling import Polling

QUICK, SLOW = 0.00005, 0.5


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_it_stays_awake_until_the_answer_comes() -> None:
    async def scenario() -> None:
        polling = Polling(ManualClock(), 0.0001, processors=2)
        polling.begun(QUICK)
        await turns(50)
        assert polling.awake
        polling.ended()
        await turns(2)
        assert not polling.awake

    run(scenario)


def test_it_gives_up_after_a_moment() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        polling = Polling(clock, 0.0001, processors=2)
        polling.begun(QUICK)
        await turns(2)
        clock.advance(0.0001)
        await turns(2)
        assert not polling.awake

    run(scenario)


def test_a_function_that_takes_its_time_is_not_waited_for() -> None:
    async def scenario() -> None:
        polling = Polling(ManualClock(), 0.0001, processors=2)
        polling.begun(SLOW)
        assert not polling.awake

    run(scenario)


def test_it_takes_no_processor_that_a_function_needs() -> None:
    async def scenario() -> None:
        alone = Polling(ManualClock(), 0.0001, processors=1)
        alone.begun(QUICK)
        assert not alone.awake
        polling = Polling(ManualClock(), 0.0001, processors=2)
        polling.begun(QUICK)
        polling.begun(QUICK)
        await turns(2)
        assert not polling.awake

    run(scenario)


def test_it_can_be_switched_off() -> None:
    async def scenario() -> None:
        polling = Polling(ManualClock(), 0.0, processors=8)
        polling.begun(0.0)
        assert not polling.awake

    run(scenario)
