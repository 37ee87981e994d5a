"""Who is told what of an invocation that is over, or was refused: metrics, usage, traces.

Names and dimensions of metrics are CloudWatch's.  Source: AWS Lambda Developer Guide, "Types of
metrics for Lambda functions".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lambent.functions.event_sources import EventSourceMapping
from lambent.functions.types import LATEST, Function, FunctionVersion
from lambent.observe.metrics import Metrics
from lambent.observe.traces import Traces
from lambent.observe.usage import Usage
from lambent.pool.concurrency import Concurrency
from lambent.pool.environment import Measure
from lambent.pool.pool import Pool
from lambent.queue.base import Depth, Event
from lambent.runtime import lines

_Dimensions = tuple[tuple[str, str], ...]


class Measures:
    """Takes measure of a server's invocations."""

    def __init__(self, metrics: Metrics, usage: Usage, traces: Traces | None) -> None:
        self._metrics = metrics
        self._usage = usage
        self._traces = traces

    def measured(self, version: FunctionVersion, measure: Measure) -> None:
        """An invocation is over."""
        resource = measure.invoked_arn.split(":", 6)[6]
        failed = measure.status != "success"
        self._metrics.invocation(
            version.account,
            version.region,
            version.name,
            resource,
            measure.duration * 1000,
            failed,
        )
        self._usage.count(
            (version.account, version.region, version.name),
            version.version,
            failed,
            measure.duration,
            measure.init,
            lines.billed_milliseconds(measure.duration, measure.init) / 1000,
            version.configuration.memory_size,
        )
        if measure.provisioned is not None:
            kind = "Invocations" if measure.provisioned else "SpilloverInvocations"
            self._add(version, f"ProvisionedConcurrency{kind}", 1.0)
        if self._traces is not None:
            self._traces.invocation(
                version.name,
                measure.invoked_arn,
                measure.request_id,
                measure.trace_id,
                measure.status,
                measure.duration,
                measure.init,
            )

    def throttled(self, name: tuple[str, str, str], version: str) -> None:
        """An invocation was refused for concurrency."""
        account, region, function = name
        self._usage.throttled(name, version)
        for dimensions in ((), (("FunctionName", function),)):
            self._metrics.add((account, region, "Throttles", dimensions), 1.0)

    def of_event(self, event: Event, metric: str, value: float) -> None:
        """A value of an asynchronous invocation's metric."""
        function = ("FunctionName", event.function)
        resource = f"{event.function}:{event.qualifier}" if event.qualifier else event.function
        for dimensions in ((function,), (function, ("Resource", resource))):
            self._metrics.add((event.account, event.region, metric, dimensions), value)

    def of_source(self, mapping: EventSourceMapping, metric: str, value: int) -> None:
        """A value of an event source mapping's metric."""
        series = (
            mapping.account,
            mapping.region,
            metric,
            (("EventSourceMappingUUID", mapping.uuid),),
        )
        self._metrics.add(series, float(value))

    def recursion_stopped(self, name: tuple[str, str, str]) -> None:
        """A function was not run again in a chain of its own."""
        account, region, function = name
        series = (account, region, "RecursiveInvocationsDropped", (("FunctionName", function),))
        self._metrics.add(series, 1.0)

    def url(self, function: Function, qualifier: str, status: int, seconds: float) -> None:
        """A request to a function's URL has been answered; status 0: nobody waited for it."""
        latest = function.latest
        own = ("FunctionName", latest.name)
        resource = latest.name if qualifier == LATEST else f"{latest.name}:{qualifier}"
        for dimensions in ((own,), (own, ("Resource", resource))):
            for metric, value in (
                ("UrlRequestCount", 1.0),
                ("Url4xxCount", float(400 <= status < 500)),
                ("Url5xxCount", float(status >= 500)),
                ("UrlRequestLatency", seconds * 1000),
            ):
                self._metrics.add((latest.account, latest.region, metric, dimensions), value)

    def sample_events(self, depths: dict[str, Depth], now: float) -> None:
        """What waits now, by shard.  The two metrics are our own: AWS has none of them."""
        for shard, depth in depths.items():
            account, region, function = shard.split("/")
            age = max(0.0, now - depth.oldest) if depth.oldest is not None else 0.0
            for metric, value in (("AsyncEventsQueued", depth.waiting), ("AsyncOldestEvent", age)):
                series = (account, region, metric, (("FunctionName", function),))
                self._metrics.add(series, float(value))

    def sample(
        self, concurrency: Concurrency, pool: Pool, reserved: Callable[[str, str], int]
    ) -> None:
        """What runs now; reserved: what an account's functions have reserved in a region."""
        everything: dict[tuple[str, str], int] = {}
        unreserved: dict[tuple[str, str], int] = {}
        for account, region, function, count in concurrency.running():
            place = (account, region)
            everything[place] = everything.get(place, 0) + count
            unreserved[place] = unreserved.get(place, 0) + (0 if function else count)
        for place, count in everything.items():
            free = unreserved[place]
            for name, value in (
                ("ConcurrentExecutions", count),
                ("UnreservedConcurrentExecutions", free),
                ("ClaimedAccountConcurrency", free + reserved(*place)),
            ):
                self._metrics.add((*place, name, ()), float(value))
        functions: dict[tuple[str, str, str], int] = {}
        for version, busy, provisioned in pool.occupied():
            key = (version.account, version.region, version.name)
            functions[key] = functions.get(key, 0) + busy
            if provisioned:
                used = min(busy, provisioned)
                self._add(version, "ProvisionedConcurrentExecutions", float(used))
                self._add(version, "ProvisionedConcurrencyUtilization", used / provisioned)
        for (account, region, function), count in functions.items():
            if count:
                series = (("FunctionName", function),)
                self._metrics.add((account, region, "ConcurrentExecutions", series), float(count))

    def _add(self, version: FunctionVersion, metric: str, value: float) -> None:
        for dimensions in _dimensions(version):
            self._metrics.add((version.account, version.region, metric, dimensions), value)


def _dimensions(version: FunctionVersion) -> Iterator[_Dimensions]:
    """Those of a function's metric: the function, and the version."""
    function = ("FunctionName", version.name)
    yield (function,)
    yield (function, ("Resource", f"{version.name}:{version.version}"))
