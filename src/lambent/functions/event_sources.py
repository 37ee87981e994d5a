"""Event source mappings: which source a function is fed from, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lambent.errors import ResourceConflict, ResourceNotFound
from lambent.functions.types import Shape
from lambent.store.base import Store
from lambent.store.repository import Contended, Missing, Repository

PREFIX = "lambda/event-source-mappings/"


@dataclass(frozen=True, slots=True)
class EventSourceMapping:
    """One mapping.  settings: the rest of its configuration as the API shows it."""

    account: str
    region: str
    uuid: str
    function_arn: str
    last_modified: float
    state: str
    source_arn: str | None = None
    settings: Shape = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account}:event-source-mapping:{self.uuid}"

    @property
    def source(self) -> str:
        """The service that it is fed from, as ARNs name it; "kafka" for one without an ARN."""
        return self.source_arn.split(":")[2] if self.source_arn is not None else "kafka"


Watcher = Callable[[str, EventSourceMapping | None], None]
"""Told of a mapping by its key, which is its own; None where it is gone."""


class EventSourceCatalog:
    """Event source mappings of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._watcher: Watcher = lambda key, mapping: None
        self._mappings = Repository(
            store, PREFIX, EventSourceMapping, lambda key, mapping: self._watcher(key, mapping)
        )

    async def watch(self, watcher: Watcher) -> None:
        """Tell the watcher of every mapping there is, and of every change from now on."""
        self._watcher = watcher
        async for mapping in self._mappings.each():
            watcher(f"{mapping.account}/{mapping.region}/{mapping.uuid}", mapping)

    async def get(self, account: str, region: str, uuid: str) -> EventSourceMapping:
        """The mapping; raises ResourceNotFound."""
        try:
            return await self._mappings.get(f"{account}/{region}/{uuid}")
        except Missing:
            raise _not_found() from None

    async def create(self, mapping: EventSourceMapping) -> EventSourceMapping:
        """Add a mapping."""
        key = f"{mapping.account}/{mapping.region}/{mapping.uuid}"
        return await self._mappings.create(key, mapping)

    async def change(
        self,
        account: str,
        region: str,
        uuid: str,
        change: Callable[[EventSourceMapping], EventSourceMapping],
    ) -> EventSourceMapping:
        """Apply a change; raises ResourceNotFound."""
        try:
            return await self._mappings.change(f"{account}/{region}/{uuid}", change)
        except Missing:
            raise _not_found() from None
        except Contended:
            raise ResourceConflict from None

    async def delete(self, account: str, region: str, uuid: str) -> EventSourceMapping:
        """Remove a mapping; returns what it was."""
        try:
            return await self._mappings.delete(f"{account}/{region}/{uuid}")
        except Missing:
            raise _not_found() from None
        except Contended:
            raise ResourceConflict from None

    async def all_of(self, account: str, region: str) -> list[EventSourceMapping]:
        """An account's mappings in a region."""
        return await self._mappings.everything(f"{account}/{region}/")

    def close(self) -> None:
        """Stop watching."""
        self._mappings.close()


def _not_found() -> ResourceNotFound:
    return ResourceNotFound("The resource you requested does not exist.")
