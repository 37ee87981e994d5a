"""One execution environment: a sandbox with a runtime in it, from start to end.

    STARTING → IDLE ⇄ RUNNING → FINISHING → IDLE        FINISHING: until all ask for the next event
    IDLE ⇄ FROZEN
    RUNNING, FINISHING → BROKEN → RESET → STARTING      after a timeout or a crash
    any → STOPPED

Every transition is one method; none other is legal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lambent.clock import Clock, Timer
from lambent.functions.types import FunctionVersion, Invocation
from lambent.http import Application, Door
from lambent.pool.exits import exit_error
from lambent.pool.polling import Polling
from lambent.pool.shutdown import end_extensions
from lambent.runtime.api import ReportedError, RuntimeApi
from lambent.runtime.extensions import Extension, Extensions
from lambent.runtime.journal import Append, Journal
from lambent.runtime.output import Output
from lambent.runtime.telemetry import Telemetry
from lambent.sandbox.base import Exit, Sandbox

_MB = 1024 * 1024
# An invocation this short touches few pages, so what its report says of memory may be as old as
# that: reading it takes longer than some functions do.
_BRIEF = 0.002
_PEAK_SECONDS = 0.1
# Timers of the event loop are exact to a millisecond.
_TIMER_SLACK = 0.001


class State(Enum):
    """Where an environment stands."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    FINISHING = "finishing"
    BROKEN = "broken"
    RESET = "reset"
    FROZEN = "frozen"
    STOPPED = "stopped"


class IllegalTransition(Exception):
    """A bug: the environment was asked for something its state does not allow."""


@dataclass(slots=True)
class Result:
    """What an environment made of an event: a payload, and an error type if it failed.

    status: "success", "error" (the function's own), "timeout" or "failure" (the process is gone).
    streamed: bytes of a response that went to where it was asked for as it came.
    """

    status: str
    payload: bytes
    error_type: str | None = None
    streamed: int = 0


class InitFailed(Exception):
    """Initialisation ended without a ready runtime: the result, and the end of the log."""

    def __init__(self, result: Result, tail: bytes) -> None:
        super().__init__(result.error_type)
        self.result = result
        self.tail = tail


@dataclass(slots=True)
class Measure:
    """What one invocation took, in seconds; init is None where there was none.

    provisioned: whether its environment was; None for a version without provisioned concurrency.
    """

    status: str
    duration: float
    init: float | None
    invoked_arn: str
    request_id: str
    trace_id: str
    provisioned: bool | None


def _error_payload(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


class ExecutionEnvironment:
    """See the module's docstring.  Implements the listeners of the runtime's APIs."""

    def __init__(
        self,
        version: FunctionVersion,
        clock: Clock,
        append: Append,
        response_bytes: int,
        log_rate: int,
        polling: Polling,
        kind: str = "on-demand",
        extensions: tuple[str, ...] = (),
        measured: Callable[[FunctionVersion, Measure], None] | None = None,
        endpoint: Application | None = None,
    ) -> None:
        """kind: the initialisation type; extensions: the names of the external ones;
        endpoint: whom programs inside reach at the server's."""
        self.version = version
        self.identity = version.identity
        self.state = State.STARTING
        self.init_duration: float | None = None
        self.idle_since = 0.0
        # The pool's to set: see Measure, and whose it is where the function has tenants.
        self.provisioned: bool | None = None
        self.tenant = ""
        self.born = clock.monotonic()
        self._clock = clock
        self._log_rate = log_rate
        self._polling = polling
        self._measured = measured
        self._endpoint = endpoint
        self._door: Door | None = None
        # The most memory it has used, in MB, and when that was read.
        self._peak, self._peak_read = 0, -math.inf
        # How long the last invocation took.
        self._last = math.inf
        self._external = extensions
        self._telemetry = Telemetry(
            clock, self._connect, lambda s: journal.subscription(s.name, s.types)
        )
        self._journal = journal = Journal(version, clock, append, self._telemetry, kind)
        function = {
            "functionName": version.name,
            "functionVersion": version.version,
            "handler": version.configuration.handler,
            "accountId": version.account,
        }
        self._extensions = Extensions(self, extensions, function)
        self._api = RuntimeApi(self, response_bytes, self._extensions, self._telemetry)
        self._sandbox: Sandbox | None = None
        self._outputs: list[Output] = []
        self._loop = asyncio.get_running_loop()
        # Initialisation: resolves to None when it is over, to what went wrong otherwise.
        self._initialised: asyncio.Future[Result | None] = self._loop.create_future()
        self._launched = self._runtime_ready = False
        self._launching: asyncio.Task[None] | None = None
        self._turn: asyncio.Future[Result] | None = None
        self._rested: Callable[[], None] | None = None
        # Whether the event loop is kept awake for its next request.
        self._lingering = False
        # When the invocation at hand must be done, and the timer that looks whether it is.
        self._deadline = 0.0
        self._timer: Timer | None = None
        self._timer_due = 0.0
        # The invocation that is answered but whose log is still open.
        self._open_log: tuple[str, Result, float, float | None] | None = None
        self._request_id = ""
        self._invoked_arn = version.function_arn
        self._trace_id = ""
        # The invocation whose START line is written already.
        self._begun = ""
        # Why it is BROKEN, as extensions are told: "timeout" or "failure".
        self._broken = "failure"

    # -- start ----------------------------------------------------------------------------

    async def start(self, sandbox: Sandbox, limit: float, phase: str, request_id: str) -> None:
        """Let the runtime initialise within limit seconds; raises InitFailed.

        phase: "init", or "invoke" where a failed initialisation is repeated inside an invocation.
        """
        if self.state is not State.STARTING or self._sandbox is not None:
            raise IllegalTransition(self.state)
        self._sandbox = sandbox
        self._outputs.append(Output(sandbox.output, self._journal.function, self._log_rate))
        if sandbox.extension_output >= 0:
            sink = self._journal.extension_output
            self._outputs.append(Output(sandbox.extension_output, sink, self._log_rate))
        sandbox.extension_ended = self._extension_ended
        if self._endpoint is not None and sandbox.endpoint is not None:
            self._door = Door(sandbox.endpoint, self._endpoint)
        if phase == "init":
            self._journal.init_start(phase)
        await self._initialise(sandbox, limit, phase, request_id, listening=False)

    async def restart(self, limit: float, request_id: str) -> None:
        """Initialise again after ``reset``, inside an invocation; raises InitFailed."""
        if self.state is not State.RESET:
            raise IllegalTransition(self.state)
        assert self._sandbox is not None
        self.state = State.STARTING
        self._initialised = self._loop.create_future()
        self._launched = self._runtime_ready = False
        self._last = math.inf
        self._sandbox.throttle(False)
        await self._initialise(self._sandbox, limit, "invoke", request_id, listening=True)

    async def _initialise(
        self, sandbox: Sandbox, limit: float, phase: str, request_id: str, listening: bool
    ) -> None:
        began = self._clock.monotonic()
        self._request_id = request_id
        if phase == "invoke":
            self._journal.tail = bytearray()
            self._journal.start(request_id, "")
            self._begun = request_id
        for name in self._external:
            sandbox.launch(name)
        if not self._external:
            self._launched = True
            await self._launch()
        if not listening:
            await self._api.server.serve(sandbox.listener)
        await asyncio.wait((self._initialised,), timeout=limit)
        duration = self._clock.monotonic() - began
        result = self._initialised.result() if self._initialised.done() else self._late(limit)
        status = (
            "success" if result is None else "timeout" if result.status == "timeout" else "error"
        )
        if result is None:
            self.init_duration = duration
            sandbox.throttle()
            self.state = State.IDLE
            for extension in self._extensions:
                self._journal.extension(extension.name, "Ready", extension.events, None)
            self._journal.init_done(duration, phase, status, None)
            self._telemetry.close_registration()
            return
        for output in self._outputs:
            output.finish()
        for extension in self._extensions:
            state, events = extension.state.value, extension.events
            self._journal.extension(extension.name, state, events, extension.error_type)
        self._journal.init_done(
            duration, phase, status, None if status == "timeout" else result.error_type
        )
        if phase == "invoke":
            self._close_log(request_id, result, duration, None)
        tail, self._journal.tail = bytes(self._journal.tail or b""), None
        self.state = State.BROKEN
        raise InitFailed(result, tail)

    async def _launch(self) -> None:
        """Start the runtime and take its connection."""
        sandbox = self._sandbox
        assert sandbox is not None
        sandbox.launch()
        sandbox.exited.add_done_callback(self._process_ended)
        connection, sandbox.connection = sandbox.connection, None
        if connection is not None:
            await self._api.server.adopt(connection)

    def _progress(self) -> None:
        """Something that others may wait for has happened."""
        if self.state is State.STARTING:
            if not self._launched and self._extensions.registered:
                self._launched = True
                self._launching = asyncio.ensure_future(self._launch())
            if self._runtime_ready and self._extensions.ready and not self._initialised.done():
                self._initialised.set_result(None)
        elif self.state is State.FINISHING and self._at_rest:
            self._rest(State.IDLE)

    @property
    def awaits_extensions(self) -> bool:
        """Whether only extensions are still busy with the last invocation."""
        return self._api.ready and not self._extensions.ready

    @property
    def _at_rest(self) -> bool:
        """Whether the runtime and all extensions have asked for the next event."""
        return self._api.ready and self._extensions.ready

    def _fail_init(self, result: Result) -> None:
        if self.state is State.STARTING and not self._initialised.done():
            self._initialised.set_result(result)

    # -- an invocation --------------------------------------------------------------------

    async def run(
        self, invocation: Invocation, first: bool, spent: float = 0.0
    ) -> tuple[Result, bytes]:
        """Run one event; returns the result and, if asked for, the end of its log.

        first: the environment was started for this invocation, whose report tells of the init.
        spent: seconds of the function's time already used (an init repeated in the invocation).
        """
        if self.state is not State.IDLE:
            raise IllegalTransition(self.state)
        if self._open_log is not None:
            self._settle()
        self.state = State.RUNNING
        turn: asyncio.Future[Result] = self._loop.create_future()
        self._turn = turn
        self._request_id = request_id = invocation.request_id
        self._invoked_arn = invocation.invoked_arn
        self._trace_id = invocation.trace_id
        began = self._clock.monotonic()
        left = max(0.0, self.version.configuration.timeout - spent)
        self._deadline = began + left
        self._watch_deadline(left)
        deadline_ms = int((self._clock.time() + left) * 1000)
        self._api.dispatch(invocation, deadline_ms)
        if self._extensions.any:
            self._tell_extensions(invocation, deadline_ms)
        self._polling.begun(self._last)
        # The runtime has its event; what it prints is read after this line is written.
        journal = self._journal
        if self._begun != request_id:
            journal.tail = bytearray() if invocation.log_tail else None
            journal.start(request_id, invocation.trace_id, invocation.tenant)
        try:
            result = await turn
        except asyncio.CancelledError:
            # The server is stopping: nobody waits, and nothing tells what the function did.
            self.stop()
            raise
        finally:
            self._polling.ended()
            if invocation.stream is not None:
                invocation.stream.end()
        self._last = self._clock.monotonic() - began
        duration = self._last + spent
        self._turn = None
        self._open_log = (request_id, result, duration, self.init_duration if first else None)
        if result.status in ("timeout", "failure"):
            self._settle()
            if self.state is State.RUNNING:
                self.state = State.BROKEN
                self._broken = result.status
        elif self.state is State.RUNNING:
            if self._at_rest:
                self.state = State.IDLE
            else:
                self.state = State.FINISHING
                self._lingering = True
                self._polling.begun(self._last)
        if journal.tail is None:
            # The answer first, the bookkeeping once it is on its way.
            self._loop.call_soon(self._settle, True)
            return result, b""
        self._settle()
        tail, journal.tail = bytes(journal.tail), None
        return result, tail

    def _tell_extensions(self, invocation: Invocation, deadline_ms: int) -> None:
        self._extensions.invoke(
            {
                "deadlineMs": deadline_ms,
                "requestId": invocation.request_id,
                "invokedFunctionArn": invocation.invoked_arn,
                "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
            }
        )

    def when_rested(self, callback: Callable[[], None]) -> None:
        """Call back when a FINISHING environment is at rest: IDLE, BROKEN or STOPPED."""
        self._rested = callback

    def _rest(self, state: State) -> None:
        self.state = state
        if self._lingering:
            self._lingering = False
            self._polling.ended()
        callback, self._rested = self._rested, None
        if callback is not None:
            callback()

    def _settle(self, polled: bool = False) -> None:
        """Close the log of the last invocation; nothing if it is closed."""
        if self._open_log is not None:
            closing, self._open_log = self._open_log, None
            for output in self._outputs:
                output.finish(polled)
            self._close_log(*closing)

    def _watch_deadline(self, seconds: float) -> None:
        """Have a timer look at the deadline: one serves many invocations, for it may look early."""
        if self._timer is not None:
            if self._timer_due <= self._deadline:
                return
            self._timer.cancel()
        self._timer_due = self._deadline
        self._timer = self._clock.call_later(seconds, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._turn is not None or self.state is State.FINISHING:
            left = self._deadline - self._clock.monotonic()
            if left > _TIMER_SLACK:
                self._watch_deadline(left)
            elif self._turn is not None:
                self._finish(self._late(self.version.configuration.timeout))
            else:
                self._rest(State.BROKEN)

    def _close_log(
        self, request_id: str, result: Result, duration: float, init_duration: float | None
    ) -> None:
        """END, REPORT and, after a timeout, the line that says so."""
        assert self._sandbox is not None
        now = self._clock.monotonic()
        if duration > _BRIEF or now - self._peak_read > _PEAK_SECONDS:
            self._peak_read = now
            with contextlib.suppress(OSError, ValueError):
                self._peak = -(-self._sandbox.memory_peak() // _MB)
        configuration = self.version.configuration
        used = min(configuration.memory_size, self._peak)
        status = result.status
        if self.state is State.STARTING and status == "error":
            status = "failure"
        last = None
        if status == "timeout":
            last = f"{request_id} Task timed out after {configuration.timeout:.2f} seconds"
        self._journal.done(
            request_id, status, duration, used, init_duration, result.error_type,
            len(result.payload) + result.streamed, last,
        )  # fmt: skip
        if self._measured is not None:
            self._measured(
                self.version,
                Measure(
                    result.status, duration, init_duration, self._invoked_arn, request_id,
                    self._trace_id, self.provisioned,
                ),
            )  # fmt: skip

    # -- between invocations --------------------------------------------------------------

    def freeze(self) -> None:
        """Stop its processes until the next invocation."""
        if self.state is not State.IDLE:
            raise IllegalTransition(self.state)
        assert self._sandbox is not None
        with contextlib.suppress(OSError):
            self._sandbox.freeze()
        self.state = State.FROZEN

    def thaw(self) -> None:
        """Let its processes run again."""
        if self.state is not State.FROZEN:
            raise IllegalTransition(self.state)
        assert self._sandbox is not None
        with contextlib.suppress(OSError):
            self._sandbox.freeze(False)
        self.state = State.IDLE

    async def reset(self) -> bool:
        """End everything inside but keep /tmp; False if it is of no further use."""
        if self.state is not State.BROKEN:
            return False
        assert self._sandbox is not None
        await self._end_extensions(self._sandbox, self._broken)
        if not await self._sandbox.reset() or self.state is not State.BROKEN:
            return False
        self._api.renew()
        self._extensions.renew()
        self._telemetry.renew()
        self.state = State.RESET
        return True

    @property
    def lingers(self) -> bool:
        """Whether extensions want to know of its end."""
        return self._extensions.any and self.state in (State.IDLE, State.FROZEN)

    async def shut_down(self, reason: str) -> None:
        """End it, with the time for extensions that AWS gives them; idempotent."""
        if self.lingers:
            if self.state is State.FROZEN:
                self.thaw()
            self.state = State.BROKEN
            assert self._sandbox is not None
            self._sandbox.throttle(False)
            await self._end_extensions(self._sandbox, reason)
        self.stop()

    async def _end_extensions(self, sandbox: Sandbox, reason: str) -> None:
        await end_extensions(sandbox, self._extensions, self._telemetry, self._clock, reason)

    def stop(self) -> None:
        """End it at once; idempotent."""
        if self.state is State.STOPPED:
            return
        if self._sandbox is not None:
            self._settle()
        finishing = self.state is State.FINISHING
        self.state = State.STOPPED
        if self._timer is not None:
            self._timer.cancel()
        if self._launching is not None:
            self._launching.cancel()
        for output in self._outputs:
            output.close()
        self._telemetry.renew()
        self._api.server.stop_listening()
        for connection in list(self._api.server.connections):
            connection.abort()
        if self._sandbox is not None:
            if self._door is not None:
                self._door.close()
            self._sandbox.destroy()
        if finishing:
            self._rest(State.STOPPED)

    # -- what the runtime says ------------------------------------------------------------

    def runtime_ready(self) -> None:
        if not self._runtime_ready:
            self._runtime_ready = True
            self._extensions.close_registration()
            self._progress()
        elif self.state is State.FINISHING:
            self._progress()

    def runtime_responded(self, payload: bytes) -> None:
        self._finish(Result("success", payload))

    def runtime_streamed(self, size: int) -> None:
        self._finish(Result("success", b"", streamed=size))

    def runtime_failed(self, error: ReportedError) -> None:
        self._finish(Result("error", error.payload, error.kind))

    def runtime_answered_too_much(self, limit: int) -> None:
        message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
        kind = "Function.ResponseSizeTooLarge"
        payload = json.dumps({"errorMessage": message, "errorType": kind}).encode()
        self._finish(Result("error", payload, kind))

    def runtime_init_failed(self, error: ReportedError) -> None:
        self._fail_init(Result("error", error.payload, error.kind))

    # -- what the extensions say ----------------------------------------------------------

    def extensions_changed(self) -> None:
        self._progress()

    def extension_failed(self, extension: Extension, kind: str) -> None:
        self._break(kind, f"{extension.name}: {extension.error_type}")

    def _extension_ended(self, name: str, status: int) -> None:
        extension = self._extensions.ended(name)
        code = status >> 8 if status & 0x7F == 0 else 128 + (status & 0x7F)
        kind = (
            "Extension.LaunchError"
            if code == 127 and self.state is State.STARTING
            else "Extension.Crash"
        )
        extension.error_type = extension.error_type or kind
        self._break(kind, f"exit code {code}")

    def _break(self, kind: str, reason: str) -> None:
        """An extension that ends takes the environment along."""
        self._fall(kind, f"RequestId: {self._request_id} Error: {reason}")

    async def _connect(self, port: int) -> socket.socket:
        if self._sandbox is None:
            raise OSError("there is no sandbox")
        return await self._sandbox.connect(port)

    # -- what happens to it ---------------------------------------------------------------

    def _finish(self, result: Result) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(result)

    def _process_ended(self, exited: asyncio.Future[Exit]) -> None:
        if self._sandbox is None or exited is not self._sandbox.exited:
            return  # of a launch before the last
        self._fall(*exit_error(exited.result(), self._request_id))

    def _fall(self, kind: str, message: str) -> None:
        """A process that it cannot do without has ended."""
        result = Result("failure", _error_payload(kind, message), kind)
        self._fail_init(result)
        self._finish(result)
        if self.state is State.FINISHING:
            self._rest(State.BROKEN)
        elif self.state in (State.IDLE, State.FROZEN):
            self.stop()

    def _late(self, timeout: float) -> Result:
        message = f"RequestId: {self._request_id} Error: Task timed out after {timeout:.2f} seconds"
        kind = "Sandbox.Timedout"
        return Result("timeout", _error_payload(kind, message), kind)
