"""Staying awake for an answer that is about to come.

A processor that has gone to sleep takes longer to wake (tens of microseconds, more in a virtual
machine) than a small function takes to run.  So while a function that answered at once the last
time runs, the event loop looks for its answer again and again instead of sleeping; functions that
take longer cost nothing.  Kernels do the same for guests and call it halt polling.
"""

from __future__ import annotations

import asyncio
import os

from lambent.clock import Clock


class Polling:
    """Keeps the event loop awake, for a bounded time and only where a processor is to spare."""

    def __init__(self, clock: Clock, seconds: float, processors: int | None = None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._spare = (processors or len(os.sched_getaffinity(0))) - 1
        self._running = 0
        self._until = 0.0
        self._awake = False
        self._loop = asyncio.get_running_loop()

    @property
    def awake(self) -> bool:
        """Whether the loop is being kept awake."""
        return self._awake

    def begun(self, last: float) -> None:
        """A function runs that took so many seconds the last time."""
        self._running += 1
        if last < self._seconds and self._running <= self._spare:
            self._until = self._clock.monotonic() + self._seconds
            if not self._awake:
                self._awake = True
                self._loop.call_soon(self._look)

    def ended(self) -> None:
        """It has answered, or never will."""
        self._running -= 1

    def _look(self) -> None:
        """One turn of the event loop: it has looked at its sockets since the last."""
        if 0 < self._running <= self._spare and self._clock.monotonic() < self._until:
            self._loop.call_soon(self._look)
        else:
            self._awake = False
