"""Versions: fixed for good, numbered once and never again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import configuration, pages
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.errors import InvalidParameterValue, OperationNotOffered, PreconditionFailed
from lambent.functions.catalog import Catalog, update_in_progress
from lambent.functions.types import Function, FunctionVersion


class Versions:
    """Handlers of the version operations."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def publish_version(self, context: Context, parameters: dict[str, Any]) -> dict[str, Any]:
        if "PublishTo" in parameters:
            raise OperationNotOffered("PublishTo is not offered by this version of Lambent.")
        name = function_name(context, parameters["FunctionName"])
        published: list[FunctionVersion] = []

        def change(function: Function) -> Function:
            latest = function.latest
            if parameters.get("RevisionId", latest.revision_id) != latest.revision_id:
                raise PreconditionFailed
            if latest.last_update_status == "InProgress":
                raise update_in_progress(function.arn)
            expected = parameters.get("CodeSha256")
            if expected and expected != latest.configuration.code_sha256:
                raise InvalidParameterValue(
                    f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST "
                    f"({latest.configuration.code_sha256}). Please try again with the CodeSHA256 "
                    "in $LATEST."
                )
            changed, version = publish(function, parameters.get("Description"))
            published[:] = [version]
            return changed

        await self._catalog.change(context.account, context.region, name, change)
        shown = configuration.describe(published[0])
        shown["ConfigSha256"] = published[0].configuration.sha256()
        return shown

    async def list_versions_by_function(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        found, marker = pages.page(
            function.every_version(),
            lambda each: f"v{pages.numbered(each.version)}",
            parameters,
        )
        return {
            "Versions": [configuration.describe_in_list(each, each.version) for each in found],
            "NextMarker": marker,
        }


def publish(function: Function, description: str | None) -> tuple[Function, FunctionVersion]:
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
