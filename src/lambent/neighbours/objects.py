"""Objects of S3, embedded or elsewhere, read for a caller who may read them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from lambent.blobs.base import ObjectError
from lambent.errors import AccessDenied
from lambent.http.client import UpstreamError
from lambent.iam.authenticate import Principal
from lambent.neighbours.base import Message, Neighbour, NeighbourUnavailable
from lambent.neighbours.guard import Guard
from lambent.neighbours.subjects.base import Outgoing, Wanted

_ERROR_BYTES = 64 * 1024
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})</Message>")


class Objects:
    """See ``lambent.blobs.base.ObjectSource``; for one caller."""

    def __init__(self, s3: Neighbour, guard: Guard, principal: Principal) -> None:
        self._s3 = s3
        self._guard = guard
        self._principal = principal

    async def read(self, bucket: str, key: str, version: str | None) -> AsyncIterator[bytes]:
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        wanted = Wanted(action, f"arn:aws:s3:::{bucket}/{key}", bucket)
        query = (("versionId", version),) if version else ()
        request = Outgoing("GET", f"/{bucket}/{key}", query)
        principal = self._principal
        try:
            owner = await self._guard.check(principal, "s3", wanted, ())
            reply = await self._s3.send(Message("s3", owner, principal.region, request))
            if reply.status != 200:
                text = (await reply.read(_ERROR_BYTES)).decode("utf-8", "replace")
                code, message = _CODE.search(text), _MESSAGE.search(text)
                raise ObjectError(
                    code[1] if code else str(reply.status), message[1] if message else "Unknown"
                )
            async for piece in reply.body():
                yield piece
        except AccessDenied as error:
            raise ObjectError("AccessDenied", error.message) from None
        except (NeighbourUnavailable, UpstreamError) as error:
            raise ObjectError("ServiceUnavailable", str(error)) from None
