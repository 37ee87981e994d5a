"""A stack does nothing that its principal may not do through the API."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Server, User

ACCOUNT = "000000000000"
SECONDS = 60


def statement(action: str | list[str], resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def settled(stacks: Any, name: str) -> tuple[str, str]:
    """The final status of a stack, and the reasons of what failed in it."""
    deadline = time.monotonic() + SECONDS
    while True:
        status = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if not status.endswith("IN_PROGRESS") or time.monotonic() > deadline:
            break
        time.sleep(0.03)
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    failed = [each for each in events if "FAILED" in each["ResourceStatus"]]
    return str(status), " ".join(each.get("ResourceStatusReason", "") for each in failed)


def deploy(stacks: Any, name: str, template: dict[str, Any], **more: Any) -> tuple[str, str]:
    """Create a stack: its final status, and why."""
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), **more)
    return settled(stacks, name)


def one(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Resources": {"It": {"Type": kind, "Properties": properties}}}


def own(service: str, rest: str) -> str:
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{rest}"


@pytest.fixture(scope="module")
def namer(server: Server) -> User:
    """A user who may make things whose names begin with mine-, and any stack."""
    user = User(server, "namer")
    user.may(
        policy(
            statement("cloudformation:*"),
            statement("s3:*", "arn:aws:s3:::mine-*"),
            statement("ssm:*", own("ssm", "parameter/mine-*")),
            statement("sqs:*", own("sqs", "mine-*")),
            statement("sns:*", own("sns", "mine-*")),
            statement("dynamodb:*", own("dynamodb", "table/mine-*")),
            statement("secretsmanager:*", own("secretsmanager", "secret:mine-*")),
            statement(["scheduler:*", "events:*"]),
        )
    )
    return user


KEYED = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
RESOURCES: list[tuple[str, str, dict[str, Any]]] = [
    ("AWS::S3::Bucket", "BucketName", {}),
    ("AWS::SQS::Queue", "QueueName", {}),
    ("AWS::SNS::Topic", "TopicName", {}),
    ("AWS::DynamoDB::Table", "TableName", KEYED),
    ("AWS::SSM::Parameter", "Name", {"Type": "String", "Value": "evil"}),
    ("AWS::SecretsManager::Secret", "Name", {"SecretString": "evil"}),
]


@pytest.mark.parametrize(
    ("kind", "named", "others"), RESOURCES, ids=[each[0] for each in RESOURCES]
)
def test_a_resource_is_authorised_by_the_property_that_names_it(
    namer: User, kind: str, named: str, others: dict[str, Any]
) -> None:
    stacks = namer.client("cloudformation")
    label = kind.replace("::", "-").lower()
    status, why = deploy(stacks, f"{label}-1", one(kind, **{named: "prod-thing"}, **others))
    assert status == "ROLLBACK_COMPLETE"
    assert "not authorized" in why
    for decoy in {"Name", "Bucket", "BucketName", "TableName", "QueueName"} - {named}:
        properties = {decoy: "mine-thing", named: "prod-thing", **others}
        status, why = deploy(stacks, f"{label}-{decoy}", one(kind, **properties))
        assert status == "ROLLBACK_COMPLETE"
        assert f"Encountered unsupported property {decoy}" in why
    status, why = deploy(stacks, f"{label}-2", one(kind, **{named: "mine-thing"}, **others))
    assert (status, why) == ("CREATE_COMPLETE", "")
    stacks.delete_stack(StackName=f"{label}-2")


def test_a_bucket_policy_is_authorised_on_the_bucket_it_is_put_on(
    server: Server, namer: User
) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="owners-bucket")
    arn = namer.iam.get_user(UserName=namer.name)["User"]["Arn"]
    resource = ["arn:aws:s3:::owners-bucket", "arn:aws:s3:::owners-bucket/*"]
    document = {
        "Version": "2012-10-17",
        "Statement": [{**statement("s3:*", resource), "Principal": {"AWS": arn}}],
    }
    stacks = namer.client("cloudformation")
    for name, more in (("plain", {}), ("decoy", {"BucketName": "mine-bucket"})):
        given = {**more, "Bucket": "owners-bucket", "PolicyDocument": document}
        status, _ = deploy(stacks, f"policy-{name}", one("AWS::S3::BucketPolicy", **given))
        assert status == "ROLLBACK_COMPLETE"
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="owners-bucket")


def test_a_role_is_passed_by_those_who_may_pass_it(server: Server, namer: User) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/powerful"
    target = {"Arn": own("lambda", "function:privileged"), "RoleArn": role, "Input": "{}"}
    schedule = {
        "ScheduleExpression": "rate(1 minute)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }
    rule = {"ScheduleExpression": "rate(1 minute)", "Targets": [{"Id": "1", **target}]}
    stacks = namer.client("cloudformation")
    for name, template in (
        ("schedule", one("AWS::Scheduler::Schedule", Name="timed", **schedule)),
        ("rule", one("AWS::Events::Rule", Name="ruled", **rule)),
        ("role", one("AWS::Events::Rule", ScheduleExpression="rate(1 minute)", RoleArn=role)),
    ):
        status, why = deploy(stacks, f"passes-{name}", template)
        assert status == "ROLLBACK_COMPLETE"
        assert "iam:PassRole" in why
    schedules = server.client("scheduler").list_schedules()["Schedules"]
    assert "timed" not in [each["Name"] for each in schedules]
    made = [each["Name"] for each in server.client("events").list_rules()["Rules"]]
    assert not [each for each in made if each == "ruled" or each.startswith("passes-")]


def test_a_custom_resource_runs_the_functions_that_its_principal_may(namer: User) -> None:
    """And the stack fails at once where it may not, instead of waiting for an answer."""
    function = own("lambda", "function:privileged")
    template = one("Custom::Thing", ServiceToken=function)
    began = time.monotonic()
    status, why = deploy(namer.client("cloudformation"), "custom-thing", template)
    assert status == "ROLLBACK_COMPLETE"
    assert "lambda:InvokeFunction" in why
    assert time.monotonic() - began < 20


HALF: list[tuple[str, list[str], dict[str, Any]]] = [
    ("AWS::SNS::Topic", ["sns:CreateTopic", "sns:DeleteTopic"], {"TopicName": "mine-half"}),
    ("AWS::S3::Bucket", ["s3:CreateBucket", "s3:DeleteBucket"], {"BucketName": "mine-half"}),
    ("AWS::Events::Rule", ["events:PutRule", "events:DeleteRule"], {"Name": "mine-half"}),
    ("AWS::IAM::Role", ["iam:CreateRole", "iam:DeleteRole"], {"RoleName": "mine-half"}),
]
MORE: dict[str, Any] = {
    "AWS::SNS::Topic": {"Subscription": [{"Protocol": "sqs", "Endpoint": own("sqs", "q")}]},
    "AWS::S3::Bucket": {"VersioningConfiguration": {"Status": "Enabled"}},
    "AWS::Events::Rule": {
        "ScheduleExpression": "rate(1 day)",
        "Targets": [{"Id": "1", "Arn": own("sqs", "q")}],
    },
    "AWS::IAM::Role": {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        },
        "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"],
    },
}


@pytest.mark.parametrize(("kind", "actions", "named"), HALF, ids=[each[0] for each in HALF])
def test_what_was_made_by_half_is_removed(
    server: Server, kind: str, actions: list[str], named: dict[str, str]
) -> None:
    user = User(server, "halves-of-" + kind.replace("::", "-"))
    user.may(policy(statement(["cloudformation:*", *actions])))
    label = "half-" + kind.replace("::", "-").lower()
    template = one(kind, **named, **MORE[kind])
    status, why = deploy(user.client("cloudformation"), label, template)
    assert status == "ROLLBACK_COMPLETE"
    assert "not authorized" in why
    names = json.dumps(
        [
            server.client("sns").list_topics(),
            server.client("s3").list_buckets(),
            server.client("events").list_rules(),
            server.client("iam").list_roles(),
        ],
        default=str,
    )
    assert "mine-half" not in names
