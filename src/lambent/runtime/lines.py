"""The platform's lines in a function's log, to the letter."""

from __future__ import annotations

import math


def billed_milliseconds(duration: float, init_duration: float | None) -> int:
    """Duration and initialisation, rounded up to the millisecond (AWS bills both since 2025)."""
    return math.ceil((duration + (init_duration or 0.0)) * 1000)


def init_start(runtime: str, arn: str) -> str:
    """The first line of a new environment."""
    return f"INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}"


def init_report(duration: float, phase: str, status: str, error_type: str | None) -> str:
    """An initialisation that failed."""
    line = f"INIT_REPORT Init Duration: {duration * 1000:.2f} ms\tPhase: {phase}\tStatus: {status}"
    return f"{line}\tError Type: {error_type}" if error_type else line


def start(request_id: str, version: str) -> str:
    """An invocation begins."""
    return f"START RequestId: {request_id} Version: {version}"


def end(request_id: str) -> str:
    """An invocation has ended."""
    return f"END RequestId: {request_id}"


def report(
    request_id: str,
    duration: float,
    memory_size: int,
    memory_used: int,
    init_duration: float | None = None,
    status: str | None = None,
    error_type: str | None = None,
) -> str:
    """What an invocation took: seconds and MB."""
    line = (
        f"REPORT RequestId: {request_id}\tDuration: {duration * 1000:.2f} ms\t"
        f"Billed Duration: {billed_milliseconds(duration, init_duration)} ms\t"
        f"Memory Size: {memory_size} MB\tMax Memory Used: {memory_used} MB\t"
    )
    if init_duration is not None:
        line += f"Init Duration: {init_duration * 1000:.2f} ms\t"
    if status is not None:
        line += f"Status: {status}\t"
    return f"{line}Error Type: {error_type}\t" if error_type is not None else line
