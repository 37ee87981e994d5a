"""How much of an account may run at once."""

from __future__ import annotations

from lambent.errors import TooManyRequests


class Concurrency:
    """Counts running invocations per account and region, exactly."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[tuple[str, str], int] = {}

    def admit(self, account: str, region: str) -> tuple[str, str]:
        """Count one more, to be left with what is returned; raises TooManyRequests at the limit."""
        key = (account, region)
        running = self._running.get(key, 0)
        if running >= self._limit:
            raise TooManyRequests(Reason="ConcurrentInvocationLimitExceeded", retryAfterSeconds=1)
        self._running[key] = running + 1
        return key

    def leave(self, key: tuple[str, str]) -> None:
        """Count one less."""
        running = self._running[key] - 1
        if running:
            self._running[key] = running
        else:
            del self._running[key]

    def running(self, account: str, region: str) -> int:
        """How many run now."""
        return self._running.get((account, region), 0)
