"""The guard before the embedded services: nothing is looked up for a caller who may not ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from lambent.clock import ManualClock
from lambent.errors import AccessDenied
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.neighbours.base import Message, Reply
from lambent.neighbours.guard import Guard
from lambent.neighbours.subjects.base import Facts, Wanted
from lambent.store.memory import MemoryStore

OWN, OTHER = "111111111111", "222222222222"


class Services:
    """Services that note what is asked of them."""

    def __init__(self, facts: Facts | None = None) -> None:
        self.asked: list[str] = []
        self._facts = facts or Facts()

    async def send(self, message: Message) -> Reply:
        raise AssertionError("nothing is sent")

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        self.asked.append(about)
        return self._facts


def statement(effect: str, action: str, resource: str) -> dict[str, str]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def play(
    statements: list[dict[str, str]],
    scenario: Callable[[Guard, Principal, Services], Awaitable[None]],
    facts: Facts | None = None,
) -> None:
    async def whole() -> None:
        directory = Directory(MemoryStore())
        made = Holder(kind="user", account=OWN, name="u", path="/", identifier="A", created=0.0)
        await directory.create(made)
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        user = await directory.change(
            OWN, "user", "u", lambda each: replace(each, inline={"p": policy})
        )
        services = Services(facts)
        guard = Guard(
            Authorizer(directory, ManualClock(), "enforce"), {"sqs": services, "s3": services}
        )
        await scenario(guard, Principal(OWN, "K", "us-east-1", "sqs", user=user), services)

    asyncio.run(whole())


def queue(account: str) -> Wanted:
    arn = f"arn:aws:sqs:us-east-1:{account}:q"
    return Wanted("sqs:ReceiveMessage", arn, about=arn)


def test_what_a_caller_is_denied_is_not_looked_up() -> None:
    async def scenario(guard: Guard, user: Principal, services: Services) -> None:
        with pytest.raises(AccessDenied, match="explicit deny"):
            await guard.admit(user, "sqs", [queue(OWN)], ())
        assert services.asked == []

    play([statement("Allow", "*", "*"), statement("Deny", "sqs:*", "*")], scenario)


def test_nothing_of_another_account_is_looked_up_without_a_permission() -> None:
    async def scenario(guard: Guard, user: Principal, services: Services) -> None:
        with pytest.raises(AccessDenied):
            await guard.admit(user, "sqs", [queue(OTHER)], ())
        assert services.asked == []

    play([statement("Allow", "sqs:SendMessage", "*")], scenario)


def test_a_policy_of_the_resource_may_allow_its_own_account() -> None:
    async def scenario(guard: Guard, user: Principal, services: Services) -> None:
        assert await guard.admit(user, "sqs", [queue(OWN)], ()) == OWN
        assert len(services.asked) == 1

    principal = {"Principal": {"AWS": f"arn:aws:iam::{OWN}:user/u"}}
    said = {**statement("Allow", "sqs:*", "*"), **principal}
    play([], scenario, Facts(policy=json.dumps({"Version": "2012-10-17", "Statement": said})))


def test_objects_are_replicated_by_a_role_that_trusts_s3_only() -> None:
    async def scenario(guard: Guard, user: Principal, services: Services) -> None:
        keys = (("iam:passedtoservice", "s3.amazonaws.com"),)
        wanted = Wanted("iam:PassRole", f"arn:aws:iam::{OWN}:role/none", keys=keys)
        with pytest.raises(AccessDenied, match="not authorized to assume"):
            await guard.admit(user, "s3", [wanted], ())

    play([statement("Allow", "*", "*")], scenario)
