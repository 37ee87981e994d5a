"""Hands events from the queue to ``invoke``, and decides what follows.

A function's error is tried again after one minute and after two; a throttle, or an error of the
platform's own, after a second, two, four … five minutes, as long as the event is young enough.
How an event ended is written down before anybody is told, so that it ends in one way only.
Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous
invocation".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from lambent.clock import Clock
from lambent.errors import RecursiveInvocation, ResourceNotFound, TooManyRequests
from lambent.events.destinations import DeliveryFailed, Destinations
from lambent.events.turns import Turns
from lambent.functions import lineage
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, EventInvokeConfig, FunctionVersion, Outcome
from lambent.invoke import Invoker
from lambent.queue.base import Answer, Ending, Event, EventQueue

_log = logging.getLogger(__name__)

_RETRIES = 2
_OLDEST = 21_600.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 300.0
# How long a destination that does not listen is told again; AWS does not say how long it does.
_TELL_SECONDS = 3_600.0

Count = Callable[[Event, str, float], None]
"""Takes a value of a CloudWatch metric: whose event, the metric's name, the value."""


class EventWorker:
    """Takes events in and sees them through; retry_seconds: the first wait after an error."""

    def __init__(
        self,
        queue: EventQueue,
        invoker: Invoker,
        catalog: Catalog,
        destinations: Destinations,
        clock: Clock,
        retry_seconds: float,
        count: Count,
        spare: Callable[[], bool],
    ) -> None:
        """spare: see ``Turns``."""
        self._queue = queue
        self._invoker = invoker
        self._catalog = catalog
        self._destinations = destinations
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._count = count
        self._turns = Turns(queue, clock, self._attempt, spare)

    async def open(self) -> None:
        """Take up what is in the queue."""
        await self._turns.open()

    async def accept(self, event: Event) -> None:
        """Take an event in; durable when it returns."""
        await self._queue.put(event, event.accepted)
        self._count(event, "AsyncEventsReceived", 1.0)
        self._turns.expect(event.shard, event.accepted)

    def expect(self, shard: str) -> None:
        """Events of a shard have become due by other ways."""
        self._turns.expect(shard, self._clock.time())

    def forget(self, shard: str) -> None:
        """A shard's events are about to be removed."""
        self._turns.forget(shard)

    async def close(self, grace: float) -> None:
        """Begin nothing more; let what runs finish for grace seconds, the rest runs again later."""
        await self._turns.close(grace)

    # -- one event ------------------------------------------------------------------------

    async def _attempt(self, event: Event) -> None:
        """Run an event, or tell of it if it has ended; what becomes of it is in the queue then."""
        try:
            function = await self._catalog.get(event.account, event.region, event.function)
        except ResourceNotFound:
            await self._lay_aside(event)
            return
        version = function.find(event.qualifier)
        if version is None:
            await self._lay_aside(event)
            return
        if event.ending is not None:
            await self._tell(version, event, event.ending)
            return
        config = function.event_invoke.get(event.qualifier or LATEST, EventInvokeConfig(0.0))
        oldest = event.accepted + (config.maximum_event_age or _OLDEST)
        now = self._clock.time()
        if now >= oldest:
            await self._finish(version, config, event, "EventAgeExceeded")
        elif function.reserved_concurrency == 0:
            await self._finish(version, config, event, "ZeroReservedConcurrency")
        else:
            self._count(event, "AsyncEventAge", (now - event.accepted) * 1000)
            await self._run(version, config, event, oldest)

    async def _run(
        self,
        version: FunctionVersion,
        config: EventInvokeConfig,
        event: Event,
        oldest: float,
    ) -> None:
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
                asynchronous=True,
                tenant=event.tenant,
            )
        except ResourceNotFound:
            await self._lay_aside(event)
        except RecursiveInvocation:
            await self._finish(version, config, event, "RecursiveInvocation")
        except TooManyRequests:
            self._turns.throttled(event.shard)
            await self._refused(event, oldest)
        except Exception:
            _log.exception("event %s could not be run; it is tried again", event.id)
            await self._refused(event, oldest)
        else:
            await self._settle(version, config, event, outcome, oldest)

    async def _settle(
        self,
        version: FunctionVersion,
        config: EventInvokeConfig,
        event: Event,
        outcome: Outcome,
        oldest: float,
    ) -> None:
        if outcome.function_error is None:
            if config.on_success:
                event = replace(event, answer=_answer(outcome))
            await self._finish(version, config, event, "Success")
            return
        retries = config.maximum_retry_attempts
        failed = replace(event, failures=event.failures + 1, refusals=0, answer=_answer(outcome))
        if failed.failures > (_RETRIES if retries is None else retries):
            await self._finish(version, config, failed, "RetriesExhausted")
            return
        wait = self._retry_seconds * 2 ** (failed.failures - 1)
        await self._again(failed, min(self._clock.time() + wait, oldest))

    async def _refused(self, event: Event, oldest: float) -> None:
        refused = replace(event, refusals=event.refusals + 1)
        await self._again(refused, min(self._clock.time() + _backoff(event), oldest))

    async def _again(self, event: Event, due: float) -> None:
        await self._queue.retry(event, due)
        self._turns.expect(event.shard, due)

    # -- its end --------------------------------------------------------------------------

    async def _finish(
        self, version: FunctionVersion, config: EventInvokeConfig, event: Event, condition: str
    ) -> None:
        success = condition == "Success"
        destination = (config.on_success if success else config.on_failure) or ""
        dead_letters = "" if success else version.configuration.dead_letter_target or ""
        if not success:
            self._count(event, "AsyncEventsDropped", 1.0)
        if destination or dead_letters:
            now = self._clock.time()
            ending = Ending(condition, now, destination, dead_letters)
            # Whoever is told goes on with the chain that this event is part of.
            place = (event.account, event.region, event.function)
            trace_id, _ = lineage.extended(event.trace_id, *place)
            ended = replace(event, ending=ending, refusals=0, trace_id=trace_id)
            await self._again(ended, now)
        elif success:
            await self._queue.ack(event)
        else:
            await self._queue.give_up(event, self._clock.time())

    async def _lay_aside(self, event: Event) -> None:
        """There is no function to run it, nor one whose destinations could be told."""
        if event.ending is None:
            self._count(event, "AsyncEventsDropped", 1.0)
        elif event.ending.condition == "Success":
            await self._queue.ack(event)
            return
        await self._queue.give_up(event, self._clock.time())

    async def _tell(self, version: FunctionVersion, event: Event, ending: Ending) -> None:
        if ending.dead_letters:
            try:
                await self._destinations.bury(version, event, ending.dead_letters)
                ending = replace(ending, dead_letters="")
            except DeliveryFailed as error:
                self._failed(event, "DeadLetterErrors", ending.dead_letters, error)
        if ending.destination:
            try:
                await self._destinations.tell(version, event, ending, ending.destination)
                ending = replace(ending, destination="")
            except DeliveryFailed as error:
                self._failed(event, "DestinationDeliveryFailures", ending.destination, error)
        if not (ending.destination or ending.dead_letters):
            await self._queue.ack(event)
        elif self._clock.time() < ending.at + _TELL_SECONDS:
            refused = replace(event, ending=ending, refusals=event.refusals + 1)
            await self._again(refused, self._clock.time() + _backoff(event))
        elif ending.condition == "Success":
            await self._queue.ack(event)
        else:
            await self._queue.give_up(event, self._clock.time())

    def _failed(self, event: Event, metric: str, arn: str, error: DeliveryFailed) -> None:
        self._count(event, metric, 1.0)
        why = " ".join(str(error).split())  # somebody else's words, on one line
        _log.warning("%s was not told of event %s of %s: %s", arn, event.id, event.function, why)


def _backoff(event: Event) -> float:
    return min(_FIRST_BACKOFF * 2.0 ** min(event.refusals, 16), _LONGEST_BACKOFF)


def _answer(outcome: Outcome) -> Answer:
    return Answer(outcome.payload, outcome.executed_version, outcome.function_error)
