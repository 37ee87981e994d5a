"""The Store seam: what every metadata store promises (tests/contract/test_store.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

ABSENT = 0


class Undone(Exception):
    """A write that was not made; those beside it were."""


class Conflict(Undone):
    """The document is not at the expected revision."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as last written; revisions grow with every write of the store."""

    key: str
    revision: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """A committed write; document is None for a deletion."""

    key: str
    document: Document | None


class Store(Protocol):
    """Documents by key.  What a call has returned survives a crash at any instant."""

    async def open(self) -> None:
        """Get ready; brings an older store up to date."""

    async def get(self, key: str) -> Document | None:
        """The document, or None."""

    async def put(self, key: str, body: bytes, expected: int) -> Document:
        """Write if the present revision is the expected one (ABSENT: none); raises Conflict."""

    async def delete(self, key: str, expected: int) -> None:
        """Delete if the present revision is the expected one; raises Conflict."""

    async def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[Document]:
        """Documents whose keys start with prefix and sort after ``after``, in key order."""

    def watch(self, prefix: str, notify: Callable[[Change], None]) -> Callable[[], None]:
        """Call notify after every committed change under prefix; returns how to stop."""

    async def close(self) -> None:
        """Finish what was begun."""
