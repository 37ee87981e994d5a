"""Metrics by the minute, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from lambent.clock import ManualClock
from lambent.observe.metrics import Metrics, Series, Statistics

FUNCTION = (("FunctionName", "f"),)


def series(metric: str, dimensions: tuple[tuple[str, str], ...] = FUNCTION) -> Series:
    return ("0", "r", metric, dimensions)


def test_invocations_make_the_metrics_of_their_function_and_of_what_they_were_called_by(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = ManualClock(1_800_000_000.0)
        metrics = Metrics(tmp_path / "metrics", clock)
        metrics.invocation("0", "r", "f", "f:live", 10.0, False)
        metrics.invocation("0", "r", "f", "f", 30.0, True)
        clock.advance(60)
        metrics.invocation("0", "r", "f", "f", 20.0, False)
        await metrics.flush()
        for _ in range(2):
            start, end = clock.time() - 120, clock.time() + 60
            durations = await metrics.read(series("Duration"), start, end, 60)
            assert [each.total for _, each in sorted(durations.items())] == [40.0, 20.0]
            whole = await metrics.read(series("Duration"), start, end, 3600)
            (joined,) = whole.values()
            assert (joined.count, joined.least, joined.most) == (3, 10.0, 30.0)
            errors = await metrics.read(series("Errors", ()), start, end, 3600)
            assert [(each.count, each.total) for each in errors.values()] == [(3, 1.0)]
            live = (*FUNCTION, ("Resource", "f:live"))
            invoked = await metrics.read(series("Invocations", live), start, end, 60)
            assert [each.total for each in invoked.values()] == [1.0]
            assert await metrics.read(series("Duration"), end, end + 60, 60) == {}
            assert ("0", "r", "Throttles", FUNCTION) in await metrics.series("0", "r")
            assert await metrics.series("1", "r") == []
            # What was flushed is there after a restart.
            await metrics.flush(everything=True)
            metrics = Metrics(tmp_path / "metrics", clock)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("start", "end"),
    [(-math.inf, math.inf), (0.0, 1e300), (-1e18, 1e18), (1e18, 1e19), (-2.0, -1.0)],
)
def test_any_span_of_time_can_be_asked_for(tmp_path: Path, start: float, end: float) -> None:
    async def scenario() -> None:
        clock = ManualClock(1_800_000_000.0)
        metrics = Metrics(tmp_path, clock)
        metrics.add(series("ConcurrentExecutions", ()), 3.0)
        await metrics.flush(everything=True)
        found = await metrics.read(series("ConcurrentExecutions", ()), start, end, 60)
        there = start < clock.time() < end
        assert [each.most for each in found.values()] == ([3.0] if there else [])

    asyncio.run(scenario())


def test_percentiles_are_told_within_a_twentieth() -> None:
    statistics = Statistics()
    for value in range(1, 1001):
        statistics.add(float(value))
    assert statistics.percentile(50) == pytest.approx(500, rel=0.05)
    assert statistics.percentile(99) == pytest.approx(990, rel=0.05)
    assert statistics.percentile(100) == pytest.approx(1000, rel=0.05)


def test_days_that_are_over_go_and_half_a_line_is_passed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock(1_800_000_000.0)
        metrics = Metrics(tmp_path, clock)
        metrics.add(series("ConcurrentExecutions", ()), 3.0)
        await metrics.flush(everything=True)
        (path,) = tmp_path.glob("*.jsonl")
        with path.open("a") as file:
            file.write('[1, "half')
        now = clock.time()
        found = await metrics.read(series("ConcurrentExecutions", ()), now - 60, now + 60, 60)
        assert [each.most for each in found.values()] == [3.0]
        clock.advance(17 * 86_400)
        metrics.add(series("ConcurrentExecutions", ()), 1.0)
        await metrics.flush(everything=True)
        assert path not in list(tmp_path.glob("*.jsonl"))

    asyncio.run(scenario())
