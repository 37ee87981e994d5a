"""One queue's poller: takes its messages, runs the function with batches of them, deletes those
that it has done with.

What the function did not do comes again when the queue makes it visible again: that, and after how
many times it is laid aside, is the queue's business (VisibilityTimeout, RedrivePolicy).
Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lambent import ids
from lambent.clock import Clock
from lambent.errors import ServiceError, TooManyRequests
from lambent.functions import lineage
from lambent.functions.event_sources import EventSourceMapping
from lambent.functions.types import FunctionVersion, Outcome
from lambent.iam.authenticate import Principal
from lambent.invoke import Invoker
from lambent.neighbours.requests import RequestFailed, Requests
from lambent.sources.filters import compile_filters
from lambent.sources.places import MOST, Places
from lambent.sources.responses import failed
from lambent.sources.sqs import LONGEST_WAIT, Queue, Received

_log = logging.getLogger(__name__)

# Between attempts at a queue that cannot be read, and at a function that is throttled.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

Count = Callable[[EventSourceMapping, str, int], None]
"""Takes a value of a CloudWatch metric: whose, the metric's name, the value."""

# Characters of a batch that are held against filters in the event loop itself.
_ASIDE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Means:
    """What pollers work with; identity: a version's execution role, as a principal.

    payload_bytes: the largest event of a synchronous invocation.
    """

    requests: Requests
    invoker: Invoker
    identity: Callable[[FunctionVersion], Principal]
    clock: Clock
    payload_bytes: int
    count: Count


class SqsPoller:
    """Polls for one mapping from ``start`` to ``stop``."""

    def __init__(self, mapping: EventSourceMapping, means: Means) -> None:
        assert mapping.source_arn is not None
        self.mapping = mapping
        self._means = means
        self._clock = means.clock
        self._queue = Queue(means.requests, mapping.source_arn)
        settings = mapping.settings
        self._size: int = settings["BatchSize"]
        self._window: int = settings["MaximumBatchingWindowInSeconds"]
        self._reports = "ReportBatchItemFailures" in settings.get("FunctionResponseTypes", ())
        self._passes = compile_filters(settings.get("FilterCriteria"), "body")
        most = (settings.get("ScalingConfig") or {}).get("MaximumConcurrency") or MOST
        self._places = Places(self._clock, most)
        self._target = mapping.function_arn.split(":", 6)[6]
        self._polling: asyncio.Task[None] | None = None
        self._trouble = ""
        self._stopped = False
        self._pauses: set[asyncio.Event] = set()
        self.running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to poll."""
        self._polling = asyncio.ensure_future(self._poll())

    def stop(self) -> None:
        """Take no more messages; what was begun goes on (``running``)."""
        self._stopped = True
        if self._polling is not None:
            self._polling.cancel()
        for pause in self._pauses:
            pause.set()

    # -- taking messages ------------------------------------------------------------------

    async def _poll(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await self._places.free()
            try:
                batch, since = await self._gather(await self._principal())
            except Exception as error:
                self._say(error)
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            self._trouble, pause = "", _FIRST_PAUSE
            if not batch:
                self._places.quiet()
                continue
            self._places.take()
            task = asyncio.ensure_future(self._see_through(batch, since))
            self.running.add(task)
            task.add_done_callback(self._over)

    async def _principal(self) -> Principal:
        name, _, qualifier = self._target.partition(":")
        mapping = self.mapping
        version = await self._means.invoker.resolve(
            mapping.account, mapping.region, name, qualifier or None
        )
        return self._means.identity(version)

    async def _gather(self, principal: Principal) -> tuple[list[Received], float]:
        """A batch, and since when on the monotonic clock its first messages are nobody else's."""
        clock = self._clock
        batch = await self._queue.receive(principal, self._size, LONGEST_WAIT)
        began = clock.monotonic()
        size = sum(map(_length, batch))
        while batch and len(batch) < self._size and size < self._means.payload_bytes:
            left = began + self._window - clock.monotonic()
            if left <= 0:
                break
            wait = max(1, min(int(left), LONGEST_WAIT))
            try:
                more = await self._queue.receive(principal, self._size - len(batch), wait)
            except RequestFailed:
                break  # the next poll says so; what is here is run
            size += sum(map(_length, more))
            batch += more
        self._count("PolledEventCount", len(batch))
        return batch, began

    def _say(self, error: Exception) -> None:
        """Log what keeps it from its work, once."""
        expected = isinstance(error, RequestFailed | ServiceError)
        what = " ".join(str(error).split()) if expected else repr(error)
        if what != self._trouble:
            self._trouble = what
            _log.warning(
                "%s does not feed %s as it should: %s",
                self._queue.arn,
                self._target,
                what,
                exc_info=None if expected else error,
            )

    def _over(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self._places.give_back()
        if not task.cancelled() and task.exception() is not None:
            _log.error("a batch of %s comes again: %r", self._queue.arn, task.exception())

    def _count(self, metric: str, value: int) -> None:
        if value and "EventCount" in (self.mapping.settings.get("MetricsConfig") or {}).get(
            "Metrics", ()
        ):
            self._means.count(self.mapping, metric, value)

    # -- a batch --------------------------------------------------------------------------

    async def _passing(self, batch: list[Received]) -> list[Received]:
        """Those that the filters let through; beside the event loop where that may take a while."""

        def passing() -> list[Received]:
            return [each for each in batch if self._passes(each.record)]

        if sum(len(each.record["body"]) for each in batch) <= _ASIDE_CHARACTERS:
            return passing()
        return await asyncio.to_thread(passing)

    async def _see_through(self, batch: list[Received], since: float) -> None:
        wanted = await self._passing(batch)
        if len(wanted) < len(batch):
            kept = {each.receipt for each in wanted}
            unwanted = [each for each in batch if each.receipt not in kept]
            self._count("FilteredOutEventCount", len(unwanted))
            await self._delete(unwanted)
        for part in self._parts(wanted):
            outcome = await self._run(part, since)
            if outcome is None:
                self._count("FailedInvokeEventCount", len(part))
                continue
            again = set(failed(outcome, [each.identifier for each in part], self._reports))
            self._count("InvokedEventCount", len(part))
            self._count("FailedInvokeEventCount", len(again))
            await self._delete([each for each in part if each.identifier not in again])

    def _parts(self, batch: list[Received]) -> Iterator[list[Received]]:
        """What is run at once: of the length that an event may have; and what has gone round in a
        loop too often by itself, for it may be stopped and the others may not."""
        name = self._target.partition(":")[0]
        place = (self.mapping.account, self.mapping.region, name)
        looping: list[Received] = []
        others: list[Received] = []
        for each in batch:
            _, runs = lineage.extended(each.trace_id, *place)
            (looping if runs > lineage.LIMIT else others).append(each)
        for some in (others, looping):
            part: list[Received] = []
            size = 0
            for each in some:
                length = _length(each)
                if part and size + length > self._means.payload_bytes - 32:
                    yield part
                    part, size = [], 0
                part.append(each)
                size += length
            if part:
                yield part

    async def _run(self, part: list[Received], since: float) -> Outcome | None:
        """What the function answered; None if it could not be run while the messages are ours."""
        name, _, qualifier = self._target.partition(":")
        mapping, means = self.mapping, self._means
        payload = f'{{"Records": [{", ".join(each.text for each in part)}]}}'.encode()
        pause = _FIRST_PAUSE
        while True:
            try:
                _, outcome = await means.invoker.invoke(
                    mapping.account,
                    mapping.region,
                    name,
                    qualifier or None,
                    payload,
                    trace_id=self._trace(part),
                )
                return outcome
            except TooManyRequests:
                self._places.throttled()
                if self._clock.monotonic() + pause >= await self._visible(since):
                    return None
                await self._sleep(pause)
                if self._stopped:
                    return None
                pause = min(pause * 2, _LONGEST_PAUSE)
            except ServiceError as error:
                self._say(error)
                return None

    async def _sleep(self, seconds: float) -> None:
        """Let time pass, or the poller stop."""
        if self._stopped:
            return
        passed = asyncio.Event()
        timer = self._clock.call_later(seconds, passed.set)
        self._pauses.add(passed)
        try:
            await passed.wait()
        finally:
            timer.cancel()
            self._pauses.discard(passed)

    async def _visible(self, since: float) -> float:
        """When messages that were received become visible again, on the monotonic clock."""
        try:
            return since + await self._queue.visibility(await self._principal())
        except (RequestFailed, ServiceError) as error:
            self._say(error)
            return since

    def _trace(self, part: list[Received]) -> str | None:
        """A message's own chain of requests; for several a new one, with all that led to it."""
        traces = [each.trace_id for each in part if each.trace_id]
        if len(part) == 1 or not traces:
            return traces[0] if traces else None
        return lineage.joined(ids.trace_id(self._clock.time(), False), traces)

    async def _delete(self, messages: list[Received]) -> None:
        """Remove messages; those that cannot be come again."""
        if not messages:
            return
        try:
            await self._queue.delete(await self._principal(), [each.receipt for each in messages])
        except (RequestFailed, ServiceError) as error:
            self._say(error)
        else:
            self._count("DeletedEventCount", len(messages))


def _length(message: Received) -> int:
    """A message's share of an event, in bytes."""
    return len(message.text) + 2
