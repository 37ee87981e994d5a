"""Who may do what: users with keys and policies, as boto3 sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import ROLE, RUNTIME, Functions, Server, User, allow, make_zip

ACCOUNT = "000000000000"


def denied(call: Callable[[], Any]) -> str:
    """The message of a denial."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException"), error
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(error["Message"])


@pytest.fixture
def ann(servers: Callable[..., Server]) -> User:
    return User(servers(), "ann")


def test_a_user_may_do_nothing_until_a_policy_says_so_and_at_once_when_it_does(ann: User) -> None:
    functions = Functions(ann.server, "authz")
    one, other = (functions.create("def handler(e, c): return 1") for _ in range(2))
    client = ann.client("lambda")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{one}"
    assert denied(lambda: client.invoke(FunctionName=one)) == (
        f"User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to perform: "
        f"lambda:InvokeFunction on resource: {arn} because no identity-based policy allows the "
        "lambda:InvokeFunction action"
    )
    ann.may(allow("lambda:InvokeFunction", arn))
    assert client.invoke(FunctionName=one)["Payload"].read() == b"1"
    denied(lambda: client.invoke(FunctionName=other))
    denied(lambda: client.get_function(FunctionName=one))
    # A qualifier is part of the resource.
    denied(lambda: client.invoke(FunctionName=one, Qualifier="$LATEST"))
    ann.may(allow("lambda:InvokeFunction", arn + "*"))
    assert client.invoke(FunctionName=one, Qualifier="$LATEST")["StatusCode"] == 200
    ann.iam.delete_user_policy(UserName="ann", PolicyName="may")
    denied(lambda: client.invoke(FunctionName=one))


def test_managed_policies_groups_boundaries_and_denials_have_their_say(ann: User) -> None:
    client, iam = ann.client("lambda"), ann.iam
    read = "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"
    iam.create_group(GroupName="readers")
    iam.attach_group_policy(GroupName="readers", PolicyArn=read)
    denied(client.list_functions)
    iam.add_user_to_group(GroupName="readers", UserName="ann")
    assert client.list_functions()["Functions"] == []
    own = iam.create_policy(PolicyName="bound", PolicyDocument=allow("s3:*"))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=own)
    assert "because no permissions boundary allows" in denied(client.list_functions)
    iam.create_policy_version(
        PolicyArn=own, PolicyDocument=allow(["s3:*", "lambda:List*"]), SetAsDefault=True
    )
    assert client.list_functions()["Functions"] == []
    ann.may(allow("lambda:*").replace("Allow", "Deny"), "no")
    assert "explicit deny" in denied(client.list_functions)
    iam.delete_user_policy(UserName="ann", PolicyName="no")
    iam.remove_user_from_group(GroupName="readers", UserName="ann")
    denied(client.list_functions)


def test_conditions_and_variables_are_those_of_the_request(ann: User) -> None:
    iam = ann.client("iam")
    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    ann.may(allow("iam:GetUser", own))
    assert iam.get_user()["User"]["UserName"] == "ann"
    assert iam.get_user(UserName="ann")["User"]["UserName"] == "ann"
    ann.iam.create_user(UserName="bob")
    denied(lambda: iam.get_user(UserName="bob"))
    here = {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}
    ann.may(allow("logs:DescribeLogGroups", Condition=here), "logs")
    assert ann.client("logs").describe_log_groups()["logGroups"] == []
    elsewhere = ann.client("logs", region_name="eu-west-1")
    denied(elsewhere.describe_log_groups)
    from_here = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
                 "StringLike": {"aws:UserAgent": "Boto3/*"}}  # fmt: skip
    ann.may(allow("logs:DescribeLogGroups", Condition=from_here), "logs")
    assert ann.client("logs").describe_log_groups()["logGroups"] == []
    from_there = {"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    ann.may(allow("logs:DescribeLogGroups", Condition=from_there), "logs")
    denied(ann.client("logs").describe_log_groups)
    tagged = {"StringEquals": {"aws:PrincipalTag/team": "blue"}}
    ann.may(allow("cloudwatch:ListMetrics", Condition=tagged), "metrics")
    metrics = ann.client("cloudwatch")
    denied(metrics.list_metrics)
    ann.iam.tag_user(UserName="ann", Tags=[{"Key": "team", "Value": "blue"}])
    assert metrics.list_metrics()["Metrics"] == []


def test_a_functions_own_policy_lets_in_and_keeps_out(ann: User) -> None:
    functions = Functions(ann.server, "resource")
    name = functions.create("def handler(e, c): return 1", Publish=True)
    client, root = ann.client("lambda"), ann.server.client()
    me = f"arn:aws:iam::{ACCOUNT}:user/ann"
    denied(lambda: client.invoke(FunctionName=name))
    root.add_permission(
        FunctionName=name, StatementId="ann", Action="lambda:InvokeFunction", Principal=me
    )
    assert client.invoke(FunctionName=name)["StatusCode"] == 200
    # A version has a policy of its own.
    denied(lambda: client.invoke(FunctionName=name, Qualifier="1"))
    root.add_permission(
        FunctionName=name, StatementId="ann", Action="lambda:InvokeFunction", Principal=me,
        Qualifier="1",
    )  # fmt: skip
    assert client.invoke(FunctionName=name, Qualifier="1")["StatusCode"] == 200
    denied(lambda: client.get_function(FunctionName=name))
    root.remove_permission(FunctionName=name, StatementId="ann")
    denied(lambda: client.invoke(FunctionName=name))
    ann.may(allow("lambda:*"))
    assert client.invoke(FunctionName=name)["StatusCode"] == 200
    arn = root.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": {"AWS": me}, "Action": "lambda:InvokeFunction",
         "Resource": arn}]}  # fmt: skip
    root.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    assert "with an explicit deny in a resource-based policy" in denied(
        lambda: client.invoke(FunctionName=name)
    )
    assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name


def test_a_role_is_passed_by_who_may_pass_it(ann: User) -> None:
    client = ann.client("lambda")
    ann.may(allow("lambda:CreateFunction"))
    made = {
        "FunctionName": "f", "Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE,
        "Code": {"ZipFile": make_zip({"app.py": "def handler(e, c): return 1"})},
    }  # fmt: skip
    assert f"iam:PassRole on resource: {ROLE}" in denied(lambda: client.create_function(**made))
    wrong = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    ann.may(allow("iam:PassRole", ROLE, Condition=wrong), "pass")
    denied(lambda: client.create_function(**made))
    right = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    ann.may(allow("iam:PassRole", ROLE, Condition=right), "pass")
    assert client.create_function(**made)["FunctionName"] == "f"


def test_a_stolen_key_is_of_no_use_once_it_is_revoked(ann: User) -> None:
    ann.may(allow("lambda:ListFunctions"))
    client = ann.client("lambda")
    assert client.list_functions()["Functions"] == []
    forged = ann.client("lambda", aws_secret_access_key="x" * 40)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        forged.list_functions()
    identifier = ann.key["AccessKeyId"]
    listed = ann.iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]
    assert [(each["AccessKeyId"], each["Status"]) for each in listed] == [(identifier, "Active")]
    ann.iam.update_access_key(UserName="ann", AccessKeyId=identifier, Status="Inactive")
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        client.list_functions()
    ann.iam.update_access_key(UserName="ann", AccessKeyId=identifier, Status="Active")
    assert client.list_functions()["Functions"] == []
    second = ann.iam.create_access_key(UserName="ann")["AccessKey"]
    assert second["SecretAccessKey"] != ann.key["SecretAccessKey"]
    with pytest.raises(ClientError, match="LimitExceeded"):
        ann.iam.create_access_key(UserName="ann")
    ann.iam.delete_access_key(UserName="ann", AccessKeyId=identifier)
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        client.list_functions()
    # Whoever may change his own keys need not say whose they are.
    ann.may(allow("iam:*AccessKey*", f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"), "keys")
    other = User(ann.server, "bob")
    own = ann.client("iam", aws_access_key_id=second["AccessKeyId"],
                     aws_secret_access_key=second["SecretAccessKey"])  # fmt: skip
    denied(lambda: own.delete_access_key(AccessKeyId=other.key["AccessKeyId"]))
    assert [each["UserName"] for each in own.list_access_keys()["AccessKeyMetadata"]] == ["ann"]
    third = own.create_access_key()["AccessKey"]["AccessKeyId"]
    own.delete_access_key(AccessKeyId=third)
    owner = ann.server.client("sts").get_access_key_info(AccessKeyId=second["AccessKeyId"])
    assert owner["Account"] == ACCOUNT


def test_a_key_tells_when_it_was_last_used(ann: User) -> None:
    key = {"AccessKeyId": ann.key["AccessKeyId"]}

    def last() -> Any:
        return ann.iam.get_access_key_last_used(**key)["AccessKeyLastUsed"]

    assert last() == {"ServiceName": "N/A", "Region": "N/A"}
    before = int(time.time())
    denied(lambda: ann.client("lambda", region_name="eu-west-1").list_functions())
    used = last()
    assert (used["ServiceName"], used["Region"]) == ("lambda", "eu-west-1")
    assert before <= used["LastUsedDate"].timestamp() <= time.time()
    # Somebody who only knows its name has not used it.
    with pytest.raises(ClientError):
        ann.client("sts", aws_secret_access_key="guessed").get_caller_identity()
    assert last()["ServiceName"] == "lambda"


def test_keys_outlive_a_crash_and_their_secrets_are_not_in_the_database(
    ann: User, servers: Callable[..., Server]
) -> None:
    ann.may(allow("lambda:ListFunctions"))
    ann.server.kill()
    data = ann.server.data
    for path in data.glob("metadata.db*"):
        content = path.read_bytes()
        assert ann.key["SecretAccessKey"].encode() not in content
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600
    ann.server = servers()
    assert ann.client("lambda").list_functions()["Functions"] == []
    assert ann.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"


def test_a_functions_role_exists_and_trusts_lambda(server: Server) -> None:
    client, iam = server.client(), server.client("iam")
    made = {
        "FunctionName": "roleless", "Runtime": RUNTIME, "Handler": "app.handler",
        "Code": {"ZipFile": make_zip({"app.py": "def handler(e, c): return 1"})},
    }  # fmt: skip
    iam.create_role(
        RoleName="ec2s", AssumeRolePolicyDocument=trust("x").replace(
            '{"AWS": "x"}', '{"Service": "ec2.amazonaws.com"}'
        )
    )  # fmt: skip
    iam.create_role(
        RoleName="lambdas", Path="/mine/", AssumeRolePolicyDocument=trust("x").replace(
            '{"AWS": "x"}', '{"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}'
        )
    )  # fmt: skip
    for name in ("nobody", "ec2s", "lambdas"):
        role = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        with pytest.raises(ClientError, match="cannot be assumed by Lambda") as caught:
            client.create_function(Role=role, **made)
        assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    foreign = "arn:aws:iam::999999999999:role/lambda"
    assert "Cross-account" in denied(lambda: client.create_function(Role=foreign, **made))
    client.create_function(Role=f"arn:aws:iam::{ACCOUNT}:role/mine/lambdas", **made)
    client.get_waiter("function_active_v2").wait(FunctionName="roleless")
    with pytest.raises(ClientError, match="cannot be assumed"):
        client.update_function_configuration(
            FunctionName="roleless", Role=f"arn:aws:iam::{ACCOUNT}:role/ec2s"
        )
    client.delete_function(FunctionName="roleless")


def trust(principal: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": {**statement, **more}})


def assumed(user: User, name: str = "worker", **more: Any) -> dict[str, str]:
    """Credentials of a role, as a client takes them."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    answer = user.client("sts").assume_role(RoleArn=arn, RoleSessionName="one", **more)
    told = answer["Credentials"]
    return {
        "aws_access_key_id": told["AccessKeyId"],
        "aws_secret_access_key": told["SecretAccessKey"],
        "aws_session_token": told["SessionToken"],
    }


def test_a_role_is_assumed_by_whom_it_trusts(ann: User) -> None:
    iam, me = ann.iam, f"arn:aws:iam::{ACCOUNT}:user/ann"
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=trust(me + "-not"))
    iam.put_role_policy(
        RoleName="worker", PolicyName="p", PolicyDocument=allow(["lambda:List*", "iam:ListRoles"])
    )
    assert "sts:AssumeRole" in denied(lambda: assumed(ann))
    assert "sts:AssumeRole" in denied(lambda: assumed(ann, "nobody"))
    iam.update_assume_role_policy(RoleName="worker", PolicyDocument=trust(me))
    credentials = assumed(ann)
    client = ann.client("lambda", **credentials)
    assert client.list_functions()["Functions"] == []
    denied(lambda: client.get_account_settings())
    told = ann.client("sts", **credentials).get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/one"
    assert told["UserId"].startswith("AROA") and told["UserId"].endswith(":one")
    # To the account: it is the user's own policies that say.
    iam.update_assume_role_policy(
        RoleName="worker", PolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:root")
    )
    denied(lambda: assumed(ann))
    ann.may(allow("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/worker"))
    assumed(ann)
    secret = trust(me, Condition={"StringEquals": {"sts:ExternalId": "open=sesame"}})
    iam.update_assume_role_policy(RoleName="worker", PolicyDocument=secret)
    ann.iam.delete_user_policy(UserName="ann", PolicyName="may")
    denied(lambda: assumed(ann))
    denied(lambda: assumed(ann, ExternalId="open=barley"))
    assumed(ann, ExternalId="open=sesame")
    root = ann.server.client("sts")
    arn = f"arn:aws:iam::{ACCOUNT}:role/worker"
    said = denied(lambda: root.assume_role(RoleArn=arn, RoleSessionName="root"))
    assert said == "Roles may not be assumed by root accounts."


def test_a_session_is_narrowed_by_its_policies_and_ends(ann: User) -> None:
    iam = ann.iam
    iam.create_role(
        RoleName="worker", AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ACCOUNT}:user/ann")
    )
    iam.put_role_policy(RoleName="worker", PolicyName="p", PolicyDocument=allow("lambda:*"))
    narrow = ann.client("lambda", **assumed(ann, Policy=allow("lambda:ListLayers")))
    wide = ann.client("lambda", **assumed(ann))
    assert wide.list_functions()["Functions"] == []
    assert "because no session policy allows" in denied(narrow.list_functions)
    assert narrow.list_layers()["Layers"] == []
    read = "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"
    reader = ann.client("lambda", **assumed(ann, PolicyArns=[{"arn": read}]))
    assert reader.list_functions()["Functions"] == []
    denied(lambda: reader.delete_function(FunctionName="f"))
    with pytest.raises(ClientError, match="MaxSessionDuration"):
        assumed(ann, DurationSeconds=7200)
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        assumed(ann, Policy="{}")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        assumed(ann, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}])


def test_a_users_own_session_is_as_good_as_he_is_but_for_iam(ann: User) -> None:
    session = credentials(ann.client("sts").get_session_token(DurationSeconds=900))
    lasts = ann.client("sts").get_session_token()["Credentials"]["Expiration"].timestamp()
    assert 43_100 < lasts - time.time() <= 43_200
    owners = ann.server.client("sts").get_session_token()["Credentials"]["Expiration"].timestamp()
    assert 3500 < owners - time.time() <= 3600
    sts = ann.client("sts", **session)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"
    denied(lambda: sts.get_session_token())
    functions = ann.client("lambda", **session)
    denied(lambda: functions.list_functions())
    ann.may(allow("*"))
    assert functions.list_functions()["Functions"] == []
    with pytest.raises(ClientError) as refused:
        ann.client("iam", **session).list_users()
    assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"
    # It ends with him.
    ann.iam.delete_user_policy(UserName="ann", PolicyName="may")
    ann.iam.delete_access_key(UserName="ann", AccessKeyId=ann.key["AccessKeyId"])
    ann.iam.delete_user(UserName="ann")
    ann.iam.create_user(UserName="ann")
    with pytest.raises(ClientError) as refused:
        functions.list_functions()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


def credentials(answer: Any) -> dict[str, str]:
    """Of an answer of STS, as clients want them."""
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def test_session_tags_and_a_source_identity_go_along(ann: User) -> None:
    passing = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    only = {"StringEqualsIfExists": {"aws:RequestTag/team": ["blue", "red"]}}
    wanted = {"StringEquals": {"aws:PrincipalTag/team": "blue", "aws:SourceIdentity": "ann"}}
    for name, who in (("first", "user/ann"), ("second", "role/first")):
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:{who}"},
            "Action": passing,
            "Condition": only,
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        ann.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        policy = allow("lambda:ListFunctions", Condition=wanted)
        ann.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
        ann.iam.put_role_policy(RoleName=name, PolicyName="q", PolicyDocument=allow(passing))

    def assume(sts: Any, role: str, **more: Any) -> dict[str, str]:
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        return credentials(sts.assume_role(RoleArn=arn, RoleSessionName="it", **more))

    sts = ann.client("sts")
    denied(lambda: assume(sts, "first", Tags=[{"Key": "team", "Value": "green"}]))
    blue = {"Tags": [{"Key": "team", "Value": "blue"}], "SourceIdentity": "ann"}
    first = assume(sts, "first", **blue, TransitiveTagKeys=["team"])
    ann.client("lambda", **first).list_functions()
    denied(lambda: ann.client("lambda", **assume(sts, "first")).list_functions())
    # Both go on to the next role, and neither can be changed there.
    sts = ann.client("sts", **first)
    ann.client("lambda", **assume(sts, "second")).list_functions()
    denied(lambda: assume(sts, "second", SourceIdentity="bob"))
    with pytest.raises(ClientError, match="transitive tag keys"):
        assume(sts, "second", Tags=[{"Key": "Team", "Value": "red"}])
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    with pytest.raises(ClientError, match="50 tags"):
        assume(sts, "second", Tags=many)  # and the one that came along


def test_another_account_begins_and_is_let_into_a_function(ann: User) -> None:
    role = "arn:aws:iam::111122223333:role/OrganizationAccountAccessRole"
    sts = ann.client("sts")

    def begin() -> Any:
        told = sts.assume_role(RoleArn=role, RoleSessionName="admin")["Credentials"]
        return {
            "aws_access_key_id": told["AccessKeyId"],
            "aws_secret_access_key": told["SecretAccessKey"],
            "aws_session_token": told["SessionToken"],
        }

    denied(begin)
    ann.may(allow("sts:AssumeRole"))
    credentials = begin()
    begin()
    other_iam, other = ann.client("iam", **credentials), ann.client("lambda", **credentials)
    assert [each["RoleName"] for each in other_iam.list_roles()["Roles"]] == [
        "OrganizationAccountAccessRole"
    ]
    assert other.list_functions()["Functions"] == []
    functions = Functions(ann.server, "shared")
    name = functions.create("def handler(e, c): return c.invoked_function_arn")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    assert "because no resource-based policy allows" in denied(
        lambda: other.invoke(FunctionName=arn)
    )
    root = ann.server.client()
    root.add_permission(
        FunctionName=name, StatementId="them", Action="lambda:InvokeFunction",
        Principal="111122223333",
    )  # fmt: skip
    assert json.loads(other.invoke(FunctionName=arn)["Payload"].read()) == arn
    # It is their own policies that pass it on.
    other_iam.create_user(UserName="eve")
    key = other_iam.create_access_key(UserName="eve")["AccessKey"]
    eve = ann.client(
        "lambda", aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )  # fmt: skip
    assert "because no identity-based policy allows" in denied(lambda: eve.invoke(FunctionName=arn))
    other_iam.put_user_policy(
        UserName="eve", PolicyName="p", PolicyDocument=allow("lambda:InvokeFunction", arn)
    )
    assert eve.invoke(FunctionName=arn)["StatusCode"] == 200
    denied(lambda: eve.invoke(FunctionName=name))
    for operation in (eve.get_function, eve.delete_function, other.get_function):
        denied(lambda operation=operation: operation(FunctionName=arn))  # type: ignore[misc]
    root.remove_permission(FunctionName=name, StatementId="them")
    denied(lambda: eve.invoke(FunctionName=arn))


def test_the_simulator_says_what_would_be_decided(ann: User) -> None:
    iam, me = ann.iam, f"arn:aws:iam::{ACCOUNT}:user/ann"

    def simulate(*actions: str, **more: Any) -> dict[str, str]:
        told = iam.simulate_principal_policy(PolicySourceArn=me, ActionNames=list(actions), **more)[
            "EvaluationResults"
        ]
        return {each["EvalActionName"]: each["EvalDecision"] for each in told}

    assert simulate("s3:GetObject") == {"s3:GetObject": "implicitDeny"}
    at_home = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    ann.may(allow("s3:Get*", "arn:aws:s3:::b/*", Condition=at_home))
    ann.may(allow("s3:GetBucket*").replace("Allow", "Deny"), "no")
    entries = [{"ContextKeyName": "aws:SourceIp", "ContextKeyValues": ["203.0.113.7"],
                "ContextKeyType": "ip"}]  # fmt: skip
    where = {"ResourceArns": ["arn:aws:s3:::b/k"], "ContextEntries": entries}
    assert simulate("s3:GetObject", "s3:PutObject", "s3:GetBucketAcl", **where) == {
        "s3:GetObject": "allowed",
        "s3:PutObject": "implicitDeny",
        "s3:GetBucketAcl": "explicitDeny",
    }
    assert simulate("s3:GetObject", ResourceArns=["arn:aws:s3:::b/k"]) == {
        "s3:GetObject": "implicitDeny"
    }
    bound = simulate(
        "s3:GetObject", PermissionsBoundaryPolicyInputList=[allow("lambda:*")], **where
    )
    assert bound == {"s3:GetObject": "implicitDeny"}
    custom = iam.simulate_custom_policy(
        PolicyInputList=[allow("lambda:*")], ActionNames=["lambda:InvokeFunction"]
    )["EvaluationResults"]
    assert [each["EvalDecision"] for each in custom] == ["allowed"]
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[allow("*")], ActionNames=[f"s3:Get{n}" for n in range(7)],
        PaginationConfig={"PageSize": 3},
    )  # fmt: skip
    assert [len(each["EvaluationResults"]) for each in pages] == [3, 3, 1]


def test_the_command_line_makes_lists_and_revokes_keys(servers: Callable[..., Server]) -> None:
    server = servers()

    def keys(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lambent", "keys", *words]
        command += ["--endpoint", server.endpoint, "--data-dir", str(server.data)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    made = json.loads(keys("create", "ci", "--policy", "AWSLambda_ReadOnlyAccess", "--json").stdout)
    assert keys("create", "ci").stdout.startswith("export AWS_ACCESS_KEY_ID=AKIA")
    client = boto3.client(
        "lambda", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=made["access_key_id"],
        aws_secret_access_key=made["secret_access_key"],
    )  # fmt: skip
    assert client.list_functions()["Functions"] == []
    listed = json.loads(keys("ls", "--json").stdout)
    assert [each["user"] for each in listed] == ["ci", "ci"]
    assert made["access_key_id"] in keys("ls").stdout
    assert keys("revoke", made["access_key_id"]).returncode == 0
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        client.list_functions()
    again = keys("revoke", made["access_key_id"])
    assert again.returncode == 1 and "NoSuchEntity: The Access Key with id" in again.stderr
    full = [keys("create", "ci") for _ in range(2)][-1]
    assert full.returncode == 1 and "AccessKeysPerUser: 2" in full.stderr


@pytest.mark.parametrize("mode", ["log", "off"])
def test_a_setting_relaxes_it_and_is_announced(
    servers: Callable[..., Server], capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    server = servers("--authorization", mode)
    ann = User(server, "ann")
    assert ann.client("lambda").list_functions()["Functions"] == []
    said = capfd.readouterr().err
    assert f"authorization = {mode}" in said
    assert ("not enforced: User: arn:aws:iam" in said) is (mode == "log")
