"""How much of an account, and of a function, may run at once."""

from __future__ import annotations

from collections.abc import Iterator

from lambent.errors import TooManyRequests

Admission = tuple[str, str, str]
"""What an invocation counts against: account, region, and its function if that reserved some."""


class Concurrency:
    """Counts running invocations, exactly.

    A function with reserved concurrency runs within that and nothing else; all others share what
    the account has beyond the reservations.  Source: AWS Lambda Developer Guide, "Configuring
    reserved concurrency".
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[Admission, int] = {}

    def admit(
        self, account: str, region: str, name: str, reserved: int | None, others: int
    ) -> Admission:
        """Count one more, to be left with what is returned; raises TooManyRequests at a limit.

        reserved: the function's own share; others: the shares of the account's functions in sum.
        """
        key = (account, region, "" if reserved is None else name)
        running = self._running.get(key, 0)
        if running >= (self._limit - others if reserved is None else reserved):
            reason = "ConcurrentInvocationLimitExceeded"
            if reserved is not None:
                reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
            raise TooManyRequests(Reason=reason, retryAfterSeconds=1)
        self._running[key] = running + 1
        return key

    def running(self) -> Iterator[tuple[str, str, str, int]]:
        """What runs now: account, region, function ("" for those without a reservation), count."""
        for (account, region, name), count in self._running.items():
            yield account, region, name, count

    def leave(self, key: Admission) -> None:
        """Count one less."""
        running = self._running[key] - 1
        if running:
            self._running[key] = running
        else:
            del self._running[key]
