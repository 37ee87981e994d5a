"""Code signing configurations: whose signatures the code of a function may carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lambent.errors import ResourceConflict, ResourceNotFound
from lambent.store.base import Store
from lambent.store.repository import Contended, Missing, Repository

PREFIX = "lambda/code-signing-configs/"


@dataclass(frozen=True, slots=True)
class CodeSigningConfig:
    """One configuration; policy is what happens to code that is not signed so."""

    account: str
    region: str
    identifier: str
    publishers: tuple[str, ...]
    policy: str
    last_modified: float
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account}:code-signing-config:{self.identifier}"


class CodeSigningCatalog:
    """Code signing configurations of all accounts and regions."""

    def __init__(self, store: Store) -> None:
        self._configs = Repository(store, PREFIX, CodeSigningConfig)

    async def get(self, account: str, region: str, identifier: str) -> CodeSigningConfig:
        """The configuration; raises ResourceNotFound."""
        try:
            return await self._configs.get(f"{account}/{region}/{identifier}")
        except Missing:
            raise _not_found(account, region, identifier) from None

    async def create(self, config: CodeSigningConfig) -> CodeSigningConfig:
        """Add a configuration."""
        key = f"{config.account}/{config.region}/{config.identifier}"
        return await self._configs.create(key, config)

    async def change(
        self,
        account: str,
        region: str,
        identifier: str,
        change: Callable[[CodeSigningConfig], CodeSigningConfig],
    ) -> CodeSigningConfig:
        """Apply a change; raises ResourceNotFound."""
        try:
            return await self._configs.change(f"{account}/{region}/{identifier}", change)
        except Missing:
            raise _not_found(account, region, identifier) from None
        except Contended:
            raise ResourceConflict from None

    async def delete(self, account: str, region: str, identifier: str) -> None:
        """Remove a configuration."""
        try:
            await self._configs.delete(f"{account}/{region}/{identifier}")
        except Missing:
            raise _not_found(account, region, identifier) from None
        except Contended:
            raise ResourceConflict from None

    async def page(
        self, account: str, region: str, after: str, limit: int
    ) -> list[CodeSigningConfig]:
        """An account's configurations in a region, by identifier."""
        return await self._configs.page(f"{account}/{region}/", after, limit)

    def close(self) -> None:
        """Stop watching."""
        self._configs.close()


def _not_found(account: str, region: str, identifier: str) -> ResourceNotFound:
    arn = f"arn:aws:lambda:{region}:{account}:code-signing-config:{identifier}"
    return ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.")
