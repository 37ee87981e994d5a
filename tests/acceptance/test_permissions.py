"""Who may do what, tried by who may not: evaluation, escalation, passed roles, accounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.accounts import (
    ACCOUNT,
    OTHER,
    Key,
    OtherAccount,
    denied,
    deny,
    grant,
    key_of,
    new_user,
    policy,
    refusal,
    trust,
)
from tests.conftest import ROLE, RUNTIME, Functions, Server, User, make_zip

PLACE = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
CODE = {"ZipFile": make_zip({"app.py": "def handler(e, c): return 'done'"})}


def function(name: str) -> str:
    return f"{PLACE}:function:{name}"


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


@pytest.fixture(scope="module")
def shared(server: Server) -> Iterator[Functions]:
    made = Functions(server, "permissions")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def name(shared: Functions) -> str:
    """A function that users may or may not invoke."""
    return shared.create("def handler(e, c): return 'done'")


@pytest.fixture(scope="module")
def eva(server: Server) -> User:
    """A user whose policy tests replace."""
    return new_user(server)


@pytest.fixture(scope="module")
def other(server: Server) -> OtherAccount:
    return OtherAccount(server)


Statements = Callable[[str], list[dict[str, Any]]]
NO_TLS = {"Bool": {"aws:SecureTransport": "false"}}
FAR = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        (lambda arn: [grant("lambda:InvokeFunction", arn)], True),
        (lambda arn: [grant("lambda:InvokeFunction", arn + "x")], False),
        (lambda arn: [grant("*"), deny("lambda:InvokeFunction", arn)], False),
        (lambda arn: [grant("*"), deny("LAMBDA:invokefunction")], False),
        (lambda arn: [grant("*"), deny("lambda:Invoke??nction")], False),
        (lambda arn: [grant("*"), deny("*", arn[:-1] + "*")], False),
        (lambda arn: [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], True),
        (
            lambda arn: [
                grant("*"),
                {"Effect": "Deny", "NotAction": "lambda:Get*", "Resource": "*"},
            ],
            False,
        ),
        (
            lambda arn: [
                grant("*"),
                {"Effect": "Deny", "Action": "*", "NotResource": arn + "x"},
            ],
            False,
        ),
        (lambda arn: [grant("*", Condition=FAR)], False),
        (lambda arn: [grant("*"), deny("*", Condition=NO_TLS)], False),
    ],
)
def test_statements_mean_what_aws_means_by_them(
    eva: User, name: str, statements: Statements, allowed: bool
) -> None:
    eva.may(policy(*statements(function(name))))
    client = eva.client("lambda")
    # A header does not move the caller.
    client.meta.events.register(
        "before-sign.lambda.Invoke",
        lambda request, **_: request.headers.add_header("X-Forwarded-For", "10.0.0.1"),
    )
    if allowed:
        assert client.invoke(FunctionName=name)["StatusCode"] == 200
    else:
        denied(lambda: client.invoke(FunctionName=name))


def test_a_denial_holds_however_the_function_is_named_and_run(eva: User, name: str) -> None:
    arn = function(name)
    eva.may(policy(grant("*"), deny("lambda:InvokeFunction", [arn, f"{arn}:*"])))
    client = eva.client("lambda")
    for spelling in (arn, f"{ACCOUNT}:function:{name}", f"{ACCOUNT}:{name}", f"{name}:$LATEST"):
        denied(partial(client.invoke, FunctionName=spelling))
    denied(
        lambda: client.invoke(FunctionName=name, Qualifier="$LATEST"),
        lambda: client.invoke_async(FunctionName=name, InvokeArgs=b"{}"),
        lambda: client.invoke_with_response_stream(FunctionName=name),
    )


def test_a_users_name_in_other_case_is_the_same_user(server: Server, eva: User) -> None:
    victim = new_user(server)
    arn = f"arn:aws:iam::{ACCOUNT}:user/{victim.name}"
    eva.may(policy(grant("iam:*"), deny("iam:*", arn)))
    iam = eva.client("iam")
    for spelling in (victim.name, victim.name.upper(), victim.name.capitalize()):
        denied(
            partial(iam.create_access_key, UserName=spelling),
            partial(iam.delete_user, UserName=spelling),
        )
    keys = server.client("iam").list_access_keys(UserName=victim.name)["AccessKeyMetadata"]
    assert len(keys) == 1


def test_who_may_change_his_own_keys_may_change_nobody_elses(server: Server) -> None:
    me, victim = new_user(server), new_user(server)
    keys = ["iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey"]
    me.may(policy(grant(keys, f"arn:aws:iam::{ACCOUNT}:user/{me.name}")))
    iam, theirs = me.client("iam"), victim.key["AccessKeyId"]
    denied(
        lambda: iam.create_access_key(UserName=victim.name),
        lambda: iam.delete_access_key(AccessKeyId=theirs),
        lambda: iam.put_user_policy(UserName=me.name, PolicyName="x", PolicyDocument="{}"),
        lambda: iam.create_user(UserName="more"),
    )
    for call in (
        lambda: iam.delete_access_key(UserName=me.name, AccessKeyId=theirs),
        lambda: iam.update_access_key(UserName=me.name, AccessKeyId=theirs, Status="Inactive"),
    ):
        assert refusal(call) == "NoSuchEntity"
    assert victim.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_a_boundary_is_looked_at_when_what_it_bounds_is_changed(server: Server, eva: User) -> None:
    iam = server.client("iam")
    bound = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    bounded = new_user(server)
    iam.put_user_permissions_boundary(UserName=bounded.name, PermissionsBoundary=bound)
    loose = new_user(server)
    only = {"StringEquals": {"iam:PermissionsBoundary": bound}}
    eva.may(policy(grant("iam:PutUserPolicy", Condition=only)))
    put = {"PolicyName": "p", "PolicyDocument": policy(grant("s3:*"))}
    eva.client("iam").put_user_policy(UserName=bounded.name, **put)
    denied(lambda: eva.client("iam").put_user_policy(UserName=loose.name, **put))


def test_a_role_is_passed_by_who_may_pass_it_and_only_where_lambda_may_assume_it(
    server: Server, other: OtherAccount
) -> None:
    iam = server.client("iam")
    lambdas = trust({"Service": "lambda.amazonaws.com"})
    iam.create_role(RoleName="passed-admin", AssumeRolePolicyDocument=lambdas)
    accounts = trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    iam.create_role(RoleName="passed-account", AssumeRolePolicyDocument=accounts)
    me = new_user(server, grant("lambda:*"), grant("iam:PassRole", ROLE))

    def create(client: Any, role: str) -> Any:
        return client.create_function(
            FunctionName="passed", Runtime=RUNTIME, Handler="app.handler", Role=role, Code=CODE
        )

    mine, owner = me.client("lambda"), server.client()
    denied(
        lambda: create(mine, role_arn("passed-admin")),
        lambda: create(mine, role_arn("passed-account")),
        lambda: create(mine, OtherAccount.role),
        lambda: create(owner, OtherAccount.role),
        lambda: create(other.client("lambda"), ROLE),
    )
    assert refusal(lambda: create(owner, role_arn("passed-account"))) == (
        "InvalidParameterValueException"
    )
    create(mine, ROLE)
    mine.get_waiter("function_active_v2").wait(FunctionName="passed")
    denied(
        lambda: mine.update_function_configuration(
            FunctionName="passed", Role=role_arn("passed-admin")
        )
    )
    mine.delete_function(FunctionName="passed")


def test_a_mapping_is_asked_about_whatever_function_it_is_to_feed(
    server: Server, shared: Functions, name: str
) -> None:
    queue = server.client("sqs").create_queue(QueueName="permissions-source")["QueueUrl"]
    iam = server.client("iam")
    iam.create_role(
        RoleName="permissions-reader",
        AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"}),
    )
    iam.put_role_policy(
        RoleName="permissions-reader", PolicyName="p", PolicyDocument=policy(grant("sqs:*"))
    )
    fed = shared.create("def handler(e, c): return 1", Role=role_arn("permissions-reader"))
    made = server.client().create_event_source_mapping(
        FunctionName=fed, Enabled=False,
        EventSourceArn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:permissions-source",
    )  # fmt: skip
    uuid, arn = made["UUID"], made["EventSourceMappingArn"]
    thief = new_user(
        server,
        grant("lambda:UpdateEventSourceMapping", function(name)),
        deny("lambda:UpdateEventSourceMapping", arn),
    ).client("lambda")
    no_right_to_the_function = new_user(
        server, grant("lambda:UpdateEventSourceMapping", arn)
    ).client("lambda")
    condition = {"ArnLike": {"lambda:FunctionArn": function(name)}}
    held_back = new_user(
        server, grant("lambda:*"), deny("lambda:*EventSourceMapping", Condition=condition)
    ).client("lambda")
    fed_is = {"ArnLike": {"lambda:FunctionArn": function(fed)}}
    not_of_fed = new_user(
        server, grant("lambda:*"), deny("lambda:*EventSourceMapping", Condition=fed_is)
    ).client("lambda")
    denied(
        lambda: not_of_fed.get_event_source_mapping(UUID=uuid),
        lambda: not_of_fed.update_event_source_mapping(UUID=uuid, FunctionName=name),
        lambda: not_of_fed.delete_event_source_mapping(UUID=uuid),
        lambda: thief.update_event_source_mapping(UUID=uuid, BatchSize=1),
        lambda: thief.update_event_source_mapping(UUID=uuid, FunctionName=name),
        lambda: no_right_to_the_function.update_event_source_mapping(UUID=uuid, FunctionName=name),
        lambda: held_back.update_event_source_mapping(UUID=uuid, FunctionName=name),
    )
    found = server.client().get_event_source_mapping(UUID=uuid)
    assert found["FunctionArn"] == function(fed)
    server.client().delete_event_source_mapping(UUID=uuid)
    server.client("sqs").delete_queue(QueueUrl=queue)


def test_what_is_tagged_is_kept_from_whom_a_policy_keeps_it(
    server: Server, shared: Functions
) -> None:
    kept = shared.create("def handler(e, c): return 'kept'", Tags={"Stage": "prod"})
    loose = shared.create("def handler(e, c): return 'loose'")
    prod = {"StringEquals": {"aws:ResourceTag/stage": "prod"}}
    asking = {"StringLike": {"aws:RequestTag/stage": "*"}}
    client = new_user(
        server,
        grant("lambda:*"),
        deny("lambda:*", Condition=prod),
        deny("lambda:TagResource", Condition=asking),
    ).client("lambda")
    denied(
        lambda: client.invoke(FunctionName=kept),
        lambda: client.get_function(FunctionName=kept),
        lambda: client.untag_resource(Resource=function(kept), TagKeys=["Stage"]),
        lambda: client.delete_function(FunctionName=kept),
        lambda: client.tag_resource(Resource=function(loose), Tags={"Stage": "test"}),
    )
    assert client.invoke(FunctionName=loose)["StatusCode"] == 200
    client.tag_resource(Resource=function(loose), Tags={"Other": "x"})


def test_nothing_of_another_account_is_reached_by_its_arn(
    server: Server, other: OtherAccount, name: str
) -> None:
    b, arn = other.client("lambda"), function(name)
    denied(
        lambda: b.invoke(FunctionName=arn),
        lambda: b.get_function(FunctionName=arn),
        lambda: b.update_function_code(FunctionName=arn, ZipFile=CODE["ZipFile"]),
        lambda: b.get_policy(FunctionName=arn),
        lambda: b.list_versions_by_function(FunctionName=arn),
        lambda: b.add_permission(
            FunctionName=arn, StatementId="x", Action="lambda:*", Principal=OTHER
        ),
        lambda: server.client().invoke(
            FunctionName=f"arn:aws:lambda:us-east-1:{OTHER}:function:{name}"
        ),
    )
    for call in (
        lambda: b.list_tags(Resource=arn),
        lambda: b.tag_resource(Resource=arn, Tags={"a": "b"}),
        lambda: b.create_event_source_mapping(
            FunctionName=arn, EventSourceArn=f"arn:aws:sqs:us-east-1:{OTHER}:q"
        ),
    ):
        assert refusal(call) in (
            "AccessDeniedException",
            "ResourceNotFoundException",
            "InvalidParameterValueException",
        )
    assert refusal(lambda: other.client("iam").get_user(UserName="user-0")) == "NoSuchEntity"


def test_a_layer_of_another_account_is_neither_read_listed_nor_used(
    server: Server, other: OtherAccount, eva: User, name: str
) -> None:
    owner, b = server.client(), other.client("lambda")
    content = {"ZipFile": make_zip({"python/x.py": "secret"})}
    made = owner.publish_layer_version(
        LayerName="permissions", Description="internal", Content=content
    )
    arn, layer = made["LayerVersionArn"], made["LayerArn"]
    denied(
        lambda: b.get_layer_version(LayerName=layer, VersionNumber=1),
        lambda: b.get_layer_version_by_arn(Arn=arn),
        lambda: b.list_layer_versions(LayerName=layer),
        lambda: b.create_function(
            FunctionName="layered", Runtime=RUNTIME, Handler="app.handler",
            Role=OtherAccount.role, Code=CODE, Layers=[arn],
        ),
    )  # fmt: skip
    assert refusal(lambda: b.get_layer_version_policy(LayerName=layer, VersionNumber=1)) == (
        "ResourceNotFoundException"
    )
    # Within an account, too, who gives a layer to a function must be allowed to read it.
    eva.may(policy(grant("lambda:Update*"), grant("lambda:Get*", function("*"))))
    denied(lambda: eva.client("lambda").update_function_configuration(
        FunctionName=name, Layers=[arn]
    ))  # fmt: skip
    owner.delete_layer_version(LayerName="permissions", VersionNumber=made["Version"])


def test_a_simulation_reads_policies_within_a_limit(server: Server) -> None:
    iam = server.client("iam")
    long = policy(grant("s3:*", [f"arn:aws:s3:::{number}" for number in range(2000)]))
    long += " " * 30_000
    parts = {"ActionNames": ["s3:GetObject"], "ResourceArns": ["arn:aws:s3:::1999"]}
    answer = iam.simulate_custom_policy(PolicyInputList=[long], **parts)
    assert answer["EvaluationResults"][0]["EvalDecision"] == "allowed"
    assert refusal(lambda: iam.simulate_custom_policy(PolicyInputList=[long] * 2, **parts)) == (
        "InvalidInput"
    )


def test_a_session_policy_narrows_and_never_widens(server: Server, name: str) -> None:
    iam, me = server.client("iam"), new_user(server)
    mine = f"arn:aws:iam::{ACCOUNT}:user/{me.name}"
    iam.create_role(RoleName="narrow", AssumeRolePolicyDocument=trust({"AWS": mine}))
    getting = policy(grant("lambda:Get*"))
    iam.put_role_policy(RoleName="narrow", PolicyName="p", PolicyDocument=policy(grant("*")))

    def become(**more: Any) -> Key:
        return key_of(
            me.client("sts").assume_role(
                RoleArn=role_arn("narrow"), RoleSessionName="one", **more
            )
        )  # fmt: skip

    narrowed = me.client("lambda", **become(Policy=getting))
    narrowed.get_function(FunctionName=name)
    denied(lambda: narrowed.invoke(FunctionName=name))
    iam.put_role_policy(RoleName="narrow", PolicyName="p", PolicyDocument=getting)
    wider = me.client("lambda", **become(Policy=json.dumps(json.loads(policy(grant("*"))))))
    denied(lambda: wider.invoke(FunctionName=name))
