"""Code signing: its configurations, and which functions use one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import pages
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.api.tags import check_tags
from lambent.clock import Clock, aws_timestamp
from lambent.errors import CodeSigningConfigNotFound, ResourceConflict, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.code_signing import CodeSigningCatalog, CodeSigningConfig
from lambent.functions.types import Function


class CodeSigning:
    """Handlers of the code signing operations."""

    def __init__(self, catalog: Catalog, configs: CodeSigningCatalog, clock: Clock) -> None:
        self._catalog = catalog
        self._configs = configs
        self._clock = clock

    async def create_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        config = CodeSigningConfig(
            account=context.account,
            region=context.region,
            identifier=ids.code_signing_config_id(),
            publishers=tuple(parameters["AllowedPublishers"]["SigningProfileVersionArns"]),
            policy=_policy(parameters) or "Warn",
            last_modified=self._clock.time(),
            description=parameters.get("Description", ""),
            tags=check_tags(parameters.get("Tags", {})),
        )
        return {"CodeSigningConfig": _describe(await self._configs.create(config))}

    async def get_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found = await self._configs.get(*_identity(context, parameters["CodeSigningConfigArn"]))
        return {"CodeSigningConfig": _describe(found)}

    async def list_code_signing_configs(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        limit = pages.limit(parameters)
        found = await self._configs.page(
            context.account, context.region, pages.after(parameters), limit + 1
        )
        more = len(found) > limit
        return {
            "CodeSigningConfigs": [_describe(each) for each in found[:limit]],
            "NextMarker": pages.marker(found[limit - 1].identifier) if more else None,
        }

    async def update_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        def change(config: CodeSigningConfig) -> CodeSigningConfig:
            publishers = parameters.get("AllowedPublishers")
            return replace(
                config,
                description=parameters.get("Description", config.description),
                publishers=tuple(publishers["SigningProfileVersionArns"])
                if publishers
                else config.publishers,
                policy=_policy(parameters) or config.policy,
                last_modified=self._clock.time(),
            )

        identity = _identity(context, parameters["CodeSigningConfigArn"])
        return {"CodeSigningConfig": _describe(await self._configs.change(*identity, change))}

    async def delete_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        arn = parameters["CodeSigningConfigArn"]
        identity = _identity(context, arn)
        await self._configs.get(*identity)
        if await self._users(context, arn):
            raise ResourceConflict(
                f"The code signing configuration {arn} is used by functions. Remove it from them "
                "first."
            )
        await self._configs.delete(*identity)
        return {}

    async def list_functions_by_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        arn = parameters["CodeSigningConfigArn"]
        await self._configs.get(*_identity(context, arn))
        users = await self._users(context, arn)
        found, marker = pages.page(users, lambda each: each, parameters, 10_000)
        return {"FunctionArns": found, "NextMarker": marker}

    # -- of a function --------------------------------------------------------------------

    async def put_function_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        arn = parameters["CodeSigningConfigArn"]
        await self.check(context, arn)

        def change(function: Function) -> Function:
            return replace(function, code_signing_config=arn)

        await self._catalog.change(context.account, context.region, name, change)
        return {"FunctionName": name, "CodeSigningConfigArn": arn}

    async def get_function_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        if function.code_signing_config is None:
            return {}
        return {"FunctionName": name, "CodeSigningConfigArn": function.code_signing_config}

    async def delete_function_code_signing_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])

        def change(function: Function) -> Function:
            if function.code_signing_config is None:
                return function
            return replace(function, code_signing_config=None)

        await self._catalog.change(context.account, context.region, name, change)
        return {}

    async def check(self, context: Context, arn: str) -> None:
        """Raise CodeSigningConfigNotFound unless there is such a configuration."""
        try:
            await self._configs.get(*_identity(context, arn))
        except ResourceNotFound:
            raise CodeSigningConfigNotFound(
                "The code signing configuration cannot be found. Check that the provided "
                f"configuration is not deleted: {arn}."
            ) from None

    async def _users(self, context: Context, arn: str) -> list[str]:
        """The ARNs of the functions that use a configuration."""
        every = await self._catalog.usage(context.account, context.region)
        return [each.arn for each in every.values() if each.code_signing_config == arn]


def _identity(context: Context, arn: str) -> tuple[str, str, str]:
    _, _, _, region, account, _, identifier = arn.split(":")
    if (account, region) != (context.account, context.region):
        raise ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.")
    return account, region, identifier


def _policy(parameters: dict[str, Any]) -> str | None:
    policies = parameters.get("CodeSigningPolicies") or {}
    policy: str | None = policies.get("UntrustedArtifactOnDeployment")
    return policy


def _describe(config: CodeSigningConfig) -> dict[str, Any]:
    return {
        "CodeSigningConfigId": config.identifier,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": aws_timestamp(config.last_modified),
    }
