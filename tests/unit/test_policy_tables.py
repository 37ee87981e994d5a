"""AWS's documented evaluation, case by case.

Sources: IAM User Guide, "Policy evaluation logic", "Policy evaluation for requests within a single
account", "Cross-account policy evaluation logic", "AWS JSON policy elements: Principal" and
"NotPrincipal", "How to use trust policies with IAM roles".

A row is: the caller's identity policies, the resource's policy, the permissions boundary, the
session policy, what is decided.  "allow" and "deny" speak of the request, "other" of another
action; None is no such policy.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from lambent.iam.policy.document import Policy, read
from lambent.iam.policy.evaluation import Outcome, Policies, Request, Requester, evaluate

HERE, THERE = "111111111111", "222222222222"
USER_ARN = f"arn:aws:iam::{HERE}:user/team/ann"
ROLE_ARN = f"arn:aws:iam::{HERE}:role/team/worker"
SESSION_ARN = f"arn:aws:sts::{HERE}:assumed-role/worker/one"
USER = Requester(HERE, USER_ARN)
SESSION = Requester(HERE, SESSION_ARN, role=ROLE_ARN)
ROOT = Requester(HERE, f"arn:aws:iam::{HERE}:root")
SERVICE = Requester("", "", service="sns.amazonaws.com")
ANYBODY = Requester("", "")
BUCKET, TARGET = "arn:aws:s3:::bucket/key", f"arn:aws:iam::{HERE}:role/target"

ALLOW, DENY, NOT = Outcome.ALLOWED, Outcome.EXPLICIT_DENY, Outcome.IMPLICIT_DENY

PRINCIPALS: dict[str, Any] = {
    "user": {"AWS": USER_ARN},
    "role": {"AWS": ROLE_ARN},
    "session": {"AWS": SESSION_ARN},
    "account": {"AWS": HERE},
    "account's root": {"AWS": f"arn:aws:iam::{HERE}:root"},
    "everybody": "*",
    "everybody of AWS": {"AWS": "*"},
    "service": {"Service": "sns.amazonaws.com"},
    "another service": {"Service": "s3.amazonaws.com"},
    "another user": {"AWS": f"arn:aws:iam::{HERE}:user/eve"},
    "a user of that name in another path": {"AWS": f"arn:aws:iam::{HERE}:user/ann"},
    "a role of that name in another path": {"AWS": f"arn:aws:iam::{HERE}:role/worker"},
    "another session": {"AWS": f"arn:aws:sts::{HERE}:assumed-role/worker/two"},
    "another account": {"AWS": "333333333333"},
}

Row = tuple[str | None, str | None, str | None, str | None, Outcome]


def _statements(kind: str, action: str, **more: Any) -> list[dict[str, Any]]:
    effect = {"allow": "Allow", "deny": "Deny", "other": "Allow"}[kind]
    said = "sqs:SendMessage" if kind == "other" else action
    return [{"Effect": effect, "Action": said, **more}]


def _policy(kind: str | None, action: str) -> Policy | None:
    if kind is None:
        return None
    return read(json.dumps({"Statement": _statements(kind, action, Resource="*")}))


def _of_resource(said: str | None, action: str, trust: bool) -> Policy | None:
    """said: "allow to user", "deny to account and allow to user", "deny but to user"."""
    if said is None:
        return None
    statements: list[dict[str, Any]] = []
    for each in said.split(" and "):
        kind, _, whom = each.partition(" ")
        element = "NotPrincipal" if whom.startswith("but to ") else "Principal"
        named = PRINCIPALS[whom.removeprefix("but to ").removeprefix("to ")]
        more = {element: named} if trust else {element: named, "Resource": "*"}
        statements += _statements(kind, action, **more)
    return read(json.dumps({"Statement": statements}), principals=True, resources=not trust)


def decide(who: Requester, row: Row, owner: str = HERE, trust: bool = False) -> Outcome:
    identity, resource, boundary, session, _ = row
    action = "sts:AssumeRole" if trust else "s3:GetObject"
    own = _policy(identity, action)
    policies = Policies(
        [own] if own is not None else [],
        _policy(boundary, action),
        _policy(session, action),
        _of_resource(resource, action, trust),
        trust,
    )
    return evaluate(Request(who, action, TARGET if trust else BUCKET, owner), policies).outcome


def named(row: Row) -> str:
    return ", ".join(str(each) for each in row[:4])


USERS: list[Row] = [
    (None, None, None, None, NOT),
    ("other", None, None, None, NOT),
    ("allow", None, None, None, ALLOW),
    ("deny", None, None, None, DENY),
    # A permissions boundary bounds what identity policies allow.
    ("allow", None, "allow", None, ALLOW),
    ("allow", None, "other", None, NOT),
    ("other", None, "allow", None, NOT),
    ("allow", None, "deny", None, DENY),
    # A resource's policy that names the user needs nothing else, and is not bounded.
    (None, "allow to user", None, None, ALLOW),
    (None, "allow to user", "other", None, ALLOW),
    (None, "allow to user", "deny", None, DENY),
    ("deny", "allow to user", None, None, DENY),
    # One for everybody is bounded; one for the account needs an identity policy.
    (None, "allow to everybody", None, None, ALLOW),
    (None, "allow to everybody of AWS", None, None, ALLOW),
    (None, "allow to everybody", "other", None, NOT),
    (None, "allow to account", None, None, NOT),
    (None, "allow to account's root", None, None, NOT),
    ("allow", "allow to account", None, None, ALLOW),
    ("allow", "allow to account's root", "other", None, NOT),
    # What is said of others is not said of the user.
    (None, "allow to another user", None, None, NOT),
    (None, "allow to a user of that name in another path", None, None, NOT),
    (None, "allow to role", None, None, NOT),
    (None, "allow to session", None, None, NOT),
    (None, "allow to another account", None, None, NOT),
    (None, "allow to service", None, None, NOT),
    ("allow", "allow to another user", None, None, ALLOW),
    # A denial of the user, of the account or of everybody.
    ("allow", "deny to user", None, None, DENY),
    ("allow", "deny to account", None, None, DENY),
    ("allow", "deny to account's root", None, None, DENY),
    ("allow", "deny to everybody", None, None, DENY),
    ("allow", "deny to another user", None, None, ALLOW),
    ("allow", "deny to service", None, None, ALLOW),
    (None, "allow to user and deny to everybody", None, None, DENY),
    # NotPrincipal: the user is named; the account's name does not spare its users.
    ("allow", "deny but to user", None, None, ALLOW),
    ("allow", "deny but to another user", None, None, DENY),
    ("allow", "deny but to account", None, None, DENY),
    (None, "allow but to user", None, None, NOT),
    (None, "allow but to account", None, None, NOT),
]

SESSIONS: list[Row] = [
    ("allow", None, None, None, ALLOW),
    ("allow", None, None, "allow", ALLOW),
    ("allow", None, None, "other", NOT),
    ("other", None, None, "allow", NOT),
    ("allow", None, None, "deny", DENY),
    ("allow", None, "allow", "allow", ALLOW),
    ("allow", None, "other", "allow", NOT),
    ("allow", None, "allow", "other", NOT),
    ("deny", None, "allow", "allow", DENY),
    # A resource's policy that names the role is bounded by both.
    (None, "allow to role", None, None, ALLOW),
    (None, "allow to role", "allow", "allow", ALLOW),
    (None, "allow to role", "other", None, NOT),
    (None, "allow to role", None, "other", NOT),
    (None, "allow to role", None, "deny", DENY),
    # One that names the session is not.
    (None, "allow to session", None, None, ALLOW),
    (None, "allow to session", "other", None, ALLOW),
    (None, "allow to session", None, "other", ALLOW),
    (None, "allow to session", "deny", None, DENY),
    (None, "allow to session", None, "deny", DENY),
    ("deny", "allow to session", None, None, DENY),
    (None, "allow to another session", None, None, NOT),
    (None, "allow to a role of that name in another path", None, None, NOT),
    (None, "allow to everybody", None, None, ALLOW),
    (None, "allow to everybody", None, "other", NOT),
    (None, "allow to account", None, None, NOT),
    ("allow", "allow to account", None, None, ALLOW),
    ("allow", "deny to role", None, None, DENY),
    ("allow", "deny to session", None, None, DENY),
    ("allow", "deny to another session", None, None, ALLOW),
    ("allow", "deny to account", None, None, DENY),
    ("allow", "deny but to role", None, None, ALLOW),
    ("allow", "deny but to session", None, None, ALLOW),
    ("allow", "deny but to account", None, None, DENY),
]

# The resource belongs to another account: both sides must allow.
STRANGERS: list[Row] = [
    ("allow", None, None, None, NOT),
    (None, "allow to user", None, None, NOT),
    ("allow", "allow to user", None, None, ALLOW),
    ("allow", "allow to account", None, None, ALLOW),
    ("allow", "allow to account's root", None, None, ALLOW),
    ("allow", "allow to everybody", None, None, ALLOW),
    (None, "allow to everybody", None, None, NOT),
    (None, "allow to account", None, None, NOT),
    ("allow", "allow to another user", None, None, NOT),
    ("allow", "allow to another account", None, None, NOT),
    ("allow", "allow to service", None, None, NOT),
    ("allow", "allow to user", "allow", None, ALLOW),
    ("allow", "allow to user", "other", None, NOT),
    ("allow", "allow to user", None, "other", NOT),
    ("allow", "allow to user", "deny", None, DENY),
    ("allow", "allow to user", None, "deny", DENY),
    ("deny", "allow to user", None, None, DENY),
    ("allow", "allow to user and deny to account", None, None, DENY),
    ("allow", "allow to user and deny to everybody", None, None, DENY),
    ("allow", "allow to user and deny but to account", None, None, DENY),
    ("allow", "allow to user and deny but to user", None, None, ALLOW),
]

# A role's trust policy must allow, within the account as well.
TRUSTING: list[Row] = [
    ("allow", None, None, None, NOT),
    ("allow", "allow to another user", None, None, NOT),
    ("allow", "allow to service", None, None, NOT),
    ("allow", "allow to role", None, None, NOT),
    ("allow", "allow to another account", None, None, NOT),
    (None, "allow to user", None, None, ALLOW),
    (None, "allow to user", "other", None, ALLOW),
    (None, "allow to everybody", None, None, ALLOW),
    (None, "allow to everybody", "other", None, NOT),
    (None, "allow to account", None, None, NOT),
    (None, "allow to account's root", None, None, NOT),
    ("other", "allow to account", None, None, NOT),
    ("allow", "allow to account", None, None, ALLOW),
    ("allow", "allow to account's root", None, None, ALLOW),
    ("allow", "allow to account", "other", None, NOT),
    ("allow", "allow to account", None, "other", NOT),
    ("allow", "allow to account", "deny", None, DENY),
    ("deny", "allow to user", None, None, DENY),
    ("allow", "allow to user and deny to account", None, None, DENY),
    ("allow", "deny to another user", None, None, NOT),
]

# A role that goes on to the next one.
CHAINED: list[Row] = [
    ("allow", None, None, None, NOT),
    ("allow", "allow to user", None, None, NOT),
    (None, "allow to role", None, None, ALLOW),
    (None, "allow to role", None, "other", NOT),
    (None, "allow to role", "other", None, NOT),
    (None, "allow to session", None, "other", ALLOW),
    (None, "allow to another session", None, None, NOT),
    (None, "allow to account", None, None, NOT),
    ("allow", "allow to account", None, None, ALLOW),
    ("allow", "allow to account", None, "other", NOT),
]


@pytest.mark.parametrize("row", USERS, ids=named)
def test_a_user_and_a_resource_of_one_account(row: Row) -> None:
    assert decide(USER, row) is row[-1]


@pytest.mark.parametrize("row", SESSIONS, ids=named)
def test_a_session_and_a_resource_of_one_account(row: Row) -> None:
    assert decide(SESSION, row) is row[-1]


@pytest.mark.parametrize("row", STRANGERS, ids=named)
def test_a_user_and_a_resource_of_another_account(row: Row) -> None:
    assert decide(USER, row, owner=THERE) is row[-1]


@pytest.mark.parametrize("row", TRUSTING, ids=named)
def test_a_user_who_assumes_a_role_of_his_account(row: Row) -> None:
    assert decide(USER, row, trust=True) is row[-1]


@pytest.mark.parametrize("row", CHAINED, ids=named)
def test_a_session_that_assumes_a_role_of_its_account(row: Row) -> None:
    assert decide(SESSION, row, trust=True) is row[-1]


@pytest.mark.parametrize("row", STRANGERS, ids=named)
def test_a_user_who_assumes_a_role_of_another_account(row: Row) -> None:
    assert decide(USER, row, owner=THERE, trust=True) is row[-1]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, NOT),
        ("allow to service", ALLOW),
        ("allow to everybody", ALLOW),
        ("allow to another service", NOT),
        ("allow to account", NOT),
        ("allow to user", NOT),
        ("deny to everybody", DENY),
        ("allow to service and deny to everybody", DENY),
        ("allow to service and deny to service", DENY),
        ("allow to service and deny to account", ALLOW),
        ("allow to service and deny but to user", DENY),
    ],
)
@pytest.mark.parametrize("trust", [False, True])
def test_a_service_needs_the_resources_policy(
    said: str | None, expected: Outcome, trust: bool
) -> None:
    for owner in (HERE, THERE):
        assert decide(SERVICE, ("allow", said, None, None, expected), owner, trust) is expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, NOT),
        ("allow to everybody", ALLOW),
        ("allow to everybody of AWS", ALLOW),
        ("allow to account", NOT),
        ("allow to user", NOT),
        ("allow to service", NOT),
        ("deny to everybody", DENY),
        ("allow to everybody and deny but to account", DENY),
    ],
)
def test_who_is_unknown_needs_a_policy_for_everybody(said: str | None, expected: Outcome) -> None:
    assert decide(ANYBODY, ("allow", said, None, None, expected)) is expected


@pytest.mark.parametrize(
    ("said", "owner", "expected"),
    [
        (None, HERE, ALLOW),
        ("deny to everybody", HERE, DENY),
        ("deny to account", HERE, DENY),
        ("deny to user", HERE, ALLOW),
        ("deny but to account's root", HERE, ALLOW),
        (None, THERE, NOT),
        ("allow to account", THERE, ALLOW),
        ("allow to user", THERE, NOT),
        ("allow to account and deny to account", THERE, DENY),
    ],
)
def test_an_owner_may_everything_of_his_account_that_is_not_denied(
    said: str | None, owner: str, expected: Outcome
) -> None:
    assert decide(ROOT, (None, said, None, None, expected), owner) is expected


KINDS = (None, "other", "allow", "deny")
EVERY_RESOURCE = [None, *(f"{kind} to {whom}" for kind in ("allow", "deny") for whom in PRINCIPALS)]


@pytest.mark.parametrize("who", [USER, SESSION], ids=["user", "session"])
@pytest.mark.parametrize("trust", [False, True], ids=["resource", "trust"])
@pytest.mark.parametrize("owner", [HERE, THERE], ids=["same account", "another account"])
def test_of_all_combinations_none_breaks_a_rule(who: Requester, trust: bool, owner: str) -> None:
    """A denial anywhere denies, and nothing is allowed that nobody allows."""
    reached = [{"AWS": USER_ARN}] if who is USER else [{"AWS": ROLE_ARN}, {"AWS": SESSION_ARN}]
    passing = [PRINCIPALS["account"], PRINCIPALS["account's root"]]
    everybody: list[Any] = [PRINCIPALS["everybody"], PRINCIPALS["everybody of AWS"]]
    every = itertools.product(KINDS, EVERY_RESOURCE, KINDS, KINDS)  # 1,856
    for identity, resource, boundary, session in every:
        kind, _, whom = (resource or "nothing to nobody").partition(" to ")
        principal = PRINCIPALS.get(whom)
        concerns = principal in [*reached, *passing, *everybody]
        found = decide(who, (identity, resource, boundary, session, NOT), owner, trust)
        if "deny" in (identity, boundary, session) or (kind == "deny" and concerns):
            assert found is DENY
            continue
        assert found is not DENY
        given = kind == "allow" and concerns
        if found is ALLOW:
            assert identity == "allow" or (given and principal not in passing)
            assert given or not (trust or owner == THERE)
            assert identity == "allow" or owner == HERE
        bounded = "other" in (boundary, session)
        direct = principal in ({"AWS": USER_ARN}, {"AWS": SESSION_ARN})
        if bounded and not (given and direct and owner == HERE):
            assert found is NOT
        if identity == "allow" and given and not bounded:
            assert found is ALLOW
