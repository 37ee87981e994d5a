"""The EventQueue seam: what every queue promises (tests/contract/test_queue.py).

Events of one function are a shard.  An event is leased, and then acknowledged or given back; what
was leased when the server died is there again when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """An asynchronous invocation.

    id: the request's, the same in every attempt.  payload: JSON text; client_context: decoded
    JSON text.  accepted: POSIX time.  failures: attempts in which the function failed; refusals:
    those in a row that it was not run, because it was throttled or could not be started.
    """

    id: str
    account: str
    region: str
    function: str
    qualifier: str | None
    payload: bytes
    accepted: float
    client_context: str | None = None
    trace_id: str = ""
    failures: int = 0
    refusals: int = 0

    @property
    def shard(self) -> str:
        """Whose queue it waits in."""
        return f"{self.account}/{self.region}/{self.function}"


class EventQueue(Protocol):
    """Times are POSIX times."""

    async def open(self) -> None:
        """Get ready; nothing is leased."""

    async def put(self, event: Event, due: float) -> None:
        """Add an event; durable when it returns."""

    async def lease(self, shard: str, now: float, limit: int) -> tuple[list[Event], float | None]:
        """Events that are due, the longest first, and when the next of the others is."""

    async def ack(self, event: Event) -> None:
        """It is done with."""

    async def retry(self, event: Event, due: float) -> None:
        """Give it back, with its counts as they are now."""

    async def shards(self) -> dict[str, float]:
        """Each shard that has events which are not leased, and when the first of them is due."""

    async def depth(self, shard: str) -> int:
        """How many events of a shard there are, leased ones too."""

    async def close(self) -> None:
        """Finish what was begun."""
