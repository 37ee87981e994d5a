"""Hands events from the queue to ``invoke``, and decides what follows.

A function's error is tried again after one minute and after two; a throttle, or an error of the
platform's own, after a second, two, four … five minutes, as long as the event is young enough.
Functions take turns: none gets more than a few events before the others had theirs.
Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous
invocation".
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from lambent.clock import Clock, Timer
from lambent.errors import ResourceNotFound, TooManyRequests
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, EventInvokeConfig, Outcome
from lambent.invoke import Invoker
from lambent.queue.base import Event, EventQueue

_log = logging.getLogger(__name__)

_RETRIES = 2
_OLDEST = 21_600.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 300.0
# Events of one function that may run at the same time, and that it gets in one turn.
_AT_ONCE, _TURN = 256, 32


class EventWorker:
    """Takes events in and sees them through; retry_seconds: the first wait after an error."""

    def __init__(
        self,
        queue: EventQueue,
        invoker: Invoker,
        catalog: Catalog,
        clock: Clock,
        retry_seconds: float,
        finished: Callable[[Event, str], None] = lambda event, condition: None,
    ) -> None:
        """finished: told of each event that is over, and how: Success, RetriesExhausted,
        EventAgeExceeded, ZeroReservedConcurrency or FunctionDeleted."""
        self._queue = queue
        self._invoker = invoker
        self._catalog = catalog
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._finished = finished
        # Shards with events that wait, and when the first of them is due.
        self._due: dict[str, float] = {}
        self._running: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what is in the queue."""
        self._due = await self._queue.shards()
        self._loop = asyncio.ensure_future(self._run())

    async def accept(self, event: Event) -> None:
        """Take an event in; durable when it returns."""
        await self._queue.put(event, event.accepted)
        self._expect(event.shard, event.accepted)

    async def close(self, grace: float) -> None:
        """Begin nothing more; let what runs finish for grace seconds, the rest runs again later."""
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

    def _expect(self, shard: str, due: float) -> None:
        if due < self._due.get(shard, float("inf")):
            self._due[shard] = due
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                turns = await self._give_turns()
            except Exception:
                _log.exception("the queue cannot be read; it is tried again")
                turns = 0
                self._arm(_FIRST_BACKOFF)
            if not turns:
                await self._wake.wait()

    async def _give_turns(self) -> int:
        """One turn for each function whose events are due; how many had one."""
        now = self._clock.time()
        ready = [shard for shard, due in self._due.items() if due <= now]
        turns = 0
        for shard in ready:
            room = min(_TURN, _AT_ONCE - self._running[shard])
            if room <= 0:
                continue
            # What is put while the queue is asked makes itself known again.
            self._due.pop(shard, None)
            try:
                events, following = await self._queue.lease(shard, now, room)
            except BaseException:
                self._expect(shard, now)
                raise
            if following is not None:
                self._expect(shard, following)
            for event in events:
                self._begin(event)
            turns += 1
        later = [due for due in self._due.values() if due > now]
        if later:
            self._arm(min(later) - now)
        return turns

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._wake.set)

    # -- one event ------------------------------------------------------------------------

    def _begin(self, event: Event) -> None:
        self._running[event.shard] += 1
        task = asyncio.ensure_future(self._attempt(event))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._running[event.shard] -= 1
            if not self._running[event.shard]:
                del self._running[event.shard]
            self._wake.set()
            if not task.cancelled() and task.exception() is not None:
                # The queue could not be written: the event stays leased until the next start.
                _log.error("event %s is left as it is: %s", event.id, task.exception())

        task.add_done_callback(ended)

    async def _attempt(self, event: Event) -> None:
        try:
            function = await self._catalog.get(event.account, event.region, event.function)
        except ResourceNotFound:
            await self._finish(event, "FunctionDeleted")
            return
        config = function.event_invoke.get(event.qualifier or LATEST, EventInvokeConfig(0.0))
        oldest = event.accepted + (config.maximum_event_age or _OLDEST)
        if self._clock.time() >= oldest:
            await self._finish(event, "EventAgeExceeded")
            return
        if function.reserved_concurrency == 0:
            await self._finish(event, "ZeroReservedConcurrency")
            return
        try:
            _, outcome = await self._invoker.invoke(
                event.account,
                event.region,
                event.function,
                event.qualifier,
                event.payload,
                client_context=event.client_context,
                trace_id=event.trace_id or None,
                request_id=event.id,
            )
        except ResourceNotFound:
            await self._finish(event, "FunctionDeleted")
        except TooManyRequests:
            await self._refused(event, oldest)
        except Exception:
            _log.exception("event %s could not be run; it is tried again", event.id)
            await self._refused(event, oldest)
        else:
            await self._settle(event, outcome, config, oldest)

    async def _settle(
        self, event: Event, outcome: Outcome, config: EventInvokeConfig, oldest: float
    ) -> None:
        if outcome.function_error is None:
            await self._finish(event, "Success")
            return
        retries = config.maximum_retry_attempts
        failed = replace(event, failures=event.failures + 1, refusals=0)
        if failed.failures > (_RETRIES if retries is None else retries):
            await self._finish(failed, "RetriesExhausted")
            return
        wait = self._retry_seconds * 2 ** (failed.failures - 1)
        await self._again(failed, min(self._clock.time() + wait, oldest))

    async def _refused(self, event: Event, oldest: float) -> None:
        wait = min(_FIRST_BACKOFF * 2**event.refusals, _LONGEST_BACKOFF)
        refused = replace(event, refusals=event.refusals + 1)
        await self._again(refused, min(self._clock.time() + wait, oldest))

    async def _again(self, event: Event, due: float) -> None:
        await self._queue.retry(event, due)
        self._expect(event.shard, due)

    async def _finish(self, event: Event, condition: str) -> None:
        self._finished(event, condition)
        await self._queue.ack(event)
