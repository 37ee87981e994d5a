"""Time, owned in one place so that tests can own it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """Something that is going to happen."""

    def cancel(self) -> None:
        """It is not going to happen."""


class Clock(Protocol):
    """What the rest of Lambent asks about time."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, for measuring."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after that time, on the event loop."""


class SystemClock:
    """The host's clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


class ManualClock:
    """A clock that moves when told to."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._timers: dict[_ManualTimer, Callable[[], None]] = {}

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = _ManualTimer(self._timers, self._now + seconds)
        self._timers[timer] = callback
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen at its time, in order."""
        until = self._now + seconds
        while due := [timer for timer in self._timers if timer.when <= until]:
            first = min(due, key=lambda timer: timer.when)
            self._now = max(self._now, first.when)
            self._timers.pop(first)()
        self._now = until


class _ManualTimer:
    def __init__(self, timers: dict[_ManualTimer, Callable[[], None]], when: float) -> None:
        self.when = when
        self._timers = timers

    def cancel(self) -> None:
        self._timers.pop(self, None)


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def aws_timestamp(seconds: float) -> str:
    """As Lambda writes LastModified: 2026-01-31T12:34:56.789+0000."""
    moment = utc(seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"
