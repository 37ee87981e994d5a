"""Whether this machine's processors have time to spare."""

from __future__ import annotations

from pathlib import Path

_STAT = Path("/proc/stat")
# Above this share of idle time there is something to be had by doing more at once.
_SPARE = 0.2


class Idleness:
    """Reads the kernel's account of how the processors spent their time (proc(5), /proc/stat)."""

    def __init__(self) -> None:
        self._before = self._read()

    def spare(self) -> bool:
        """Whether they were idle for a fifth of the time since the last question."""
        idle, total = self._read()
        before, self._before = self._before, (idle, total)
        passed = total - before[1]
        return passed <= 0 or (idle - before[0]) / passed >= _SPARE

    @staticmethod
    def _read() -> tuple[int, int]:
        """Idle and all time since boot, in ticks."""
        with _STAT.open() as file:
            times = [int(each) for each in file.readline().split()[1:9]]
        return times[3] + times[4], sum(times)
