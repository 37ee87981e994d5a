"""How often something may be done: so many at once, and so many a second."""

from __future__ import annotations

from lambent.clock import Clock


class TokenBucket:
    """Holds up to burst tokens, and gains some each second."""

    __slots__ = ("_at", "_burst", "_clock", "_per_second", "_tokens")

    def __init__(self, clock: Clock, burst: float, per_second: float) -> None:
        self._clock = clock
        self._burst = self._tokens = burst
        self._per_second = per_second
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock.monotonic()
        tokens = self._tokens + (now - self._at) * self._per_second
        self._at = now
        if tokens > self._burst:
            tokens = self._burst
        if tokens < 1:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1
        return True

    @property
    def full(self) -> bool:
        """Whether nothing has been taken for long: a new one would be the same."""
        gained = (self._clock.monotonic() - self._at) * self._per_second
        return self._tokens + gained >= self._burst
