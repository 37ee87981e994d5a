"""What a function prints: from its pipe to its log, line by line, at a bounded rate.

A function that prints faster than the rate waits, as one whose terminal is slow; nobody else does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_READ = 64 * 1024
LINE_BYTES = 256 * 1024
_WINDOW = 0.1


class Output:
    """The reading end of one environment's stdout and stderr."""

    def __init__(self, descriptor: int, sink: Callable[[list[str]], None], rate: int) -> None:
        self._descriptor = descriptor
        self._sink = sink
        self._allowance = max(_READ, int(rate * _WINDOW))
        self._used = 0
        self._partial = b""
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None
        self._open = True
        self._loop.add_reader(descriptor, self._readable)

    def drain(self) -> None:
        """Take what the pipe holds now, within the rate."""
        while self._open and self._used < self._allowance and self._read() == _READ:
            pass

    def finish(self, polled: bool = False) -> None:
        """Take what the pipe holds and the unfinished line: the turn has ended.

        polled: the event loop has looked at all descriptors since, so a pipe that has shown
        nothing is empty and need not be read to know.
        """
        if self._used or not polled:
            self.drain()
        if self._partial:
            partial, self._partial = self._partial, b""
            self._sink([_text(partial)])

    def close(self) -> None:
        """Stop reading; the descriptor stays its owner's."""
        if self._open:
            self.finish()
            self._open = False
            if self._waiting is not None:
                self._waiting.cancel()
            self._loop.remove_reader(self._descriptor)

    def _readable(self) -> None:
        if self._used >= self._allowance:
            self._hold()
        else:
            self._read()

    def _hold(self) -> None:
        """Over the rate: let the pipe fill until the window has passed."""
        if self._waiting is None:
            self._loop.remove_reader(self._descriptor)
            self._waiting = self._loop.call_later(_WINDOW, self._go_on)

    def _go_on(self) -> None:
        self._waiting = None
        self._used = 0
        if self._open:
            self._loop.add_reader(self._descriptor, self._readable)

    def _read(self) -> int:
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            # Idle: a new window starts with the next byte.
            if self._waiting is None:
                self._used = 0
            return 0
        except OSError:
            data = b""
        if not data:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            return 0
        self._used += len(data)
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        while len(self._partial) > LINE_BYTES:
            lines.append(self._partial[:LINE_BYTES])
            self._partial = self._partial[LINE_BYTES:]
        if lines:
            self._sink([_text(line) for line in lines])
        return len(data)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
