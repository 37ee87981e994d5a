"""Back-pressure of one connection, in both directions."""

from __future__ import annotations

import asyncio


class FlowControl:
    """Remembers who waits for whom: the client for us (reading), we for the client (writing)."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reading = True
        self._writable: asyncio.Future[None] | None = None

    def pause_reading(self) -> None:
        """Stop the client from sending."""
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the client send again."""
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    lost = resume_writing

    async def drained(self) -> None:
        """Wait for room to write."""
        if self._writable is not None:
            await asyncio.shield(self._writable)
