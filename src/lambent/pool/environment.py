"""One execution environment: a sandbox with a runtime in it, from start to end.

States: STARTING → IDLE ⇄ RUNNING, IDLE ⇄ FROZEN, any → STOPPED.  Every transition is one method;
none other is legal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lambent.clock import Clock, Timer
from lambent.functions.types import FunctionVersion, Invocation
from lambent.pool.polling import Polling
from lambent.runtime import lines
from lambent.runtime.api import ReportedError, RuntimeApi
from lambent.runtime.output import Output
from lambent.sandbox.base import Exit, Sandbox

_TAIL_BYTES = 4096
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
    FROZEN = "frozen"
    STOPPED = "stopped"


class IllegalTransition(Exception):
    """A bug: the environment was asked for something its state does not allow."""


@dataclass(slots=True)
class Result:
    """What an environment made of an event: a payload, and an error type if it failed.

    status: "success", "error" (the function's own), "timeout" or "failure" (the process is gone).
    """

    status: str
    payload: bytes
    error_type: str | None = None


class InitFailed(Exception):
    """Initialisation ended without a ready runtime: the result, and the end of the log."""

    def __init__(self, result: Result, tail: bytes) -> None:
        super().__init__(result.error_type)
        self.result = result
        self.tail = tail


def _error_payload(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


Append = Callable[[int, list[str]], None]
"""Where an environment's lines go: (ms since the epoch, messages)."""


class ExecutionEnvironment:
    """See the module's docstring.  Implements the Runtime API's Listener."""

    def __init__(
        self,
        version: FunctionVersion,
        clock: Clock,
        append: Append,
        response_bytes: int,
        log_rate: int,
        polling: Polling,
    ) -> None:
        self.version = version
        self.identity = version.identity
        self.state = State.STARTING
        self.init_duration: float | None = None
        self.idle_since = 0.0
        self._clock = clock
        self._append = append
        self._log_rate = log_rate
        self._polling = polling
        # The most memory it has used, in MB, and when that was read.
        self._peak = 0
        self._peak_read = -math.inf
        # How long the last invocation took.
        self._last = math.inf
        self._response_bytes = response_bytes
        self._api = RuntimeApi(self, response_bytes)
        self._sandbox: Sandbox | None = None
        self._output: Output | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[ReportedError | None] = self._loop.create_future()
        self._turn: asyncio.Future[Result] | None = None
        # When the invocation at hand must be done, and the timer that looks whether it is.
        self._deadline = 0.0
        self._timer: Timer | None = None
        self._timer_due = 0.0
        # The invocation that is answered but whose log is still open.
        self._open_log: tuple[str, Result, float, float | None] | None = None
        self._tail: bytearray | None = None
        self._request_id = ""
        # The invocation whose START line is written already.
        self._begun = ""

    # -- start ----------------------------------------------------------------------------

    async def start(self, sandbox: Sandbox, limit: float, phase: str, request_id: str) -> None:
        """Let the runtime initialise within limit seconds; raises InitFailed.

        phase: "init", or "invoke" where a failed initialisation is repeated inside an invocation.
        """
        if self.state is not State.STARTING:
            raise IllegalTransition(self.state)
        began = self._clock.monotonic()
        self._sandbox = sandbox
        self._request_id = request_id
        self._output = Output(sandbox.output, self._lines, self._log_rate)
        if phase == "invoke":
            self._tail = bytearray()
            self._platform(lines.start(request_id, self.version.version))
            self._begun = request_id
        sandbox.launch()
        connection, sandbox.connection = sandbox.connection, None
        if connection is not None:
            await self._api.server.adopt(connection)
        await self._api.server.serve(sandbox.listener)
        ready, exited = self._ready, sandbox.exited
        both: set[asyncio.Future[Any]] = {ready, exited}
        await asyncio.wait(both, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        duration = self._clock.monotonic() - began
        if ready.done() and ready.result() is None and not exited.done():
            self.init_duration = duration
            sandbox.throttle()
            self.state = State.IDLE
            exited.add_done_callback(self._process_ended)
            return
        if ready.done() and (reported := ready.result()) is not None:
            result = Result("error", reported.payload, reported.kind)
        elif exited.done():
            result = self._exit_result(exited.result())
        else:
            result = self._timeout_result(limit)
        self._output.finish()
        status = "timeout" if result.status == "timeout" else "error"
        kind = None if status == "timeout" else result.error_type
        self._platform(lines.init_report(duration, phase, status, kind))
        if phase == "invoke":
            self._close_log(request_id, result, duration, None)
        self.stop()
        raise InitFailed(result, bytes(self._tail or b""))

    def announce(self) -> None:
        """Write the first line of the log."""
        runtime = _runtime_version(self.version.configuration.runtime)
        digest = self.version.configuration.runtime.encode().hex().ljust(64, "0")[:64]
        arn = f"arn:aws:lambda:{self.version.region}::runtime:{digest}"
        self._platform(lines.init_start(f"{runtime}.v1", arn))

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
        began = self._clock.monotonic()
        left = max(0.0, self.version.configuration.timeout - spent)
        self._deadline = began + left
        self._watch_deadline(left)
        self._api.dispatch(invocation, int((self._clock.time() + left) * 1000))
        self._polling.begun(self._last)
        # The runtime has its event; what it prints is read after this line is written.
        if self._begun != request_id:
            self._tail = bytearray() if invocation.log_tail else None
            self._platform(lines.start(request_id, self.version.version))
        try:
            result = await turn
        except asyncio.CancelledError:
            # The server is stopping: nobody waits, and nothing tells what the function did.
            self.stop()
            raise
        finally:
            self._polling.ended()
        self._last = self._clock.monotonic() - began
        duration = self._last + spent
        self._turn = None
        self._open_log = (request_id, result, duration, self.init_duration if first else None)
        if result.status in ("timeout", "failure"):
            self._settle()
            self.stop()
        elif self.state is State.RUNNING:
            self.state = State.IDLE
        if self._tail is None:
            # The answer first, the bookkeeping once it is on its way.
            self._loop.call_soon(self._settle, True)
            return result, b""
        self._settle()
        tail, self._tail = bytes(self._tail), None
        return result, tail

    def _settle(self, polled: bool = False) -> None:
        """Close the log of the last invocation; nothing if it is closed."""
        if self._open_log is not None:
            assert self._output is not None
            closing, self._open_log = self._open_log, None
            self._output.finish(polled)
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
        if self._turn is not None:
            left = self._deadline - self._clock.monotonic()
            if left > _TIMER_SLACK:
                self._watch_deadline(left)
            else:
                self._finish(self._timeout_result(self.version.configuration.timeout))

    def _close_log(
        self, request_id: str, result: Result, duration: float, init_duration: float | None
    ) -> None:
        """END, REPORT and, after a timeout, the line that says so."""
        assert self._sandbox is not None
        memory = self.version.configuration.memory_size
        now = self._clock.monotonic()
        if duration > _BRIEF or now - self._peak_read > _PEAK_SECONDS:
            self._peak_read = now
            with contextlib.suppress(OSError, ValueError):
                self._peak = -(-self._sandbox.memory_peak() // _MB)
        failed = result.status == "failure" or self.state is State.STARTING
        status = "timeout" if result.status == "timeout" else "error" if failed else None
        kind = result.error_type if status == "error" else None
        used = min(memory, self._peak)
        closing = [
            lines.end(request_id),
            lines.report(request_id, duration, memory, used, init_duration, status, kind),
        ]
        if status == "timeout":
            closing.append(self._timeout_line(request_id))
        self._write(int(self._clock.time() * 1000), closing)

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
            self._sandbox.thaw()
        self.state = State.IDLE

    def stop(self) -> None:
        """End it; idempotent."""
        if self.state is State.STOPPED:
            return
        if self._sandbox is not None:
            self._settle()
        self.state = State.STOPPED
        if self._timer is not None:
            self._timer.cancel()
        if self._output is not None:
            self._output.close()
        self._api.server.stop_listening()
        for connection in list(self._api.server.connections):
            connection.abort()
        if self._sandbox is not None:
            self._sandbox.destroy()

    # -- what the runtime says (Listener) -------------------------------------------------

    def runtime_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def runtime_responded(self, payload: bytes) -> None:
        self._finish(Result("success", payload))

    def runtime_failed(self, error: ReportedError) -> None:
        self._finish(Result("error", error.payload, error.kind))

    def runtime_answered_too_much(self, size: int) -> None:
        message = (
            "Response payload size exceeded maximum allowed payload size "
            f"({self._response_bytes} bytes)."
        )
        kind = "Function.ResponseSizeTooLarge"
        payload = json.dumps({"errorMessage": message, "errorType": kind}).encode()
        self._finish(Result("error", payload, kind))

    def runtime_init_failed(self, error: ReportedError) -> None:
        if not self._ready.done():
            self._ready.set_result(error)

    # -- what happens to it ---------------------------------------------------------------

    def _finish(self, result: Result) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(result)

    def _process_ended(self, exited: asyncio.Future[Exit]) -> None:
        if self.state is State.RUNNING:
            self._finish(self._exit_result(exited.result()))
        elif self.state in (State.IDLE, State.FROZEN):
            self.stop()

    def _timeout_result(self, timeout: float) -> Result:
        message = f"RequestId: {self._request_id} Error: Task timed out after {timeout:.2f} seconds"
        kind = "Sandbox.Timedout"
        return Result("timeout", _error_payload(kind, message), kind)

    def _timeout_line(self, request_id: str) -> str:
        timeout = self.version.configuration.timeout
        return f"{request_id} Task timed out after {timeout:.2f} seconds"

    def _exit_result(self, ended: Exit) -> Result:
        if ended.not_executed is not None:
            kind = "Runtime.InvalidEntrypoint"
            reason = ended.not_executed
        elif ended.out_of_memory:
            kind = "Runtime.OutOfMemory"
            reason = "Runtime exited with error: signal: killed"
        else:
            kind = "Runtime.ExitError"
            reason = _reason(ended.status)
        message = f"RequestId: {self._request_id} Error: {reason}"
        return Result("failure", _error_payload(kind, message), kind)

    # -- its log --------------------------------------------------------------------------

    def _lines(self, messages: list[str]) -> None:
        self._write(int(self._clock.time() * 1000), messages)

    def _platform(self, line: str) -> None:
        self._write(int(self._clock.time() * 1000), [line])

    def _write(self, timestamp: int, messages: list[str]) -> None:
        tail = self._tail
        if tail is not None:
            tail += "".join([f"{message}\n" for message in messages]).encode("utf-8", "replace")
            del tail[:-_TAIL_BYTES]
        self._append(timestamp, messages)


def _runtime_version(runtime: str) -> str:
    """As AWS writes it: python:3.12, nodejs:20, java:17, provided:al2023."""
    found = re.fullmatch(r"([a-z]+)\.?(.*?)(?:\.x)?", runtime)
    return f"{found[1]}:{found[2]}" if found else runtime


_SIGNALS = {
    4: "illegal instruction",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    11: "segmentation fault",
    15: "terminated",
    31: "bad system call",
}


def _reason(status: int | None) -> str:
    """How a process ended, in the words AWS uses."""
    if status is None:
        return "Runtime exited with error: signal: killed"
    signal = status & 0x7F
    if signal:
        return f"Runtime exited with error: signal: {_SIGNALS.get(signal, signal)}"
    code = status >> 8
    if code:
        return f"Runtime exited with error: exit status {code}"
    return "Runtime exited without providing a reason"
