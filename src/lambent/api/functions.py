"""Functions: create, read, update, delete, list."""

from __future__ import annotations

import base64
import platform
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import configuration
from lambent.api.context import Context
from lambent.api.names import function_name, reference
from lambent.clock import Clock
from lambent.errors import (
    InvalidParameterValue,
    OperationNotOffered,
    PreconditionFailed,
    RequestEntityTooLarge,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.functions import package
from lambent.functions.catalog import Catalog, not_found
from lambent.functions.lifecycle import Lifecycle
from lambent.functions.types import LATEST, Configuration, Function, FunctionVersion
from lambent.runtime.languages import Languages

_PAGE = 50
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
        zipped_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._languages = languages
        self._lifecycle = lifecycle
        self._clock = clock
        self._zipped_bytes = zipped_bytes

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
        changes = configuration.changes(parameters)
        self._check(changes)
        if await self._exists(context, name):
            raise ResourceConflict(f"Function already exist: {name}")
        code = await self._take(parameters["Code"])
        latest = FunctionVersion(
            account=context.account,
            region=context.region,
            name=name,
            version=LATEST,
            configuration=Configuration(
                **{"architecture": HOST_ARCHITECTURE, **_code_fields(code), **changes}
            ),
            revision_id=ids.uuid(),
            last_modified=self._clock.time(),
            state="Pending",
            state_reason="The function is being created.",
            state_reason_code="Creating",
            last_update_status=None,
        )
        function = Function(latest=latest, tags=parameters.get("Tags", {}))
        published: FunctionVersion | None = None
        if parameters.get("Publish"):
            function, published = self._publish(function, parameters.get("Description"))
        function = await self._catalog.create(function)
        self._lifecycle.activate(function)
        return configuration.describe(published or function.latest)

    async def get_function(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        function, version, qualified = await self._find(context, parameters)
        digest = version.configuration.code_digest
        location = self._lifecycle.location(context.endpoint, context.region, digest)
        result: dict[str, Any] = {
            "Configuration": configuration.describe(version, qualified),
            "Code": {"RepositoryType": "S3", "Location": location},
        }
        if function.tags:
            result["Tags"] = function.tags
        return result

    async def get_function_configuration(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        _, version, qualified = await self._find(context, parameters)
        return configuration.describe(version, qualified)

    async def list_functions(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        limit = min(parameters.get("MaxItems", _PAGE), _PAGE)
        after = _decode_marker(parameters.get("Marker"))
        functions = await self._catalog.page(context.account, context.region, after, limit + 1)
        more = len(functions) > limit
        functions = functions[:limit]
        shown: list[dict[str, Any]] = []
        for function in functions:
            if parameters.get("FunctionVersion") == "ALL":
                shown.append(_listed(configuration.describe(function.latest, qualified=True)))
                shown.extend(
                    _listed(configuration.describe(each)) for each in function.versions.values()
                )
            else:
                shown.append(_listed(configuration.describe(function.latest)))
        marker = _encode_marker(functions[-1].name) if more else None
        return {"Functions": shown, "NextMarker": marker}

    async def update_function_code(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        configuration.refuse_unoffered(parameters)
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        self._expect(function, parameters)
        changes = configuration.changes(
            {key: parameters[key] for key in ("Architectures",) if key in parameters}
        )
        self._check(changes)
        code = await self._take(parameters)
        changes |= _code_fields(code)
        if parameters.get("DryRun"):
            latest = function.latest
            changed = replace(latest, configuration=replace(latest.configuration, **changes))
            return configuration.describe(changed)
        return await self._update(context, name, parameters, changes)

    async def update_function_configuration(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        configuration.refuse_unoffered(parameters)
        name = function_name(context, parameters["FunctionName"])
        changes = configuration.changes(parameters)
        self._check(changes)
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
        else:

            def change(function: Function) -> Function:
                if qualifier not in function.versions:
                    raise not_found(account, region, name, qualifier)
                kept = {key: each for key, each in function.versions.items() if key != qualifier}
                return replace(function, versions=kept)

            await self._catalog.change(account, region, name, change)
        self._lifecycle.retire(account, region, name)
        return {}

    async def publish_version(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        if "PublishTo" in parameters:
            raise OperationNotOffered("PublishTo is not offered by this version of Lambent.")
        name = function_name(context, parameters["FunctionName"])
        published: list[FunctionVersion] = []

        def change(function: Function) -> Function:
            self._expect(function, parameters)
            expected = parameters.get("CodeSha256")
            if expected and expected != function.latest.configuration.code_sha256:
                raise InvalidParameterValue(
                    f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST "
                    f"({function.latest.configuration.code_sha256}). Please try again with the "
                    "CodeSHA256 in $LATEST."
                )
            changed, version = self._publish(function, parameters.get("Description"))
            published[:] = [version]
            return changed

        await self._catalog.change(context.account, context.region, name, change)
        return configuration.describe(published[0])

    async def list_versions_by_function(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        limit = min(parameters.get("MaxItems", _PAGE), _PAGE)
        after = _decode_marker(parameters.get("Marker"))
        every = [function.latest, *function.versions.values()]
        start = next((i + 1 for i, each in enumerate(every) if each.version == after), 0)
        page = every[start : start + limit]
        more = start + limit < len(every)
        return {
            "Versions": [_listed(configuration.describe(each, qualified=True)) for each in page],
            "NextMarker": _encode_marker(page[-1].version) if more else None,
        }

    # -- parts ----------------------------------------------------------------------------

    async def _exists(self, context: Context, name: str) -> bool:
        try:
            await self._catalog.get(context.account, context.region, name)
        except ResourceNotFound:
            return False
        return True

    async def _find(
        self, context: Context, parameters: dict[str, Any]
    ) -> tuple[Function, FunctionVersion, bool]:
        name, qualifier = reference(
            context, parameters["FunctionName"], parameters.get("Qualifier")
        )
        account, region = context.account, context.region
        version = await self._catalog.resolve(account, region, name, qualifier)
        function = await self._catalog.get(account, region, name)
        return function, version, qualifier is not None

    def _check(self, changes: dict[str, Any]) -> None:
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

    async def _take(self, code: dict[str, Any]) -> package.Package:
        """Check, store and unpack the code of a request."""
        data = code.get("ZipFile")
        if data is None:
            raise OperationNotOffered(
                "Only Code.ZipFile is offered by this version of Lambent, not S3 or images."
            )
        if len(data) > self._zipped_bytes:
            raise RequestEntityTooLarge(
                f"Zipped size must be smaller than {self._zipped_bytes} bytes"
            )
        return await self._lifecycle.take(data)

    @staticmethod
    def _expect(function: Function, parameters: dict[str, Any]) -> None:
        revision = parameters.get("RevisionId")
        if revision is not None and revision != function.latest.revision_id:
            raise PreconditionFailed

    async def _update(
        self, context: Context, name: str, parameters: dict[str, Any], changes: dict[str, Any]
    ) -> dict[str, Any]:
        published: list[FunctionVersion] = []

        def change(function: Function) -> Function:
            self._expect(function, parameters)
            latest = function.latest
            function = function.with_latest(
                configuration=replace(latest.configuration, **changes),
                revision_id=ids.uuid(),
                last_modified=self._clock.time(),
                last_update_status="InProgress",
                last_update_reason="The function is being created.",
                last_update_reason_code="Creating",
            )
            if parameters.get("Publish"):
                function, version = self._publish(function, None)
                published[:] = [version]
            return function

        function = await self._catalog.change(context.account, context.region, name, change)
        self._lifecycle.activate(function)
        return configuration.describe(published[0] if published else function.latest)

    def _publish(
        self, function: Function, description: str | None
    ) -> tuple[Function, FunctionVersion]:
        """The function with $LATEST fixed as a version; the last one again if nothing changed."""
        latest = function.latest
        wanted = latest.configuration
        if description is not None:
            wanted = replace(wanted, description=description)
        last = function.versions.get(str(function.last_published))
        if last is not None and replace(last.configuration, description="") == replace(
            wanted, description=""
        ):
            return function, last
        number = function.last_published + 1
        version = replace(
            latest,
            version=str(number),
            configuration=wanted,
            revision_id=ids.uuid(),
            last_update_status="Successful",
            last_update_reason=None,
            last_update_reason_code=None,
        )
        versions = {**function.versions, str(number): version}
        changed = replace(function, versions=versions, last_published=number)
        return changed.with_latest(revision_id=ids.uuid()), version


def _code_fields(code: package.Package) -> dict[str, Any]:
    return {
        "code_digest": code.digest,
        "code_sha256": code.sha256,
        "code_size": code.size,
        "unpacked_size": code.unpacked,
    }


def _listed(shown: dict[str, Any]) -> dict[str, Any]:
    """Lists leave the state out, as AWS's do."""
    hidden = {"RuntimeVersionConfig"}
    return {
        key: value
        for key, value in shown.items()
        if key not in hidden and not key.startswith(("State", "LastUpdate"))
    }


def _encode_marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode_marker(marker: str | None) -> str:
    if not marker:
        return ""
    try:
        return base64.urlsafe_b64decode(marker.encode()).decode()
    except ValueError:
        raise InvalidParameterValue("Invalid Marker") from None
