"""How much of an account may run at once."""

from __future__ import annotations

from lambent.errors import TooManyRequests


class Concurrency:
    """Counts running invocations per account and region, exactly."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[tuple[str, str], int] = {}

    def admit(self, account: str, region: str) -> None:
        """Count one more; raises TooManyRequests at the limit."""
        key = (account, region)
        running = self._running.get(key, 0)
        if running >= self._limit:
            raise TooManyRequests(Reason="ConcurrentInvocationLimitExceeded", retryAfterSeconds=1)
        self._running[key] = running + 1

    def leave(self, account: str, region: str) -> None:
        """Count one less."""
        key = (account, region)
        running = self._running[key] - 1
        if running:
            self._running[key] = running
        else:
            del self._running[key]

    def running(self, account: str, region: str) -> int:
        """How many run now."""
        return self._running.get((account, region), 0)
