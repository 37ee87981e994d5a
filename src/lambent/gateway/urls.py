"""Function URLs: an HTTP request becomes an event, and what the function answers a response.

A URL is ``ID.lambda-url.REGION.HOST``, or, for hosts without names below theirs,
``/_lambent/urls/ID/`` on any of them.
Source: AWS Lambda Developer Guide, "Creating and managing Lambda function URLs".
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from lambent import ids
from lambent.api.authorization import request_keys, tag_keys
from lambent.aws import sigv4, url_payload
from lambent.aws.parse import parse_query
from lambent.aws.url_payload import BadAnswer, Caller, HttpRequest, HttpResponse
from lambent.clock import Clock
from lambent.errors import AccessDenied, ServiceError
from lambent.functions.catalog import Catalog
from lambent.functions.response_stream import ResponseStream
from lambent.functions.types import LATEST, Function, Outcome, Policy, UrlConfig
from lambent.gateway import cors, origins
from lambent.gateway.bodies import SMALL_BYTES, receive
from lambent.http import BodyTooLarge, Exchange
from lambent.iam.authenticate import Authenticator, Principal
from lambent.iam.authorizer import Authorizer, ResourcePolicy, Subject
from lambent.iam.directory import Directory
from lambent.invoke import Invoker

_log = logging.getLogger(__name__)

_HOST = re.compile(r"(?P<id>[a-z0-9]{32})\.lambda-url\.[a-z0-9-]+\..+")
PATH = "/_lambent/urls/"
_PATH = re.compile(PATH + r"(?P<id>[a-z0-9]{32})(?P<rest>/.*)?")
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_BODILESS = (204, 205, 304)
# What is so in every unsigned request to a URL.
_OF_URLS = {"lambda:functionurlauthtype", "lambda:invokedviafunctionurl"}
_MOST_OPEN = 10_000
# Of an event beside its body, which may be twice as long there; a control character without an
# escape of its own takes five bytes more.
_EVENT_BYTES, _ESCAPE_BYTES = 256 * 1024, 5
_CONTROLS = bytes(each for each in range(0x20) if chr(each) not in "\b\t\n\f\r")

Count = Callable[[Function, str, int, float], None]
"""Told of each request: the function, the qualifier, the answer's status, seconds."""


@dataclass(slots=True)
class _Call:
    """One request to a URL that exists."""

    exchange: Exchange
    function: Function
    qualifier: str
    config: UrlConfig
    url_id: str
    path: str
    request_id: str
    by_path: bool
    status: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The request's."""
        return self.exchange.headers


def is_url(path: str, host: str) -> bool:
    """Whether a request is one of these."""
    return ".lambda-url." in host or path.startswith(PATH)


class FunctionUrls:
    """Answers requests to function URLs; payload_bytes: the largest body."""

    def __init__(
        self,
        catalog: Catalog,
        invoker: Invoker,
        authenticator: Authenticator,
        authorizer: Authorizer,
        directory: Directory,
        clock: Clock,
        payload_bytes: int,
        new_stream: Callable[[], ResponseStream],
        count: Count,
    ) -> None:
        self._catalog = catalog
        self._invoker = invoker
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._directory = directory
        self._clock = clock
        self._payload_bytes = payload_bytes
        self._new_stream = new_stream
        self._count = count
        # Functions, by their policy's revision, that are open to everybody whatever the request.
        self._open: set[tuple[str, str]] = set()

    async def handle(self, exchange: Exchange) -> None:
        """Answer a request; raises ClientGone."""
        path = exchange.path
        found = _PATH.fullmatch(path)
        if found is not None:
            url_id, path = found["id"], found["rest"] or "/"
        else:
            named = _HOST.fullmatch(exchange.headers.get("host", ""))
            url_id = named["id"] if named is not None else ""
        target = await self._catalog.by_url(url_id)
        request_id = ids.uuid()
        if target is None:
            self._refuse(exchange, request_id, 403, "AccessDeniedException", None)
            return
        function, qualifier = target
        config = function.urls[qualifier]
        by_path = found is not None
        call = _Call(exchange, function, qualifier, config, url_id, path, request_id, by_path)
        began = self._clock.monotonic()
        try:
            await self._answer(call)
        finally:
            took = self._clock.monotonic() - began
            self._count(function, qualifier, call.status, took)

    async def _answer(self, call: _Call) -> None:
        exchange, config = call.exchange, call.config
        if config.cors and cors.is_preflight(exchange.method, exchange.headers):
            call.status = 200
            headers = cors.preflight(config.cors, exchange.headers)
            exchange.respond(200, [*headers, ("x-amzn-RequestId", call.request_id)])
            return
        try:
            # Who cannot be let in whatever he sends is told so before he has sent it.
            principal = self._anonymous(call) if config.auth_type == "NONE" else None
            claim = self._claim(call) if principal is None else None
            if claim is not None:
                principal, body = await self._verified(call, claim)
            else:
                body = await exchange.read(self._payload_bytes)
        except BodyTooLarge:
            self._too_large(call)
            return
        except OSError as error:
            _log.error("a large body cannot be kept: %s", error)
            self._internal(call)
            return
        except AccessDenied:
            self._fail(call, 403, "AccessDeniedException", _FORBIDDEN)
            return
        except ServiceError as refused:
            self._fail(call, refused.status, refused.code, refused.message)
            return
        assert principal is not None
        if len(body) + _ESCAPE_BYTES * _controls(body) > 2 * self._payload_bytes + _EVENT_BYTES:
            self._too_large(call)
            return
        if len(body) > SMALL_BYTES:
            event = await asyncio.to_thread(self._event, call, body, principal)
        else:
            event = self._event(call, body, principal)
        try:
            if config.invoke_mode == "RESPONSE_STREAM":
                await self._stream(call, event)
            else:
                await self._buffer(call, event)
        except ServiceError as error:
            self._fail(call, error.status, error.code, error.message, error.extra)
        except BadAnswer as bad:
            _log.info("%s answered its URL wrongly: %s", call.function.name, bad)
            self._internal(call)

    def _too_large(self, call: _Call) -> None:
        message = f"Request must be smaller than {self._payload_bytes} bytes."
        self._fail(call, 413, "RequestEntityTooLargeException", message)

    # -- who may --------------------------------------------------------------------------

    def _anonymous(self, call: _Call) -> Principal:
        """Nobody in particular, if he may; raises AccessDenied."""
        region = call.function.latest.region
        return self._admitted(call, Principal("", "", region, "lambda", anonymous=True))

    def _claim(self, call: _Call) -> sigv4.Claim:
        """Who a request says it is from; raises AccessDenied, and what is wrong with that."""
        exchange = call.exchange
        query = parse_query(exchange.query) if exchange.query else {}
        claim = self._authenticator.claim(exchange.headers, query)
        wanted = ("lambda", call.function.latest.region)
        if claim is None or (claim.scope.service, claim.scope.region) != wanted:
            raise AccessDenied(_FORBIDDEN)
        return claim

    async def _verified(self, call: _Call, claim: sigv4.Claim) -> tuple[Principal, bytes]:
        """Whom it is from, if he may, and the body.

        Raises AccessDenied, what is wrong with a signature, BodyTooLarge and ClientGone.
        """
        principal, received = await receive(
            self._authenticator, call.exchange, claim, self._payload_bytes
        )
        try:
            return self._admitted(call, principal), await received.load()
        finally:
            received.close()

    def _admitted(self, call: _Call, principal: Principal) -> Principal:
        """Who asks, if policies allow it; raises AccessDenied."""
        exchange, latest = call.exchange, call.function.latest
        arn = latest.function_arn
        if call.qualifier != LATEST:
            arn = call.function.qualified_arn(call.qualifier)
        stated = call.function.policies.get(call.qualifier)
        policy = None
        known = None
        if stated is not None:
            document = {"Version": stated.version, "Statement": list(stated.statements)}
            policy = ResourcePolicy(stated.revision_id, arn, lambda: json.dumps(document))
            known = (arn, stated.revision_id) if principal.anonymous else None
            if known is not None and known in self._open:
                return principal
        request = (
            *request_keys(exchange.peer, exchange.headers, exchange.secure),
            *tag_keys(call.function.tags),
            ("lambda:functionurlauthtype", (call.config.auth_type,)),
            ("lambda:invokedviafunctionurl", ("true",)),
        )
        # Both, since October 2025.
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
            subject = Subject(action, arn, latest.account)
            self._authorizer.check(principal, subject, policy, request)
        if known is not None and stated is not None and _same_for_all(stated):
            if len(self._open) >= _MOST_OPEN:
                self._open.clear()
            self._open.add(known)
        return principal

    def _event(self, call: _Call, body: bytes, principal: Principal) -> bytes:
        exchange = call.exchange
        told = exchange.headers.items()
        headers = {
            **{name: value for name, value in told if not name.startswith("x-amzn-tls-")},
            "x-forwarded-for": exchange.peer,
            "x-forwarded-proto": "https" if exchange.secure else "http",
        }
        port = headers.get("host", "").rpartition(":")[2]
        usual = "443" if exchange.secure else "80"
        headers["x-forwarded-port"] = port if port.isdecimal() else usual
        if exchange.secure:
            version, cipher = exchange.tls
            headers |= {"x-amzn-tls-version": version, "x-amzn-tls-cipher-suite": cipher}
        caller = None
        if not principal.anonymous:
            for name in ("authorization", "x-amz-security-token"):
                headers.pop(name, None)
            holder = principal.holder(self._directory)
            user_id = principal.user_id(holder) if holder is not None else principal.account
            arn = principal.requester.arn
            caller = Caller(principal.access_key_id, principal.account, user_id, arn, user_id)
        request = HttpRequest(
            exchange.method, call.path, exchange.query, "HTTP/1.1", headers, body, exchange.peer
        )
        return url_payload.event(request, call.url_id, call.request_id, self._clock.time(), caller)

    # -- what the function answers --------------------------------------------------------

    @staticmethod
    def _asked(call: _Call, event: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the path is asked."""
        latest = call.function.latest
        qualifier = None if call.qualifier == LATEST else call.qualifier
        trace_id = call.headers.get("x-amzn-trace-id")
        return (
            (latest.account, latest.region, latest.name, qualifier, event),
            {"trace_id": trace_id, "request_id": call.request_id},
        )

    async def _buffer(self, call: _Call, event: bytes) -> None:
        what, how = self._asked(call, event)
        _, outcome = await self._invoker.invoke(*what, **how)
        if outcome.function_error is not None:
            self._internal(call)
        else:
            self._respond(call, url_payload.response(outcome.payload))

    async def _stream(self, call: _Call, event: bytes) -> None:
        stream = self._new_stream()
        what, how = self._asked(call, event)
        try:
            task = await self._invoker.begin(stream, *what, **how)
            if not stream.begun.done():
                _, outcome = await task
                if outcome.function_error is not None:
                    self._internal(call)
                    return
                json_type = [("Content-Type", "application/json")]
                self._respond(call, HttpResponse(200, json_type, outcome.payload))
                return
            pieces = stream.pieces()
            if stream.content_type == url_payload.HTTP_STREAM:
                response = await _streamed_head(pieces)
            else:
                response = HttpResponse(200, [("Content-Type", stream.content_type)])
            if call.exchange.method == "HEAD" or response.status in _BODILESS:
                response.body = b""
                self._respond(call, response)
                return
            await self._forward(call, response, pieces, task)
        finally:
            stream.abandon()

    async def _forward(
        self,
        call: _Call,
        response: HttpResponse,
        pieces: AsyncIterator[bytes],
        task: asyncio.Task[tuple[str, Outcome]],
    ) -> None:
        exchange = call.exchange
        call.status = response.status
        exchange.start(response.status, self._headers(call, response))
        await exchange.write(response.body)
        async for piece in pieces:
            await exchange.write(piece)
        try:
            _, outcome = await asyncio.shield(task)
            failed = outcome.function_error is not None
        except ServiceError:
            failed = True
        if failed:
            # The client sees the connection break: there is no other way left to tell.
            exchange.abort()
        else:
            exchange.end()

    # -- answers --------------------------------------------------------------------------

    def _headers(self, call: _Call, response: HttpResponse) -> list[tuple[str, str]]:
        headers = cors.answered(call.config.cors, call.headers, response.headers)
        return [*origins.confined(headers, call.by_path), ("x-amzn-RequestId", call.request_id)]

    def _respond(self, call: _Call, response: HttpResponse) -> None:
        call.status = response.status
        call.exchange.respond(response.status, self._headers(call, response), response.body)

    def _internal(self, call: _Call) -> None:
        """The function failed, or answered what is no response."""
        headers = [("Content-Type", "application/json")]
        self._respond(call, HttpResponse(502, headers, b"Internal Server Error"))

    def _fail(
        self, call: _Call, status: int, code: str, message: str, extra: dict[str, Any] | None = None
    ) -> None:
        call.status = status
        self._refuse(call.exchange, call.request_id, status, code, message, extra)

    @staticmethod
    def _refuse(
        exchange: Exchange,
        request_id: str,
        status: int,
        code: str,
        message: str | None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        told = {name: value for name, value in (extra or {}).items() if name == "Reason"}
        name = "Message" if status == 403 else "message"
        body = json.dumps({**told, name: message}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("x-amzn-ErrorType", code),
            ("x-amzn-RequestId", request_id),
        ]
        seconds = (extra or {}).get("retryAfterSeconds")
        if seconds is not None:
            headers.append(("Retry-After", str(seconds)))
        exchange.respond(status, headers, body)


def _controls(body: bytes) -> int:
    """How many control characters a body has."""
    return len(body) - len(body.translate(None, _CONTROLS))


def _same_for_all(policy: Policy) -> bool:
    """Whether a policy says the same to all who are nobody, whatever they ask."""
    text = json.dumps(policy.statements)
    conditions = [each.get("Condition") or {} for each in policy.statements]
    keys = {key.lower() for each in conditions for tests in each.values() for key in tests}
    return keys <= _OF_URLS and "${" not in text


async def _streamed_head(pieces: AsyncIterator[bytes]) -> HttpResponse:
    """Status and headers that come before a body, with as much of that as came along."""
    gathered = b""
    async for piece in pieces:
        gathered += piece
        before, separator, after = gathered.partition(url_payload.SEPARATOR)
        if len(before) > url_payload.HEAD_BYTES:
            break
        if separator:
            try:
                answer = json.loads(before)
            except (ValueError, RecursionError):
                break
            if not isinstance(answer, dict):
                break
            response = url_payload.head(answer)
            response.body = after
            return response
    raise BadAnswer("there is no head before its body")
