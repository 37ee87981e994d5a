"""How many batches of a queue are with a function at once.

It begins with five, and five more every second in which all were taken (300 a minute), up to 1,250
or what the mapping allows; where the function is throttled it is half as many, and where the queue
has nothing left it begins anew.
Source: AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings".
"""

from __future__ import annotations

import asyncio

from lambent.clock import Clock

FIRST, STEP, MOST = 5, 5, 1_250
_SECONDS = 1.0


class Places:
    """Counts batches; most: how many there may ever be at once."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        # On the monotonic clock: since when there have been too few, and the last throttle.
        self._full: float | None = None
        self._halved = clock.monotonic()
        self._wake = asyncio.Event()
        self.limit = min(FIRST, most)
        self.taken = 0

    async def free(self) -> None:
        """Wait until there is a place."""
        while self.taken >= self.limit:
            now = self._clock.monotonic()
            if self._full is None:
                self._full = now
            wait = self._full + _SECONDS - now
            if wait <= 0 and self.limit < self._most:
                self.limit = min(self.limit + STEP, self._most)
                self._full = now
                continue
            # Where there can be no more, only one that is given back helps.
            timer = self._clock.call_later(wait if wait > 0 else _SECONDS, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
                self._wake.clear()

    def take(self) -> None:
        """A batch begins."""
        self.taken += 1

    def give_back(self) -> None:
        """A batch is over."""
        self.taken -= 1
        self._wake.set()

    def throttled(self) -> None:
        """A batch was refused because too much runs: have fewer for a while."""
        now = self._clock.monotonic()
        if now - self._halved >= _SECONDS:
            self.limit, self._halved, self._full = max(1, self.limit // 2), now, now

    def quiet(self) -> None:
        """The queue has nothing left."""
        self.limit, self._full = min(FIRST, self._most), None
