"""What happens to functions beside requests: activation, code on disk, sweeping."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lambent import ids
from lambent.blobs.base import Blobs
from lambent.errors import CodeStorageExceeded, InvalidParameterValue, LambentError
from lambent.functions import package
from lambent.functions.catalog import Catalog
from lambent.functions.code_use import CodeUse
from lambent.functions.layers import Layer, LayerCatalog
from lambent.functions.package import CodeCache, Package
from lambent.functions.types import Function, FunctionVersion

_log = logging.getLogger(__name__)

Warm = Callable[[FunctionVersion], Awaitable[None]]
Retire = Callable[[Callable[[FunctionVersion], bool]], None]
Versions = Callable[[], Iterable[FunctionVersion]]
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
        account_bytes: int,
        sign: Sign,
    ) -> None:
        """account_bytes: of the disk, for the archives and trees of one account."""
        self._catalog = catalog
        self._layers = layers
        self._blobs = blobs
        self._code = code
        self._unzipped_bytes = unzipped_bytes
        self._sign = sign
        self._account_bytes = account_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._use = CodeUse(self._remove, self._mounted)
        catalog.watch(lambda key, function: self._use.observe(key, _names(function)))
        layers.watch(
            lambda key, layer: self._use.observe(f"{key}/layer", _names_of(layer)), self._use.hold
        )
        self._versions: Versions = lambda: ()
        self._warm: Warm | None = None
        self._provision: Callable[[Function], None] | None = None
        self._retire: Retire | None = None

    def attach(
        self,
        warm: Warm,
        retire: Retire,
        provision: Callable[[Function], None],
        versions: Versions,
    ) -> None:
        """The pool that gets ready for, keeps, and lets go of, versions.

        versions: of which there are environments.
        """
        self._versions = versions
        self._warm = warm
        self._provision = provision
        self._retire = retire

    async def take(self, data: bytes, account: str) -> Package:
        """Check an archive, store it durably and unpack it.

        It is kept until the task at hand is over, and for as long as a function or a layer of the
        account names it.  Raises InvalidParameterValue, CodeStorageExceeded.
        """
        checked = await asyncio.to_thread(package.inspect, data, self._unzipped_bytes)

        async def once() -> AsyncIterator[bytes]:
            yield data

        await self._use.hold(checked.digest)
        self._check_room(account, checked)
        if not await self._blobs.exists(checked.digest):
            await self._blobs.put(once())
        await self.unpacked(checked.digest)
        return checked

    async def take_stream(self, chunks: AsyncIterator[bytes], account: str) -> Package:
        """Like ``take``, for an archive that comes in pieces."""
        digest = await self._blobs.put(self._bounded(chunks))
        await self._use.hold(digest)
        archive = await self._blobs.local(digest)
        checked = await asyncio.to_thread(
            package.inspect_file, archive, digest, self._unzipped_bytes
        )
        self._check_room(account, checked)
        await self.unpacked(digest)
        return checked

    def _check_room(self, account: str, checked: Package) -> None:
        if self._use.names(account, checked.digest):
            return
        if self._use.total(account) + checked.size + checked.unpacked > self._account_bytes:
            raise CodeStorageExceeded

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
        await self._use.hold(package.merged_name(digests))
        for digest in digests:
            await self.unpacked(digest)
        return await self._code.merged(digests)

    async def unpacked(self, digest: str) -> Path:
        """The tree of a stored archive."""
        target = self._code.path(digest)
        if target.exists():
            return target
        await self._use.hold(digest)
        archive = await self._blobs.local(digest)
        await self._code.ensure(digest, archive, self._unzipped_bytes)
        await self._measure(digest)
        return target

    async def _measure(self, name: str) -> None:
        """Find out how much of the disk an archive and its tree take."""
        if not self._use.is_measured(name):
            size = await asyncio.to_thread(self._code.size, name)
            if not package.is_merged(name):
                size += (await self._blobs.local(name)).stat().st_size
            self._use.measured(name, size)

    def _mounted(self) -> Iterator[str]:
        """What environments use that there are now."""
        for version in self._versions():
            yield from _names_of_version(version)

    async def _remove(self, name: str) -> None:
        """See ``code_use.Remove``."""
        if not package.is_merged(name):
            await self._blobs.delete(name)
        await asyncio.to_thread(self._code.remove, name)

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
        async for layer in self._layers.each():
            owner = f"{layer.account}/{layer.region}/{layer.name}/layer"
            self._use.count(owner, layer.digests())
        async for function in self._catalog.each():
            self._catalog.count(function)
            latest = function.latest
            self._use.count(f"{latest.account}/{latest.region}/{latest.name}", _names(function))
            if function.provisioned and self._provision is not None:
                self._provision(function)
            if latest.state == "Pending" or latest.last_update_status == "InProgress":
                self.activate(function)
        self._catalog.counted()
        await self._use.counted(known)
        for name in known:
            try:
                await self._measure(name)
            except FileNotFoundError:
                continue  # removed in the meantime

    async def close(self) -> None:
        """Finish what is in progress."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._use.close()


def _names_of_version(version: FunctionVersion) -> set[str]:
    """What a version needs: archives, and the tree of its layers."""
    configuration = version.configuration
    names = configuration.digests()
    if configuration.layers:
        names.add(package.merged_name(configuration.layer_digests))
    return names


def _names(function: Function | None) -> set[str]:
    versions = function.every_version() if function is not None else []
    return set().union(*map(_names_of_version, versions))


def _names_of(layer: Layer | None) -> set[str]:
    return layer.digests() if layer is not None else set()


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
