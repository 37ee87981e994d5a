"""A response on its way from a function to whoever asked, piece by piece.

One writes (the Runtime API), one reads.  The writer is held back while the reader is slow, and by
the bandwidth AWS gives: a burst, then so many bytes a second.
Source: AWS Lambda Developer Guide, "Response streaming for Lambda functions".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from lambent.clock import Clock

# Bytes that wait for the reader before the writer does.
_HIGH_WATER = 64 * 1024


class ResponseStream:
    """limit: bytes in all; burst: bytes that go as fast as they can; rate: bytes a second of what
    follows, 0 for no bound."""

    def __init__(self, clock: Clock, limit: int, burst: int, rate: int) -> None:
        self.limit = limit
        self.content_type = ""
        self.executed_version = ""
        self._clock = clock
        self._burst = burst
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        # Resolves when the function begins to answer.
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._sent = 0
        # When the bandwidth is free again, on the monotonic clock.
        self._free_at = 0.0
        self._ended = self._abandoned = False
        self._reader: asyncio.Future[None] | None = None
        # What the writer waits for: a reader who keeps up, or the time for more.
        self._room: asyncio.Future[None] | None = None
        self._pace: asyncio.Future[None] | None = None

    # -- the writer's ---------------------------------------------------------------------

    def begin(self, content_type: str, executed_version: str) -> None:
        """The function begins to answer."""
        self.content_type = content_type
        self.executed_version = executed_version
        if not self.begun.done():
            self.begun.set_result(None)

    async def write(self, piece: bytes) -> None:
        """Hand a piece on; what nobody reads any more is thrown away."""
        if self._abandoned:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        _wake(self._reader)
        while self._size > _HIGH_WATER and not self._abandoned:
            self._room = self._loop.create_future()
            await self._room
        await self._keep_to_rate(len(piece))

    async def _keep_to_rate(self, size: int) -> None:
        self._sent += size
        over = min(size, self._sent - self._burst)
        if not self._rate or over <= 0 or self._abandoned:
            return
        now = self._clock.monotonic()
        self._free_at = max(now, self._free_at) + over / self._rate
        wait = self._free_at - now
        if wait > 0:
            pace = self._pace = self._loop.create_future()
            timer = self._clock.call_later(wait, lambda: _wake(pace))
            try:
                await pace
            finally:
                timer.cancel()

    def end(self) -> None:
        """Nothing follows; idempotent."""
        self._ended = True
        _wake(self._reader)

    # -- the reader's ---------------------------------------------------------------------

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the function answers, as it comes."""
        while True:
            if self._pieces:
                piece = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
                self._pieces.clear()
                self._size = 0
                _wake(self._room)
                yield piece
            elif self._ended:
                return
            else:
                self._reader = self._loop.create_future()
                await self._reader

    def abandon(self) -> None:
        """Nobody reads any more: the function goes on, unheard."""
        self._abandoned = True
        self._pieces.clear()
        self._size = 0
        _wake(self._room)
        _wake(self._pace)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
