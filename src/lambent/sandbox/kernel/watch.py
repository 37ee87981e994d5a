"""A watch over the memory of a sandbox that no control group counts.

Without one the kernel limits each process (RLIMIT_DATA), not all together.  The filter leaves no
memory that belongs to no process (see ``calls.METERED``), and /tmp has a size of its own, so that
the sum over the processes is the function's memory.  PID 1 looks at it the more often the less is
left.
"""

from __future__ import annotations

import os
import time

# Bytes a second that processes can take at most: the pace of looking.
_PACE = 4_000_000_000
_SHORTEST, _LONGEST = 0.01, 0.1
# Reading how processes share memory is slow: at most this part of the time goes into it.
_PART = 0.25


def _fields(path: str, names: tuple[bytes, ...]) -> int:
    """The sum of some fields of a /proc file, in bytes; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        text = b"\n" + os.read(descriptor, 16384)
    finally:
        os.close(descriptor)
    total = 0
    for name in names:
        _, found, rest = text.partition(b"\n" + name + b":")
        if found:
            total += int(rest.split(None, 1)[0])
    return total * 1024


def _others() -> list[str]:
    """Every process of the namespace but its init."""
    return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _tables(pid: str) -> int:
    """Page tables, which grow with what is mapped even where it takes no page."""
    return _fields("/proc/%s/status" % pid, (b"VmPTE",))


def _resident(pid: str) -> int:
    """What is a process's, and what it shares with those it was forked from; 0 if it is gone."""
    try:
        return _fields("/proc/%s/status" % pid, (b"RssAnon", b"VmSwap", b"VmPTE"))
    except OSError:
        return 0


def _share(pid: str) -> int:
    """The same with its part of what it shares, unless it does not let itself be read."""
    try:
        return _fields("/proc/%s/smaps_rollup" % pid, (b"Pss_Anon", b"SwapPss")) + _tables(pid)
    except OSError:
        return _resident(pid)


class Watch:
    """Looks at the processes of this namespace in time."""

    def __init__(self, limit: int) -> None:
        """limit: what they may hold together, in bytes."""
        self._limit = limit
        self._last = -1
        self._pause = _SHORTEST
        self._next = time.monotonic()

    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic())

    def _exact(self, pids: list[str]) -> int:
        """What they hold, each page counted once; no further than is too much."""
        used = 0
        for pid in pids:
            used += _share(pid)
            if used > self._limit:
                break
        return used

    def exceeded(self) -> bool:
        """Whether they hold too much, if it is time to look."""
        began = time.monotonic()
        if began < self._next:
            return False
        pids = _others()
        resident = sorted(((_resident(pid), pid) for pid in pids), reverse=True)
        used = sum(size for size, _ in resident)
        if used > self._limit:
            used = self._exact([pid for _, pid in resident])
        took = time.monotonic() - began
        # Nothing new: look less often, as far as that goes.
        longest = min(_LONGEST, self._pause * 2) if used == self._last else _LONGEST
        room = max(0.0, (self._limit - used) / _PACE)
        pause = longest if used == self._last else min(room, longest)
        self._pause = max(pause, _SHORTEST, took / _PART)
        self._last = used
        self._next = time.monotonic() + self._pause
        return used > self._limit
