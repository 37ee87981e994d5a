"""The Runtime API of one execution environment.

A state machine that refuses by default.  The runtime asks for the next event, answers it with a
response or an error, and so on; each of those is one method here, called synchronously as the
request comes in.  Paths, status codes and bodies: AWS Lambda, "Using the Lambda runtime API".
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from lambent.aws import jsontext
from lambent.functions.response_stream import ResponseStream
from lambent.functions.types import Invocation
from lambent.http import BodyTooLarge, ClientGone, Exchange, HttpLimits, HttpServer
from lambent.runtime import extensions, telemetry
from lambent.runtime.extensions import Extensions
from lambent.runtime.telemetry import Telemetry

_PREFIX = "/2018-06-01/runtime/"
_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
_ERROR_TYPE_HEADER = "lambda-runtime-function-error-type"
_MODE = "lambda-runtime-function-response-mode"
_OCTETS = "application/octet-stream"
_ERROR_BYTES = 1024 * 1024
_JSON = [("Content-Type", "application/json")]
_ACCEPTED = b'{"status":"OK"}\n'
# No time limits: a runtime waits for its next event as long as it takes.
LIMITS = HttpLimits(head_seconds=0, body_seconds=0, idle_seconds=0, connections=64)


class State(Enum):
    """Where the runtime process stands."""

    STARTED = "Started"
    READY = "Ready"
    RUNNING = "Running"
    RESPONDED = "ResponseSent"
    INIT_FAILED = "InitError"


@dataclass(frozen=True, slots=True)
class ReportedError:
    """What a runtime reported: an error type fit for telemetry and the payload to hand on."""

    kind: str
    payload: bytes


class Listener(Protocol):
    """Who is told what the runtime does."""

    def runtime_ready(self) -> None:
        """It asks for an event; the first time, initialisation is over."""

    def runtime_responded(self, payload: bytes) -> None:
        """It has answered the event at hand."""

    def runtime_streamed(self, size: int) -> None:
        """It has answered the event at hand with so many bytes, which went on as they came."""

    def runtime_failed(self, error: ReportedError) -> None:
        """It answers the event at hand with an error."""

    def runtime_answered_too_much(self, limit: int) -> None:
        """Its response is over the limit and was refused."""

    def runtime_init_failed(self, error: ReportedError) -> None:
        """It could not initialise."""


class RuntimeApi:
    """Serves one environment's runtime; one event at a time."""

    def __init__(
        self, listener: Listener, response_bytes: int, joined: Extensions, listening: Telemetry
    ) -> None:
        self._listener = listener
        self._extensions = joined
        self._telemetry = listening
        self._response_bytes = response_bytes
        self._state = State.STARTED
        self._poll: Exchange | None = None
        self._request_id = ""
        self._event: Invocation | None = None
        self._deadline_ms = 0
        # Where the response of the event at hand goes, and what takes it there.
        self._stream: ResponseStream | None = None
        self._version = ""
        self._forwarding: asyncio.Task[None] | None = None
        self.server = HttpServer(self.handle, LIMITS)

    def renew(self) -> None:
        """Forget the runtime that was there: another is about to start."""
        self._state = State.STARTED
        self._poll = self._event = None
        self._request_id = ""
        self.stop_streaming()
        for connection in list(self.server.connections):
            connection.abort()

    @property
    def state(self) -> State:
        """Where the runtime stands."""
        return self._state

    @property
    def ready(self) -> bool:
        """Whether the runtime has asked for an event and got none yet."""
        return self._state is State.READY

    def stop_streaming(self) -> None:
        """Nobody waits for what the runtime still says."""
        if self._forwarding is not None:
            self._forwarding.cancel()
            self._forwarding = None
        if self._stream is not None:
            self._stream.end()
            self._stream = None

    def dispatch(self, invocation: Invocation, deadline_ms: int) -> None:
        """Hand over an event; the runtime must be ready."""
        assert self._event is None
        self._event = invocation
        self._deadline_ms = deadline_ms
        if self._poll is not None and not self._poll.gone:
            poll, self._poll = self._poll, None
            self._deliver(poll)

    def handle(self, exchange: Exchange) -> None:
        """Route one request."""
        path = exchange.path
        method = exchange.method
        if path.startswith(_PREFIX):
            rest = path[len(_PREFIX) :]
            if rest == "invocation/next" and method == "GET":
                self._next(exchange)
                return
            if method == "POST" and rest.startswith("invocation/"):
                request_id, _, verb = rest[len("invocation/") :].partition("/")
                if verb == "response":
                    self._response(exchange, request_id)
                    return
                if verb == "error":
                    self._error(exchange, request_id)
                    return
            if rest == "init/error" and method == "POST":
                self._init_error(exchange)
                return
        elif path.startswith(extensions.PREFIX):
            self._extensions.handle(exchange)
            return
        elif path in telemetry.PATHS:
            extension = self._extensions.identify(exchange)
            if extension is not None:
                self._telemetry.handle(exchange, extension.name)
            return
        elif path == "/2018-06-01/ping" and method == "GET":
            exchange.respond(200, (), b"pong")
            return
        exchange.respond(404, (), b"404 page not found\n")

    # -- the five calls -------------------------------------------------------------------

    def _next(self, exchange: Exchange) -> None:
        if self._state in (State.STARTED, State.RESPONDED):
            self._state = State.READY
            self._poll = exchange
            self._listener.runtime_ready()
            # Handing over an event in the meantime has taken the poll.
        elif self._state is State.READY:
            if self._poll is not None and not self._poll.gone:
                self._refuse(exchange, "Ready")
                return
            self._poll = exchange  # the first poll's connection broke
        else:
            self._refuse(exchange, "Ready")
            return
        if self._event is not None and self._poll is exchange:
            self._poll = None
            self._deliver(exchange)

    def _deliver(self, exchange: Exchange) -> None:
        invocation = self._event
        assert invocation is not None
        self._event = None
        self._state = State.RUNNING
        self._request_id = invocation.request_id
        self._stream = invocation.stream
        self._version = invocation.version.version
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(self._deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
        ]
        if invocation.tenant:
            headers.append(("Lambda-Runtime-Aws-Tenant-Id", invocation.tenant))
        if invocation.client_context:
            headers.append(("Lambda-Runtime-Client-Context", invocation.client_context))
        if invocation.cognito_identity:
            headers.append(("Lambda-Runtime-Cognito-Identity", invocation.cognito_identity))
        exchange.respond(200, headers, invocation.payload)

    def _response(self, exchange: Exchange, request_id: str) -> None:
        if not self._answers(exchange, request_id, "InvocationResponse"):
            return
        mode = exchange.headers.get(_MODE, "")
        if mode and mode != "streaming":
            kind = "InvalidFunctionResponseMode"
            self._fail(exchange, 400, kind, "Invalid function response mode")
            return

        if mode and self._stream is not None:
            forward = self._forward(exchange, request_id, self._stream)
            self._forwarding = asyncio.ensure_future(forward)
            return

        def done(body: bytes | None) -> None:
            if not self._answers(exchange, request_id, "InvocationResponse"):
                return
            self._state = State.RESPONDED
            if exchange.trailers.get(_ERROR_TYPE_HEADER):
                self._listener.runtime_failed(_error_of_trailers(exchange))
                self._accepted(exchange)
                return
            if body is None:
                self._too_much(exchange, self._response_bytes)
                return
            # The client has its answer before the runtime has its receipt.
            if exchange.query == "next":
                self._listener.runtime_responded(body)
                self._next(exchange)
            else:
                exchange.respond(202, _JSON, _ACCEPTED)
                self._listener.runtime_responded(body)

        exchange.collect(self._response_bytes, done)

    async def _forward(self, exchange: Exchange, request_id: str, stream: ResponseStream) -> None:
        """Hand a response on as it comes, as fast as it is taken."""
        size = 0
        stream.begin(exchange.headers.get("content-type", _OCTETS), self._version)
        try:
            async for piece in exchange.chunks(stream.limit):
                size += len(piece)
                await stream.write(piece)
        except BodyTooLarge:
            size = -1
        except ClientGone:
            return  # the process has ended, which is told elsewhere
        finally:
            self._forwarding = None
            stream.end()
        if not self._answers(exchange, request_id, "InvocationResponse"):
            return
        self._state = State.RESPONDED
        if size < 0:
            self._too_much(exchange, stream.limit)
        elif exchange.trailers.get(_ERROR_TYPE_HEADER):
            self._listener.runtime_failed(_error_of_trailers(exchange))
            self._accepted(exchange)
        else:
            self._listener.runtime_streamed(size)
            self._accepted(exchange)

    def _too_much(self, exchange: Exchange, limit: int) -> None:
        message = f"Exceeded maximum allowed payload size ({limit} bytes)."
        self._fail(exchange, 413, "RequestEntityTooLarge", message)
        self._listener.runtime_answered_too_much(limit)

    def _error(self, exchange: Exchange, request_id: str) -> None:
        if not self._answers(exchange, request_id, "InvocationErrorResponse"):
            return

        def done(body: bytes | None) -> None:
            if not self._answers(exchange, request_id, "InvocationErrorResponse"):
                return
            self._state = State.RESPONDED
            self._listener.runtime_failed(_error_of(exchange, body, "Function.Unknown"))
            self._accepted(exchange)

        exchange.collect(_ERROR_BYTES, done)

    def _accepted(self, exchange: Exchange) -> None:
        """The receipt; a runtime of ours that asks ``?next`` gets its next event instead."""
        if exchange.query == "next":
            self._next(exchange)
        else:
            exchange.respond(202, _JSON, _ACCEPTED)

    def _init_error(self, exchange: Exchange) -> None:
        if self._state is not State.STARTED:
            self._refuse(exchange, "InitError")
            return

        def done(body: bytes | None) -> None:
            if self._state is not State.STARTED:
                self._refuse(exchange, "InitError")
                return
            self._state = State.INIT_FAILED
            exchange.respond(202, _JSON, _ACCEPTED)
            self._listener.runtime_init_failed(_error_of(exchange, body, "Runtime.Unknown"))

        exchange.collect(_ERROR_BYTES, done)

    # -- refusals -------------------------------------------------------------------------

    def _answers(self, exchange: Exchange, request_id: str, target: str) -> bool:
        """Whether a response to this id is due now; otherwise it has been refused."""
        busy = self._forwarding is not None and target == "InvocationResponse"
        if self._state is State.RUNNING and request_id == self._request_id and not busy:
            return True
        if request_id != self._request_id or self._state is State.RESPONDED:
            self._fail(exchange, 400, "InvalidRequestID", "Invalid request ID")
        else:
            self._refuse(exchange, target)
        return False

    def _refuse(self, exchange: Exchange, target: str) -> None:
        message = (
            f"State transition from {self._state.value} to {target} failed for runtime. "
            "Error: State transition is not allowed"
        )
        self._fail(exchange, 403, "InvalidStateTransition", message)

    @staticmethod
    def _fail(exchange: Exchange, status: int, kind: str, message: str) -> None:
        body = json.dumps({"errorMessage": message, "errorType": kind}).encode()
        exchange.respond(status, _JSON, body)


def _error_of_trailers(exchange: Exchange) -> ReportedError:
    """The error that ended a streamed response."""
    kind = exchange.trailers[_ERROR_TYPE_HEADER]
    text = exchange.trailers.get("lambda-runtime-function-error-body", "")
    try:
        payload = base64.b64decode(text, validate=True)
        json.loads(payload)
    except (ValueError, RecursionError):
        payload = json.dumps({"errorType": kind, "errorMessage": ""}).encode()
    return ReportedError(kind if _ERROR_TYPE.fullmatch(kind) else "Function.Unknown", payload)


def _error_of(exchange: Exchange, body: bytes | None, unknown: str) -> ReportedError:
    """A reported error; its type from the header or, as older clients have it, from the body."""
    payload = body or b"{}"
    kind = exchange.headers.get(_ERROR_TYPE_HEADER, "")
    try:
        document = jsontext.decode(payload)
        told = document.get("errorType", "") if isinstance(document, dict) else ""
    except ValueError:
        payload = json.dumps({"errorMessage": "", "errorType": kind or unknown}).encode()
        told = ""
    for candidate in (kind, told):
        if isinstance(candidate, str) and _ERROR_TYPE.fullmatch(candidate):
            return ReportedError(candidate, payload)
    return ReportedError(unknown, payload)
