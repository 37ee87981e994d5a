"""Functions take turns: none gets more than a few events before the others had theirs.

How many events of a function may run at once is found out, as TCP finds out what a network carries:
it begins with a few, doubles each second in which all places were taken, more was due and the
machine had time to spare, and halves where the function was throttled.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lambent.clock import Clock, Timer
from lambent.queue.base import Event, EventQueue

_log = logging.getLogger(__name__)

# Events of one function that run at once: at first, and at most; and that it gets in one turn, also
# ahead of the places for them, so that the queue is not asked for each.
FIRST, MOST, TURN = 32, 1_000, 32
_CHANGE_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_UNWRITTEN_SECONDS = 60.0


@dataclass(slots=True)
class _Window:
    """One function's places, and events that were leased ahead.

    changed: when the number of places last was, on the monotonic clock; full: whether all were
    taken, and more wanted, since somebody looked.
    """

    changed: float
    places: int = FIRST
    running: int = 0
    full: bool = False
    ready: deque[Event] = field(default_factory=deque)

    @property
    def room(self) -> int:
        """How many events may be leased for it now."""
        if len(self.ready) > TURN // 2:
            return 0
        return min(TURN, self.places - self.running + TURN - len(self.ready))


class Turns:
    """Leases events as they become due and there are places for them, and has them attempted.

    attempt: sees an event through; when it returns, what becomes of the event is in the queue.
    spare: whether the machine had time to spare since the last question.
    """

    def __init__(
        self,
        queue: EventQueue,
        clock: Clock,
        attempt: Callable[[Event], Coroutine[Any, Any, None]],
        spare: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._attempt = attempt
        self._spare = spare
        # Shards with events that wait, and when the first of them is due.
        self._due: dict[str, float] = {}
        self._windows: dict[str, _Window] = {}
        self._looked = clock.monotonic()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what is in the queue."""
        self._due = await self._queue.shards()
        self._loop = asyncio.ensure_future(self._run())

    def expect(self, shard: str, due: float) -> None:
        """An event is in the queue."""
        if due < self._due.get(shard, float("inf")):
            self._due[shard] = due
        self._wake.set()

    def forget(self, shard: str) -> None:
        """A shard's events are about to be removed: do not begin those that were leased ahead."""
        window = self._windows.get(shard)
        if window is not None:
            window.ready.clear()

    def throttled(self, shard: str) -> None:
        """An event was refused because too many run: run fewer for a while."""
        window = self._windows.get(shard)
        now = self._clock.monotonic()
        if window is not None and now - window.changed >= _CHANGE_SECONDS:
            window.places, window.changed = max(1, window.places // 2), now

    async def close(self, grace: float) -> None:
        """Begin nothing more; let what runs finish for grace seconds."""
        self._closed = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- turns ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                turns = await self._give_turns()
            except Exception:
                _log.exception("the queue cannot be read; it is tried again")
                turns = 0
                self._arm(_AGAIN_SECONDS)
            if not turns:
                await self._wake.wait()

    async def _give_turns(self) -> int:
        """One turn for each function whose events are due; how many had one."""
        self._grow()
        now = self._clock.time()
        ready = [shard for shard, due in self._due.items() if due <= now]
        turns = 0
        for shard in ready:
            window = self._windows.get(shard)
            if window is None:
                window = self._windows[shard] = _Window(self._clock.monotonic())
            room = window.room
            if room <= 0:
                continue
            # What is put while the queue is asked makes itself known again.
            self._due.pop(shard, None)
            try:
                events, following = await self._queue.lease(shard, now, room)
            except BaseException:
                self.expect(shard, now)
                raise
            if following is not None:
                self.expect(shard, following)
            window.ready.extend(events)
            self._fill(window)
            turns += 1
        waits = [due - now for due in self._due.values() if due > now]
        if any(window.full for window in self._windows.values()):
            waits.append(_CHANGE_SECONDS)
        if waits:
            self._arm(min(waits))
        return turns

    def _grow(self) -> None:
        """Give places to those who could have used more in the last second."""
        now = self._clock.monotonic()
        if now - self._looked < _CHANGE_SECONDS:
            return
        self._looked = now
        spare = self._spare()
        for shard, window in list(self._windows.items()):
            if not window.running and not window.ready and shard not in self._due:
                del self._windows[shard]
            if window.full and spare and now - window.changed >= _CHANGE_SECONDS:
                window.places, window.changed = min(2 * window.places, MOST), now
            window.full = False
            self._fill(window)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._wake.set)

    def _fill(self, window: _Window) -> None:
        """Begin what there are places for."""
        while window.ready and window.running < window.places and not self._closed:
            self._begin(window, window.ready.popleft())
        window.full = window.full or bool(window.ready)

    def _begin(self, window: _Window, event: Event) -> None:
        window.running += 1
        task = asyncio.ensure_future(self._attempt(event))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            window.running -= 1
            self._fill(window)
            if window.room and event.shard in self._due:
                self._wake.set()
            if not task.cancelled() and task.exception() is not None:
                # The queue could not be written: the event is in it as it was.
                _log.error("event %s begins again later: %s", event.id, task.exception())
                self.expect(event.shard, self._clock.time() + _UNWRITTEN_SECONDS)

        task.add_done_callback(ended)
