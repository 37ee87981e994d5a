"""From policies to a decision: the tables of the IAM User Guide, and what must always hold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.iam.policy.document import Malformed, Policy, read
from lambent.iam.policy.evaluation import (
    Outcome,
    Policies,
    Request,
    Requester,
    evaluate,
    message,
)

ANN = Requester("111111111111", "arn:aws:iam::111111111111:user/ann")
ROOT = Requester("111111111111", "arn:aws:iam::111111111111:root")
ROLE = "arn:aws:iam::111111111111:role/team/worker"
SESSION = Requester("111111111111", "arn:aws:sts::111111111111:assumed-role/worker/one", role=ROLE)
STRANGER = Requester("222222222222", "arn:aws:iam::222222222222:user/eve")
S3 = Requester("", "", service="s3.amazonaws.com")
FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:f"
ACTION = "lambda:InvokeFunction"
ALLOW = {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}
DENY = {**ALLOW, "Effect": "Deny"}
OTHER = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def policy(*statements: dict[str, Any], principals: bool = False) -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return read(json.dumps(document), principals=principals)


def of_resource(principal: Any, **changes: Any) -> Policy:
    return policy({**ALLOW, "Principal": principal, **changes}, principals=True)


def ask(who: Requester, policies: Policies, **changes: Any) -> Outcome:
    request = Request(**{
        "requester": who, "action": ACTION, "resource": FUNCTION, "owner": "111111111111",
        **changes,
    })  # fmt: skip
    return evaluate(request, policies).outcome


ALLOWED, EXPLICIT, IMPLICIT = Outcome.ALLOWED, Outcome.EXPLICIT_DENY, Outcome.IMPLICIT_DENY
YES, NO, NONE = policy(ALLOW), policy(DENY), policy(OTHER)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (Policies(), IMPLICIT),
        (Policies([NONE]), IMPLICIT),
        (Policies([YES]), ALLOWED),
        (Policies([NONE, YES]), ALLOWED),
        (Policies([YES, NO]), EXPLICIT),
        (Policies([policy(ALLOW, DENY)]), EXPLICIT),
        (Policies([YES], boundary=YES), ALLOWED),
        (Policies([YES], boundary=NONE), IMPLICIT),
        (Policies([NONE], boundary=YES), IMPLICIT),
        (Policies([YES], boundary=NO), EXPLICIT),
        (Policies([YES], session=YES), ALLOWED),
        (Policies([YES], session=NONE), IMPLICIT),
        (Policies([YES], boundary=YES, session=NONE), IMPLICIT),
        (Policies([YES], session=NO), EXPLICIT),
        (Policies(resource=of_resource({"AWS": ANN.arn})), ALLOWED),
        (Policies([YES], resource=of_resource({"AWS": ANN.arn}, Effect="Deny")), EXPLICIT),
        (Policies(resource=of_resource("*")), ALLOWED),
        # To the account is not yet to the user.
        (Policies(resource=of_resource({"AWS": "111111111111"})), IMPLICIT),
        (Policies([YES], resource=of_resource({"AWS": STRANGER.arn})), ALLOWED),
        # To the user himself: the boundary has no say but by denying.
        (Policies(boundary=NONE, resource=of_resource({"AWS": ANN.arn})), ALLOWED),
        (Policies(boundary=NO, resource=of_resource({"AWS": ANN.arn})), EXPLICIT),
    ],
)
def test_a_user_within_an_account(policies: Policies, expected: Outcome) -> None:
    assert ask(ANN, policies) is expected


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (Policies([YES]), ALLOWED),
        (Policies([YES], session=NONE), IMPLICIT),
        (Policies(resource=of_resource({"AWS": ROLE})), ALLOWED),
        # To the role: session policy and boundary still have a say.
        (Policies(session=NONE, resource=of_resource({"AWS": ROLE})), IMPLICIT),
        (Policies(boundary=NONE, resource=of_resource({"AWS": ROLE})), IMPLICIT),
        # To the session: they have none.
        (Policies(session=NONE, resource=of_resource({"AWS": SESSION.arn})), ALLOWED),
        (Policies(boundary=NONE, resource=of_resource({"AWS": SESSION.arn})), ALLOWED),
    ],
)
def test_a_session_of_a_role(policies: Policies, expected: Outcome) -> None:
    assert ask(SESSION, policies) is expected


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (Policies([YES]), IMPLICIT),
        (Policies(resource=of_resource({"AWS": STRANGER.arn})), IMPLICIT),
        (Policies([YES], resource=of_resource({"AWS": STRANGER.arn})), ALLOWED),
        (Policies([YES], resource=of_resource({"AWS": "222222222222"})), ALLOWED),
        (Policies([YES], resource=of_resource({"AWS": "arn:aws:iam::222222222222:root"})), ALLOWED),
        (Policies([YES], resource=of_resource("*")), ALLOWED),
        (Policies([YES], boundary=NONE, resource=of_resource("*")), IMPLICIT),
        (Policies([NO], resource=of_resource("*")), EXPLICIT),
        (Policies([YES], resource=of_resource({"AWS": ANN.arn})), IMPLICIT),
    ],
)
def test_a_user_of_another_account_needs_both_sides(policies: Policies, expected: Outcome) -> None:
    assert ask(STRANGER, policies) is expected


def of_trust(principal: Any, **changes: Any) -> Policies:
    """What a trust policy of one statement, an Allow by default, leaves of a request."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:*", **changes}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    return Policies(resource=read(document, principals=True, resources=False), trust=True)


@pytest.mark.parametrize(
    ("trust", "alone", "with_own"),
    [
        (Policies(trust=True), IMPLICIT, IMPLICIT),
        (of_trust({"AWS": ANN.arn}), ALLOWED, ALLOWED),
        (of_trust("*"), ALLOWED, ALLOWED),
        (of_trust({"AWS": "111111111111"}), IMPLICIT, ALLOWED),
        (of_trust({"AWS": "arn:aws:iam::111111111111:root"}), IMPLICIT, ALLOWED),
        (of_trust({"AWS": STRANGER.arn}), IMPLICIT, IMPLICIT),
        (of_trust({"AWS": SESSION.arn}), IMPLICIT, IMPLICIT),
        (of_trust({"Service": "lambda.amazonaws.com"}), IMPLICIT, IMPLICIT),
        (of_trust({"AWS": ANN.arn}, Action="sts:TagSession"), IMPLICIT, IMPLICIT),
        (
            of_trust({"AWS": ANN.arn}, Condition={"StringEquals": {"sts:ExternalId": "e"}}),
            IMPLICIT,
            IMPLICIT,
        ),
        (of_trust({"AWS": ANN.arn}, Effect="Deny"), EXPLICIT, EXPLICIT),
    ],
)
def test_a_role_is_assumed_by_whom_its_trust_policy_allows(
    trust: Policies, alone: Outcome, with_own: Outcome
) -> None:
    own = policy({"Effect": "Allow", "Action": "sts:*", "Resource": "*"})
    assume = {"action": "sts:AssumeRole", "resource": ROLE}
    assert ask(ANN, trust, **assume) is alone
    assert ask(ANN, replace(trust, identity=[own]), **assume) is with_own


def test_the_root_of_an_account_may_do_everything_that_is_not_denied() -> None:
    assert ask(ROOT, Policies()) is ALLOWED
    denying = of_resource("*", Effect="Deny")
    assert ask(ROOT, Policies(resource=denying)) is EXPLICIT
    assert ask(ROOT, Policies(), owner="222222222222") is IMPLICIT


def test_a_service_needs_the_resources_policy_and_its_conditions() -> None:
    condition = {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::bucket"}}
    granting = Policies(resource=of_resource({"Service": S3.service}, Condition=condition))
    assert ask(S3, granting) is IMPLICIT
    assert ask(S3, granting, keys={"aws:sourcearn": ["arn:aws:s3:::bucket"]}) is ALLOWED
    assert ask(S3, granting, keys={"aws:sourcearn": ["arn:aws:s3:::other"]}) is IMPLICIT
    assert ask(S3, Policies([YES])) is IMPLICIT
    assert ask(ANN, granting, keys={"aws:sourcearn": ["arn:aws:s3:::bucket"]}) is IMPLICIT


def test_everything_but_is_the_opposite() -> None:
    but_delete = {"Effect": "Allow", "NotAction": "lambda:Delete*", "Resource": "*"}
    assert ask(ANN, Policies([policy(but_delete)])) is ALLOWED
    assert ask(ANN, Policies([policy(but_delete)]), action="lambda:DeleteFunction") is IMPLICIT
    but_one = {"Effect": "Deny", "Action": "*", "NotResource": FUNCTION}
    assert ask(ANN, Policies([YES, policy(but_one)])) is ALLOWED
    assert ask(ANN, Policies([YES, policy(but_one)]), resource=FUNCTION + "2") is EXPLICIT
    denied = {"Effect": "Deny", "Action": "*", "Resource": "*", "NotPrincipal": {"AWS": ANN.arn}}
    but_ann = Policies([YES], resource=policy(denied, principals=True))
    assert ask(ANN, but_ann) is ALLOWED
    assert ask(SESSION, but_ann) is EXPLICIT


def test_a_denial_says_who_was_denied_what_on_which_resource_and_why() -> None:
    request = Request(ANN, ACTION, FUNCTION, "111111111111")
    said = {
        kind: message(request, evaluate(request, policies))
        for kind, policies in {
            "none": Policies(),
            "boundary": Policies([YES], boundary=NONE),
            "session": Policies([YES], session=NONE),
            "deny": Policies([NO]),
            "resource": Policies([YES], resource=of_resource("*", Effect="Deny")),
        }.items()
    }
    begin = f"User: {ANN.arn} is not authorized to perform: {ACTION} on resource: {FUNCTION} "
    assert said == {
        "none": f"{begin}because no identity-based policy allows the {ACTION} action",
        "boundary": f"{begin}because no permissions boundary allows the {ACTION} action",
        "session": f"{begin}because no session policy allows the {ACTION} action",
        "deny": f"{begin}with an explicit deny in an identity-based policy",
        "resource": f"{begin}with an explicit deny in a resource-based policy",
    }


ACTIONS = st.sampled_from(["*", "lambda:*", "lambda:Invoke*", "lambda:GetFunction", "s3:GetObject"])
RESOURCES = st.sampled_from(["*", FUNCTION, FUNCTION + "*", "arn:aws:s3:::*"])
STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.lists(ACTIONS, min_size=1, max_size=2),
        "Resource": RESOURCES,
    },
    optional={
        "Condition": st.sampled_from(
            [
                {"StringEquals": {"aws:username": "ann"}},
                {"StringNotEquals": {"aws:absent": "x"}},
                {"Bool": {"aws:SecureTransport": "true"}},
            ]
        )
    },
)
DOCUMENTS = st.lists(STATEMENTS, min_size=1, max_size=4).map(lambda each: policy(*each))
MAYBE = st.none() | DOCUMENTS
REQUESTERS = st.sampled_from([ANN, ROOT, SESSION, STRANGER])
KEYS = {"aws:username": ["ann"], "aws:securetransport": ["false"]}


@given(st.lists(DOCUMENTS, max_size=3), MAYBE, MAYBE, REQUESTERS)
def test_one_more_deny_never_allows(
    identity: list[Policy], boundary: Policy | None, session: Policy | None, who: Requester
) -> None:
    resource = of_resource("*")
    before = ask(who, Policies(identity, boundary, session, resource), keys=KEYS)
    denied = Policies([*identity, policy(DENY)], boundary, session, resource)
    assert ask(who, denied, keys=KEYS) is EXPLICIT
    narrower = policy({**DENY, "Resource": FUNCTION + "-other"})
    same = Policies([*identity, narrower], boundary, session, resource)
    assert ask(who, same, keys=KEYS) is before


@given(st.lists(DOCUMENTS, max_size=3), MAYBE, REQUESTERS)
def test_a_boundary_or_a_session_policy_never_widens(
    identity: list[Policy], limit: Policy | None, who: Requester
) -> None:
    if ask(who, Policies(identity, limit, limit), keys=KEYS) is ALLOWED:
        assert ask(who, Policies(identity), keys=KEYS) is ALLOWED


@given(st.lists(DOCUMENTS, min_size=1, max_size=3))
def test_the_order_of_policies_and_statements_is_of_no_account(identity: list[Policy]) -> None:
    turned = [Policy(tuple(reversed(each.statements))) for each in reversed(identity)]
    assert ask(ANN, Policies(identity), keys=KEYS) is ask(ANN, Policies(turned), keys=KEYS)


def _document(**changes: Any) -> str:
    statement = {key: value for key, value in {**ALLOW, **changes}.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Syntax errors in policy."),
        ("[]", "Syntax errors in policy."),
        ("{}", "Syntax errors in policy."),
        ("[" * 100_000, "Syntax errors in policy."),
        ('{"Version": "2020-01-01", "Statement": []}', "valid version"),
        ('{"Statement": []}', "Syntax errors in policy."),
        ('{"Statement": ["x"]}', "Syntax errors in policy."),
        ('{"Statement": [], "More": 1}', "Syntax errors in policy."),
        (_document(Effect="Maybe"), "Syntax errors in policy."),
        (_document(Effect=None), "Syntax errors in policy."),
        (_document(Action=None), "must contain actions"),
        (_document(NotAction="s3:*"), "Syntax errors in policy."),
        (_document(Action=[]), "must contain actions"),
        (_document(Action="invoke"), "prefaced by a vendor"),
        (_document(Action=1), "Syntax errors in policy."),
        (_document(Resource=None), "must contain resources"),
        (_document(Resource="bucket"), "must be in ARN format"),
        (_document(Principal="*"), "should not specify a principal"),
        (_document(Sid=1), "Syntax errors in policy."),
        (_document(Surprise=1), "Syntax errors in policy."),
        (_document(Condition=[]), "Syntax errors in policy."),
        (_document(Condition={"StringIs": {"aws:x": "y"}}), "Invalid Condition type : StringIs."),
        (_document(Condition={"Bool": {"x": "y"}}), "prefaced by a vendor"),
        (_document(Condition={"Bool": {"aws:x": {}}}), "Syntax errors in policy."),
        (
            json.dumps({"Statement": [{**ALLOW, "Sid": "a"}, {**ALLOW, "Sid": "a"}]}),
            "must be unique",
        ),
    ],
)
def test_what_is_no_policy_is_refused_in_awss_words(text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "must contain principals"),
        ({"Principal": {}}, "Invalid principal"),
        ({"Principal": {"Elf": "x"}}, "Invalid principal"),
        ({"Principal": "ann"}, "Invalid principal"),
        ({"Principal": {"AWS": 1}}, "Syntax errors"),
        ({"Principal": "*", "NotPrincipal": "*"}, "must contain principals"),
    ],
)
def test_a_policy_of_a_resource_says_whom_it_is_about(changes: Any, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read(_document(**changes), principals=True)


def test_a_trust_policy_names_no_resource() -> None:
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    statement = {**trusted, "Action": "sts:AssumeRole"}
    assert read(json.dumps({"Statement": statement}), principals=True, resources=False)
    with pytest.raises(Malformed, match="prohibited field Resource"):
        read(_document(Principal="*"), principals=True, resources=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Principal",
                         "AWS", "Condition", "StringLike", "aws:x", "Sid", "NotAction"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.booleans(), st.booleans())
def test_whatever_comes_is_a_policy_or_refused(
    document: Any, principals: bool, resources: bool
) -> None:
    try:
        found = read(json.dumps(document), principals, resources)
    except Malformed:
        return
    for who in (ANN, S3):
        policies = Policies([] if principals else [found], resource=found if principals else None)
        ask(who, policies, keys=KEYS)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (None, IMPLICIT),
        (of_resource("*"), ALLOWED),
        (of_resource({"AWS": "*"}), ALLOWED),
        (of_resource({"AWS": "111111111111"}), IMPLICIT),
        (of_resource({"AWS": ANN.arn}), IMPLICIT),
        (of_resource({"Service": "s3.amazonaws.com"}), IMPLICIT),
        (of_resource("*", Effect="Deny"), EXPLICIT),
        (
            of_resource("*", Condition={"StringEquals": {"aws:PrincipalAccount": "111111111111"}}),
            IMPLICIT,
        ),
    ],
)
def test_who_is_nobody_may_what_is_open_to_everybody(
    resource: Policy | None, expected: Outcome
) -> None:
    assert ask(Requester("", ""), Policies([YES], resource=resource)) is expected
