"""Each resource type is made, changed and removed by the calls that the table of types names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.neighbours.ministack.stack_types import TYPES
from tests.acceptance.test_stack_rights import (
    ACCOUNT,
    KEYED,
    deploy,
    one,
    own,
    policy,
    settled,
    statement,
)
from tests.conftest import Server, User

ROLE = f"arn:aws:iam::{ACCOUNT}:role/passed-by-stacks"
QUEUE = own("sqs", "typed-target")
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": QUEUE}
    ],
}
INDEX = {
    "IndexName": "by-k",
    "KeySchema": KEYED["KeySchema"],
    "Projection": {"ProjectionType": "ALL"},
}
TAGS = [{"Key": "a", "Value": "b"}]
# What a resource is made with, and what it is changed to.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AWS::S3::Bucket": (
        {
            "VersioningConfiguration": {"Status": "Enabled"},
            "CorsConfiguration": {
                "CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAge": "7"}]
            },
            "PublicAccessBlockConfiguration": {"BlockPublicAcls": "true"},
            "WebsiteConfiguration": {"IndexDocument": "i.html"},
            "NotificationConfiguration": {
                "EventBridgeConfiguration": {"EventBridgeEnabled": True},
                "QueueConfigurations": [
                    {
                        "Event": "s3:ObjectCreated:*",
                        "Queue": QUEUE,
                        "Filter": {"S3Key": {"Rules": [{"Name": "prefix", "Value": "in/"}]}},
                    }
                ],
            },
            "BucketEncryption": {"ServerSideEncryptionConfiguration": []},
            "Tags": TAGS,
        },
        {"VersioningConfiguration": {"Status": "Suspended"}},
    ),
    "AWS::S3::BucketPolicy": (
        {"Bucket": "typed-bucket", "PolicyDocument": "SMALL"},
        {"Bucket": "typed-bucket", "PolicyDocument": "OTHER"},
    ),
    "AWS::SQS::Queue": (
        {"VisibilityTimeout": 60, "FifoQueue": True, "Tags": TAGS},
        {"DelaySeconds": "3", "FifoQueue": True, "Tags": [{"Key": "c", "Value": "d"}]},
    ),
    "AWS::SQS::QueuePolicy": (
        {"Queues": ["URL"], "PolicyDocument": DOCUMENT},
        {"Queues": ["URL"], "PolicyDocument": {**DOCUMENT, "Id": "second"}},
    ),
    "AWS::SNS::Topic": (
        {"DisplayName": "one", "Subscription": [{"Protocol": "sqs", "Endpoint": QUEUE}]},
        {"DisplayName": "two", "Tags": TAGS},
    ),
    "AWS::SNS::TopicPolicy": (
        {"Topics": [own("sns", "typed-topic")], "PolicyDocument": "TOPIC"},
        {"Topics": [own("sns", "typed-topic")], "PolicyDocument": "TOPIC2"},
    ),
    "AWS::SNS::Subscription": (
        {"TopicArn": own("sns", "typed-topic"), "Protocol": "sqs", "Endpoint": QUEUE},
        {
            "TopicArn": own("sns", "typed-topic"),
            "Protocol": "sqs",
            "Endpoint": QUEUE,
            "RawMessageDelivery": True,
            "FilterPolicy": {"kind": ["x"]},
        },
    ),
    "AWS::DynamoDB::Table": (
        {
            **KEYED,
            "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": "true"},
            "GlobalSecondaryIndexes": [INDEX],
            "Tags": TAGS,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        },
        {**KEYED, "DeletionProtectionEnabled": False, "Tags": [{"Key": "c", "Value": "d"}]},
    ),
    "AWS::Events::Rule": (
        {
            "EventPattern": {"source": ["x"]},
            "Targets": [{"Id": "1", "Arn": QUEUE}, {"Id": "2", "Arn": QUEUE, "RoleArn": ROLE}],
            "Tags": TAGS,
        },
        {"EventPattern": {"source": ["y"]}, "Targets": [{"Id": "2", "Arn": QUEUE}]},
    ),
    "AWS::Events::EventBus": ({"Name": "typed-bus"}, {"Name": "typed-bus", "Tags": TAGS}),
    "AWS::Scheduler::Schedule": (
        {
            "ScheduleExpression": "rate(1 day)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": QUEUE, "RoleArn": ROLE},
        },
        {
            "ScheduleExpression": "rate(2 days)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": QUEUE, "RoleArn": ROLE},
            "StartDate": "2040-01-01T00:00:00Z",
        },
    ),
    "AWS::Scheduler::ScheduleGroup": ({"Tags": TAGS}, {"Tags": [{"Key": "c", "Value": "d"}]}),
    "AWS::Kinesis::Stream": (
        {"ShardCount": "2", "RetentionPeriodHours": 48, "Tags": TAGS},
        {"ShardCount": "2", "StreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/typed"}},
    ),
    "AWS::KMS::Key": (
        {"Description": "one", "EnableKeyRotation": True, "Tags": TAGS},
        {"Description": "two", "Enabled": False},
    ),
    "AWS::KMS::Alias": (
        {"AliasName": "alias/typed-two", "TargetKeyId": "KEY"},
        {"AliasName": "alias/typed-two", "TargetKeyId": "KEY2"},
    ),
    "AWS::SSM::Parameter": (
        {"Type": "String", "Value": "one", "Tags": {"a": "b"}},
        {"Type": "String", "Value": "two", "Tags": {"c": "d"}},
    ),
    "AWS::SecretsManager::Secret": (
        {
            "GenerateSecretString": {
                "SecretStringTemplate": '{"user": "me"}',
                "GenerateStringKey": "password",
                "PasswordLength": 20,
            },
            "Tags": TAGS,
        },
        {"SecretString": "given", "Description": "changed"},
    ),
}
# Operations of S3 whose actions have other names.
ACTIONS = {
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:DeleteBucketCors": "s3:PutBucketCORS",
}


@pytest.fixture(scope="module")
def things(server: Server) -> dict[str, Any]:
    """What the resources refer to: by the words that stand for it."""
    given = {"Policy": json.dumps(DOCUMENT)}
    made = server.client("sqs").create_queue(QueueName="typed-target", Attributes=given)
    server.client("sns").create_topic(Name="typed-topic")
    server.client("s3").create_bucket(Bucket="typed-bucket")
    keys = [server.client("kms").create_key()["KeyMetadata"]["KeyId"] for _ in range(2)]
    server.client("kms").create_alias(AliasName="alias/typed", TargetKeyId=keys[0])

    def document(action: str, resource: str) -> dict[str, Any]:
        return {
            "Version": "2012-10-17",
            "Statement": [{**statement(action, resource), "Principal": "*"}],
        }

    topic = own("sns", "typed-topic")
    return {
        "URL": made["QueueUrl"],
        "KEY": keys[0],
        "KEY2": keys[1],
        "SMALL": document("s3:GetObject", "arn:aws:s3:::typed-bucket/*"),
        "OTHER": document("s3:GetObject", "arn:aws:s3:::typed-bucket/open/*"),
        "TOPIC": document("sns:Publish", topic),
        "TOPIC2": document("sns:Subscribe", topic),
    }


def filled(value: Any, things: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: filled(each, things) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, things) for each in value]
    return things.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", STEPS)
def test_a_type_is_made_of_the_calls_of_its_table(
    server: Server, things: dict[str, Any], kind: str
) -> None:
    label = kind.replace("AWS::", "typed-").replace("::", "-").lower()
    user = User(server, f"maker-of-{label}")
    calls = sorted(ACTIONS.get(each, each) for each in TYPES[kind].calls)
    user.may(
        policy(
            statement(["cloudformation:*", *calls]),
            statement("iam:PassRole", ROLE),
        )
    )
    stacks = user.client("cloudformation")
    made, changed = (filled(each, things) for each in STEPS[kind])
    assert deploy(stacks, label, one(kind, **made)) == ("CREATE_COMPLETE", "")
    stacks.update_stack(StackName=label, TemplateBody=json.dumps(one(kind, **changed)))
    assert settled(stacks, label) == ("UPDATE_COMPLETE", "")
    stack = stacks.describe_stacks(StackName=label)["Stacks"][0]["StackId"]
    stacks.delete_stack(StackName=label)
    assert settled(stacks, stack) == ("DELETE_COMPLETE", "")


def test_every_type_of_the_services_is_tried() -> None:
    ours = ("AWS::Lambda", "AWS::IAM", "AWS::Logs", "AWS::CloudFormation")
    assert set(STEPS) == {each for each in TYPES if not each.startswith(ours)}


def test_what_is_there_already_is_not_taken_over(server: Server) -> None:
    """A stack neither empties nor changes what is not its own."""
    sqs, topics, events = (server.client(each) for each in ("sqs", "sns", "events"))
    url = sqs.create_queue(QueueName="there", Attributes={"DelaySeconds": "1"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="kept", DelaySeconds=0)
    topics.create_topic(Name="there")
    events.put_rule(Name="there", ScheduleExpression="rate(1 day)")
    server.client("dynamodb").create_table(TableName="there", **KEYED)
    server.client("s3").create_bucket(Bucket="there")
    server.client("kinesis").create_stream(StreamName="there", ShardCount=1)
    server.client("secretsmanager").create_secret(Name="there", SecretString="kept")
    stacks = server.client("cloudformation")
    taken: tuple[tuple[str, dict[str, Any]], ...] = (
        ("AWS::SQS::Queue", {"QueueName": "there", "DelaySeconds": 1}),
        ("AWS::SNS::Topic", {"TopicName": "there"}),
        ("AWS::Events::Rule", {"Name": "there", "ScheduleExpression": "rate(2 days)"}),
        ("AWS::DynamoDB::Table", {"TableName": "there", **KEYED}),
        ("AWS::S3::Bucket", {"BucketName": "there"}),
        ("AWS::Kinesis::Stream", {"Name": "there", "ShardCount": 1}),
        ("AWS::SecretsManager::Secret", {"Name": "there", "SecretString": "new"}),
    )
    for number, (kind, properties) in enumerate(taken):
        status, _ = deploy(stacks, f"taking-{number}", one(kind, **properties))
        assert (kind, status) == (kind, "ROLLBACK_COMPLETE")
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
    assert [each["Body"] for each in answer] == ["kept"]
    assert events.describe_rule(Name="there")["ScheduleExpression"] == "rate(1 day)"
    assert topics.get_topic_attributes(TopicArn=own("sns", "there"))
    secret = server.client("secretsmanager").get_secret_value(SecretId="there")
    assert secret["SecretString"] == "kept"
    server.client("s3").delete_bucket(Bucket="there")
    events.delete_rule(Name="there")


def test_a_bucket_with_objects_is_not_removed(server: Server) -> None:
    """Who may delete buckets may not, by a stack, delete objects."""
    stacks, s3 = server.client("cloudformation"), server.client("s3")
    assert deploy(stacks, "full", one("AWS::S3::Bucket", BucketName="full-bucket"))[1] == ""
    s3.put_object(Bucket="full-bucket", Key="k", Body=b"kept")
    stacks.delete_stack(StackName="full")
    status, why = settled(stacks, "full")
    assert status == "DELETE_FAILED"
    assert "not empty" in why
    assert s3.get_object(Bucket="full-bucket", Key="k")["Body"].read() == b"kept"
    s3.delete_object(Bucket="full-bucket", Key="k")
    s3.delete_bucket(Bucket="full-bucket")


def test_a_topic_of_a_stack_is_its_accounts_alone(server: Server) -> None:
    assert deploy(server.client("cloudformation"), "private-topic", one("AWS::SNS::Topic"))[1] == ""
    topics = server.client("sns").list_topics()["Topics"]
    arn = next(each["TopicArn"] for each in topics if "private-topic" in each["TopicArn"])
    answer = server.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]
    assert json.loads(answer)["Statement"][0]["Condition"] == {
        "StringEquals": {"AWS:SourceOwner": ACCOUNT}
    }


REPLACED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("AWS::SQS::Queue", {"QueueName": "old-q"}, {"QueueName": "new-q"}),
    ("AWS::SNS::Topic", {"TopicName": "old-t"}, {"TopicName": "new-t"}),
    ("AWS::S3::Bucket", {"BucketName": "old-bucket"}, {"BucketName": "new-bucket"}),
    ("AWS::DynamoDB::Table", {"TableName": "old-d", **KEYED}, {"TableName": "new-d", **KEYED}),
    (
        "AWS::SecretsManager::Secret",
        {"Name": "old-s", "SecretString": "x"},
        {"Name": "new-s", "SecretString": "x"},
    ),
    (
        "AWS::Events::Rule",
        {"Name": "old-r", "EventPattern": {"source": ["x"]}},
        {"Name": "new-r", "EventPattern": {"source": ["x"]}},
    ),
    (
        "AWS::SSM::Parameter",
        {"Name": "old-p", "Type": "String", "Value": "x"},
        {"Name": "new-p", "Type": "String", "Value": "x"},
    ),
    ("AWS::Kinesis::Stream", {"Name": "old-k"}, {"Name": "new-k"}),
]


def names(server: Server) -> str:
    """All names of what the types above make."""
    call = server.client
    answer: list[Any] = [
        call("sqs").list_queues(),
        call("sns").list_topics(),
        call("s3").list_buckets(),
        call("dynamodb").list_tables(),
        call("secretsmanager").list_secrets(),
        call("events").list_rules(),
        call("ssm").describe_parameters(),
        call("kinesis").list_streams(),
    ]
    return json.dumps(answer, default=str)


@pytest.mark.parametrize(("kind", "old", "new"), REPLACED, ids=[each[0] for each in REPLACED])
def test_a_renamed_resource_is_replaced_with_both_permissions(
    server: Server, kind: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """The new one is made first; the old one is removed when all else is done."""
    owner = server.client("cloudformation")
    stack = "renaming-" + kind.partition("::")[2].replace("::", "-").lower()
    assert deploy(owner, stack, one(kind, **old)) == ("CREATE_COMPLETE", "")
    user = User(server, stack)
    user.may(policy(statement("cloudformation:*")))
    theirs = user.client("cloudformation")
    theirs.update_stack(StackName=stack, TemplateBody=json.dumps(one(kind, **new)))
    assert settled(theirs, stack)[0] == "UPDATE_ROLLBACK_COMPLETE"
    named = TYPES[kind].named
    assert old[named] in names(server)
    assert new[named] not in names(server)
    owner.update_stack(StackName=stack, TemplateBody=json.dumps(one(kind, **new)))
    assert settled(owner, stack)[0] == "UPDATE_COMPLETE"
    assert new[named] in names(server)
    assert old[named] not in names(server)
    owner.delete_stack(StackName=stack)


def test_a_stack_in_a_stack_needs_the_permission_to_make_one(
    server: Server, things: dict[str, Any]
) -> None:
    s3 = server.client("s3")
    template = {"Resources": {"W": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}}
    s3.put_object(Bucket="typed-bucket", Key="t.json", Body=json.dumps(template).encode())
    user = User(server, "nester")
    stack = own("cloudformation", "stack/outer/*")
    reads = statement("s3:GetObject")
    user.may(policy(statement("cloudformation:*", stack), reads))
    stacks = user.client("cloudformation")
    outer = one("AWS::CloudFormation::Stack", TemplateURL=f"{server.endpoint}/typed-bucket/t.json")
    status, why = deploy(stacks, "outer", outer)
    assert status == "ROLLBACK_COMPLETE"
    assert "cloudformation:CreateStack" in why
    inner = own("cloudformation", "stack/outer-It-*/*")
    user.may(policy(statement("cloudformation:*", [stack, inner]), reads))
    assert deploy(stacks, "outer", outer) == ("CREATE_COMPLETE", "")
    s3.delete_object(Bucket="typed-bucket", Key="t.json")


def test_a_queue_is_referred_to_by_its_url_and_found_unchanged(server: Server) -> None:
    template = one("AWS::SQS::Queue", QueueName="referred", DelaySeconds=7)
    template["Outputs"] = {"Url": {"Value": {"Ref": "It"}}}
    stacks = server.client("cloudformation")
    assert deploy(stacks, "referred", template)[1] == ""
    (stack,) = stacks.describe_stacks(StackName="referred")["Stacks"]
    url = stack["Outputs"][0]["OutputValue"]  # at the address that functions know
    assert url == f"http://127.0.0.1:4566/{ACCOUNT}/referred"
    answer = stacks.detect_stack_resource_drift(StackName="referred", LogicalResourceId="It")
    assert answer["StackResourceDrift"]["StackResourceDriftStatus"] == "IN_SYNC"


def test_drift_is_shown_to_those_who_may_read(server: Server) -> None:
    owner = server.client("cloudformation")
    template = one("AWS::SSM::Parameter", Name="drifting", Type="String", Value="one")
    assert deploy(owner, "drifting", template)[1] == ""
    server.client("ssm").put_parameter(
        Name="drifting", Value="two-secret", Type="String", Overwrite=True
    )
    user = User(server, "drifter")
    user.may(policy(statement("cloudformation:*")))
    output = ""
    for stacks in (user.client("cloudformation"), owner):
        try:
            answer = stacks.detect_stack_resource_drift(
                StackName="drifting", LogicalResourceId="It"
            )
            output = json.dumps(answer, default=str)
        except Exception as error:
            output = str(error)
        assert ("two-secret" in output) is (stacks is owner)
