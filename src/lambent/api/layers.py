"""Layers: publish, read, list, delete, and who may use them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lambent.api import pages
from lambent.api.code import CodeTaker
from lambent.api.context import Context
from lambent.api.policies import describe as describe_policy
from lambent.api.policies import principal_of, with_statement, without_statement
from lambent.clock import Clock, aws_timestamp
from lambent.errors import AccessDenied, InvalidParameterValue, ResourceNotFound
from lambent.functions.layers import (
    Layer,
    LayerCatalog,
    LayerReference,
    LayerVersion,
    parse_version_arn,
)
from lambent.functions.lifecycle import Lifecycle
from lambent.functions.types import LayerUse, Shape

MOST_LAYERS = 5
_NAME = 64


class Layers:
    """Handlers of the layer operations."""

    def __init__(
        self, layers: LayerCatalog, code: CodeTaker, lifecycle: Lifecycle, clock: Clock
    ) -> None:
        self._layers = layers
        self._code = code
        self._lifecycle = lifecycle
        self._clock = clock

    # -- versions -------------------------------------------------------------------------

    async def publish_layer_version(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _layer_name(context, parameters["LayerName"])
        if (account, region) != (context.account, context.region):
            raise AccessDenied(f"A layer of account {account} in {region} cannot be published to.")
        package = await self._code.take(context, parameters["Content"])
        version = LayerVersion(
            number=0,
            digest=package.digest,
            sha256=package.sha256,
            size=package.size,
            unpacked=package.unpacked,
            created=self._clock.time(),
            description=parameters.get("Description", ""),
            runtimes=tuple(parameters.get("CompatibleRuntimes", ())),
            architectures=tuple(parameters.get("CompatibleArchitectures", ())),
            license=parameters.get("LicenseInfo"),
        )
        layer, published = await self._layers.publish(account, region, name, version)
        return self._full(context, layer, published)

    async def get_layer_version(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        layer, version = await self._version(context, parameters)
        return self._full(context, layer, version)

    async def get_layer_version_by_arn(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found = parse_version_arn(parameters["Arn"])
        if found is None:
            raise InvalidParameterValue(f"{parameters['Arn'][:200]} is not a layer version.")
        layer, version = await self._of(found, context)
        return self._full(context, layer, version)

    async def list_layer_versions(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _layer_name(context, parameters["LayerName"])
        if account != context.account:
            # A layer's policy shares its versions, one by one, and never the list of them.
            arn = f"arn:aws:lambda:{region}:{account}:layer:{name}"
            raise _not_shared(context, "lambda:ListLayerVersions", arn)
        try:
            layer = await self._layers.get(account, region, name)
        except ResourceNotFound:
            return {"LayerVersions": []}
        matching = _matching(layer.versions.values(), parameters)
        # The newest comes first.
        found, marker = pages.page(
            matching, lambda each: pages.numbered(10**12 - 1 - each.number), parameters
        )
        return {"LayerVersions": [_short(layer, each) for each in found], "NextMarker": marker}

    async def list_layers(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        every = await self._layers.all_of(context.account, context.region)
        newest: dict[str, tuple[Layer, LayerVersion]] = {}
        for layer in every:
            if matching := _matching(layer.versions.values(), parameters):
                newest[layer.name] = (layer, max(matching, key=lambda each: each.number))
        found, marker = pages.page(newest, lambda name: name, parameters)
        return {
            "Layers": [
                {
                    "LayerName": name,
                    "LayerArn": newest[name][0].arn,
                    "LatestMatchingVersion": _short(*newest[name]),
                }
                for name in found
            ],
            "NextMarker": marker,
        }

    async def delete_layer_version(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _own(context, parameters)
        number = parameters["VersionNumber"]
        if number < 1:
            raise InvalidParameterValue("Layer Version Cannot be less than 1.")
        try:
            await self._layers.change_version(account, region, name, number, lambda version: None)
        except ResourceNotFound:
            pass  # deleting what is gone already succeeds, as on AWS
        return {}

    # -- permissions ----------------------------------------------------------------------

    async def add_layer_version_permission(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _own(context, parameters)
        number = parameters["VersionNumber"]
        layer, _ = await self._layers.version(account, region, name, number)
        statement: Shape = {
            "Sid": parameters["StatementId"],
            "Effect": "Allow",
            "Principal": principal_of(parameters["Principal"]),
            "Action": parameters["Action"],
            "Resource": layer.version_arn(number),
        }
        if "OrganizationId" in parameters:
            if parameters["Principal"] != "*":
                raise InvalidParameterValue(
                    "OrganizationId may be specified only where the principal is *."
                )
            organisation = {"aws:PrincipalOrgID": parameters["OrganizationId"]}
            statement["Condition"] = {"StringEquals": organisation}

        def change(version: LayerVersion) -> LayerVersion:
            revision = parameters.get("RevisionId")
            return replace(version, policy=with_statement(version.policy, statement, revision))

        changed = await self._layers.change_version(account, region, name, number, change)
        assert changed is not None and changed.policy is not None
        return {
            "Statement": json.dumps(statement, separators=(",", ":")),
            "RevisionId": changed.policy.revision_id,
        }

    async def get_layer_version_policy(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _own(context, parameters)
        _, version = await self._layers.version(account, region, name, parameters["VersionNumber"])
        if version.policy is None:
            raise ResourceNotFound("No policy is associated with the given resource.")
        return describe_policy(version.policy)

    async def remove_layer_version_permission(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        account, region, name = _own(context, parameters)

        def change(version: LayerVersion) -> LayerVersion:
            revision = parameters.get("RevisionId")
            policy = without_statement(version.policy, parameters["StatementId"], revision)
            return replace(version, policy=policy)

        number = parameters["VersionNumber"]
        await self._layers.change_version(account, region, name, number, change)
        return {}

    # -- for functions --------------------------------------------------------------------

    async def uses(self, context: Context, arns: list[str]) -> tuple[LayerUse, ...]:
        """The layers of a function's configuration; raises InvalidParameterValue, AccessDenied."""
        if len(arns) > MOST_LAYERS:
            raise InvalidParameterValue(f"Cannot reference more than {MOST_LAYERS} layers.")
        seen: dict[str, str] = {}
        found: list[LayerUse] = []
        for arn in arns:
            reference = parse_version_arn(arn)
            if reference is None:
                raise InvalidParameterValue(f"Layer version {arn} does not exist.")
            if reference.region != context.region:
                raise InvalidParameterValue(
                    "Layers are not in the same region as the function. Layers are expected to be "
                    f"in region {context.region}."
                )
            plain = arn.rpartition(":")[0]
            if plain in seen:
                raise InvalidParameterValue(
                    "Two different versions of the same layer are not allowed to be referenced in "
                    f"the same function. {seen[plain]} and {arn} are versions of the same layer."
                )
            seen[plain] = arn
            try:
                _, version = await self._of(reference, context)
            except ResourceNotFound:
                raise InvalidParameterValue(f"Layer version {arn} does not exist.") from None
            found.append(LayerUse(arn, version.digest, version.size, version.unpacked))
        return tuple(found)

    # -- parts ----------------------------------------------------------------------------

    async def _version(
        self, context: Context, parameters: dict[str, Any]
    ) -> tuple[Layer, LayerVersion]:
        account, region, name = _layer_name(context, parameters["LayerName"])
        number = parameters["VersionNumber"]
        return await self._of(LayerReference(account, region, name, number), context)

    async def _of(self, found: LayerReference, context: Context) -> tuple[Layer, LayerVersion]:
        """A layer version the caller may read; raises AccessDenied, ResourceNotFound."""
        arn = f"arn:aws:lambda:{found.region}:{found.account}:layer:{found.name}:{found.number}"
        denied = _not_shared(context, "lambda:GetLayerVersion", arn)
        foreign = found.account != context.account
        try:
            layer, version = await self._layers.version(
                found.account, found.region, found.name, found.number
            )
        except ResourceNotFound:
            raise (denied if foreign else ResourceNotFound(
                "The resource you requested does not exist."
            )) from None  # fmt: skip
        if foreign and not _shared_with(version, context.account):
            raise denied
        return layer, version

    def _full(self, context: Context, layer: Layer, version: LayerVersion) -> dict[str, Any]:
        location = self._lifecycle.location(context.endpoint, context.region, version.digest)
        return {
            **_short(layer, version),
            "LayerArn": layer.arn,
            "Content": {
                "Location": location,
                "CodeSha256": version.sha256,
                "CodeSize": version.size,
            },
        }


def _not_shared(context: Context, action: str, arn: str) -> AccessDenied:
    return AccessDenied(
        f"User: {context.caller} is not authorized to perform: {action} on resource: {arn} "
        f"because no resource-based policy allows the {action} action"
    )


def _layer_name(context: Context, text: str) -> tuple[str, str, str]:
    """Account, region and name of a layer given by name or ARN."""
    if text.startswith("arn:"):
        _, _, _, region, account, _, name = text.split(":")
        return account, region, name
    return context.account, context.region, text


def _own(context: Context, parameters: dict[str, Any]) -> tuple[str, str, str]:
    account, region, name = _layer_name(context, parameters["LayerName"])
    if (account, region) != (context.account, context.region):
        raise ResourceNotFound("The resource you requested does not exist.")
    return account, region, name


def _matching(versions: Iterable[LayerVersion], parameters: dict[str, Any]) -> list[LayerVersion]:
    runtime = parameters.get("CompatibleRuntime")
    architecture = parameters.get("CompatibleArchitecture")
    return [
        each
        for each in versions
        if (runtime is None or runtime in each.runtimes)
        and (architecture is None or architecture in each.architectures)
    ]


def _short(layer: Layer, version: LayerVersion) -> dict[str, Any]:
    return {
        "LayerVersionArn": layer.version_arn(version.number),
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": aws_timestamp(version.created),
        "CompatibleRuntimes": list(version.runtimes) or None,
        "CompatibleArchitectures": list(version.architectures) or None,
        "LicenseInfo": version.license,
    }


def _shared_with(version: LayerVersion, account: str) -> bool:
    """Whether a version's policy names an account, or everybody outside an organisation."""
    wanted = ("*", {"AWS": f"arn:aws:iam::{account}:root"})
    statements = version.policy.statements if version.policy is not None else ()
    return any(each["Principal"] in wanted and "Condition" not in each for each in statements)
