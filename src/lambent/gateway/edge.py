"""The edge port: reads a request, finds out who asks which service, and answers.

Requests to function URLs are known by their host or path.  Of others the signing scope names the
service.  Paths below ``/_lambent/`` are Lambent's own:
``health`` (open), ``runtimes``, ``usage`` and ``events`` (signed by an account's owner),
``code/DIGEST`` (presigned) and ``stacks/TOKEN``, where whoever was given the token answers for a
custom resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from lambent import ids
from lambent.api.body_limits import BodyLimit
from lambent.api.context import Context
from lambent.api.service import Service
from lambent.aws import sigv4
from lambent.aws.parse import parse_query
from lambent.aws.serialize import WireResponse
from lambent.blobs.base import Blobs
from lambent.errors import AccessDenied, ServiceError
from lambent.gateway.bodies import SMALL_BYTES, receive
from lambent.gateway.events import PREFIX as EVENTS
from lambent.gateway.events import EventReports
from lambent.gateway.forwarding import Forwarding
from lambent.gateway.reports import Reports
from lambent.gateway.urls import FunctionUrls, is_url
from lambent.http import BodyTooLarge, ClientGone, Exchange
from lambent.iam.authenticate import Authenticator, Principal

_log = logging.getLogger(__name__)

# Bodies over HEAVY_BYTES, which are archives, are in memory so many at a time.
HEAVY_BYTES, HEAVY_AT_ONCE = 8 * 1024 * 1024, 2
_CODE = re.compile(r"/_lambent/code/([0-9a-f]{64})")
_STACK = re.compile(r"/_lambent/stacks/([0-9a-f-]{36})")
_ANSWER_BYTES = 64 * 1024
_PIECE = 256 * 1024


class Edge:
    """The application behind the public port."""

    def __init__(
        self,
        authenticator: Authenticator,
        services: dict[str, Service],
        blobs: Blobs,
        runtimes: Callable[[], list[str]],
        reports: Reports,
        events: EventReports,
        urls: FunctionUrls,
        neighbours: Forwarding,
        answered: Callable[[str, bytes], Awaitable[bool]],
    ) -> None:
        self._authenticator = authenticator
        self._services = services
        self._blobs = blobs
        self._runtimes = runtimes
        self._reports = reports
        self._events = events
        self._urls = urls
        self._neighbours = neighbours
        self._answered = answered
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}
        self.endpoint = ""
        self._loop = asyncio.get_running_loop()
        self._heavy = asyncio.Semaphore(HEAVY_AT_ONCE)

    def __call__(self, exchange: Exchange) -> None:
        """Handle a request in a task of its own."""
        self._tasks[exchange] = self._loop.create_task(self._handle(exchange))

    async def _handle(self, exchange: Exchange) -> None:
        try:
            path = exchange.path
            if is_url(path, exchange.headers.get("host", "")):
                await self._urls.handle(exchange)
                return
            own = path.startswith("/_lambent/")
            if own and path == "/_lambent/health":
                self._send_json(exchange, {"status": "ok"})
                return
            if own and exchange.method == "PUT" and (found := _STACK.fullmatch(path)):
                await self._answer(exchange, found[1])
                return
            if path == "/metrics":
                await self._reports.metrics(exchange)
                return
            query = parse_query(exchange.query) if exchange.query else {}
            try:
                claim = self._authenticator.claim(exchange.headers, query)
            except ServiceError as refused:
                self._send(exchange, self._service("lambda").refuse(refused))
                return
            if claim is not None and claim.scope.service in self._neighbours.services:
                await self._neighbours.handle(exchange, claim, query)
                return
            try:
                body = exchange.arrived(SMALL_BYTES)
                if body is None:
                    await self._receive(exchange, claim, query)
                else:
                    principal = self._authenticator.authenticate(
                        claim, exchange.method, path, exchange.query, exchange.headers, body
                    )
                    await self._serve(exchange, principal, query, body)
            except ServiceError as refused:
                self._send(exchange, self._asked(claim).refuse(refused))
        except ClientGone:
            exchange.abort()
        except Exception:
            _log.exception("a request failed at the edge")
            exchange.abort()
        finally:
            self._tasks.pop(exchange, None)

    async def _receive(
        self, exchange: Exchange, claim: sigv4.Claim | None, query: dict[str, list[str]]
    ) -> None:
        """Serve a request whose body is large or still to come; raises ServiceError."""
        if exchange.path.startswith("/_lambent/"):
            limit = BodyLimit("", SMALL_BYTES)
        else:
            head = (exchange.method, exchange.path, query, exchange.headers)
            limit = self._asked(claim).body_limit(*head)
        try:
            admitted = await receive(self._authenticator, exchange, claim, limit.size)
        except BodyTooLarge:
            raise limit.refusal() from None
        principal, received = admitted
        turn = self._heavy if received.size > HEAVY_BYTES else contextlib.nullcontext()
        try:
            async with turn:
                await self._serve(exchange, principal, query, await received.load())
        finally:
            received.close()

    async def _serve(
        self,
        exchange: Exchange,
        principal: Principal,
        query: dict[str, list[str]],
        body: bytes,
    ) -> None:
        """Answer a verified request; raises ServiceError."""
        if exchange.path.startswith("/_lambent/"):
            if not principal.is_root:
                raise AccessDenied(
                    f"User: {principal.requester.arn} is not authorized to perform this "
                    "operation: it is the account owner's"
                )
            await self._own(exchange, principal)
            return
        service = self._service(principal.service)
        seen = (exchange.headers, exchange.peer, exchange.secure, exchange.hung_up)
        context = Context(principal, self.endpoint, *seen)
        response = await service.call(context, exchange.method, exchange.path, query, body)
        if response.stream is None:
            self._send(exchange, response)
        else:
            await self._send_stream(exchange, response, response.stream)

    def _asked(self, claim: sigv4.Claim | None) -> Service:
        """The service whose words a refused request will understand."""
        name = claim.scope.service if claim is not None else "lambda"
        return self._services.get(name) or self._service("lambda")

    def _service(self, name: str) -> Service:
        service = self._services.get(name)
        if service is None:
            raise AccessDenied(
                f"The service {name[:64]} is not offered by this version of Lambent."
            )
        return service

    @staticmethod
    def _send(exchange: Exchange, response: WireResponse) -> None:
        response.headers.append(("x-amzn-RequestId", response.request_id or ids.uuid()))
        exchange.respond(response.status, response.headers, response.body)

    @staticmethod
    async def _send_stream(
        exchange: Exchange, response: WireResponse, stream: AsyncIterator[bytes]
    ) -> None:
        headers = [*response.headers, ("x-amzn-RequestId", response.request_id or ids.uuid())]
        exchange.start(response.status, headers)
        try:
            async for piece in stream:
                await exchange.write(piece)
            exchange.end()
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    @staticmethod
    def _send_json(exchange: Exchange, document: object, status: int = 200) -> None:
        body = json.dumps(document).encode()
        exchange.respond(status, [("Content-Type", "application/json")], body)

    # -- Lambent's own paths --------------------------------------------------------------

    async def _own(self, exchange: Exchange, principal: Principal) -> None:
        if exchange.path == "/_lambent/runtimes":
            self._send_json(exchange, {"runtimes": self._runtimes()})
            return
        if exchange.path == "/_lambent/usage":
            self._send_json(exchange, self._reports.usage(principal.account, exchange.query))
            return
        if exchange.path.startswith(EVENTS):
            asked = (exchange.method, exchange.path, exchange.query)
            self._send_json(exchange, await self._events.answer(principal, *asked))
            return
        found = _CODE.fullmatch(exchange.path)
        if found is not None and principal.service == "lambda-code":
            await self._code(exchange, found[1])
            return
        self._send_json(exchange, {"message": "Not Found"}, 404)

    async def _answer(self, exchange: Exchange, token: str) -> None:
        """A custom resource's function says what became of it."""
        try:
            known = await self._answered(token, await exchange.read(_ANSWER_BYTES))
        except (BodyTooLarge, ServiceError):
            known = False
        self._send_json(exchange, {}, 200 if known else 404)

    async def _code(self, exchange: Exchange, digest: str) -> None:
        try:
            path = await self._blobs.local(digest)
        except FileNotFoundError:
            self._send_json(exchange, {"message": "Not Found"}, 404)
            return
        with path.open("rb") as file:
            exchange.start(200, [("Content-Type", "application/zip")], path.stat().st_size)
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await exchange.write(piece)
            exchange.end()

    async def close(self) -> None:
        """Let go of requests still being handled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()  # a task cancelled before its first step never does
