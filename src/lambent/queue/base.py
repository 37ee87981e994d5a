"""The EventQueue seam: what every queue promises (tests/contract/test_queue.py).

Events of one function are a shard.  An event is leased, and then acknowledged or given back; what
was leased when the server died is there again when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What the last attempt came to; function_error as in ``Outcome``."""

    payload: bytes
    executed_version: str
    function_error: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an event ended, while somebody is still to be told.

    condition: Success, RetriesExhausted, EventAgeExceeded, ZeroReservedConcurrency, or
    RecursiveInvocation, whose name at AWS is not known.  at: POSIX time.  destination,
    dead_letters: ARNs that do not know yet, "" for none.
    """

    condition: str
    at: float
    destination: str = ""
    dead_letters: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An asynchronous invocation.

    id: the request's, the same in every attempt.  payload: JSON text; client_context: decoded
    JSON text.  accepted: POSIX time.  failures: attempts in which the function failed; refusals:
    those in a row that came to nothing, because it was throttled, could not be started, or those
    to be told did not listen.  key: the queue's own name of it, once it was leased.
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
    tenant: str = ""
    failures: int = 0
    refusals: int = 0
    answer: Answer | None = None
    ending: Ending | None = None
    key: int = 0

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
        """Events that are due, the longest first, and when the next of the others is.

        Fewer than limit where they are large.
        """

    async def ack(self, event: Event) -> None:
        """It is done with."""

    async def retry(self, event: Event, due: float) -> None:
        """Give it back as it is now."""

    async def give_up(self, event: Event, now: float) -> None:
        """Nobody will be told of its failure: lay it aside, for ``Backlog.replay``."""

    async def shards(self) -> dict[str, float]:
        """Each shard that has events which are not leased, and when the first of them is due."""

    async def close(self) -> None:
        """Finish what was begun."""


# Events laid aside are kept so long, and so many of a function; the oldest go first.
KEPT_SECONDS = 14 * 86_400
KEPT_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Depth:
    """A shard: how many events wait or run, how many were laid aside, and when the oldest of the
    first was accepted (None where there is none)."""

    waiting: int
    failed: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Peeked:
    """An event seen from outside; state: "waiting", "running" or "failed"; due: POSIX time."""

    event: Event
    due: float
    state: str


class Backlog(Protocol):
    """What can be seen of a queue, and done to it, beside running it."""

    async def depths(self, prefix: str = "") -> dict[str, Depth]:
        """Shards that have events, of those that begin with prefix."""

    async def peek(self, shard: str, limit: int) -> list[Peeked]:
        """Some of a shard's events: those that are due first, then those laid aside."""

    async def purge(self, shard: str) -> int:
        """Remove a shard's events; what runs is not run again.  How many they were."""

    async def replay(self, shard: str, now: float) -> int:
        """Let what was laid aside begin anew.  How many events that are."""
