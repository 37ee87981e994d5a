"""What functions have used, counted and priced, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from lambent.clock import ManualClock
from lambent.observe.usage import Prices, Usage

NAME = ("000000000000", "eu-west-1", "f")
DAY = 86_400


def count(usage: Usage, billed: float = 1.0, failed: bool = False) -> None:
    usage.count(NAME, "$LATEST", failed, billed, None, billed, 512)


def test_use_is_kept_by_day_and_priced(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        usage = Usage(tmp_path / "usage", clock, Prices(0.5, 2.0))
        count(usage, 2.0)
        count(usage, 1.0, failed=True)
        clock.advance(DAY)
        usage.throttled(NAME, "$LATEST")
        rows = usage.days("000000000000", 31)
        assert [row["invocations"] for row in rows] == [0, 2]
        assert rows[0]["throttles"] == 1 and rows[0]["price"] == 0
        assert rows[1]["errors"] == 1 and rows[1]["gb_seconds"] == 1.5
        assert rows[1]["price"] == pytest.approx(2 * 0.5 + 1.5 * 2.0)
        assert usage.days("111111111111", 31) == [] and len(usage.days("000000000000", 1)) == 1
        await usage.flush()
        again = Usage(tmp_path / "usage", clock, Prices(0.5, 2.0))
        assert again.days("000000000000", 31) == rows
        again.throttled(NAME, "$LATEST")
        assert again.days("000000000000", 1)[0]["throttles"] == 2

    asyncio.run(scenario())


def test_a_broken_file_costs_that_day_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "usage"
        folder.mkdir()
        clock = ManualClock()
        usage = Usage(folder, clock, Prices(1, 1))
        count(usage)
        await usage.flush()
        (folder / "2020-01-01.json").write_text("{")
        assert len(usage.days("000000000000", 31)) == 1

    asyncio.run(scenario())


def test_counters_are_told_to_prometheus(tmp_path: Path) -> None:
    async def scenario() -> None:
        usage = Usage(tmp_path, ManualClock(), Prices(1, 1))
        count(usage, 0.02)
        count(usage, 2.0, failed=True)
        text = usage.prometheus(lambda: [("0", "r", 'a"b', 3)])
        labels = 'account="000000000000",region="eu-west-1",function="f",version="$LATEST"'
        assert f"lambent_invocations_total{{{labels}}} 2\n" in text
        assert f"lambent_errors_total{{{labels}}} 1\n" in text
        assert f'lambent_duration_seconds_bucket{{{labels},le="0.025"}} 1\n' in text
        assert f'lambent_duration_seconds_bucket{{{labels},le="+Inf"}} 2\n' in text
        assert 'function="a\\"b"} 3' in text
        await usage.flush()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "region", ['"', "\\", 'a"} 1\nevil{b="', "\n", "\r", "\u2028", "\ud800", "\x85"]
)
def test_no_region_ends_a_label_or_a_line(tmp_path: Path, region: str) -> None:
    async def scenario() -> None:
        usage = Usage(tmp_path / "usage", ManualClock(), Prices(0.5, 2.0))
        usage.count(("000000000000", region, "f"), "$LATEST", False, 1.0, None, 1.0, 512)
        running = ("000000000000", region, region, 1)
        lines = usage.prometheus(lambda: [running]).encode().decode().splitlines()
        sample = re.compile(r'lambent_\w+\{(\w+="([^"\\]|\\[\\"n])*",?)+\} [\d.]+')
        assert all(each.startswith("# ") or sample.fullmatch(each) for each in lines)

    asyncio.run(scenario())
