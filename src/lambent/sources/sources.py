"""Which event source mappings are at work: those that are enabled, from the moment they are."""

from __future__ import annotations

import asyncio
import logging

from lambent.errors import InvalidParameterValue
from lambent.functions.event_sources import EventSourceCatalog, EventSourceMapping
from lambent.functions.types import FunctionVersion
from lambent.neighbours.requests import RequestFailed
from lambent.sources.filters import compile_filters
from lambent.sources.poller import Means, SqsPoller
from lambent.sources.sqs import Queue

_log = logging.getLogger(__name__)

# What a role must be allowed to do with a queue.
_OPERATIONS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


class Sources:
    """A poller for each enabled mapping of a queue."""

    def __init__(self, mappings: EventSourceCatalog, means: Means) -> None:
        self._mappings = mappings
        self._means = means
        self._pollers: dict[str, SqsPoller] = {}
        # Those that have stopped and still have something to finish.
        self._ending: set[SqsPoller] = set()
        self._closed = False

    async def open(self) -> None:
        """Begin with what there is."""
        await self._mappings.watch(self._changed)

    async def check(self, mapping: EventSourceMapping, version: FunctionVersion) -> None:
        """Raise InvalidParameterValue unless a mapping can be put to work for a version."""
        if mapping.source != "sqs" or mapping.source_arn is None:
            return
        compile_filters(mapping.settings.get("FilterCriteria"), "body")
        queue = Queue(self._means.requests, mapping.source_arn)
        principal = self._means.identity(version)
        try:
            denied = await queue.permitted(principal, _OPERATIONS)
            if denied:
                raise InvalidParameterValue(
                    f"The function execution role does not have permissions to call {denied} on SQS"
                )
            visibility = await queue.visibility(principal)
        except RequestFailed as error:
            raise InvalidParameterValue(
                f"Error occurred while ReceiveMessage. SQS Error Code: {error.code}. "
                f"SQS Error Message: {error}"
            ) from None
        timeout = version.configuration.timeout
        if visibility < timeout:
            raise InvalidParameterValue(
                f"Queue visibility timeout: {visibility} seconds is less than Function timeout: "
                f"{timeout} seconds"
            )

    async def close(self, grace: float) -> None:
        """Poll no more; let batches finish for grace seconds, the rest comes again."""
        self._closed = True
        for key in list(self._pollers):
            self._stop(key)
        tasks = {task for poller in self._ending for task in poller.running}
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, key: str, mapping: EventSourceMapping | None) -> None:
        poller = self._pollers.get(key)
        if poller is not None and poller.mapping == mapping:
            return
        self._stop(key)
        if mapping is None or mapping.state != "Enabled" or mapping.source != "sqs":
            return
        try:
            started = SqsPoller(mapping, self._means)
        except InvalidParameterValue as error:
            # Kept by a version that did not look at filters.
            _log.warning("%s cannot be put to work: %s", mapping.arn, error)
            return
        if not self._closed:
            self._pollers[key] = started
            started.start()

    def _stop(self, key: str) -> None:
        poller = self._pollers.pop(key, None)
        if poller is None:
            return
        poller.stop()
        self._ending = {each for each in self._ending if each.running} | {poller}
