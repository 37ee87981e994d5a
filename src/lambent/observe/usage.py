"""What functions have used: counters since the start, and for each day what it would cost.

A day is a file of JSON, replaced whole every FLUSH_SECONDS by a worker thread while there is news;
that is all that ``kill -9`` can cost.  Prices are settings; AWS's published ones are the defaults.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from lambent.clock import Clock, utc

_log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
_DAY_SECONDS = 86_400
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.json")
# Upper bounds of the histogram of durations, in seconds.
BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 900.0)

Name = tuple[str, str, str]
"""Account, region, function."""


@dataclass(slots=True)
class Day:
    """One function's use of one day: GB-seconds as billed, seconds as run."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    gb_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Prices:
    """In US dollars."""

    request: float
    gb_second: float

    def of(self, day: Day) -> float:
        """What a day's use costs, free tier and volume discounts aside."""
        return day.invocations * self.request + day.gb_seconds * self.gb_second


class Counters:
    """One version's counters since the start."""

    __slots__ = ("buckets", "errors", "inits", "invocations", "seconds", "throttles")

    def __init__(self) -> None:
        self.invocations = self.errors = self.throttles = self.inits = 0
        self.seconds = 0.0
        # How many were as long as each bound, and longer than the one before it.
        self.buckets = [0] * (len(BUCKETS) + 1)


class Usage:
    """Counts."""

    def __init__(self, folder: Path, clock: Clock, prices: Prices) -> None:
        self._folder = folder
        self._clock = clock
        self._prices = prices
        self._counters: dict[tuple[str, str, str, str], Counters] = {}
        self._day = ""
        self._midnight = 0.0
        self._today: dict[Name, Day] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def count(
        self,
        name: Name,
        version: str,
        failed: bool,
        duration: float,
        init: float | None,
        billed_seconds: float,
        memory_mb: int,
    ) -> None:
        """An invocation is over."""
        counters = self._counters_of(name, version)
        counters.invocations += 1
        counters.errors += failed
        counters.inits += init is not None
        counters.seconds += duration
        counters.buckets[bisect_left(BUCKETS, duration)] += 1
        day = self._day_of(name)
        day.invocations += 1
        day.errors += failed
        day.seconds += duration
        day.gb_seconds += billed_seconds * memory_mb / 1024
        self._flush_soon()

    def throttled(self, name: Name, version: str) -> None:
        """An invocation was refused for concurrency."""
        self._counters_of(name, version).throttles += 1
        self._day_of(name).throttles += 1
        self._flush_soon()

    def _counters_of(self, name: Name, version: str) -> Counters:
        key = (*name, version)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = Counters()
        return found

    def _day_of(self, name: Name) -> Day:
        now = self._clock.time()
        if now >= self._midnight:
            if self._day:
                self._write(self._day, list(self._today.items()))
            self._day = utc(now).strftime("%Y-%m-%d")
            self._midnight = (now // _DAY_SECONDS + 1) * _DAY_SECONDS
            self._today = self._read(self._day)
        found = self._today.get(name)
        if found is None:
            found = self._today[name] = Day()
        return found

    # -- files ----------------------------------------------------------------------------

    def _read(self, day: str) -> dict[Name, Day]:
        try:
            rows = json.loads((self._folder / f"{day}.json").read_text())
            return {(row[0], row[1], row[2]): Day(**row[3]) for row in rows}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, IndexError) as error:
            _log.error("the usage of %s cannot be read: %s", day, error)
            return {}

    def _write(self, day: str, used: list[tuple[Name, Day]]) -> None:
        document = json.dumps([[*name, asdict(each)] for name, each in used])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f"{day}.new"
            temporary.write_text(document)
            os.replace(temporary, self._folder / f"{day}.json")
        except OSError as error:
            _log.error("usage cannot be written: %s", error)

    def _flush_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FLUSH_SECONDS, self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        self._writing = asyncio.ensure_future(self.flush())

    async def flush(self) -> None:
        """Put what was counted on disk."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._day:
            # Written out by the thread, too: it takes a while where there are many functions.
            await asyncio.to_thread(self._write, self._day, list(self._today.items()))

    # -- reports --------------------------------------------------------------------------

    def days(self, account: str, last: int) -> list[dict[str, Any]]:
        """An account's use and its price by day and function, the newest day first."""
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        days = {found[1] for each in names if (found := _DAY.fullmatch(each))}
        if self._day:
            days.add(self._day)
        rows = []
        for day in sorted(days, reverse=True)[:last]:
            used = self._today if day == self._day else self._read(day)
            for (owner, region, function), each in sorted(used.items()):
                if owner == account:
                    row = {"day": day, "region": region, "function": function, **asdict(each)}
                    row["price"] = self._prices.of(each)
                    rows.append(row)
        return rows

    def prometheus(self, running: Callable[[], Iterable[tuple[str, str, str, int]]]) -> str:
        """All counters in Prometheus's text format.

        running: (account, region, function or "" for those without a reservation, how many).
        """
        kinds: tuple[tuple[str, str, Callable[[Counters], int]], ...] = (
            ("invocations", "Invocations that ran.", lambda c: c.invocations),
            ("errors", "Invocations that failed.", lambda c: c.errors),
            ("throttles", "Invocations refused for concurrency.", lambda c: c.throttles),
            ("cold_starts", "Invocations that waited for an initialisation.", lambda c: c.inits),
        )
        lines = []
        for name, text, value in kinds:
            lines += [f"# HELP lambent_{name}_total {text}", f"# TYPE lambent_{name}_total counter"]
            for key, counters in self._counters.items():
                lines.append(f"lambent_{name}_total{_labels(key)} {value(counters)}")
        lines += [
            "# HELP lambent_duration_seconds How long invocations took.",
            "# TYPE lambent_duration_seconds histogram",
        ]
        for key, counters in self._counters.items():
            for bound, count in zip(BUCKETS, accumulate(counters.buckets), strict=False):
                lines.append(f"lambent_duration_seconds_bucket{_labels(key, f'{bound:g}')} {count}")
            lines.append(
                f"lambent_duration_seconds_bucket{_labels(key, '+Inf')} {counters.invocations}"
            )
            lines.append(f"lambent_duration_seconds_sum{_labels(key)} {counters.seconds:.6f}")
            lines.append(f"lambent_duration_seconds_count{_labels(key)} {counters.invocations}")
        lines += [
            "# HELP lambent_concurrent_executions Invocations running now.",
            "# TYPE lambent_concurrent_executions gauge",
        ]
        for account, region, function, count in running():
            who = labels(account=account, region=region, function=function)
            lines.append(f"lambent_concurrent_executions{who} {count}")
        return "\n".join(lines) + "\n"


def _labels(key: tuple[str, str, str, str], bound: str = "") -> str:
    account, region, function, version = key
    more = {"le": bound} if bound else {}
    return labels(account=account, region=region, function=function, version=version, **more)


def labels(**pairs: str) -> str:
    """Labels in Prometheus's text format, in which no value can end its quotes or its line.

    Source: Prometheus, "Exposition formats": a backslash, a quote and a line feed are escaped.
    """
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in pairs.items()) + "}"


def _quoted(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    # Some readers take others for the end of a line as well.
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
