"""What an environment's log says: the platform's events, the function's and extensions' lines.

An event is told in up to three ways: as a line of text in the log, or as a JSON object there
(LogFormat JSON, filtered by level), and as a telemetry event to extensions that listen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lambent.clock import Clock, utc
from lambent.functions.types import FunctionVersion
from lambent.runtime import lines
from lambent.runtime.telemetry import Telemetry

Append = Callable[[int, list[str]], None]
"""Where an environment's lines go: (ms since the epoch, messages)."""

_TAIL_BYTES = 4096
_MB = 1024 * 1024
_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
# Events that are told at one level if all went well; at WARN otherwise.  Source: AWS Lambda
# Developer Guide, "System log level event mapping".
_LEVEL_OF = {
    "platform.initStart": "INFO",
    "platform.initRuntimeDone": "DEBUG",
    "platform.initReport": "DEBUG",
    "platform.start": "INFO",
    "platform.runtimeDone": "DEBUG",
    "platform.report": "INFO",
    "platform.extension": "INFO",
    "platform.telemetrySubscription": "INFO",
    "platform.logsDropped": "WARN",
}


class Journal:
    """One environment's log."""

    def __init__(
        self,
        version: FunctionVersion,
        clock: Clock,
        append: Append,
        telemetry: Telemetry,
        kind: str = "on-demand",
    ) -> None:
        """kind: the initialisation type."""
        configuration = version.configuration
        self._version = version
        self._clock = clock
        self._append = append
        self._telemetry = telemetry
        self._kind = kind
        self._json = configuration.log_format == "JSON"
        self._system = _LEVELS.index(configuration.system_log_level or "INFO")
        self._application = _LEVELS.index(configuration.application_log_level or "INFO")
        # Runtimes that cannot write a line break into one event write this instead.
        self._returns = configuration.runtime.startswith(("nodejs", "java"))
        # The end of the log since the invocation at hand began, if it was asked for.
        self.tail: bytearray | None = None

    # -- what programs print --------------------------------------------------------------

    def function(self, messages: list[str]) -> None:
        """Lines of the runtime's output."""
        self._output("function", messages)

    def extension_output(self, messages: list[str]) -> None:
        """Lines of the extensions' output."""
        self._output("extension", messages)

    def _output(self, kind: str, messages: list[str]) -> None:
        if self._returns:
            messages = [each.rstrip("\r").replace("\r", "\n") for each in messages]
        if self._json or self._telemetry.any:
            messages = [each for each in messages if self._passes(kind, each)]
        if messages:
            self._write(int(self._clock.time() * 1000), messages)

    def _passes(self, kind: str, message: str) -> bool:
        """Tell telemetry of a line; returns whether its level lets it into the log."""
        record: Any = message
        passes = True
        if self._json and message.startswith("{"):
            try:
                record = json.loads(message)
            except (ValueError, RecursionError):
                record = message
            if isinstance(record, dict) and "timestamp" in record:
                level = str(record.get("level", "")).upper().replace("WARNING", "WARN")
                passes = level not in _LEVELS or _LEVELS.index(level) >= self._application
        if self._telemetry.wants(kind):
            self._telemetry.emit(kind, {"time": self._now(), "type": kind, "record": record})
        return passes

    # -- what the platform says -----------------------------------------------------------

    def init_start(self, phase: str) -> None:
        """An environment begins."""
        name = self._version.configuration.runtime
        digest = name.encode().hex().ljust(64, "0")[:64]
        runtime = f"{_runtime_version(name)}.v1"
        arn = f"arn:aws:lambda:{self._version.region}::runtime:{digest}"
        record = {
            "initializationType": self._kind,
            "phase": phase,
            "runtimeVersion": runtime,
            "runtimeVersionArn": arn,
            "functionName": self._version.name,
            "functionArn": self._version.arn,
            "functionVersion": self._version.version,
            "instanceMaxMemory": self._version.configuration.memory_size * _MB,
        }
        text = lines.init_start(runtime, arn) if phase == "init" else None
        self._tell("platform.initStart", text, record)

    def init_done(self, duration: float, phase: str, status: str, error_type: str | None) -> None:
        """Initialisation has ended, well or not."""
        record: dict[str, Any] = {
            "initializationType": self._kind,
            "phase": phase,
            "status": status,
        }
        if error_type:
            record["errorType"] = error_type
        self._tell("platform.initRuntimeDone", None, record)
        record = {**record, "metrics": {"durationMs": round(duration * 1000, 3)}}
        failed = status != "success"
        text = lines.init_report(duration, phase, status, error_type) if failed else None
        self._tell("platform.initReport", text, record)

    def extension(self, name: str, state: str, events: tuple[str, ...], error: str | None) -> None:
        """An extension stands somewhere, once initialisation is over."""
        record: dict[str, Any] = {"name": name, "state": state, "events": list(events)}
        if error:
            record["errorType"] = error
        told = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{','.join(events)}]"
        if error:
            told += f"\tError Type: {error}"
        self._tell("platform.extension", told, record)

    def subscription(self, name: str, types: tuple[str, ...]) -> None:
        """An extension listens from now on."""
        text = f"TELEMETRY\tName: {name}\tState: Subscribed\tTypes: [{', '.join(types)}]"
        record = {"name": name, "state": "Subscribed", "types": list(types)}
        self._tell("platform.telemetrySubscription", text, record)

    def start(self, request_id: str, trace_id: str, tenant: str = "") -> None:
        """An invocation begins; "" for a trace nobody knows yet."""
        version = self._version.version
        if not self._structured:
            self._platform([lines.start(request_id, version)])
            return
        record: dict[str, Any] = {"requestId": request_id, "version": version}
        if tenant:
            record["tenantId"] = tenant
        if trace_id:
            record["tracing"] = {"type": "X-Amzn-Trace-Id", "value": trace_id}
        self._tell("platform.start", lines.start(request_id, version), record)

    def done(
        self,
        request_id: str,
        status: str,
        duration: float,
        memory_used: int,
        init_duration: float | None,
        error_type: str | None,
        produced: int,
        last: str | None,
    ) -> None:
        """An invocation has ended: its END and REPORT, and a last line if there is one.

        status: "success", "error" (the function's own), "timeout" or "failure".
        """
        memory = self._version.configuration.memory_size
        told = None if status in ("success", "error") else status.replace("failure", "error")
        text = lines.report(
            request_id, duration, memory, memory_used, init_duration, told,
            error_type if told == "error" else None,
        )  # fmt: skip
        if not self._structured:
            closing = [lines.end(request_id), text]
            self._platform([*closing, last] if last else closing)
            return
        record: dict[str, Any] = {"requestId": request_id, "status": status}
        if status != "success" and error_type:
            record["errorType"] = error_type
        self._tell(
            "platform.runtimeDone",
            None,
            {
                **record,
                "metrics": {"durationMs": round(duration * 1000, 3), "producedBytes": produced},
            },
        )
        metrics: dict[str, Any] = {
            "durationMs": round(duration * 1000, 3),
            "billedDurationMs": lines.billed_milliseconds(duration, init_duration),
            "memorySizeMB": memory,
            "maxMemoryUsedMB": memory_used,
        }
        if init_duration is not None:
            metrics["initDurationMs"] = round(init_duration * 1000, 3)
        if not self._json:
            self._platform([lines.end(request_id)])
        self._tell("platform.report", text, {**record, "metrics": metrics})
        if last and not self._json:
            self._platform([last])
        dropped = self._telemetry.dropped()
        if dropped:
            reason = "Consumer seems to have fallen behind"
            lost = {"reason": reason, "droppedRecords": dropped, "droppedBytes": 0}
            self._tell("platform.logsDropped", None, lost)

    @property
    def _structured(self) -> bool:
        return self._json or self._telemetry.any

    def _tell(self, kind: str, text: str | None, record: dict[str, Any]) -> None:
        if not self._structured:
            if text is not None:
                self._platform([text])
            return
        event = {"time": self._now(), "type": kind, "record": record}
        if self._telemetry.wants("platform"):
            self._telemetry.emit("platform", event)
        if self._json:
            fine = record.get("status", "success") == "success" and "errorType" not in record
            level = _LEVEL_OF[kind] if fine else "WARN"
            if _LEVELS.index(level) >= self._system:
                self._platform([json.dumps(event)])
        elif text is not None:
            self._platform([text])

    def _now(self) -> str:
        return utc(self._clock.time()).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _platform(self, messages: list[str]) -> None:
        self._write(int(self._clock.time() * 1000), messages)

    def _write(self, timestamp: int, messages: list[str]) -> None:
        tail = self.tail
        if tail is not None:
            tail += "".join([f"{message}\n" for message in messages]).encode("utf-8", "replace")
            del tail[:-_TAIL_BYTES]
        self._append(timestamp, messages)


def _runtime_version(runtime: str) -> str:
    """As AWS writes it: python:3.12, nodejs:20, java:17, provided:al2023."""
    found = re.fullmatch(r"([a-z]+)\.?(.*?)(?:\.x)?", runtime)
    return f"{found[1]}:{found[2]}" if found else runtime
