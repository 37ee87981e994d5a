"""Traces for OpenTelemetry, sent to a function of the test's own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.errors import StartError
from lambent.observe import traces
from lambent.observe.traces import Traces

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ARN = "arn:aws:lambda:r:0:function:f"


class Collector:
    """Takes what is sent, or fails."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.urls: list[str] = []
        self.failing = False

    def __call__(self, url: str, body: bytes) -> None:
        if self.failing:
            raise ConnectionRefusedError("nobody there")
        self.urls.append(url)
        for resource in json.loads(body)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]


def play(scenario: Callable[[Traces, Collector], Any]) -> None:
    async def whole() -> None:
        numbers = itertools.count(1)
        collector = Collector()
        clock = ManualClock(1_800_000_000.0)
        made = Traces("http://c:4318/", clock, lambda: f"{next(numbers):016x}", collector)
        await scenario(made, collector)

    asyncio.run(whole())


def test_an_invocation_is_a_span_and_its_initialisation_one_within() -> None:
    async def scenario(made: Traces, collector: Collector) -> None:
        made.invocation("f", ARN, "id", HEADER, "success", 0.5, 2.0)
        await made.flush()
        invocation, init = collector.spans
        assert collector.urls == ["http://c:4318/v1/traces"]
        assert invocation["traceId"] == init["traceId"] == "5759e988bd862e3fe1be46a994272793"
        assert invocation["parentSpanId"] == "53995c3f42cd8ad8"
        assert init["parentSpanId"] == invocation["spanId"]
        assert invocation["startTimeUnixNano"] == init["endTimeUnixNano"] == "1799999999500000000"
        assert init["startTimeUnixNano"] == "1799999997500000000"
        assert invocation["status"] == {"code": 1}
        told = {each["key"]: each["value"] for each in invocation["attributes"]}
        assert told["faas.invocation_id"] == {"stringValue": "id"}
        assert told["faas.coldstart"] == {"boolValue": True}

    play(scenario)


def test_a_failed_invocation_says_how() -> None:
    async def scenario(made: Traces, collector: Collector) -> None:
        made.invocation("f", ARN, "id", HEADER, "timeout", 3.0, None)
        await made.flush()
        (invocation,) = collector.spans
        assert invocation["status"] == {"code": 2, "message": "timeout"}

    play(scenario)


@pytest.mark.parametrize(
    "header", ["", HEADER.replace("Sampled=1", "Sampled=0"), "Root=1-zz;Sampled=1", "Sampled=1"]
)
def test_what_is_not_sampled_or_no_trace_is_not_sent(header: str) -> None:
    async def scenario(made: Traces, collector: Collector) -> None:
        made.invocation("f", ARN, "id", header, "success", 0.5, None)
        await made.flush()
        assert collector.spans == []

    play(scenario)


def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(made: Traces, collector: Collector) -> None:
        collector.failing = True
        for _ in range(3):
            made.invocation("f", ARN, "lost", HEADER, "success", 0.5, None)
            await made.flush()
        assert len(caplog.records) == 1
        collector.failing = False
        for number in range(traces._MOST + 5):
            made.invocation("f", ARN, str(number), HEADER, "success", 0.5, None)
        await made.flush()
        assert len(collector.spans) == traces._MOST
        assert len(collector.urls) == traces._MOST // traces._BATCH

    play(scenario)


def test_a_collector_is_an_http_url() -> None:
    for wrong in ("file:///etc/passwd", "c:4318", "ftp://c"):
        with pytest.raises(StartError):
            traces.check(wrong)
