"""Layers: archives that functions share, by name and version, with policies of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

from lambent.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.functions.types import Policy
from lambent.store.base import Store
from lambent.store.repository import Contended, Missing, Repository

PREFIX = "lambda/layers/"
_VERSION_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:"
    r"(?P<name>[a-zA-Z0-9-_]+):(?P<number>\d+)"
)


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One version of a layer; sizes in bytes."""

    number: int
    digest: str
    sha256: str
    size: int
    unpacked: int
    created: float
    description: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    license: str | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with all its versions by number; numbers are never used again."""

    account: str
    region: str
    name: str
    last: int = 0
    versions: dict[str, LayerVersion] = field(default_factory=dict)

    def digests(self) -> set[str]:
        """Every archive it needs."""
        return {version.digest for version in self.versions.values()}

    @property
    def arn(self) -> str:
        """Its ARN, without a version."""
        return layer_arn(self.region, self.account, self.name)

    def version_arn(self, number: int) -> str:
        """The ARN of one version."""
        return f"{self.arn}:{number}"


@dataclass(frozen=True, slots=True)
class LayerReference:
    """The parts of a layer version's ARN."""

    account: str
    region: str
    name: str
    number: int


def layer_arn(region: str, account: str, name: str) -> str:
    """The ARN of a layer."""
    return f"arn:aws:lambda:{region}:{account}:layer:{name}"


def parse_version_arn(arn: str) -> LayerReference | None:
    """Read the ARN of a layer version; None if it is not one."""
    match = _VERSION_ARN.fullmatch(arn)
    if match is None:
        return None
    return LayerReference(match["account"], match["region"], match["name"], int(match["number"]))


Watcher = Callable[[str, Layer | None], None]
Hold = Callable[[str], Awaitable[None]]


class LayerCatalog:
    """Layers of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._watcher: Watcher = lambda key, layer: None
        self._hold: Hold | None = None
        self._layers = Repository(store, PREFIX, Layer, lambda *changed: self._watcher(*changed))

    def watch(self, watcher: Watcher, hold: Hold) -> None:
        """Call back with every stored change: a key, and None where the layer is gone.

        hold: keeps an archive for the task that looked up what it is of.
        """
        self._watcher = watcher
        self._hold = hold

    async def get(self, account: str, region: str, name: str) -> Layer:
        """The layer; raises ResourceNotFound."""
        try:
            return await self._layers.get(f"{account}/{region}/{name}")
        except Missing:
            raise ResourceNotFound("The resource you requested does not exist.") from None

    async def version(
        self, account: str, region: str, name: str, number: int
    ) -> tuple[Layer, LayerVersion]:
        """A layer and one of its versions; raises ResourceNotFound."""
        if number < 1:
            raise InvalidParameterValue("Layer Version Cannot be less than 1.")
        layer = await self.get(account, region, name)
        version = layer.versions.get(str(number))
        if version is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        if self._hold is not None:
            await self._hold(version.digest)
        return layer, version

    async def publish(
        self, account: str, region: str, name: str, version: LayerVersion
    ) -> tuple[Layer, LayerVersion]:
        """Add a version, numbered after the last one there ever was."""

        def change(layer: Layer) -> Layer:
            number = layer.last + 1
            added = replace(version, number=number)
            versions = {**layer.versions, str(number): added}
            return replace(layer, last=number, versions=versions)

        layer = await self._change(
            account, region, name, change, lambda: Layer(account, region, name)
        )
        return layer, layer.versions[str(layer.last)]

    async def change_version(
        self,
        account: str,
        region: str,
        name: str,
        number: int,
        change: Callable[[LayerVersion], LayerVersion | None],
    ) -> LayerVersion | None:
        """Change one version, or remove it (None); raises ResourceNotFound."""
        key = str(number)

        def apply(layer: Layer) -> Layer:
            if key not in layer.versions:
                raise ResourceNotFound("The resource you requested does not exist.")
            changed = change(layer.versions[key])
            left = {each: version for each, version in layer.versions.items() if each != key}
            return replace(layer, versions=left if changed is None else {**left, key: changed})

        return (await self._change(account, region, name, apply)).versions.get(key)

    async def _change(
        self,
        account: str,
        region: str,
        name: str,
        change: Callable[[Layer], Layer],
        otherwise: Callable[[], Layer] | None = None,
    ) -> Layer:
        try:
            return await self._layers.change(f"{account}/{region}/{name}", change, otherwise)
        except Missing:
            raise ResourceNotFound("The resource you requested does not exist.") from None
        except Contended:
            raise ResourceConflict from None

    async def all_of(self, account: str, region: str) -> list[Layer]:
        """An account's layers in a region that have a version left."""
        found = await self._layers.everything(f"{account}/{region}/")
        return [layer for layer in found if layer.versions]

    def each(self) -> AsyncIterator[Layer]:
        """All layers there are."""
        return self._layers.each()

    def close(self) -> None:
        """Stop watching."""
        self._layers.close()
