"""Metrics of functions by the minute, as CloudWatch keeps them.

A minute's values of a series are one row: count, sum, least, most, and how many fell into each
bucket of a logarithmic scale, from which percentiles are told.  Rows go to a file a day (lines of
JSON) when their minute is over, written by a thread; files older than RETENTION_DAYS are removed.
``kill -9`` can cost the minute at hand.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lambent.clock import Clock, utc

_log = logging.getLogger(__name__)

RETENTION_DAYS = 15
MINUTE = 60
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl")
_DAY_SECONDS = 86_400
# Buckets a tenth wide: a percentile is told within 5 %.
_BASE = math.log(1.1)
_ZERO = -1000

Series = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""Account, region, metric, dimensions sorted by name."""


@dataclass(slots=True)
class Statistics:
    """What is known of some values."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        bucket = math.floor(math.log(value) / _BASE) if value > 0 else _ZERO
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def join(self, other: Statistics) -> None:
        """All of another's."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def percentile(self, percent: float) -> float:
        """The value that so many percent are not above."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                middle = 0.0 if bucket == _ZERO else math.exp((bucket + 0.5) * _BASE)
                return min(max(middle, self.least), self.most)
        return self.most


def _ones(count: int, of: int) -> Statistics:
    """So many ones among zeros."""
    statistics = Statistics(of, float(count), float(count == of), float(count > 0))
    for bucket, times in ((0, count), (_ZERO, of - count)):
        if times:
            statistics.buckets[bucket] = times
    return statistics


class _Calls:
    """Invocations of a minute."""

    __slots__ = ("durations", "errors")

    def __init__(self) -> None:
        self.durations = Statistics()
        self.errors = 0

    def series(self) -> Iterator[tuple[str, Statistics]]:
        """The metrics they make."""
        count = self.durations.count
        yield "Duration", self.durations
        yield "Invocations", _ones(count, count)
        yield "Errors", _ones(self.errors, count)
        yield "Throttles", _ones(0, count)


class Metrics:
    """All series."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._minute = 0
        self._current: dict[Series, Statistics] = {}
        # Invocations by account, region, function and resource: told apart when they are read.
        self._calls: dict[tuple[str, str, str, str], _Calls] = {}
        # Rows of minutes that are over, until a thread has written them.
        self._over: list[tuple[int, Series, Statistics]] = []
        self._names: set[Series] = set()
        self._read_names = False
        self._flushing = asyncio.Lock()

    def invocation(
        self, account: str, region: str, name: str, resource: str, milliseconds: float, failed: bool
    ) -> None:
        """An invocation is over; resource: the function with the qualifier it was invoked by."""
        minute = int(self._clock.time()) // MINUTE
        if minute != self._minute:
            self._turn(minute)
        key = (account, region, name, resource)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Calls()
        call.durations.add(milliseconds)
        call.errors += failed

    def add(self, series: Series, value: float) -> None:
        """A value now."""
        minute = int(self._clock.time()) // MINUTE
        if minute != self._minute:
            self._turn(minute)
        statistics = self._current.get(series)
        if statistics is None:
            statistics = self._current[series] = Statistics()
        statistics.add(value)

    def _turn(self, minute: int) -> None:
        current = self._now()
        self._over += [(self._minute, series, each) for series, each in current.items()]
        self._names |= current.keys()
        self._current, self._calls = {}, {}
        self._minute = minute

    def _now(self) -> dict[Series, Statistics]:
        """The series of the minute at hand."""
        found = {series: copy.deepcopy(each) for series, each in self._current.items()}
        for (account, region, name, resource), calls in self._calls.items():
            function = ("FunctionName", name)
            for dimensions in ((), (function,), (function, ("Resource", resource))):
                for metric, each in calls.series():
                    series = (account, region, metric, dimensions)
                    found.setdefault(series, Statistics()).join(each)
        return found

    async def flush(self, everything: bool = False) -> None:
        """Write minutes that are over; the one at hand too if everything is."""
        async with self._flushing:
            if everything or int(self._clock.time()) // MINUTE != self._minute:
                self._turn(int(self._clock.time()) // MINUTE)
            rows, self._over = self._over, []
            try:
                await asyncio.to_thread(self._write, rows)
            except OSError as error:
                _log.error("metrics cannot be written: %s", error)

    def _write(self, rows: list[tuple[int, Series, Statistics]]) -> None:
        by_day: dict[str, list[str]] = {}
        for minute, series, each in rows:
            day = utc(minute * MINUTE).strftime("%Y-%m-%d")
            values = [each.count, each.total, each.least, each.most, each.buckets]
            by_day.setdefault(day, []).append(json.dumps([minute, *series, *values]) + "\n")
        if by_day:
            self._folder.mkdir(parents=True, exist_ok=True)
        for day, lines in by_day.items():
            with (self._folder / f"{day}.jsonl").open("a") as file:
                file.writelines(lines)
        oldest = utc(self._clock.time() - RETENTION_DAYS * _DAY_SECONDS).strftime("%Y-%m-%d")
        for path in self._folder.glob("*.jsonl"):
            if path.stem < oldest:
                path.unlink()

    def _rows(self, days: Iterable[str]) -> Iterator[tuple[int, Series, Statistics]]:
        for day in days:
            try:
                lines = (self._folder / f"{day}.jsonl").read_text().splitlines()
            except FileNotFoundError:
                continue
            for line in lines:
                try:
                    minute, account, region, name, dimensions, *values = json.loads(line)
                    count, total, least, most, told = values
                    pairs = tuple((key, value) for key, value in dimensions)
                    buckets = {int(key): many for key, many in told.items()}
                    statistics = Statistics(count, total, least, most, buckets)
                    yield minute, (account, region, name, pairs), statistics
                except (ValueError, TypeError):
                    continue  # half a line of a crash

    async def read(
        self, wanted: Series, start: float, end: float, period: int
    ) -> dict[int, Statistics]:
        """A series' values from start to before end, by the beginning of each period (seconds)."""
        now = self._clock.time()
        # Whatever is asked for, there is nothing before and nothing behind.
        start = max(start, now - (RETENTION_DAYS + 1) * _DAY_SECONDS)
        end = min(end, now + _DAY_SECONDS)
        days = range(int(start) // _DAY_SECONDS, int(end) // _DAY_SECONDS + 1)
        names = [utc(day * _DAY_SECONDS).strftime("%Y-%m-%d") for day in days]
        stored = await asyncio.to_thread(
            lambda: [row for row in self._rows(names) if row[1] == wanted]
        )
        fresh = [row for row in self._over if row[1] == wanted]
        current = self._now().get(wanted)
        if current is not None:
            fresh.append((self._minute, wanted, current))
        found: dict[int, Statistics] = {}
        for minute, _, each in [*stored, *fresh]:
            at = minute * MINUTE
            if start <= at < end:
                found.setdefault(at // period * period, Statistics()).join(each)
        return found

    async def series(self, account: str, region: str) -> list[Series]:
        """An account's series of the last days."""
        if not self._read_names:
            self._read_names = True
            days = [path.stem for path in self._folder.glob("*.jsonl")]
            self._names |= await asyncio.to_thread(lambda: {row[1] for row in self._rows(days)})
        known = self._names | self._now().keys()
        return sorted(each for each in known if each[:2] == (account, region))
