"""Code of functions and layers: from the request itself or from S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambent.api.context import Context
from lambent.blobs.base import ObjectError, ObjectSource
from lambent.errors import InvalidParameterValue, OperationNotOffered, RequestEntityTooLarge
from lambent.functions.lifecycle import Lifecycle
from lambent.functions.package import Package
from lambent.iam.authenticate import Principal

Objects = Callable[[Principal], ObjectSource]
"""The objects that a caller may read."""


class CodeTaker:
    """Checks, stores and unpacks the code of a request."""

    def __init__(self, lifecycle: Lifecycle, zipped_bytes: int, objects: Objects) -> None:
        self._lifecycle = lifecycle
        self._zipped_bytes = zipped_bytes
        self._objects = objects

    async def take(self, context: Context, code: dict[str, Any]) -> Package:
        """The package of a Code or Content structure; raises InvalidParameterValue."""
        if "ImageUri" in code:
            raise OperationNotOffered("ImageUri is not offered by this version of Lambent.")
        if code.get("S3ObjectStorageMode", "COPY") != "COPY":
            raise OperationNotOffered(
                "S3ObjectStorageMode REFERENCE is not offered by this version of Lambent."
            )
        data = code.get("ZipFile")
        bucket, key = code.get("S3Bucket"), code.get("S3Key")
        if data is not None and (bucket or key):
            raise InvalidParameterValue(
                "Please do not provide other FunctionCode parameters when providing a ZipFile."
            )
        if data is not None:
            if len(data) > self._zipped_bytes:
                raise RequestEntityTooLarge(
                    f"Zipped size must be smaller than {self._zipped_bytes} bytes"
                )
            return await self._lifecycle.take(data, context.account)
        if not bucket or not key:
            raise InvalidParameterValue("Please provide a source for function code.")
        try:
            objects = self._objects(context.principal)
            return await self._lifecycle.take_stream(
                objects.read(bucket, key, code.get("S3ObjectVersion")), context.account
            )
        except ObjectError as error:
            raise InvalidParameterValue(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. "
                f"S3 Error Message: {error.message}"
            ) from None
