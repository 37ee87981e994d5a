"""Traces of sampled invocations for OpenTelemetry: OTLP over HTTP, as JSON.

An invocation is a span of kind SERVER, its initialisation a span within it.  The trace is that of
the tracing header: X-Ray's ``1-5759e988-bd86...`` is W3C's ``5759e988bd86...``.  Sent in batches by
a thread; a collector that cannot be reached costs spans and never an invocation.
Source: OpenTelemetry Protocol 1.5, semantic conventions for FaaS.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any

from lambent.clock import Clock
from lambent.errors import StartError

_log = logging.getLogger(__name__)

_SERVER, _INTERNAL = 2, 1
_OK, _ERROR = 1, 2
_MOST = 10_000
_BATCH = 1_000
_SEND_SECONDS = 5.0
_SAMPLED = re.compile(r"(?:^|;)Sampled=1(?:;|$)")
_ROOT = re.compile(r"(?:^|;)Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)")
_PARENT = re.compile(r"(?:^|;)Parent=([0-9a-f]{16})(?:;|$)")

Send = Callable[[str, bytes], None]


def _post(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - see check
    with urllib.request.urlopen(request, timeout=_SEND_SECONDS) as answer:  # noqa: S310
        answer.read()


def check(endpoint: str) -> None:
    """Raise StartError unless it is a collector's URL."""
    if not endpoint.startswith(("http://", "https://")):
        raise StartError(f"otlp_endpoint: {endpoint!r} is not an http or https URL")


class Traces:
    """Spans on their way to a collector."""

    def __init__(
        self, endpoint: str, clock: Clock, span_id: Callable[[], str], send: Send = _post
    ) -> None:
        """endpoint: the collector's URL, to which /v1/traces is added; raises StartError."""
        check(endpoint)
        self._url = endpoint.rstrip("/") + "/v1/traces"
        self._clock = clock
        self._span_id = span_id
        self._send = send
        self._spans: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._flushing = asyncio.Lock()
        self._reachable = True

    def invocation(
        self,
        name: str,
        arn: str,
        request_id: str,
        trace_id: str,
        status: str,
        duration: float,
        init: float | None,
    ) -> None:
        """An invocation has just ended; seconds."""
        root = _ROOT.search(trace_id)
        if root is None or _SAMPLED.search(trace_id) is None:
            return
        trace = root[1] + root[2]
        end = self._clock.time()
        begin = end - duration
        parent = _PARENT.search(trace_id)
        span = self._span_id()
        attributes = {"faas.invocation_id": request_id, "cloud.resource_id": arn, "faas.name": name}
        invocation: dict[str, Any] = {
            **_span(trace, span, name, _SERVER, begin, end),
            "attributes": [
                *({"key": key, "value": {"stringValue": each}} for key, each in attributes.items()),
                {"key": "faas.coldstart", "value": {"boolValue": init is not None}},
            ],
            "status": {"code": _OK} if status == "success" else {"code": _ERROR, "message": status},
        }
        if parent is not None:
            invocation["parentSpanId"] = parent[1]
        self._spans.append(invocation)
        if init is not None:
            inner = _span(trace, self._span_id(), "Init", _INTERNAL, begin - init, begin)
            self._spans.append({**inner, "parentSpanId": span})

    async def flush(self) -> None:
        """Send what there is."""
        async with self._flushing:
            while self._spans:
                batch = [self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))]
                try:
                    await asyncio.to_thread(self._send, self._url, _document(batch))
                    self._reachable = True
                except (OSError, ValueError) as error:
                    if self._reachable:
                        _log.warning("traces cannot be sent to %s: %s", self._url, error)
                    self._reachable = False
                    return


def _span(trace: str, span: str, name: str, kind: int, begin: float, end: float) -> dict[str, Any]:
    return {
        "traceId": trace,
        "spanId": span,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(int(begin * 1e9)),
        "endTimeUnixNano": str(int(end * 1e9)),
    }


def _document(spans: list[dict[str, Any]]) -> bytes:
    service = [{"key": "service.name", "value": {"stringValue": "lambent"}}]
    scope = {"scope": {"name": "lambent"}, "spans": spans}
    document = {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": [scope]}]}
    return json.dumps(document).encode()
