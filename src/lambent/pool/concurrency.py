"""How much of an account, and of a function, may run at once, and how often it may be asked to."""

from __future__ import annotations

from collections.abc import Iterator

from lambent.clock import Clock
from lambent.errors import TooManyRequests
from lambent.pool.rates import TokenBucket

Admission = tuple[str, str, str]
"""What an invocation counts against: account, region, and its function if that reserved some."""

_MOST_BUCKETS = 10_000


class Concurrency:
    """Counts running invocations, exactly.

    A function with reserved concurrency runs within that and nothing else; all others share what
    the account has beyond the reservations.  Each unit of concurrency may be asked rate times a
    second, synchronously (0: as often as it can).
    Source: AWS Lambda Developer Guide, "Configuring reserved concurrency" and "Lambda quotas".
    """

    def __init__(self, limit: int, rate: int, clock: Clock) -> None:
        self._limit = limit
        self._rate = rate
        self._clock = clock
        self._running: dict[Admission, int] = {}
        # By what they are counted against, and how much of that there is.
        self._buckets: dict[tuple[Admission, int], TokenBucket] = {}

    def admit(
        self,
        account: str,
        region: str,
        name: str,
        reserved: int | None,
        others: int,
        asynchronous: bool = False,
    ) -> Admission:
        """Count one more, to be left with what is returned; raises TooManyRequests at a limit.

        reserved: the function's own share; others: the shares of the account's functions in sum.
        """
        key = (account, region, "" if reserved is None else name)
        running = self._running.get(key, 0)
        limit = self._limit - others if reserved is None else reserved
        if running >= limit:
            raise _refused(reserved, "ConcurrentInvocationLimitExceeded")
        if self._rate and not asynchronous:
            bucket = self._buckets.get((key, limit))
            if bucket is None:
                bucket = self._bucket(key, limit)
            if not bucket.take():
                raise _refused(reserved, "InvocationRateLimitExceeded")
        self._running[key] = running + 1
        return key

    def _bucket(self, key: Admission, limit: int) -> TokenBucket:
        if len(self._buckets) >= _MOST_BUCKETS:
            self._buckets = {k: each for k, each in self._buckets.items() if not each.full}
        wanted = float(limit * self._rate)
        bucket = self._buckets[key, limit] = TokenBucket(self._clock, wanted, wanted)
        return bucket

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


def _refused(reserved: int | None, what: str) -> TooManyRequests:
    """A refusal with AWS's reason, which says whose limit it was."""
    if reserved is not None:
        whose = "ReservedFunction"
    else:
        whose = "Function" if what.startswith("Invocation") else ""
    return TooManyRequests(Reason=whose + what, retryAfterSeconds=1)
