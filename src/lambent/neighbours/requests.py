"""What the server itself asks of the neighbours, in the name of a role that must be allowed to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from lambent.errors import AccessDenied, LambentError, ServiceError
from lambent.http.client import UpstreamError
from lambent.iam.authenticate import Principal
from lambent.neighbours.base import Message, Neighbour
from lambent.neighbours.guard import Guard
from lambent.neighbours.subjects import json_services, query_services
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted

_ANSWER_BYTES = 1024 * 1024
_SAID = re.compile(r"<Code>([^<]{1,100})</Code>\s*<Message>([^<]{0,500})</Message>")


class RequestFailed(LambentError):
    """A neighbour, or the guard before it, said no; the message says why.

    code: the neighbour's own name of the error, "" where it is not his.
    """

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)


class Requests:
    """Sends requests to where those of clients go, past the same guard."""

    def __init__(self, guard: Guard, neighbours: Mapping[str, Neighbour]) -> None:
        self._guard = guard
        self._neighbours = neighbours

    async def json(
        self,
        principal: Principal,
        target: str,
        parameters: dict[str, Any],
        trace_id: str = "",
        limit: int = _ANSWER_BYTES,
    ) -> Any:
        """The answer to an operation of the json protocol; target: as X-Amz-Target names it.

        The account and the region are the principal's.  Raises RequestFailed, also where the answer
        is longer than limit bytes.
        """
        asked, wanted = _subjects(principal, target, parameters)
        answer = await self._send(
            principal, asked.service, wanted, asked.request, asked.body, trace_id, limit
        )
        try:
            return json.loads(answer or b"{}")
        except ValueError:
            raise RequestFailed("its answer is not JSON") from None

    async def permitted(
        self, principal: Principal, target: str, parameters: dict[str, Any]
    ) -> bool:
        """Whether the principal may do an operation of the json protocol, without doing it.

        Raises RequestFailed where that cannot be told.
        """
        asked, wanted = _subjects(principal, target, parameters)
        try:
            await self._guard.admit(principal, asked.service, wanted, ())
        except AccessDenied:
            return False
        except Unreadable as error:
            raise RequestFailed(error.message) from None
        except ServiceError as error:
            raise RequestFailed(str(error)) from None
        return True

    async def form(
        self, principal: Principal, service: str, form: dict[str, str], trace_id: str = ""
    ) -> None:
        """Ask an operation of the query protocol; raises RequestFailed."""
        body = urlencode(form).encode()
        try:
            asked = query_services.read(service, "/", {}, body, principal.account, principal.region)
            wanted = query_services.wanted(asked)
        except Unreadable as error:
            raise RequestFailed(error.message) from None
        await self._send(principal, service, wanted, asked.request, asked.body, trace_id)

    async def put_object(
        self, principal: Principal, bucket: str, key: str, body: bytes, trace_id: str = ""
    ) -> None:
        """Store a JSON object in S3; raises RequestFailed."""
        wanted = [Wanted("s3:PutObject", f"arn:aws:s3:::{bucket}/{key}", bucket)]
        headers = {"content-type": "application/json"}
        request = Outgoing("PUT", f"/{bucket}/{key}", headers=headers)
        await self._send(principal, "s3", wanted, request, body, trace_id)

    async def _send(
        self,
        principal: Principal,
        service: str,
        wanted: Iterable[Wanted],
        request: Outgoing,
        body: bytes,
        trace_id: str,
        limit: int = _ANSWER_BYTES,
    ) -> bytes:
        try:
            owner = await self._guard.admit(principal, service, wanted, ())
            message = Message(service, owner, principal.region, request, body, len(body))
            message.payload = hashlib.sha256(body).hexdigest()
            message.trace_id = trace_id
            reply = await self._neighbours[service].send(message)
            answer = await reply.read(limit)
        except Unreadable as error:
            raise RequestFailed(error.message) from None
        except (ServiceError, UpstreamError) as error:
            raise RequestFailed(str(error)) from None
        if reply.status >= 300:
            code, said = _said(answer)
            raise RequestFailed(f"{code}: {said}" if code else f"it answered {reply.status}", code)
        return answer


def _subjects(
    principal: Principal, target: str, parameters: dict[str, Any]
) -> tuple[Asked, list[Wanted]]:
    """A request of the json protocol and what it wants; raises RequestFailed."""
    headers, body = {"x-amz-target": target}, json.dumps(parameters).encode()
    try:
        asked = json_services.read(headers, body, principal.account, principal.region)
        return asked, list(json_services.wanted(asked))
    except Unreadable as error:
        raise RequestFailed(error.message) from None


def _said(answer: bytes) -> tuple[str, str]:
    """Code and message of an error in either form; empty if there are none."""
    text = answer.decode("utf-8", "replace")
    found = _SAID.search(text)
    if found is not None:
        return found[1], found[2]
    try:
        document = json.loads(text)
        kind = str(document["__type"]).rpartition("#")[2]
        return kind, str(document.get("message", document.get("Message", "")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", ""
