"""Functions: create, read, update, delete, list."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import configuration, pages
from lambent.api.aliases import without_qualifier
from lambent.api.code import CodeTaker
from lambent.api.code_signing import CodeSigning
from lambent.api.context import Context
from lambent.api.layers import Layers
from lambent.api.names import function_name, reference
from lambent.api.tags import check_tags
from lambent.api.versions import publish
from lambent.clock import Clock
from lambent.errors import (
    AccessDenied,
    InvalidParameterValue,
    OperationNotOffered,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.functions import package
from lambent.functions.catalog import Catalog, not_found, update_in_progress
from lambent.functions.lifecycle import Lifecycle
from lambent.functions.types import LATEST, Configuration, Function, FunctionVersion
from lambent.iam.authorizer import Authorizer
from lambent.runtime.languages import Languages

_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
HOST_ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), "x86_64")


class Functions:
    """Handlers of the function operations."""

    def __init__(
        self,
        catalog: Catalog,
        languages: Languages,
        lifecycle: Lifecycle,
        clock: Clock,
        code: CodeTaker,
        layers: Layers,
        signing: CodeSigning,
        authorizer: Authorizer,
    ) -> None:
        self._authorizer = authorizer
        self._catalog = catalog
        self._languages = languages
        self._lifecycle = lifecycle
        self._clock = clock
        self._code = code
        self._layers = layers
        self._signing = signing

    # -- operations -----------------------------------------------------------------------

    async def create_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        configuration.refuse_unoffered(parameters)
        name = function_name(context, parameters["FunctionName"])
        if parameters.get("PackageType", "Zip") != "Zip":
            raise OperationNotOffered(
                "PackageType Image is not offered by this version of Lambent."
            )
        for needed in ("Runtime", "Handler"):
            if needed not in parameters:
                raise InvalidParameterValue(
                    "Runtime and Handler are mandatory parameters for functions created with "
                    "deployment packages."
                )
        changes = await self._changes(context, parameters)
        changes["source_kms_key_arn"] = parameters["Code"].get("SourceKMSKeyArn")
        tags = check_tags(parameters.get("Tags", {}))
        signing = parameters.get("CodeSigningConfigArn")
        if signing is not None:
            await self._signing.check(context, signing)
        if await self._exists(context, name):
            raise ResourceConflict(f"Function already exist: {name}")
        code = await self._code.take(context, parameters["Code"])
        settled = Configuration(
            **{"architecture": HOST_ARCHITECTURE, **_code_fields(code), **changes}
        )
        self._check_size(settled)
        latest = FunctionVersion(
            account=context.account,
            region=context.region,
            name=name,
            version=LATEST,
            configuration=settled,
            revision_id=ids.uuid(),
            last_modified=self._clock.time(),
            state="Pending",
            state_reason="The function is being created.",
            state_reason_code="Creating",
            last_update_status=None,
        )
        function = Function(latest=latest, tags=tags, code_signing_config=signing)
        published: FunctionVersion | None = None
        if parameters.get("Publish"):
            function, published = publish(function, parameters.get("Description"))
        function = await self._catalog.create(function)
        self._lifecycle.activate(function)
        return _with_sha(published or function.latest)

    async def get_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        function, version, qualifier = await self._find(context, parameters)
        digest = version.configuration.code_digest
        location = self._lifecycle.location(context.endpoint, context.region, digest)
        result: dict[str, Any] = {
            "Configuration": _with_sha(version, qualifier),
            "Code": {
                "RepositoryType": "S3",
                "Location": location,
                "SourceKMSKeyArn": version.configuration.source_kms_key_arn,
            },
        }
        if function.tags:
            result["Tags"] = function.tags
        if function.reserved_concurrency is not None and qualifier in (None, LATEST):
            reserved = function.reserved_concurrency
            result["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return result

    async def get_function_configuration(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        _, version, qualifier = await self._find(context, parameters)
        return _with_sha(version, qualifier)

    async def list_functions(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        limit = pages.limit(parameters)
        after = pages.after(parameters)
        if parameters.get("FunctionVersion") == "ALL":
            return await self._list_versions(context, after, limit)
        functions = await self._catalog.page(context.account, context.region, after, limit + 1)
        more = len(functions) > limit
        functions = functions[:limit]
        return {
            "Functions": [configuration.describe_in_list(each.latest) for each in functions],
            "NextMarker": pages.marker(functions[-1].name) if more else None,
        }

    async def _list_versions(self, context: Context, after: str, limit: int) -> dict[str, Any]:
        """Every version of every function, page by page: a page may end inside a function."""
        name, _, number = after.partition(":")
        found: list[FunctionVersion] = []
        if number:
            # The rest of the function that the last page ended in, if it is there still.
            try:
                function = await self._catalog.get(context.account, context.region, name)
                every = function.every_version()
                found += [each for each in every if pages.numbered(each.version) > number]
            except ResourceNotFound:
                pass
        while len(found) <= limit:
            functions = await self._catalog.page(context.account, context.region, name, limit)
            if not functions:
                break
            found += [version for each in functions for version in each.every_version()]
            name = functions[-1].name
        shown = found[:limit]
        last = shown[-1] if shown else None
        return {
            "Functions": [configuration.describe_in_list(each, each.version) for each in shown],
            "NextMarker": pages.marker(f"{last.name}:{pages.numbered(last.version) or '-'}")
            if last is not None and len(found) > limit
            else None,
        }

    async def update_function_code(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        configuration.refuse_unoffered(parameters)
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        _expect(function, parameters)
        wanted = {key: parameters[key] for key in ("Architectures",) if key in parameters}
        changes = await self._changes(context, wanted)
        code = await self._code.take(context, parameters)
        changes |= _code_fields(code)
        changes["source_kms_key_arn"] = parameters.get("SourceKMSKeyArn")
        if parameters.get("DryRun"):
            latest = function.latest
            changed = replace(latest, configuration=replace(latest.configuration, **changes))
            return _with_sha(changed)
        return await self._update(context, name, parameters, changes)

    async def update_function_configuration(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        configuration.refuse_unoffered(parameters)
        name = function_name(context, parameters["FunctionName"])
        changes = await self._changes(context, parameters)
        return await self._update(context, name, parameters, changes)

    async def delete_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )
        account, region = context.account, context.region
        if qualifier is None:
            await self._catalog.delete(account, region, name)
        elif qualifier == LATEST:
            raise InvalidParameterValue(
                "$LATEST version cannot be deleted without deleting the function."
            )
        elif not qualifier.isdecimal():
            raise InvalidParameterValue("Deletion of aliases is not currently supported.")
        else:

            def change(function: Function) -> Function:
                if qualifier not in function.versions:
                    raise not_found(account, region, name, qualifier)
                users = sorted(
                    each.name for each in function.aliases.values() if each.refers_to(qualifier)
                )
                if users:
                    raise ResourceConflict(
                        f"Version {qualifier} is referenced by these aliases and cannot be "
                        f"deleted: {', '.join(users)}"
                    )
                return without_qualifier(function, qualifier)

            await self._catalog.change(account, region, name, change)
        self._lifecycle.retire(account, region, name)
        return {"StatusCode": 204}

    # -- parts ----------------------------------------------------------------------------

    async def _exists(self, context: Context, name: str) -> bool:
        try:
            await self._catalog.get(context.account, context.region, name)
        except ResourceNotFound:
            return False
        return True

    async def _find(
        self, context: Context, parameters: dict[str, Any]
    ) -> tuple[Function, FunctionVersion, str | None]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )
        account, region = context.account, context.region
        try:
            function = await self._catalog.get(account, region, name)
        except ResourceNotFound:
            raise not_found(account, region, name, qualifier) from None
        version = function.find(qualifier)
        if version is None:
            raise not_found(account, region, name, qualifier)
        return function, version, qualifier

    def _check_role(self, context: Context, arn: str) -> None:
        """A function's role is one of the account that trusts Lambda; AWS's words otherwise."""
        if not self._authorizer.enforcing:
            return
        if arn.split(":")[4:5] != [context.account]:
            raise AccessDenied("Cross-account pass role is not allowed.")
        if not self._authorizer.trusts(arn, "lambda.amazonaws.com"):
            raise InvalidParameterValue(
                "The role defined for the function cannot be assumed by Lambda."
            )

    async def _changes(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        """The fields a request sets, its layers looked up, its runtime one this host has."""
        changes = configuration.changes(parameters)
        self._check_host(changes)
        if "Role" in parameters:
            self._check_role(context, parameters["Role"])
        if "Layers" in parameters:
            changes["layers"] = await self._layers.uses(context, parameters["Layers"])
        return changes

    def _check_host(self, changes: dict[str, Any]) -> None:
        """A runtime and an architecture this host has; never another one in silence."""
        runtime = changes.get("runtime")
        if runtime is not None and self._languages.get(runtime) is None:
            known = ", ".join(self._languages.names())
            raise InvalidParameterValue(
                f"The runtime parameter of {runtime} is not available on this host. "
                f"Runtimes it has: {known}. See `lambent doctor`."
            )
        architecture = changes.get("architecture")
        if architecture is not None and architecture != HOST_ARCHITECTURE:
            raise InvalidParameterValue(
                f"Architecture {architecture} is not available: this host is {HOST_ARCHITECTURE}."
            )

    def _check_size(self, settled: Configuration) -> None:
        if settled.layers:
            layers = sum(each.unpacked for each in settled.layers)
            self._lifecycle.check_total(settled.unpacked_size + layers)

    async def _update(
        self, context: Context, name: str, parameters: dict[str, Any], changes: dict[str, Any]
    ) -> dict[str, Any]:
        published: list[FunctionVersion] = []

        def change(function: Function) -> Function:
            _expect(function, parameters)
            latest = function.latest
            if latest.state == "Pending":
                raise ResourceConflict(
                    "The operation cannot be performed at this time. The function is currently in "
                    "the following state: Pending"
                )
            if latest.last_update_status == "InProgress":
                raise update_in_progress(function.arn)
            settled = replace(latest.configuration, **changes)
            self._check_size(settled)
            function = function.with_latest(
                configuration=settled,
                revision_id=ids.uuid(),
                last_modified=self._clock.time(),
                last_update_status="InProgress",
                last_update_reason="The function is being created.",
                last_update_reason_code="Creating",
            )
            if parameters.get("Publish"):
                function, version = publish(function, None)
                published[:] = [version]
            return function

        function = await self._catalog.change(context.account, context.region, name, change)
        self._lifecycle.activate(function)
        return _with_sha(published[0] if published else function.latest)


def _with_sha(version: FunctionVersion, qualifier: str | None = None) -> dict[str, Any]:
    shown = configuration.describe(version, qualifier)
    shown["ConfigSha256"] = version.configuration.sha256()
    return shown


def _expect(function: Function, parameters: dict[str, Any]) -> None:
    revision = parameters.get("RevisionId")
    if revision is not None and revision != function.latest.revision_id:
        raise PreconditionFailed


def _code_fields(code: package.Package) -> dict[str, Any]:
    return {
        "code_digest": code.digest,
        "code_sha256": code.sha256,
        "code_size": code.size,
        "unpacked_size": code.unpacked,
    }
