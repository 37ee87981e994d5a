"""Requests to the services beside Lambda: verified, read, authorised, and written again.

What is authorised is what is sent on: method, path, parameters, headers and body are built from the
request that was read, by the models of the services, and no byte of the client's is passed unread.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from lambent import ids
from lambent.api.authorization import request_keys
from lambent.aws import signed_body, sigv4
from lambent.aws.serialize import WireResponse
from lambent.errors import AccessDenied, RequestEntityTooLarge, ServiceError
from lambent.gateway import wires
from lambent.gateway.bodies import receive
from lambent.gateway.stacks import Stacks
from lambent.http import BodyTooLarge, Exchange
from lambent.http.client import UpstreamError
from lambent.iam.authenticate import Authenticator, Principal
from lambent.neighbours import templates
from lambent.neighbours.base import Message, Neighbour, Reply
from lambent.neighbours.guard import Guard
from lambent.neighbours.subjects import (
    json_services,
    query_services,
    s3,
    s3_documents,
    s3_headers,
    scheduler,
)
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted

_log = logging.getLogger(__name__)

# Largest document of a service: a large BatchWriteItem or PutRecords; messages whose JSON escapes
# each character; a template or a secret.
_DOCUMENT_BYTES = {
    "dynamodb": 12 * 1024 * 1024,
    "kinesis": 12 * 1024 * 1024,
    "events": 4 * 1024 * 1024,
    "sns": 4 * 1024 * 1024,
    "sqs": 4 * 1024 * 1024,
}
_PLAIN_DOCUMENT_BYTES = 1024 * 1024
# A document longer than this is read in a thread.
_THREAD_BYTES = 64 * 1024
_TRACE_BYTES = 512
_LENGTH = re.compile(r"[0-9]{1,15}")
_HOST = re.compile(r"[A-Za-z0-9.\[\]:_-]{1,255}")
_QUERY_SERVICES = ("sns", "cloudformation")
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
        limit = _DOCUMENT_BYTES.get(service, _PLAIN_DOCUMENT_BYTES)
        principal, received = await receive(self._authenticator, exchange, claim, limit)
        try:
            body = await received.load()
        finally:
            received.close()
        reading = (exchange, service, _without_signature(query), body, principal)
        if len(body) > _THREAD_BYTES:
            asked, wanted = await asyncio.to_thread(_read, *reading)
        else:
            asked, wanted = _read(*reading)
        call = _Call(exchange, principal, exchange.headers)
        owner = await self._admit(call, asked.service, wanted)
        message = self._message(call, asked.service, owner, asked.request)
        message.body = asked.body
        message.payload = hashlib.sha256(asked.body).hexdigest()
        if service == "cloudformation":
            role = asked.parameters.get("RoleARN", "")
            message.credentials = self._stacks.credentials(principal, role)
        return await self._neighbours[service].send(message)

    @staticmethod
    def _message(call: _Call, service: str, owner: str, request: Outgoing) -> Message:
        exchange = call.exchange
        trace_id = call.headers.get("x-amzn-trace-id", "")
        return Message(
            service,
            owner,
            call.principal.region,
            request,
            host=_host(exchange.headers.get("host", "")),
            source=exchange.peer,
            trace_id=trace_id if len(trace_id) <= _TRACE_BYTES else "",
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
        request = asked.request
        call = _Call(exchange, principal, headers)
        declared = headers.get("x-amz-content-sha256", "")
        if asked.streams:
            owner = await self._admit(call, "s3", s3.wanted(asked))
            message = self._message(call, "s3", owner, request)
            message.body = _checked(exchange, check, self._object_bytes)
            message.length = _length(headers)
            announced = headers.get("x-amz-trailer", "")
            message.trailers = lambda: s3_headers.trailers(announced, check.trailers)
            message.payload = declared if check.is_whole else ""
        else:
            raw = await exchange.read(s3_documents.DOCUMENT_BYTES)
            body = check.feed(raw)
            check.end()
            root, content = await _document_of(asked, {**headers, **check.trailers}, body)
            owner = await self._admit(call, "s3", s3.wanted(asked, root))
            if content:
                request = s3_headers.with_digest(request, s3_documents.digests(content))
            message = self._message(call, "s3", owner, request)
            message.body = content
            message.payload = hashlib.sha256(content).hexdigest()
        self._check_owner(headers, owner)
        reply = await self._neighbours["s3"].send(message)
        if reply.status == 404 and asked.key and asked.method in ("GET", "HEAD"):
            await self._hide(call, reply, asked)
        return reply

    @staticmethod
    def _check_owner(headers: Mapping[str, str], owner: str) -> None:
        """Raise AccessDenied where a bucket is not whose the caller expects it to be."""
        if headers.get("x-amz-expected-bucket-owner", owner) != owner:
            raise AccessDenied("Access Denied")

    async def _hide(self, call: _Call, reply: Reply, asked: s3.S3Request) -> None:
        """Raise AccessDenied if the caller may not list the bucket (S3, GetObject, Permissions)."""
        bucket = f"arn:aws:s3:::{asked.bucket}"
        try:
            await self._admit(call, "s3", [Wanted("s3:ListBucket", bucket, asked.bucket)])
        except AccessDenied:
            reply.close()
            raise


def _read(
    exchange: Exchange,
    service: str,
    query: dict[str, list[str]],
    body: bytes,
    principal: Principal,
) -> tuple[Asked, list[Wanted]]:
    """A request and all that it wants; raises Unreadable."""
    headers, method, path = exchange.headers, exchange.method, exchange.path
    account, region = principal.account, principal.region
    if service == "scheduler":
        asked = scheduler.read(method, path, query, body, account, region)
        return asked, list(scheduler.wanted(asked))
    if service in _QUERY_SERVICES or "x-amz-target" not in headers:
        if service not in (*_QUERY_SERVICES, "sqs") or "x-amz-target" in headers:
            raise Unreadable("UnknownOperationException", "The operation is not known.")
        if method not in ("GET", "POST") or (method == "GET" and body):
            raise Unreadable("InvalidAction", "A form is sent by POST, or in a GET's query.")
        asked = query_services.read(service, path, query, body, account, region)
        if service == "cloudformation":
            templates.check(asked.parameters)
        return asked, list(query_services.wanted(asked))
    if method != "POST" or query:
        raise Unreadable("UnknownOperationException", "The operation is not known.")
    asked = json_services.read(headers, body, account, region)
    if asked.service.removesuffix("streams") != service:
        raise Unreadable("UnknownOperationException", "The operation is not known.")
    return asked, list(json_services.wanted(asked))


async def _document_of(
    asked: s3.S3Request, headers: Mapping[str, str], body: bytes
) -> tuple[Element | None, bytes]:
    """An S3 request's document and how it is sent on; raises Unreadable."""

    def read() -> tuple[Element | None, bytes]:
        s3_documents.check_digests(headers, body)
        return s3_documents.canonical(asked.query, body)

    return read() if len(body) <= _THREAD_BYTES else await asyncio.to_thread(read)


def _length(headers: Mapping[str, str]) -> int | None:
    """The length of a body without the framing of aws-chunked, if the client says it."""
    declared = headers.get("content-length")
    if "x-amz-decoded-content-length" in headers:
        declared = headers["x-amz-decoded-content-length"]
    return int(declared) if declared is not None and _LENGTH.fullmatch(declared) else None


async def _checked(
    exchange: Exchange, check: signed_body.BodyCheck, limit: int
) -> AsyncIterator[bytes]:
    """The body as it comes; raises SignatureError before its end if it is not what was signed."""
    held = b""
    async for piece in exchange.chunks(limit):
        decoded = check.feed(piece)
        if not decoded:
            continue
        if held:
            yield held
        # The last piece is kept back until all that was signed has been seen.
        held = decoded
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
    length = reply.length
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


def _host(host: str) -> str:
    """The host a client used, for the URLs in answers; "" for what cannot be one."""
    return host if _HOST.fullmatch(host) else ""


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
