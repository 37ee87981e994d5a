"""Random and mutated templates: answered within their budget, nothing made without permission."""

from __future__ import annotations

import json
import random
import re
import time
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from lambent.neighbours.ministack import template_patterns, template_text
from lambent.neighbours.ministack.stack_types import TYPES
from tests.acceptance.test_stack_rights import policy, settled, statement
from tests.conftest import Server, User
from tests.fuzz import kit
from tests.fuzz.kit import Cases

ACCOUNT = "000000000000"
SECONDS = 60

PIECES = (
    *"{}[]:,-?&*!|>%@`'\"# \n\t\\$",
    "${a}",
    "<<: *a",
    "&a ",
    "*a",
    "!Ref x",
    "!Sub ",
    "!!binary x",
    "Fn::Sub",
    "{{resolve:ssm:x}}",
    "---",
    "...",
    "1:1",
    "~",
)


def mutated(rng: random.Random, text: str) -> str:
    """A text changed as any text is, or with pieces of YAML and JSON put in."""
    if rng.random() < 0.4:
        return kit.text(rng, text)
    for _ in range(rng.randrange(1, 12)):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(PIECES) * rng.choice((1, 1, 2, 50)) + text[place:]
    return text


def test_texts_are_parsed_or_refused(cases: Cases) -> None:
    for rng in cases(1_000):
        template = template_of(rng)
        text = json.dumps(template) if rng.random() < 0.4 else yaml.safe_dump(template)
        if rng.random() < 0.8:
            text = mutated(rng, text)
        began = time.process_time()
        try:
            document = template_text.parse(text)
        except template_text.Malformed:
            continue
        finally:
            assert time.process_time() - began < 2, text
        json.dumps(document)  # nothing but what JSON has


def test_patterns_agree_with_pythons_own(cases: Cases) -> None:
    pieces = ("a", "b", "[ab]", "[^a]", "(", "|", ")", "*", "+", "?", "{1,2}", ".", "^", "$", r"\d")
    for rng in cases(2_000):
        pattern = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9)))
        text = "".join(rng.choice("ab1") for _ in range(rng.randrange(7)))
        try:
            expected = re.compile(pattern).fullmatch(text) is not None
        except re.error:
            continue
        if re.search(r"[*+?}]\+", pattern):
            continue  # possessive: not offered
        assert template_patterns.matches(pattern, [text]) is expected, (pattern, text)


# -- stacks -----------------------------------------------------------------------------------

OTHERS = ("AWS::Lambda", "AWS::Cloud", "AWS::IAM", "AWS::Logs")
KINDS = sorted(each for each in TYPES if not each.startswith(OTHERS))
NAMES = (
    "mine-{n}",
    "mine-{n}",
    "mine-{n}",
    "prod-thing",
    "prod-{n}",
    "arn:aws:sqs:us-east-1:000000000000:prod-thing",
)
TEXTS = (
    *NAMES,
    "/prod/thing",
    f"https://localhost:4566/{ACCOUNT}/prod-thing",
    f"https://localhost:4566/{ACCOUNT}/mine-{{n}}",
    f"arn:aws:sns:us-east-1:{ACCOUNT}:prod-thing",
    f"arn:aws:iam::{ACCOUNT}:role/prod-role",
    "{{resolve:secretsmanager:prod-thing}}",
    "{{resolve:ssm:/prod/thing}}",
    "String",
    "alias/mine-{n}",
    "rate(1 day)",
    "",
    "true",
    "7",
)
FUNCTIONS = ("Fn::Sub", "Fn::Join", "Fn::Split", "Fn::Select", "Fn::If", "Ref", "Fn::GetAtt")


def value_of(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 5)
    if kind < 4:
        return rng.choice(TEXTS).format(n=rng.randrange(1000)) if rng.random() < 0.95 else "${"
    if kind == 4:
        return rng.choice((7, -1, 1.5, True, False, None, 10**30))
    inner = [value_of(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 5:
        return inner
    if kind == 6:
        return {rng.choice(FUNCTIONS): rng.choice([inner, value_of(rng, depth + 1)])}
    keys = ("Policy", "Statement", "RoleArn", "Arn", "Id", "Name", "Key", "Value", "Version")
    return {rng.choice(keys): each for each in inner}


def proper(rng: random.Random, kind: str) -> dict[str, Any]:
    """Properties that some resource might be made with."""
    name = rng.choice(NAMES).format(n=rng.randrange(1000))
    keyed = {
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    document = {"Version": "2012-10-17", "Statement": [{**statement("*"), "Principal": "*"}]}
    known: dict[str, dict[str, Any]] = {
        "AWS::SSM::Parameter": {"Type": "String", "Value": "fuzz"},
        "AWS::DynamoDB::Table": keyed,
        "AWS::SecretsManager::Secret": {"SecretString": "fuzz"},
        "AWS::Events::Rule": {"ScheduleExpression": "rate(1 day)"},
        "AWS::S3::BucketPolicy": {"PolicyDocument": document},
        "AWS::SQS::QueuePolicy": {"PolicyDocument": document},
        "AWS::SNS::TopicPolicy": {"PolicyDocument": document},
        "AWS::Scheduler::Schedule": {
            "ScheduleExpression": "rate(1 day)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": rng.choice(NAMES),
                "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/prod-role",
            },
        },
    }
    given, named = known.get(kind, {}), TYPES[kind].named
    return {**given, named: [name] if named in ("Queues", "Topics") else name} if named else given


def template_of(rng: random.Random) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for number in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(KINDS if rng.random() < 0.8 else sorted(TYPES))
        properties = proper(rng, kind)
        known = sorted(TYPES[kind].properties | {"Name", "Bucket", "QueueName"})
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            properties[rng.choice(known)] = value_of(rng)
        resources[f"R{number}"] = {"Type": kind, "Properties": properties}
    template: dict[str, Any] = {"Resources": resources}
    if rng.random() < 0.3:
        template["Outputs"] = {"O": {"Value": value_of(rng)}}
    if rng.random() < 0.2:
        template["Conditions"] = {"C": value_of(rng)}
    if rng.random() < 0.2:
        template["Parameters"] = {"P": {"Type": "String", "Default": value_of(rng)}}
    return template


def listed(server: Server) -> dict[str, Any]:
    """All that the account has, by service: names, and what the owner's things say."""
    call = server.client
    queue = f"{server.endpoint}/{ACCOUNT}/prod-thing"
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:prod-thing"
    return {
        "s3": [each["Name"] for each in call("s3").list_buckets()["Buckets"]],
        "sqs": call("sqs").list_queues().get("QueueUrls", []),
        "sns": [each["TopicArn"] for each in call("sns").list_topics()["Topics"]],
        "dynamodb": call("dynamodb").list_tables()["TableNames"],
        "events": [each["Name"] for each in call("events").list_rules()["Rules"]],
        "buses": [each["Name"] for each in call("events").list_event_buses()["EventBuses"]],
        "scheduler": [each["Name"] for each in call("scheduler").list_schedules()["Schedules"]],
        "kinesis": call("kinesis").list_streams()["StreamNames"],
        "ssm": [each["Name"] for each in call("ssm").describe_parameters()["Parameters"]],
        "secrets": [each["Name"] for each in call("secretsmanager").list_secrets()["SecretList"]],
        "aliases": [each["AliasName"] for each in call("kms").list_aliases()["Aliases"]],
        "roles": [each["RoleName"] for each in call("iam").list_roles()["Roles"]],
        "users": [each["UserName"] for each in call("iam").list_users()["Users"]],
        "policies": [
            each["PolicyName"] for each in call("iam").list_policies(Scope="Local")["Policies"]
        ],
        "groups": [each["GroupName"] for each in call("iam").list_groups()["Groups"]],
        "of the queue": call("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])[
            "Attributes"
        ],
        "of the topic": call("sns").get_topic_attributes(TopicArn=topic)["Attributes"],
        "of the parameter": call("ssm").get_parameter(Name="/prod/thing")["Parameter"]["Version"],
        "of the secret": call("secretsmanager").describe_secret(SecretId="prod-thing")[
            "VersionIdsToStages"
        ],
        "of the table": call("dynamodb").describe_table(TableName="prod-thing")["Table"]["TableId"],
        "of the role": call("iam").list_role_policies(RoleName="prod-role")["PolicyNames"],
    }


@pytest.fixture(scope="module")
def owned(server: Server) -> None:
    """What is the owner's, under the names that the templates try."""
    server.client("sqs").create_queue(QueueName="prod-thing")
    server.client("sns").create_topic(Name="prod-thing")
    server.client("ssm").put_parameter(Name="/prod/thing", Value="kept", Type="String")
    server.client("secretsmanager").create_secret(Name="prod-thing", SecretString="kept")
    server.client("dynamodb").create_table(
        TableName="prod-thing",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    trust = {**statement("sts:AssumeRole"), "Principal": {"Service": "events.amazonaws.com"}}
    del trust["Resource"]
    server.client("iam").create_role(RoleName="prod-role", AssumeRolePolicyDocument=policy(trust))


def test_stacks_make_nothing_that_was_not_authorised(
    server: Server, owned: None, cases: Cases
) -> None:
    user = User(server, "fuzzer-of-stacks")
    services = ("sqs", "sns", "dynamodb", "events", "scheduler", "kinesis", "ssm")
    mine = [f"arn:aws:{each}:*:{ACCOUNT}:*mine-*" for each in (*services, "secretsmanager", "kms")]
    actions = [f"{each}:*" for each in (*services, "secretsmanager", "kms", "s3")]
    user.may(
        policy(
            statement("cloudformation:*"),
            statement(actions, [*mine, "arn:aws:s3:::mine-*"]),
        )
    )
    before = listed(server)
    stacks = user.client("cloudformation")
    outcomes: set[str] = set()
    made: list[str] = []
    for rng in cases(40):
        name = f"fuzz-{cases.number}"
        template = template_of(rng)
        body = json.dumps(template if rng.random() < 0.7 else kit.document(rng, template))
        began = time.monotonic()
        try:
            stacks.create_stack(StackName=name, TemplateBody=body)
            status, _ = settled(stacks, name)
            made.append(name)
        except ClientError as error:
            status = error.response["Error"]["Code"]
        assert time.monotonic() - began < SECONDS, body
        assert not status.endswith("IN_PROGRESS"), body
        assert status != "InternalFailure", body
        outcomes.add(status)
    after = listed(server)
    for service, things in after.items():
        if isinstance(things, list):
            added = [each for each in things if each not in before[service]]
            assert all("mine-" in each for each in added), (service, added)
            assert set(before[service]) <= set(things), service
        else:
            assert things == before[service], service
    assert "CREATE_COMPLETE" in outcomes
    assert "ROLLBACK_COMPLETE" in outcomes
    for name in made:
        server.client("cloudformation").delete_stack(StackName=name)
