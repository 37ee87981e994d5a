"""The role of a stack: given by those who may pass it, assumed again with the proof of that."""

from __future__ import annotations

import asyncio
import json

import pytest

from lambent.clock import ManualClock
from lambent.errors import AccessDenied
from lambent.gateway.stacks import Stacks
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.iam.keyring import KeyRing
from lambent.iam.sessions import Sessions
from lambent.store.memory import MemoryStore

ACCOUNT = "111122223333"
OWNER = Principal(ACCOUNT, "K", "us-east-1", "cloudformation")


def arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def role(name: str, service: str) -> Holder:
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    return Holder(
        kind="role",
        account=ACCOUNT,
        name=name,
        path="/",
        identifier=f"AROA{name}",
        created=0.0,
        trust=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )


@pytest.fixture
def stacks() -> Stacks:
    directory = Directory(MemoryStore())

    async def fill() -> None:
        for name in ("passed", "never-passed"):
            await directory.create(role(name, "cloudformation.amazonaws.com"))
        await directory.create(role("of-functions", "lambda.amazonaws.com"))

    asyncio.run(fill())
    clock = ManualClock(1_800_000_000.0)
    authorizer = Authorizer(directory, clock, "enforce")
    return Stacks(Sessions(clock, KeyRing(b"k" * 32)), directory, authorizer)


def test_a_role_that_was_passed_is_assumed_again(stacks: Stacks) -> None:
    proof = stacks.credentials(OWNER, arn("passed"))["proof"]
    assert stacks.assume(ACCOUNT, arn("passed"), proof)["access_key_id"].startswith("ASIA")


def test_no_other_role_is(stacks: Stacks) -> None:
    """Whatever the process that asks has been made to say."""
    proof = stacks.credentials(OWNER, arn("passed"))["proof"]
    for account, name in (
        (ACCOUNT, arn("never-passed")),
        ("999999999999", arn("passed")),
        (ACCOUNT, arn("of-functions")),
    ):
        with pytest.raises(AccessDenied):
            stacks.assume(account, name, proof)
    with pytest.raises(AccessDenied):
        stacks.assume(ACCOUNT, arn("passed"), "")


def test_a_role_that_does_not_trust_stacks_is_not_given(stacks: Stacks) -> None:
    with pytest.raises(AccessDenied, match="not authorized to assume"):
        stacks.credentials(OWNER, arn("of-functions"))


def test_a_callers_own_credentials_prove_no_role(stacks: Stacks) -> None:
    assert "proof" not in stacks.credentials(OWNER, "")
