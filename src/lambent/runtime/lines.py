"""The platform's lines in a function's log, to the letter."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Report:
    """The figures of one invocation: seconds and MB."""

    duration: float
    memory_size: int
    memory_used: int
    init_duration: float | None = None
    status: str | None = None
    error_type: str | None = None


def billed_milliseconds(report: Report) -> int:
    """Duration and initialisation, rounded up to the millisecond (AWS bills both since 2025)."""
    return math.ceil((report.duration + (report.init_duration or 0.0)) * 1000)


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


def report(request_id: str, figures: Report) -> str:
    """What an invocation took."""
    parts = [
        f"REPORT RequestId: {request_id}\tDuration: {figures.duration * 1000:.2f} ms\t"
        f"Billed Duration: {billed_milliseconds(figures)} ms\t"
        f"Memory Size: {figures.memory_size} MB\tMax Memory Used: {figures.memory_used} MB\t"
    ]
    if figures.init_duration is not None:
        parts.append(f"Init Duration: {figures.init_duration * 1000:.2f} ms\t")
    if figures.status is not None:
        parts.append(f"Status: {figures.status}\t")
    if figures.error_type is not None:
        parts.append(f"Error Type: {figures.error_type}\t")
    return "".join(parts)
