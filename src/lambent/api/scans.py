"""Text is searched with a caller's pattern in a few threads, in short slices, within a budget.

The event loop shares the interpreter with these threads, so each gives it up after SLICE_SECONDS
for as long again: what needs the loop waits for a slice at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Scans at a time: of all accounts together, each in a thread of its own, and of one account.
AT_ONCE = 2
SLICE_SECONDS = 0.001
# Work that one scan may do, in characters of text; what is left over is for the next request.
MOST_WORK = 4 * 1024 * 1024

_T = TypeVar("_T")


class ScanEnded(Exception):
    """The result of a scan is no longer needed."""


class Effort:
    """The work of one scan, done in a thread: paused, counted, and ended from outside."""

    def __init__(self, most: int = MOST_WORK, gone: Callable[[], bool] = bool) -> None:
        """gone: whether nothing needs the result any longer; asked after each slice."""
        self._most = most
        self._gone = gone
        self.renew()

    def renew(self) -> None:
        """Begin again with nothing done."""
        self._done = 0
        self._ended = False
        self._since = time.monotonic()

    def spend(self, work: int) -> None:
        """Take note of work done since the last call; raises ScanEnded."""
        self._done += work
        if self._ended:
            raise ScanEnded
        if time.monotonic() - self._since >= SLICE_SECONDS:
            self._ended = self._ended or self._gone()
            time.sleep(SLICE_SECONDS)
            self._since = time.monotonic()

    @property
    def exhausted(self) -> bool:
        """Whether the budget is used up."""
        return self._done >= self._most

    def end(self) -> None:
        """Have the scan raise ScanEnded at its next step."""
        self._ended = True


class Scans:
    """Runs scans: one of an account at a time, AT_ONCE of all; others wait in order."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scan")
        self._places = asyncio.Semaphore(AT_ONCE)
        # The lock of each account with scans, and how many use it.
        self._accounts: dict[str, tuple[asyncio.Lock, int]] = {}

    async def run(self, account: str, effort: Effort, scan: Callable[[], _T]) -> _T:
        """What scan returns; it must report its work to effort.  Ended where this is cancelled."""
        lock, users = self._accounts.get(account, (asyncio.Lock(), 0))
        self._accounts[account] = (lock, users + 1)
        try:
            async with lock, self._places:
                effort.renew()
                running = asyncio.get_running_loop().run_in_executor(self._threads, scan)
                try:
                    return await asyncio.shield(running)
                except asyncio.CancelledError:
                    effort.end()
                    # Its place is free once its thread is.
                    await asyncio.gather(running, return_exceptions=True)
                    raise
        finally:
            lock, users = self._accounts.pop(account)
            if users > 1:
                self._accounts[account] = (lock, users - 1)
