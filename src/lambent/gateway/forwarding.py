"""Requests to the services beside Lambda: verified, authorised, and passed on as they come.

What is authorised is what is passed on: the request is rebuilt from what was understood of it, and
its service, account and region are said by the gateway, so that nobody behind it guesses again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from lambent import ids
from lambent.api.authorization import request_keys
from lambent.aws import sigv4
from lambent.aws.serialize import WireResponse
from lambent.errors import AccessDenied, RequestEntityTooLarge, ServiceError
from lambent.gateway import wires
from lambent.gateway.stacks import Stacks
from lambent.http import BodyTooLarge, Exchange
from lambent.http.client import Headers, Reply, UpstreamError
from lambent.iam.authenticate import Authenticator, Principal
from lambent.neighbours.base import Message, Neighbour
from lambent.neighbours.guard import Guard
from lambent.neighbours.subjects import json_services, query_services, s3, scheduler
from lambent.neighbours.subjects.base import Asked, Unreadable, Wanted

_log = logging.getLogger(__name__)

# Largest request of any service but S3: that of a large PutRecords, and some.
_DOCUMENT_BYTES = 12 * 1024 * 1024
_QUERY_SERVICES = ("sns", "cloudformation")
# Of the connection, of the signature, or the gateway's own.
_NOT_PASSED = {
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "authorization",
    "proxy-authorization",
    "content-length",
    "x-amz-security-token",
    "x-amz-date",
}
_NOT_RETURNED = {"connection", "keep-alive", "transfer-encoding", "content-length", "server"}
_OF_SIGNATURE = re.compile(
    r"X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token)"
    r"|AWSAccessKeyId|Signature|Expires|Content-Type|Content-MD5",
    re.IGNORECASE,
)
_HOISTED_NAME = re.compile(r"x-amz-[a-z0-9-]{1,64}")
_HOISTED_VALUE = re.compile(r"[ -~\x80-\xff]{0,8192}")
# bucket.localhost, bucket.s3.localhost, bucket.s3.us-east-1.localhost
_VIRTUAL = re.compile(
    r"(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}?[a-z0-9])(?:\.s3(?:[.-][a-z0-9-]+)?)?\.localhost(?::\d+)?"
)
_PLAIN_HOST = re.compile(r"s3(?:[.-][a-z0-9-]+)?\.localhost(?::\d+)?")


@dataclass(slots=True)
class _Call:
    """A request on its way: who asks, how, and what reads the body."""

    exchange: Exchange
    principal: Principal
    query: dict[str, list[str]]
    headers: dict[str, str]


class Forwarding:
    """Hands requests to the neighbours; object_bytes: the largest body S3 takes."""

    def __init__(
        self,
        authenticator: Authenticator,
        guard: Guard,
        neighbours: Mapping[str, Neighbour],
        object_bytes: int,
        stacks: Stacks,
    ) -> None:
        self._authenticator = authenticator
        self._guard = guard
        self._neighbours = neighbours
        self._object_bytes = object_bytes
        self._stacks = stacks
        self.services = frozenset(neighbours)

    async def handle(
        self, exchange: Exchange, claim: sigv4.Claim, query: dict[str, list[str]]
    ) -> None:
        """Answer a request whose signature says it is for a neighbour; raises ClientGone."""
        service = claim.scope.service
        try:
            if service == "s3":
                reply = await self._s3(exchange, claim, query)
            else:
                reply = await self._document(exchange, claim, query)
        except sigv4.SignatureError as wrong:
            refused = Unreadable(wrong.code, wrong.message, wrong.status)
            self._refuse(exchange, wires.refuse(service, exchange.headers, refused))
            return
        except BodyTooLarge:
            error = RequestEntityTooLarge("The request is too large.")
            error.status = 400  # type: ignore[misc]
            self._refuse(exchange, wires.refuse(service, exchange.headers, error))
            return
        except (ServiceError, Unreadable) as refused:
            self._refuse(exchange, wires.refuse(service, exchange.headers, refused))
            return
        await _pass_back(exchange, reply, service)

    @staticmethod
    def _refuse(exchange: Exchange, response: WireResponse) -> None:
        headers = [*response.headers, ("x-amzn-RequestId", response.request_id or ids.uuid())]
        exchange.respond(response.status, headers, response.body)

    # -- services that are asked in documents ----------------------------------------------

    async def _document(
        self, exchange: Exchange, claim: sigv4.Claim, query: dict[str, list[str]]
    ) -> Reply:
        service = claim.scope.service
        body = await exchange.read(_DOCUMENT_BYTES)
        headers = exchange.headers
        principal = self._authenticator.authenticate(
            claim, exchange.method, exchange.path, exchange.query, headers, body
        )
        call = _Call(exchange, principal, _without_signature(query), headers)
        account, region = principal.account, principal.region
        if service == "scheduler":
            place = (call.query, body, account, region)
            asked = scheduler.read(exchange.method, exchange.path, *place)
            wanted = scheduler.wanted(asked)
        elif service in _QUERY_SERVICES or "x-amz-target" not in headers:
            if service not in (*_QUERY_SERVICES, "sqs") or "x-amz-target" in headers:
                raise Unreadable("UnknownOperationException", "The operation is not known.")
            if exchange.method not in ("GET", "POST") or (exchange.method == "GET" and body):
                raise Unreadable("InvalidAction", "A form is sent by POST, or in a GET's query.")
            asked = query_services.read(service, exchange.path, call.query, body, account, region)
            wanted = query_services.wanted(asked)
        else:
            asked = json_services.read(headers, body, account, region)
            if asked.service.removesuffix("streams") != service:
                raise Unreadable("UnknownOperationException", "The operation is not known.")
            wanted = json_services.wanted(asked)
        owner = await self._admit(call, asked.service, wanted)
        target = "/"
        if service == "scheduler" or (service == "sqs" and _names_a_queue(asked, body)):
            target = exchange.path
        if call.query:
            target += "?" + urlencode(call.query, doseq=True, quote_via=quote)
        message = self._message(call, asked.service, owner, target, body)
        message.payload = hashlib.sha256(body).hexdigest()
        if service == "cloudformation":
            role = asked.parameters.get("RoleARN", "")
            message.extra["credentials"] = self._stacks.credentials(principal, role)
        return await self._neighbours[service].send(message)

    @staticmethod
    def _message(
        call: _Call,
        service: str,
        owner: str,
        target: str,
        body: AsyncIterator[bytes] | bytes,
    ) -> Message:
        exchange = call.exchange
        return Message(
            service,
            owner,
            call.principal.region,
            exchange.method,
            target,
            _passed(call.headers),
            body,
            exchange.headers.get("host", ""),
            exchange.peer,
        )

    async def _admit(self, call: _Call, service: str, wanted: Iterable[Wanted]) -> str:
        """The account that what is asked for belongs to; raises AccessDenied."""
        keys = request_keys(call.exchange.peer, call.headers, call.exchange.secure)
        return await self._guard.admit(call.principal, service, wanted, keys)

    # -- S3 -------------------------------------------------------------------------------

    async def _s3(
        self, exchange: Exchange, claim: sigv4.Claim, query: dict[str, list[str]]
    ) -> Reply:
        path = _with_bucket(exchange.path, exchange.headers.get("host", ""))
        principal, check = self._authenticator.authenticate_ahead(
            claim, exchange.method, exchange.path, exchange.query, exchange.headers, path
        )
        headers = _hoisted(query, exchange.headers)
        kept = {
            name: values
            for name, values in _without_signature(query).items()
            if not name.lower().startswith("x-amz-")
        }
        asked = s3.read(exchange.method, path, kept, headers)
        call = _Call(exchange, principal, kept, headers)
        neighbour = self._neighbours["s3"]
        body: AsyncIterator[bytes] | bytes = b""
        if asked.streams:
            owner = await self._admit(call, "s3", s3.wanted(asked))
            body = _checked(exchange, check, self._object_bytes, neighbour.wants_framing)
        else:
            raw = await exchange.read(_DOCUMENT_BYTES)
            decoded = check.feed(raw)
            check.end()
            body = raw if neighbour.wants_framing else decoded
            owner = await self._admit(call, "s3", s3.wanted(asked, decoded))
        target = f"/{quote(asked.bucket)}" + (f"/{quote(asked.key)}" if asked.key else "")
        if kept:
            target += "?" + urlencode(kept, doseq=True, quote_via=quote)
        message = self._message(call, "s3", owner, target, body)
        framed = "x-amz-decoded-content-length" in headers and not neighbour.wants_framing
        if asked.streams and "content-length" in headers and not framed:
            message.headers.append(("content-length", headers["content-length"]))
        reply = await neighbour.send(message)
        if reply.status == 404 and asked.key and asked.method in ("GET", "HEAD"):
            await self._hide(call, reply, asked)
        return reply

    async def _hide(self, call: _Call, reply: Reply, asked: s3.S3Request) -> None:
        """Who may not list a bucket is not told what it lacks (S3's GetObject, "Permissions")."""
        bucket = f"arn:aws:s3:::{asked.bucket}"
        try:
            await self._admit(call, "s3", [Wanted("s3:ListBucket", bucket, asked.bucket)])
        except AccessDenied:
            reply.close()
            raise


def _names_a_queue(asked: Asked, body: bytes) -> bool:
    """Whether the path of a form said which queue is meant, and nothing else did."""
    return asked.parameters.get("QueueUrl", "").startswith("/") and b"QueueUrl=" not in body


async def _checked(
    exchange: Exchange, check: sigv4.BodyCheck, limit: int, framed: bool
) -> AsyncIterator[bytes]:
    """The body as it comes; raises SignatureError before its end if it is not what was signed."""
    held = b""
    async for piece in exchange.chunks(limit):
        decoded = check.feed(piece)
        following = piece if framed else decoded
        if not following:
            continue
        if held:
            yield held
        # The last piece is kept back until all that was signed has been seen.
        held = following
    check.end()
    if held:
        yield held


async def _pass_back(exchange: Exchange, reply: Reply, service: str) -> None:
    """Send an answer on as it comes."""
    headers = [(n, v) for n, v in reply.headers if n not in _NOT_RETURNED]
    names = {name for name, _ in headers}
    request_id = ids.uuid()
    if service == "s3" and "x-amz-request-id" not in names:
        headers.append(("x-amz-request-id", request_id))
    if "x-amzn-requestid" not in names:
        headers.append(("x-amzn-RequestId", request_id))
    declared = reply.header("content-length")
    length = int(declared) if declared is not None else None
    if exchange.method == "HEAD" or reply.status in (204, 304):
        reply.close()
        if reply.status in (204, 304):
            exchange.respond(reply.status, headers)
            return
        exchange.start(reply.status, headers, length or 0)
        exchange.end()
        return
    exchange.start(reply.status, headers, length)
    try:
        async for piece in reply.body():
            await exchange.write(piece)
    except UpstreamError as error:
        # The client sees the connection break before the body's end, and asks again.
        _log.warning("%s broke off: %s", service, error)
        exchange.abort()
        return
    finally:
        reply.close()
    exchange.end()


def _passed(headers: dict[str, str]) -> Headers:
    return [
        (name, value)
        for name, value in headers.items()
        if name not in _NOT_PASSED and not name.startswith("x-lambent-")
    ]


def _without_signature(query: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in query.items() if not _OF_SIGNATURE.fullmatch(name)}


def _hoisted(query: dict[str, list[str]], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request whose presigned URL carries some of them in its query.

    Raises Unreadable for what cannot be a header, and for one that is there twice.
    """
    merged = dict(headers)
    for name, values in query.items():
        header = name.lower()
        if not header.startswith("x-amz-") or _OF_SIGNATURE.fullmatch(name):
            continue
        if not _HOISTED_NAME.fullmatch(header) or not _HOISTED_VALUE.fullmatch(values[0]):
            raise Unreadable("InvalidArgument", "A query parameter is not a valid header.")
        if len(values) != 1 or merged.get(header, values[0]) != values[0]:
            raise Unreadable("InvalidArgument", f"The header {header} is given more than once.")
        merged[header] = values[0]
    return merged


def _with_bucket(path: str, host: str) -> str:
    """A path that begins with the bucket, also where the host named it."""
    if _PLAIN_HOST.fullmatch(host):
        return path
    found = _VIRTUAL.fullmatch(host)
    return f"/{found['bucket']}{path}" if found is not None else path
