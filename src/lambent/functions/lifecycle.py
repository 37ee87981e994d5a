"""What happens to functions beside requests: activation, code on disk, sweeping."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from lambent import ids
from lambent.blobs.base import Blobs
from lambent.errors import InvalidParameterValue, LambentError
from lambent.functions import package
from lambent.functions.catalog import Catalog
from lambent.functions.layers import LayerCatalog
from lambent.functions.package import CodeCache, Package
from lambent.functions.types import Function, FunctionVersion

_log = logging.getLogger(__name__)

Warm = Callable[[FunctionVersion], Awaitable[None]]
Retire = Callable[[Callable[[FunctionVersion], bool]], None]
Sign = Callable[[str, str, str], str]
"""(endpoint, region, path) → a URL that may be fetched for a while."""


class Lifecycle:
    """Takes functions from Pending to Active and back out of the machine."""

    def __init__(
        self,
        catalog: Catalog,
        layers: LayerCatalog,
        blobs: Blobs,
        code: CodeCache,
        unzipped_bytes: int,
        sign: Sign,
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._blobs = blobs
        self._code = code
        self._unzipped_bytes = unzipped_bytes
        self._sign = sign
        self._tasks: set[asyncio.Task[None]] = set()
        # What requests brought while the sweep of the start was still looking.
        self._taken: set[str] | None = set()
        self._warm: Warm | None = None
        self._provision: Callable[[Function], None] | None = None
        self._retire: Retire | None = None

    def attach(self, warm: Warm, retire: Retire, provision: Callable[[Function], None]) -> None:
        """The pool that gets ready for, keeps, and lets go of, versions."""
        self._warm = warm
        self._provision = provision
        self._retire = retire

    async def take(self, data: bytes) -> Package:
        """Check an archive, store it durably and unpack it; raises InvalidParameterValue."""
        checked = await asyncio.to_thread(package.inspect, data, self._unzipped_bytes)

        async def once() -> AsyncIterator[bytes]:
            yield data

        self._keep(checked.digest)
        if not await self._blobs.exists(checked.digest):
            await self._blobs.put(once())
        await self.unpacked(checked.digest)
        return checked

    async def take_stream(self, chunks: AsyncIterator[bytes]) -> Package:
        """Like ``take``, for an archive that comes in pieces."""
        digest = await self._blobs.put(self._bounded(chunks))
        self._keep(digest)
        archive = await self._blobs.local(digest)
        try:
            checked = await asyncio.to_thread(
                package.inspect_file, archive, digest, self._unzipped_bytes
            )
        except InvalidParameterValue:
            await self._blobs.delete(digest)  # nothing can be using what is no archive
            raise
        await self.unpacked(digest)
        return checked

    def _keep(self, digest: str) -> None:
        if self._taken is not None:
            self._taken.add(digest)

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is larger zipped than it may be unzipped need not be read to its end."""
        total = 0
        async for chunk in chunks:
            total += len(chunk)
            if total > self._unzipped_bytes:
                raise InvalidParameterValue(
                    f"Unzipped size must be smaller than {self._unzipped_bytes} bytes"
                )
            yield chunk

    def check_total(self, unpacked: int) -> None:
        """Raise InvalidParameterValue where code and layers together are too large."""
        if unpacked > self._unzipped_bytes:
            raise InvalidParameterValue(
                "Function code combined with layers exceeds the maximum allowed size of "
                f"{self._unzipped_bytes} bytes. The actual size is {unpacked} bytes."
            )

    async def layers(self, digests: tuple[str, ...]) -> Path:
        """The tree of a function's layers, the later over the earlier."""
        self._keep(package.merged_name(digests))
        for digest in digests:
            await self.unpacked(digest)
        return await self._code.merged(digests)

    async def unpacked(self, digest: str) -> Path:
        """The tree of a stored archive."""
        target = self._code.path(digest)
        if target.exists():
            return target
        archive = await self._blobs.local(digest)
        return await self._code.ensure(digest, archive, self._unzipped_bytes)

    def location(self, endpoint: str, region: str, digest: str) -> str:
        """A URL from which an archive can be downloaded."""
        return self._sign(endpoint, region, f"/_lambent/code/{digest}")

    def activate(self, function: Function) -> None:
        """Bring a new or changed $LATEST to Active and Successful, in the background."""
        task = asyncio.ensure_future(self._activate(function))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _activate(self, function: Function) -> None:
        latest = function.latest
        try:
            if self._warm is not None:
                await self._warm(latest)
            if latest.configuration.layers:
                await self.layers(latest.configuration.layer_digests)
        except Exception as error:
            _log.warning(
                "no sandbox could be prepared for %s: %s", latest.configuration.runtime, error
            )
        try:
            await self._catalog.change(latest.account, latest.region, latest.name, _active)
        except LambentError:
            return  # deleted in the meantime
        self.retire(latest.account, latest.region, latest.name)

    def retire(self, account: str, region: str, name: str) -> None:
        """Let go of environments of versions that are no more."""
        task = asyncio.ensure_future(self._retire_outdated(account, region, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _retire_outdated(self, account: str, region: str, name: str) -> None:
        try:
            function = await self._catalog.get(account, region, name)
            current = {function.latest.identity, *(v.identity for v in function.versions.values())}
        except LambentError:
            current = set()

        def keep(version: FunctionVersion) -> bool:
            mine = (version.account, version.region, version.name) == (account, region, name)
            return not mine or version.identity in current

        if self._retire is not None:
            self._retire(keep)

    async def resume(self) -> None:
        """After a start: finish what was pending, forget code nobody needs any more."""
        known = set(await self._blobs.digests()) | set(self._code.digests())
        needed = await self._layers.digests()
        async for function in self._catalog.each():
            self._catalog.count(function)
            needed |= function.digests() | {
                package.merged_name(each.configuration.layer_digests)
                for each in function.every_version()
                if each.configuration.layers
            }
            if function.provisioned and self._provision is not None:
                self._provision(function)
            if function.latest.state == "Pending" or (
                function.latest.last_update_status == "InProgress"
            ):
                self.activate(function)
        self._catalog.counted()
        for digest in known - needed - (self._taken or set()):
            if not package.is_merged(digest):
                await self._blobs.delete(digest)
            await asyncio.to_thread(self._code.remove, digest)
        self._taken = None

    async def close(self) -> None:
        """Finish what is in progress."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _active(function: Function) -> Function:
    latest = function.latest
    versions = dict(function.versions)
    for number, version in versions.items():
        if version.state != "Active":
            versions[number] = replace(
                version, state="Active", state_reason=None, state_reason_code=None
            )
    if latest.state == "Active" and latest.last_update_status == "Successful":
        return function
    return replace(function, versions=versions).with_latest(
        state="Active",
        state_reason=None,
        state_reason_code=None,
        last_update_status="Successful",
        last_update_reason=None,
        last_update_reason_code=None,
        revision_id=ids.uuid(),
    )
