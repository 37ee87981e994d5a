"""What the neighbours ask of this server by themselves: to run a function, to use a role.

A socket of their own in their own folder, where nobody's signature is looked for: who may write
there is the neighbours' process, and it says for which service it speaks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import Any
from urllib.parse import quote

from lambent.api.context import Context
from lambent.api.service import Service
from lambent.aws.serialize import WireResponse
from lambent.errors import AccessDenied, ServiceError
from lambent.gateway.stacks import Stacks
from lambent.http import BodyTooLarge, ClientGone, Exchange
from lambent.iam.authenticate import Asking, Authenticator, Principal
from lambent.iam.authorizer import Authorizer, ResourcePolicy, Subject
from lambent.iam.directory import Directory
from lambent.iam.sessions import Grant, Sessions
from lambent.neighbours.subjects.base import owner_of

_log = logging.getLogger(__name__)

_BODY_BYTES = 16 * 1024 * 1024
_SESSION_SECONDS = 900
# Who asks in its own name there.
_SERVICES = {f"{name}.amazonaws.com" for name in ("s3", "sns", "events", "scheduler")}


async def queue_event(
    functions: Service, principal: Principal, function: str, payload: bytes, trace_id: str = ""
) -> WireResponse:
    """Have a function run asynchronously, as somebody who must be allowed to."""
    # Durable once it is answered, and tried again, as AWS's services ask for.
    headers = {
        "user-agent": principal.requester.service or "lambda.amazonaws.com",
        "x-amz-invocation-type": "Event",
    }
    if trace_id:
        headers["x-amzn-trace-id"] = trace_id
    path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    return await functions.call(Context(principal, "", headers), "POST", path, {}, payload)


class Inward:
    """The application behind the neighbours' way in."""

    def __init__(
        self,
        authenticator: Authenticator,
        functions: Service,
        sessions: Sessions,
        directory: Directory,
        authorizer: Authorizer,
    ) -> None:
        self._authenticator = authenticator
        self._functions = functions
        self._sessions = sessions
        self._directory = directory
        self._authorizer = authorizer
        self._stacks = Stacks(sessions, directory, authorizer)
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, exchange: Exchange) -> None:
        task = asyncio.ensure_future(self._handle(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, exchange: Exchange) -> None:
        try:
            asked = json.loads(await exchange.read(_BODY_BYTES))
            if exchange.path == "/assume":
                exchange.respond(200, [], self._assumed(asked))
                return
            principal = self._principal(asked)
            if exchange.path == "/invoke":
                await self._invoke(exchange, principal, asked)
            elif exchange.path == "/permit":
                self._permit(principal, asked)
                exchange.respond(200)
            else:
                exchange.respond(404)
        except ServiceError as refused:
            told = {"code": refused.code, "message": refused.message}
            exchange.respond(refused.status, [], json.dumps(told).encode())
        except BodyTooLarge:
            exchange.respond(413)
        except ClientGone:
            exchange.abort()
        except Exception:
            _log.exception("the neighbours asked in vain")
            exchange.respond(500)

    def _permit(self, principal: Principal, asked: dict[str, Any]) -> None:
        """Raise AccessDenied unless the principal may; policy: the resource's own, "" for none.

        The question brings what the resource's service knows of it, because that service asks.
        """
        resource = asked["resource"]
        owner = asked.get("owner") or owner_of(resource, principal.account)
        keys = tuple(asked.get("keys", {}).items())
        text = asked.get("policy", "")
        policy = None
        if text:
            revision = hashlib.sha256(text.encode()).hexdigest()
            policy = ResourcePolicy(revision, resource, lambda: text)
        self._authorizer.check(principal, Subject(asked["action"], resource, owner, keys), policy)

    def _assumed(self, asked: dict[str, Any]) -> bytes:
        """A session of the role that a stack was given; raises AccessDenied."""
        told = self._stacks.assume(asked["account"], asked["role"], asked["proof"])
        return json.dumps(told).encode()

    def _principal(self, asked: dict[str, Any]) -> Principal:
        """In whose name it is asked; raises AccessDenied where a role may not be used."""
        service, account = asked["service"], asked["account"]
        place = (asked["region"], "lambda")
        if "token" in asked:
            return self._authenticator.of_token(asked["access_key_id"], asked["token"], *place)
        if service not in _SERVICES:
            raise AccessDenied(f"{service} does not ask by itself")
        arn = asked.get("role")
        if not arn:
            asking = Asking(service, asked["source_arn"])
            return Principal(account, "", *place, asking=asking)
        role = self._directory.find(account, "role", arn.rpartition("/")[2])
        if role is None or role.arn != arn or not self._authorizer.trusts(arn, service):
            raise AccessDenied(f"{service} is not authorized to assume the role {arn}")
        grant = Grant(account, arn, service.partition(".")[0], role.identifier)
        session = self._sessions.issue(grant, _SESSION_SECONDS)
        return Principal(account, "", *place, session=session)

    async def _invoke(
        self, exchange: Exchange, principal: Principal, asked: dict[str, Any]
    ) -> None:
        payload = asked["payload"].encode()
        trace_id = str(asked.get("trace", ""))
        function = asked["function"]
        response = await queue_event(self._functions, principal, function, payload, trace_id)
        exchange.respond(response.status, response.headers, response.body)

    async def close(self) -> None:
        """Let go of what is being handled."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
