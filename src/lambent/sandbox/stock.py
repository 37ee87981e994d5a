"""How many sandboxes of a kind are kept ready ahead: as recent demand has it, within memory.

A stock never holds fewer than the base while there is memory for it; starts of the last WINDOW
seconds raise it.  When all stocks together would take more memory than they may, those that have
not been asked longest give up what they hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from lambent.clock import Clock
from lambent.sandbox.base import SandboxError
from lambent.sandbox.namespace_sandbox import NamespaceSandbox

WINDOW = 10.0
MOST = 16
# A runtime booted ahead, and a mere set of namespaces: resident, roughly.
BOOTED_BYTES = 48 * 1024 * 1024
BARE_BYTES = 2 * 1024 * 1024

Make = Callable[[], Awaitable[NamespaceSandbox]]


class Stock:
    """Sandboxes of one kind, ready or on the way."""

    def __init__(self, stocks: Stocks, make: Make, cost: int) -> None:
        self.cost = cost
        self._stocks = stocks
        self._make = make
        self._ready: deque[asyncio.Task[NamespaceSandbox]] = deque()
        self._taken: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def wanted(self) -> int:
        """How many there should be, memory aside: half of what the last WINDOW seconds took."""
        now = self._stocks.clock.monotonic()
        while self._taken and now - self._taken[0] > WINDOW:
            self._taken.popleft()
        base = self._stocks.base
        return base and min(MOST, max(base, len(self._taken) // 2))

    async def take(self) -> NamespaceSandbox:
        """One that is ready, or a new one; raises SandboxError."""
        self._taken.append(self._stocks.clock.monotonic())
        while self._ready:
            with contextlib.suppress(SandboxError):
                sandbox = await self._ready.popleft()
                if not sandbox.exited.done():
                    return sandbox
                sandbox.destroy()
        return await self._make()

    def fill(self) -> None:
        """Make as many as are wanted, if memory allows."""
        self._stocks.touch(self)
        while len(self._ready) > self.wanted:
            self.discard()
        while len(self._ready) < self.wanted and self._stocks.admit(self):
            task = asyncio.ensure_future(self._make())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._ready.append(task)

    def close(self) -> None:
        """Give all up and make no more."""
        self._stocks.forget(self)
        while self._ready:
            self.discard()

    def discard(self) -> None:
        """Give one up."""
        task = self._ready.popleft()
        if not task.cancel() and not task.cancelled() and not task.exception():
            task.result().destroy()


class Stocks:
    """All stocks of a backend and what they may take together."""

    def __init__(self, clock: Clock, base: int, most_bytes: int) -> None:
        self.clock = clock
        self.base = base
        self._most = most_bytes
        # The one asked last is last.
        self._stocks: dict[Stock, None] = {}
        self._closed = False

    def new(self, make: Make, cost: int) -> Stock:
        """A stock of a new kind."""
        stock = Stock(self, make, cost)
        self._stocks[stock] = None
        return stock

    def touch(self, stock: Stock) -> None:
        """It has been asked just now."""
        if stock in self._stocks:
            del self._stocks[stock]
            self._stocks[stock] = None

    def forget(self, stock: Stock) -> None:
        """It is asked no more."""
        self._stocks.pop(stock, None)

    def admit(self, stock: Stock) -> bool:
        """Whether it may hold one more; others may have to give some up for it."""
        if self._closed or stock not in self._stocks:
            return False
        held = sum(len(each) * each.cost for each in self._stocks)
        for other in list(self._stocks):
            while held + stock.cost > self._most and other is not stock and len(other):
                other.discard()
                held -= other.cost
        return held + stock.cost <= self._most

    def close(self) -> None:
        """Give everything up and make nothing more."""
        self._closed = True
        for stock in self._stocks:
            while len(stock):
                stock.discard()
