"""Decisions by the directory: correct at once after every change, whatever was kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lambent.clock import ManualClock
from lambent.errors import AccessDenied, ExpiredToken, StartError
from lambent.iam.authenticate import Asking, Principal
from lambent.iam.authorizer import Authorizer, ResourcePolicy, Subject
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder, Key
from lambent.iam.keyring import KeyRing
from lambent.iam.sessions import Grant, Sessions
from lambent.store.memory import MemoryStore

GET = Subject("s3:GetObject", "arn:aws:s3:::b/k", "1")


def allow(action: str, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": action, "Resource": "*", **more}})  # fmt: skip


class World:
    """A directory with a user, ann."""

    def __init__(self, mode: str = "enforce") -> None:
        self.clock = ManualClock(1_800_000_000.0)
        self.directory = Directory(MemoryStore())
        self.authorizer = Authorizer(self.directory, self.clock, mode)

    async def open(self) -> None:
        ann = Holder(kind="user", account="1", name="ann", path="/", identifier="AIDA", created=0.0)
        self.ann = await self.directory.create(ann)

    async def change(self, **changes: Any) -> None:
        await self.directory.change("1", "user", "ann", lambda user: replace(user, **changes))

    def may(
        self,
        subject: Subject = GET,
        principal: Principal | None = None,
        policy: ResourcePolicy | None = None,
    ) -> bool:
        ann = Principal("1", "K", "r", "s3", user=self.ann)
        try:
            self.authorizer.check(principal or ann, subject, policy)
        except AccessDenied:
            return False
        return True


def play(scenario: Callable[[World], Awaitable[None]], mode: str = "enforce") -> None:
    async def whole() -> None:
        world = World(mode)
        await world.open()
        await scenario(world)

    asyncio.run(whole())


def test_a_change_is_in_force_with_the_next_decision() -> None:
    async def scenario(world: World) -> None:
        for _ in range(2):
            assert not world.may() and not world.may()
            await world.change(inline={"p": allow("s3:Get*")})
            assert world.may() and world.may()
            await world.change(inline={})

    play(scenario)


def test_a_condition_is_looked_at_each_time() -> None:
    async def scenario(world: World) -> None:
        until = {"DateLessThan": {"aws:CurrentTime": "2027-01-15T08:00:10Z"}}
        await world.change(inline={"p": allow("s3:*", Condition=until)})
        assert world.may()
        world.clock.advance(9)
        assert world.may()
        world.clock.advance(1)
        assert not world.may()

    play(scenario)


def test_resources_and_actions_with_variables_are_those_of_who_asks() -> None:
    async def scenario(world: World) -> None:
        await world.change(
            inline={"p": allow("s3:${aws:PrincipalTag/verb}")}, tags={"verb": "Put*"}
        )
        assert not world.may()
        await world.change(tags={"verb": "GetObject"})
        assert world.may()

    play(scenario)


def test_root_may_everything_in_its_account_and_nothing_elsewhere() -> None:
    async def scenario(world: World) -> None:
        root = Principal("1", "K", "r", "s3")
        assert world.may(GET, root)
        assert not world.may(replace(GET, owner="2"), root)

    play(scenario)


def test_a_session_has_the_permissions_of_its_role_while_that_is_there() -> None:
    async def scenario(world: World) -> None:
        sessions = Sessions(world.clock, KeyRing(b"k" * 32))
        session = sessions.issue(Grant("1", "arn:aws:iam::1:role/worker", "f", "AROA"))
        principal = Principal("1", "A", "r", "s3", session)
        assert not world.may(GET, principal)
        role = Holder(
            kind="role", account="1", name="worker", path="/", identifier="AROA", created=0.0,
            inline={"p": allow("s3:*", Condition={"StringLike": {"aws:userid": "AROA:f"}})},
        )  # fmt: skip
        await world.directory.create(role)
        assert world.may(GET, principal)
        # A role of the same name below another path is another role.
        elsewhere = sessions.issue(Grant("1", "arn:aws:iam::1:role/team/worker", "f", "AROA"))
        assert not world.may(GET, Principal("1", "A", "r", "s3", elsewhere))
        await world.directory.delete("1", "role", "worker", lambda role: None)
        assert not world.may(GET, principal)
        # Nor is one that comes after it.
        await world.directory.create(replace(role, identifier="AROA2"))
        assert not world.may(GET, principal)

    play(scenario)


def test_no_policy_lets_in_who_was_deleted() -> None:
    async def scenario(world: World) -> None:
        sessions = Sessions(world.clock, KeyRing(b"k" * 32))
        role = Holder(
            kind="role", account="1", name="worker", path="/", identifier="AROA1", created=0.0
        )  # fmt: skip
        await world.directory.create(role)
        worker = Principal(
            "1", "A", "r", "s3", sessions.issue(Grant("1", role.arn, "f", role.identifier))
        )  # fmt: skip
        ann = Principal("1", "K", "r", "s3", user=world.ann)
        names = {"AWS": [role.arn, worker.requester.arn, world.ann.arn, "*"]}
        policy = ResourcePolicy("1", GET.resource, lambda: allow("*", Principal=names))
        trust = json.dumps({"Statement": {
            "Effect": "Allow", "Principal": names, "Action": "sts:AssumeRole"}})  # fmt: skip
        become = Subject("sts:AssumeRole", "arn:aws:iam::1:role/next", "1")

        def let_in() -> list[bool]:
            found = []
            for who in (worker, ann):
                for ask in (
                    partial(world.authorizer.check, who, GET, policy),
                    partial(world.authorizer.check_trust, who, become, trust),
                ):
                    try:
                        ask()
                        found.append(True)
                    except AccessDenied:
                        found.append(False)
            return found

        assert let_in() == [True] * 4
        await world.directory.delete("1", "role", "worker", lambda role: None)
        await world.directory.delete("1", "user", "ann", lambda user: None)
        assert let_in() == [False] * 4
        await world.directory.create(replace(role, identifier="AROA2"))
        await world.directory.create(replace(world.ann, identifier="AIDA2"))
        assert let_in() == [False] * 4

    play(scenario)


FUNCTION = Subject("lambda:InvokeFunction", "arn:aws:lambda:r:1:function:f", "1")
QUEUE = Subject("sqs:SendMessage", "arn:aws:sqs:r:1:q", "1")


@pytest.mark.parametrize(
    ("service", "source", "account", "allowed"),
    [
        ("s3.amazonaws.com", "arn:aws:s3:::inbox", "1", True),
        # Another bucket, one whose name begins so, and one of that name of another account.
        ("s3.amazonaws.com", "arn:aws:s3:::outbox", "1", False),
        ("s3.amazonaws.com", "arn:aws:s3:::inbox2", "1", False),
        ("s3.amazonaws.com", "arn:aws:s3:::inbox", "2", False),
        ("sns.amazonaws.com", "arn:aws:s3:::inbox", "1", False),
        ("events.amazonaws.com", "arn:aws:events:r:1:rule/tick", "1", True),
        ("events.amazonaws.com", "arn:aws:events:r:2:rule/tick", "2", False),
        ("events.amazonaws.com", "arn:aws:events:r:1:rule/tick-tock", "1", False),
        ("scheduler.amazonaws.com", "arn:aws:events:r:1:rule/tick", "1", False),
    ],
)
def test_a_service_is_no_deputy_of_who_was_not_let_in(
    service: str, source: str, account: str, allowed: bool
) -> None:
    async def scenario(world: World) -> None:
        bucket = {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::inbox"},
            "StringEquals": {"aws:SourceAccount": "1"},
        }
        rule = {"ArnLike": {"aws:SourceArn": "arn:aws:events:r:1:rule/tick"}}
        statements = [
            {"Effect": "Allow", "Principal": {"Service": name}, "Action": "lambda:InvokeFunction",
             "Resource": FUNCTION.resource, "Condition": condition}
            for name, condition in (("s3.amazonaws.com", bucket), ("events.amazonaws.com", rule))
        ]  # fmt: skip
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        policy = ResourcePolicy("1", FUNCTION.resource, lambda: document)
        asking = Principal(account, "", "r", "lambda", asking=Asking(service, source))
        for _ in range(2):
            assert world.may(FUNCTION, asking, policy) is allowed
        assert not world.may(QUEUE, asking)
        assert not world.may(FUNCTION, asking)

    play(scenario)


def test_a_path_does_not_make_a_role_of_a_user() -> None:
    path = "/x:role/"
    user = Holder(kind="user", account="1", name="n", path=path, identifier="A", created=0.0)
    assert not Grant("1", user.arn).is_role
    assert Grant("1", "arn:aws:iam::1:role/x:user/n").is_role


def test_what_was_decided_of_one_role_is_not_said_of_another() -> None:
    async def scenario(world: World) -> None:
        sessions = Sessions(world.clock, KeyRing(b"k" * 32))

        def of(role: str, identifier: str, **more: Any) -> Principal:
            grant = Grant("1", f"arn:aws:iam::1:role/{role}", "f", identifier, **more)
            session = sessions.issue(grant)
            return Principal("1", "A", "r", "s3", session)

        role = Holder(
            kind="role", account="1", name="worker", path="/", identifier="AROA2", created=0.0,
            inline={"p": allow("s3:*")},
        )  # fmt: skip
        await world.directory.create(role)
        # All of these have the same ARN, and the first is allowed and remembered.
        assert world.may(GET, of("worker", "AROA2"))
        assert not world.may(GET, of("worker", "AROA1"))
        assert not world.may(GET, of("team/worker", "AROA2"))
        assert not world.may(GET, of("worker", "AROA2", policy=allow("sqs:*")))
        assert world.may(GET, of("worker", "AROA2"))

    play(scenario)


@pytest.mark.parametrize(("mode", "may"), [("enforce", False), ("log", True), ("off", True)])
def test_the_mode_says_what_a_denial_means(
    caplog: pytest.LogCaptureFixture, mode: str, may: bool
) -> None:
    async def scenario(world: World) -> None:
        assert world.may() is may
        assert bool(caplog.records) is (mode == "log")

    play(scenario, mode)


def test_keys_are_found_while_their_user_has_them() -> None:
    async def scenario(world: World) -> None:
        assert world.directory.key_owner("AKIA1") is None
        await world.change(keys=(Key("AKIA1", True, 0.0),))
        owner = world.directory.key_owner("AKIA1")
        assert owner is not None and owner.name == "ann"
        await world.change(keys=(Key("AKIA2", True, 0.0),))
        assert world.directory.key_owner("AKIA1") is None
        await world.directory.delete("1", "user", "ann", lambda user: None)
        assert world.directory.key_owner("AKIA2") is None

    play(scenario)


def test_a_key_file_is_made_once_and_everything_follows_from_it(tmp_path: Path) -> None:
    path = tmp_path / "data/secret.key"
    one, again = KeyRing.open(path), KeyRing.open(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert one.secret_of("AKIA1") == again.secret_of("AKIA1") != one.secret_of("AKIA2")
    assert len(one.secret_of("AKIA1")) == 40
    assert one.derive(b"a", b"x") != one.derive(b"b", b"x")
    other = KeyRing.open(tmp_path / "other.key")
    assert other.secret_of("AKIA1") != one.secret_of("AKIA1")
    path.write_bytes(b"short")
    with pytest.raises(StartError, match="not 32 bytes"):
        KeyRing.open(path)


def test_a_session_outlives_the_server_but_not_its_time(tmp_path: Path) -> None:
    clock = ManualClock(1_800_000_000.0)
    session = Sessions(clock, KeyRing(b"k" * 32)).issue(
        Grant("1", "arn:aws:iam::1:role/r", "n", "AROA")
    )
    later = Sessions(clock, KeyRing(b"k" * 32))
    assert later.read(session.access_key_id, session.token) == session
    assert later.read("ASIAOTHER", session.token) is None
    assert Sessions(clock, KeyRing(b"x" * 32)).read(session.access_key_id, session.token) is None
    clock.advance(12 * 3600)
    with pytest.raises(ExpiredToken):
        later.read(session.access_key_id, session.token)
