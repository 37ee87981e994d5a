"""In whose name a stack acts, and whether that principal may."""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass

from lambent.neighbours.ministack.adapter import MiniStack
from lambent.neighbours.ministack.facts import facts
from lambent.neighbours.ministack.ours import Lambent, Refused
from lambent.neighbours.ministack.signing import Client, Credentials

_SERVICE = "cloudformation.amazonaws.com"


class Denied(ValueError):
    """The principal may not; the message is the authorizer's."""


@dataclass(frozen=True, slots=True)
class Acting:
    """With whose rights a stack acts, in which account and region.

    proof: that the role it acts as was passed to it, "" where it is none.
    """

    credentials: Credentials
    account: str
    region: str
    proof: str = ""


_acting: contextvars.ContextVar[Acting] = contextvars.ContextVar("acting")


def acting() -> Acting:
    """Who acts in the request at hand, and in what it has set going."""
    return _acting.get()


def act_for(credentials: str, account: str, region: str) -> None:
    """What this request sets going acts with these credentials (JSON of the gateway)."""
    given: dict[str, str] = json.loads(credentials)
    proof = given.pop("proof", "")
    _acting.set(Acting(Credentials(**given), account, region, proof))


def client(service: str) -> Client:
    """Lambent's API of a service, as who acts."""
    return Client(service, acting().region, acting().credentials)


class Permits:
    """Asks the server, with what only the services here know of a resource."""

    def __init__(self, stack: MiniStack, lambent: Lambent) -> None:
        self._stack = stack
        self._lambent = lambent

    def ask(
        self, action: str, resource: str, about: str = "", keys: dict[str, str] | None = None
    ) -> None:
        """Raise Denied unless who acts may.

        about: what the resource's own policy is looked up by (``facts``), "" where it has none.
        """
        who = acting()
        known: dict[str, str] = {}
        if about:
            service = action.partition(":")[0]
            known = facts(self._stack, service, who.account, who.region, about)
        try:
            self._lambent.ask(
                "/permit",
                service=_SERVICE,
                access_key_id=who.credentials.access_key_id,
                token=who.credentials.token,
                action=action,
                resource=known.get("arn") or resource,
                owner=known.get("owner", ""),
                policy=known.get("policy", ""),
                keys=keys or {},
                account=who.account,
                region=who.region,
            )
        except Refused as refused:
            raise Denied(_message(str(refused))) from None

    def ask_new(self, action: str, arn: str, noun: str, name: str) -> None:
        """Raise Denied unless who acts may make a resource, ValueError if it is there already."""
        self.ask(action, arn, about=arn)
        who = acting()
        service = action.partition(":")[0]
        if facts(self._stack, service, who.account, who.region, arn):
            raise ValueError(f"{noun} {name} already exists")

    def assume(self, role: str, proof: str) -> None:
        """Act as a role that was passed before from here on; raises Denied where it may not."""
        who = acting()
        try:
            answer = self._lambent.ask("/assume", role=role, proof=proof, account=who.account)
        except Refused:
            raise Denied(f"Role {role} is invalid or cannot be assumed") from None
        act_for(answer.decode(), who.account, who.region)


def _message(answer: str) -> str:
    """What the server's answer says."""
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer
