"""What is told of invocations: CloudWatch's metrics by name and dimension."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lambent.clock import ManualClock
from lambent.functions.types import Configuration, FunctionVersion
from lambent.measures import Measures
from lambent.observe.metrics import Metrics
from lambent.observe.usage import Prices, Usage
from lambent.pool.concurrency import Concurrency
from lambent.pool.environment import Measure

NOW = 1_800_000_000.0


class Pool:
    """Says what it is told to."""

    def __init__(self, *occupied: Any) -> None:
        self._occupied = occupied

    def occupied(self) -> Any:
        return iter(self._occupied)


def make_version() -> FunctionVersion:
    code = Configuration("python3.11", "a.b", "r", "digest", "sha", 1, 1)
    return FunctionVersion("000000000000", "us-east-1", "f", "1", code, "revision", 0.0)


def measure(provisioned: bool | None) -> Measure:
    arn = "arn:aws:lambda:r:0:function:f:live"
    return Measure("success", 0.01, None, arn, "id", "", provisioned)


async def values(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Metric and dimensions' values → the most there was."""
    found = {}
    for series in await metrics.series("000000000000", "us-east-1"):
        read = await metrics.read(series, NOW - 60, NOW + 60, 60)
        names = tuple(value for _, value in series[3])
        found[series[2], names] = max(each.most for each in read.values())
    return found


def made(tmp_path: Path) -> tuple[Metrics, Measures]:
    clock = ManualClock(NOW)
    metrics = Metrics(tmp_path / "metrics", clock)
    usage = Usage(tmp_path / "usage", clock, Prices(0.0, 0.0))
    return metrics, Measures(metrics, usage, None)


def test_what_runs_now_is_told_of_account_and_function(tmp_path: Path) -> None:
    async def scenario() -> None:
        metrics, measures = made(tmp_path)
        version = make_version()
        concurrency = Concurrency(100, 0, ManualClock())
        account, region = version.account, version.region
        for name, reserved in (("f", None), ("f", None), ("own", 5)):
            concurrency.admit(account, region, name, reserved, 5)
        measures.sample(concurrency, Pool((version, 3, 4)), lambda *_: 5)  # type: ignore[arg-type]
        found = await values(metrics)
        assert found["ConcurrentExecutions", ()] == 3
        assert found["UnreservedConcurrentExecutions", ()] == 2
        assert found["ClaimedAccountConcurrency", ()] == 7
        assert found["ConcurrentExecutions", (version.name,)] == 3
        resource = (version.name, f"{version.name}:{version.version}")
        for names in ((version.name,), resource):
            assert found["ProvisionedConcurrentExecutions", names] == 3
            assert found["ProvisionedConcurrencyUtilization", names] == 0.75

    asyncio.run(scenario())


def test_invocations_beyond_what_is_provisioned_spill_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        metrics, measures = made(tmp_path)
        version = make_version()
        measures.measured(version, measure(None))
        assert not [key for key in await values(metrics) if key[0].startswith("Provisioned")]
        measures.measured(version, measure(True))
        measures.measured(version, measure(False))
        found = await values(metrics)
        assert found["ProvisionedConcurrencyInvocations", (version.name,)] == 1
        assert found["ProvisionedConcurrencySpilloverInvocations", (version.name,)] == 1

    asyncio.run(scenario())
