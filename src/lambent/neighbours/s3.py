"""Objects of the S3 endpoint in the settings: MinIO, AWS or anything that speaks its API."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import IO
from urllib.parse import quote, urlsplit

from lambent.aws import sigv4
from lambent.blobs.base import ObjectError
from lambent.clock import Clock, utc

_CHUNK = 256 * 1024
_SECONDS = 60
_ERROR_BYTES = 64 * 1024
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})</Message>")


class S3Source:
    """See ``lambent.blobs.base.ObjectSource``; path-style requests, signed, streamed."""

    def __init__(
        self, endpoint: str, access_key: str, secret: str, region: str, clock: Clock
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._access_key = access_key
        self._secret = secret
        self._region = region
        self._clock = clock

    async def read(self, bucket: str, key: str, version: str | None) -> AsyncIterator[bytes]:
        if not self._endpoint:
            raise ObjectError(
                "NoSuchBucket", "no S3 endpoint is configured: set s3_endpoint in the settings"
            )
        response = await asyncio.to_thread(self._open, bucket, key, version)
        with response:
            while chunk := await asyncio.to_thread(response.read, _CHUNK):
                yield chunk

    def _open(self, bucket: str, key: str, version: str | None) -> IO[bytes]:
        path = f"/{quote(bucket, safe='-_.~')}/{quote(key, safe='/-_.~')}"
        query = f"versionId={quote(version, safe='-_.~')}" if version else ""
        headers = sigv4.sign_headers(
            "GET",
            path,
            query,
            {"host": urlsplit(self._endpoint).netloc, "x-amz-content-sha256": sigv4.EMPTY_SHA256},
            b"",
            self._access_key,
            self._secret,
            self._region,
            "s3",
            utc(self._clock.time()),
        )
        url = f"{self._endpoint}{path}{'?' + query if query else ''}"
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the owner's own URL
        try:
            opened: IO[bytes] = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_ERROR_BYTES).decode("utf-8", "replace")
            code, message = _CODE.search(text), _MESSAGE.search(text)
            raise ObjectError(
                code[1] if code else str(error.code), message[1] if message else str(error.reason)
            ) from None
        except OSError as error:
            raise ObjectError("ServiceUnavailable", f"{self._endpoint}: {error}") from None
        return opened
