"""How a runtime that has ended is told, in the words AWS uses."""

from __future__ import annotations

from lambent.sandbox.base import Exit

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


def exit_error(ended: Exit, request_id: str) -> tuple[str, str]:
    """The error's type and its message."""
    if ended.not_executed is not None:
        kind, reason = "Runtime.InvalidEntrypoint", ended.not_executed
    elif ended.out_of_memory:
        kind, reason = "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"
    else:
        kind, reason = "Runtime.ExitError", _reason(ended.status)
    return kind, f"RequestId: {request_id} Error: {reason}"


def _reason(status: int | None) -> str:
    if status is None:
        return "Runtime exited with error: signal: killed"
    signal = status & 0x7F
    if signal:
        return f"Runtime exited with error: signal: {_SIGNALS.get(signal, signal)}"
    code = status >> 8
    if code:
        return f"Runtime exited with error: exit status {code}"
    return "Runtime exited without providing a reason"
