"""Function URLs: their configuration."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from lambent import ids
from lambent.api import pages
from lambent.api.context import Context
from lambent.api.names import function_name
from lambent.api.qualifiers import qualified
from lambent.clock import Clock, aws_timestamp
from lambent.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.functions.catalog import Catalog
from lambent.functions.types import LATEST, Function, UrlConfig

_METHODS = {"GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"}
_ORIGIN = re.compile(r"\*|https?://[^\s/?#]+")


class FunctionUrlConfigs:
    """Handlers of the function URL operations."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def create_function_url_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)
        now = self._clock.time()
        config = UrlConfig(
            url_id=ids.url_id(),
            auth_type=parameters["AuthType"],
            invoke_mode=parameters.get("InvokeMode", "BUFFERED"),
            created=now,
            last_modified=now,
            cors=_cors(parameters),
        )

        if found.has_tenants:
            raise InvalidParameterValue(
                "Function URLs are not supported for functions with tenant isolation."
            )

        def change(function: Function) -> Function:
            if qualifier in function.urls:
                raise ResourceConflict(
                    "Failed to create function url config for [functionArn = "
                    f"{_arn(function, qualifier)}]. Error message:  FunctionUrlConfig exists for "
                    "this Lambda function"
                )
            return replace(function, urls={**function.urls, qualifier: config})

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        return _describe(context, changed, qualifier)

    async def get_function_url_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        function, qualifier = await qualified(self._catalog, context, parameters)
        return _describe(context, function, qualifier)

    async def list_function_url_configs(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        name = function_name(context, parameters["FunctionName"])
        function = await self._catalog.get(context.account, context.region, name)
        found, marker = pages.page(function.urls, lambda each: each, parameters)
        return {
            "FunctionUrlConfigs": [_describe(context, function, each) for each in found],
            "NextMarker": marker,
        }

    async def update_function_url_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)

        def change(function: Function) -> Function:
            before = _configured(function, qualifier)
            config = replace(
                before,
                auth_type=parameters.get("AuthType", before.auth_type),
                invoke_mode=parameters.get("InvokeMode", before.invoke_mode),
                cors=_cors(parameters) if "Cors" in parameters else before.cors,
                last_modified=self._clock.time(),
            )
            return replace(function, urls={**function.urls, qualifier: config})

        changed = await self._catalog.change(context.account, context.region, found.name, change)
        return _describe(context, changed, qualifier)

    async def delete_function_url_config(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        found, qualifier = await qualified(self._catalog, context, parameters)

        def change(function: Function) -> Function:
            _configured(function, qualifier)
            left = {key: each for key, each in function.urls.items() if key != qualifier}
            return replace(function, urls=left)

        await self._catalog.change(context.account, context.region, found.name, change)
        return {}


def _configured(function: Function, qualifier: str) -> UrlConfig:
    config = function.urls.get(qualifier)
    if config is None:
        raise ResourceNotFound("The resource you requested does not exist.")
    return config


def _arn(function: Function, qualifier: str) -> str:
    return function.arn if qualifier == LATEST else function.qualified_arn(qualifier)


def _cors(parameters: dict[str, Any]) -> dict[str, Any] | None:
    cors: dict[str, Any] | None = parameters.get("Cors")
    if not cors:
        return None
    for method in cors.get("AllowMethods", ()):
        if method not in _METHODS:
            raise InvalidParameterValue(f"Invalid method in AllowMethods: {method}")
    for origin in cors.get("AllowOrigins", ()):
        if _ORIGIN.fullmatch(origin) is None:
            raise InvalidParameterValue(f"Invalid origin in AllowOrigins: {origin}")
    if cors.get("AllowCredentials") and "*" in cors.get("AllowOrigins", ()):
        # AWS takes it and lets every page of the web in with its user's cookies.
        raise InvalidParameterValue(
            "AllowCredentials cannot be used with the wildcard character (*) in AllowOrigins. "
            "Name the origins, or set AllowCredentials to false."
        )
    return cors


def _address(context: Context, url_id: str) -> str:
    """A URL by which who asks reaches the function: he reached this server by the same host."""
    parts = urlsplit(context.endpoint)
    host, port = parts.hostname or "localhost", f":{parts.port}" if parts.port else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and not address.is_loopback:
        # An address has no names below it.
        return f"{parts.scheme}://{parts.netloc}/_lambent/urls/{url_id}/"
    host = "localhost" if address is not None else host
    return f"{parts.scheme}://{url_id}.lambda-url.{context.region}.{host}{port}/"


def _describe(context: Context, function: Function, qualifier: str) -> dict[str, Any]:
    config = _configured(function, qualifier)
    return {
        "FunctionUrl": _address(context, config.url_id),
        "FunctionArn": _arn(function, qualifier),
        "AuthType": config.auth_type,
        "Cors": config.cors,
        "CreationTime": aws_timestamp(config.created),
        "LastModifiedTime": aws_timestamp(config.last_modified),
        "InvokeMode": config.invoke_mode,
    }
