"""What the services hold when the fuzzer begins: things of the caller's, and of a victim's.

Each thing is there twice, as "mine-…", which the fuzzing user's policy allows, and as "victim-…",
whose content holds the canary.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from tests.conftest import make_zip
from tests.fuzz.differential.rig import CANARY, FOREIGN, OWNER, REGION

_ROLE = f"arn:aws:iam::{OWNER}:role"
# Operations that tell names only: allowed, so that what they may become is tried too.
_LISTS = [
    "cloudformation:ListStacks",
    "dynamodb:ListTables",
    "kinesis:ListStreams",
    "kms:ListKeys",
    "scheduler:ListSchedules",
    "secretsmanager:ListSecrets",
    "sns:ListTopics",
    "sqs:ListQueues",
    "s3:ListAllMyBuckets",
]


@dataclass(frozen=True)
class Keys:
    """Somebody's credentials, and the account they are of."""

    access_key: str
    secret: str
    token: str | None
    account: str


@dataclass
class World:
    """Who asks, what is there, and what is the victim's although its name does not say so."""

    endpoint: str
    callers: dict[str, Keys] = field(default_factory=dict)
    names: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    protected: list[str] = field(default_factory=list)


def client(endpoint: str, service: str, keys: Keys) -> Any:
    """A client of AWS's own."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret,
        aws_session_token=keys.token,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def build(endpoint: str, owner: Keys) -> World:
    """Make everything; owner: of the account that the victim and the fuzzing user are in."""
    world = World(endpoint)

    def to(service: str) -> Any:
        return client(endpoint, service, owner)

    for who in ("mine", "victim"):
        found = world.names[who] = {}
        for kind, make in _MAKE.items():
            found.update(make(to, who, CANARY if who == "victim" else "plain"))
            _ = kind
    _shared(to)
    world.protected = [each for kind in ("key", "iterator") for each in world.names["victim"][kind]]
    world.protected += world.names["victim"]["upload"] + world.names["victim"]["version"]
    world.protected.append(world.names["victim"]["changeset"][1])
    iam = to("iam")
    for who in ("mine", "victim"):
        iam.create_role(RoleName=f"{who}-role", AssumeRolePolicyDocument=_TRUST)
    world.callers["mine"] = _user(iam, "fuzzer", _statements(world))
    world.callers["denied"] = _user(iam, "denied", _all_but(world))
    world.callers["foreign"] = _administrator(to, endpoint)
    return world


_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {
                "Service": [
                    "events.amazonaws.com",
                    "scheduler.amazonaws.com",
                    "cloudformation.amazonaws.com",
                ]
            },
            "Action": "sts:AssumeRole",
        },
    }
)


def _administrator(to: Callable[[str], Any], endpoint: str) -> Keys:
    """Who may do everything in another account."""
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    keys = _user(to("iam"), "organiser", [assume])
    role = f"arn:aws:iam::{FOREIGN}:role/OrganizationAccountAccessRole"
    given = client(endpoint, "sts", keys).assume_role(RoleArn=role, RoleSessionName="fuzz")
    found = given["Credentials"]
    return Keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], FOREIGN)


def _user(iam: Any, name: str, statements: list[dict[str, Any]]) -> Keys:
    """A user with these rights."""
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.create_user(UserName=name)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(key["AccessKeyId"], key["SecretAccessKey"], None, OWNER)


def _all_but(world: World) -> list[dict[str, Any]]:
    """Everything, but nothing with what is the victim's: no spelling must get around that."""
    key = world.names["victim"]["key"][0]
    denied = [
        "s3:::victim-*",
        "s3:::versioned-b/*",
        "dynamodb:*:*:table/victim-*",
        "dynamodb:*:*:table/shared-t*",
        "sqs:*:*:victim-*",
        "sns:*:*:victim-*",
        "events:*:*:rule/victim-*",
        "events:*:*:event-bus/victim-*",
        "scheduler:*:*:schedule/*/victim-*",
        "scheduler:*:*:schedule/victim-*",
        "scheduler:*:*:schedule-group/victim-*",
        "kinesis:*:*:stream/victim-*",
        f"kms:*:*:key/{key}",
        "kms:*:*:alias/victim*",
        "ssm:*:*:parameter/victim*",
        "secretsmanager:*:*:secret:victim-*",
        "cloudformation:*:*:stack/victim-*",
    ]
    resources = [f"arn:aws:{each}" for each in denied]
    return [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": resources},
        {"Effect": "Deny", "Action": "*", "Resource": f"{_ROLE}/victim-*"},
    ]


def _statements(world: World) -> list[dict[str, Any]]:
    """What the fuzzing user may: everything with what is "mine", little beside."""

    def of(service: str, *rest: str) -> dict[str, Any]:
        place = f"arn:aws:{service}:{REGION}:{OWNER}:"
        resources = [place + each for each in rest]
        return {"Effect": "Allow", "Action": f"{service}:*", "Resource": resources}

    buckets = ["arn:aws:s3:::mine-*", "arn:aws:s3:::mine-*/*"]
    own_key = world.names["mine"]["key"][0]
    table = f"arn:aws:dynamodb:{REGION}:{OWNER}:table"
    rows = ["GetItem", "BatchGetItem", "TransactGetItems", "PartiQLSelect", "PutItem", "DeleteItem"]
    return [
        {"Effect": "Allow", "Action": "s3:*", "Resource": buckets},
        of("dynamodb", "table/mine-*", "global-table/mine-*"),
        of("sqs", "mine-*"),
        of("sns", "mine-*"),
        of("events", "rule/mine-*", "event-bus/mine-*", "rule/mine-bus/*", "archive/mine-*"),
        of("scheduler", "schedule/default/mine-*", "schedule/mine-*/*", "schedule-group/mine-*"),
        of("kinesis", "stream/mine-*"),
        of("kms", f"key/{own_key}", "alias/mine*"),
        of("ssm", "parameter/mine*"),
        of("secretsmanager", "secret:mine-*"),
        of("cloudformation", "stack/mine-*/*"),
        _LISTS_ALLOWED,
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": f"{_ROLE}/mine-*"},
        # An index of keys only, rows of a table by their key, what an object is now.
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": f"{table}/victim-t/index/pub"},
        {
            "Effect": "Allow",
            "Action": [f"dynamodb:{each}" for each in (*rows, "Query")],
            "Resource": f"{table}/shared-t",
            "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["mine"]}},
        },
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::versioned-b/*"},
    ]


# -- the things, and under which names requests may mean them -------------------------------

Names = dict[str, list[str]]


def _s3(to: Callable[[str], Any], who: str, content: str) -> Names:
    s3, bucket = to("s3"), f"{who}-b"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = s3.put_object(Bucket=bucket, Key="k", Body=content.encode())
    items = json.dumps({"Item": {"pk": {"S": "x"}, "v": {"S": content}}})
    s3.put_object(Bucket=bucket, Key="dump/a.json", Body=items)
    s3.put_object_tagging(
        Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "t", "Value": content}]}
    )
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "t", "Value": content}]})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=content.encode())
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "bucket": [bucket, arn, bucket.upper(), f"{bucket}/k"],
        "bucketarn": [arn, bucket],
        "objectkey": ["k", "dump/a.json", "new"],
        "source": [f"{bucket}/k", f"/{bucket}/k", f"{bucket}%2Fk", f"{arn}/k", f"//{bucket}/k"],
        "upload": [upload],
        "version": [made["VersionId"]],
        "templateurl": [f"http://127.0.0.1/{bucket}/k", f"https://{bucket}.s3.amazonaws.com/k"],
    }


def _dynamodb(to: Callable[[str], Any], who: str, content: str) -> Names:
    dynamodb, table = to("dynamodb"), f"{who}-t"
    made = _table(dynamodb, table)
    item = {"pk": {"S": "1"}, "g": {"S": "1"}, "v": {"S": content}}
    dynamodb.put_item(TableName=table, Item=item)
    streams = to("dynamodbstreams")
    stream = made["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    arn = made["TableArn"]
    backup = dynamodb.create_backup(TableName=table, BackupName="backup")["BackupDetails"][
        "BackupArn"
    ]
    statements = [
        f'SELECT * FROM "{table}"',
        f"SELECT * FROM \"{table}\" WHERE pk = '1'",
        f"UPDATE \"{table}\" SET v = 'changed' WHERE pk = '1'",
        f"DELETE FROM \"{table}\" WHERE pk = '1'",
        f"INSERT INTO \"{table}\" VALUE {{'pk': '9'}}",
        f'SELECT * FROM "{table}"."pub"',
        f"EXISTS(SELECT * FROM \"{table}\" WHERE pk = '1')",
        "SELECT * FROM \"shared-t\" WHERE pk = 'victim'",
        f'SELECT * FROM "mine-t", "{table}"',
        f'SELECT \'from "mine-t"\' FROM "{table}"',
        f'UPDATE "mine-t" SET v = (SELECT v FROM "{table}") WHERE pk = \'1\'',
        f'SELECT * FROM "mine-t" UNION SELECT * FROM "{table}"',
    ]
    return {
        "table": [table, arn, f"{arn}/index/pub", stream, table.upper(), f"{table}/index/pub"],
        "tablearn": [arn, f"{arn}/index/pub", stream, table],
        "streamarn": [stream, arn, f"{arn}/stream/x"],
        "dynamodbiterator": [iterator],
        "shard": [shard],
        "statement": statements,
        "backup": [backup],
    }


def _table(dynamodb: Any, name: str) -> Any:
    made = dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": "S"} for each in ["pk", "g"]
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        GlobalSecondaryIndexes=[
            {
                "IndexName": "pub",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 0.05})
    return made["TableDescription"]


def _shared(to: Callable[[str], Any]) -> None:
    dynamodb, s3 = to("dynamodb"), to("s3")
    _table(dynamodb, "shared-t")
    for pk, content in (("mine", "plain"), ("victim", CANARY)):
        item = {"pk": {"S": pk}, "g": {"S": "1"}, "v": {"S": content}}
        dynamodb.put_item(TableName="shared-t", Item=item)
    s3.create_bucket(Bucket="versioned-b")
    s3.put_bucket_versioning(Bucket="versioned-b", VersioningConfiguration={"Status": "Enabled"})
    for content in (CANARY, "plain"):
        s3.put_object(Bucket="versioned-b", Key="k", Body=content.encode())


def old_version(world: World, owner: Keys) -> str:
    """The version of an object whose newest version alone may be read."""
    s3 = client(world.endpoint, "s3", owner)
    found = s3.list_object_versions(Bucket="versioned-b")["Versions"]
    return str(next(each["VersionId"] for each in found if not each["IsLatest"]))


def _sqs(to: Callable[[str], Any], who: str, content: str) -> Names:
    sqs, name = to("sqs"), f"{who}-q"
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=content)
    got = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    path = f"/{OWNER}/{name}"
    arn = f"arn:aws:sqs:{REGION}:{OWNER}:{name}"
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    return {
        "queueurl": [url, path, path[1:], f"http://x{path}", f"{path}/", name, arn, f"//{path}"],
        "queuename": [name, name.upper(), arn],
        "queuearn": [arn],
        "receipt": [got],
        "redrive": [redrive],
    }


def _sns(to: Callable[[str], Any], who: str, content: str) -> Names:
    sns = to("sns")
    arn = sns.create_topic(Name=f"{who}-topic", Attributes={"DisplayName": content})["TopicArn"]
    queue = f"arn:aws:sqs:{REGION}:{OWNER}:{who}-q"
    subscribed = sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=queue, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    return {
        "topicarn": [arn, arn.replace(OWNER, ""), arn.upper(), f"{arn}:x"],
        "topicname": [f"{who}-topic"],
        "subscription": [subscribed, arn],
    }


def _events(to: Callable[[str], Any], who: str, content: str) -> Names:
    events = to("events")
    queue = f"arn:aws:sqs:{REGION}:{OWNER}:{who}-q"
    events.create_event_bus(Name=f"{who}-bus")
    pattern = json.dumps({"source": ["nothing"]})
    for bus in ("default", f"{who}-bus"):
        rule = {"Name": f"{who}-rule", "EventBusName": bus}
        events.put_rule(**rule, EventPattern=pattern)
        target = {"Id": "1", "Arn": queue, "Input": json.dumps({"x": content})}
        events.put_targets(Rule=f"{who}-rule", EventBusName=bus, Targets=[target])
    arn = f"arn:aws:events:{REGION}:{OWNER}"
    return {
        "rule": [f"{who}-rule", f"{who}-bus/{who}-rule", f"{arn}:rule/{who}-rule"],
        "bus": [f"{who}-bus", f"{arn}:event-bus/{who}-bus", f"x/{who}-bus"],
        "eventsarn": [f"{arn}:rule/{who}-rule", f"{arn}:event-bus/{who}-bus"],
    }


def _scheduler(to: Callable[[str], Any], who: str, content: str) -> Names:
    scheduler, iam = to("scheduler"), to("iam")
    _ = iam
    scheduler.create_schedule_group(Name=f"{who}-g")
    queue = f"arn:aws:sqs:{REGION}:{OWNER}:{who}-q"
    target = {"Arn": queue, "RoleArn": f"{_ROLE}/{who}-role", "Input": json.dumps({"x": content})}
    for group in ("default", f"{who}-g"):
        scheduler.create_schedule(
            Name=f"{who}-s",
            GroupName=group,
            ScheduleExpression="at(2099-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
        )
    arn = f"arn:aws:scheduler:{REGION}:{OWNER}"
    return {
        "schedule": [f"{who}-s", f"{who}-g/{who}-s"],
        "group": [f"{who}-g", f"{arn}:schedule-group/{who}-g"],
        "schedulerarn": [f"{arn}:schedule/default/{who}-s", f"{arn}:schedule-group/{who}-g"],
    }


def _kinesis(to: Callable[[str], Any], who: str, content: str) -> Names:
    kinesis, name = to("kinesis"), f"{who}-stream"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    kinesis.put_record(StreamName=name, Data=content.encode(), PartitionKey="1")
    arn = f"arn:aws:kinesis:{REGION}:{OWNER}:stream/{name}"
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"{who}-c")
    shard = kinesis.list_shards(StreamName=name)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return {
        "stream": [name, arn],
        "kinesisarn": [arn, f"{arn}/consumer/x", consumer["Consumer"]["ConsumerARN"]],
        "iterator": [iterator],
        "kinesisshard": [shard],
    }


def _kms(to: Callable[[str], Any], who: str, content: str) -> Names:
    kms = to("kms")
    key = kms.create_key(Description=content)["KeyMetadata"]
    kms.create_alias(AliasName=f"alias/{who}", TargetKeyId=key["KeyId"])
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=content.encode())["CiphertextBlob"]
    alias = f"alias/{who}"
    arn = f"arn:aws:kms:{REGION}:{OWNER}:{alias}"
    return {
        "key": [key["KeyId"]],
        "keyid": [
            key["KeyId"],
            key["Arn"],
            alias,
            arn,
            key["KeyId"].upper(),
            f"key/{key['KeyId']}",
        ],
        "alias": [alias, arn],
        "ciphertext": [base64.b64encode(blob).decode()],
    }


def _ssm(to: Callable[[str], Any], who: str, content: str) -> Names:
    ssm = to("ssm")
    for name in (f"/{who}/key", f"{who}-param"):
        ssm.put_parameter(Name=name, Value=content, Type="String")
    ssm.label_parameter_version(Name=f"/{who}/key", Labels=["one"])
    arn = f"arn:aws:ssm:{REGION}:{OWNER}:parameter"
    path = f"{who}/key"
    names = [f"/{path}", f"{who}-param", f"/{path}:1", f"/{path}:one", f"{arn}/{path}", f"//{path}"]
    names += [f"{arn}//{path}", f"{arn}/{path}:1", path, f"/{path}/", f"{arn}/mine/../{path}"]
    return {
        "parameter": names,
        "path": [f"/{who}", f"/{who}/", who, f"//{who}", f"{arn}/{who}", "/"],
    }


def _secretsmanager(to: Callable[[str], Any], who: str, content: str) -> Names:
    manager = to("secretsmanager")
    arn = manager.create_secret(Name=f"{who}-secret", SecretString=content)["ARN"]
    names = [f"{who}-secret", arn, arn[:-7], arn[:-1], f"{who}-secret{arn[-7:]}", f"/{who}-secret"]
    return {"secret": names, "secretname": [f"{who}-secret"]}


def _cloudformation(to: Callable[[str], Any], who: str, content: str) -> Names:
    cloudformation, name = to("cloudformation"), f"{who}-stack"
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": f"{who}-stack-q"}}
    template = json.dumps({"Resources": {"Q": {**queue, "Metadata": {"x": content}}}})
    made = cloudformation.create_stack(StackName=name, TemplateBody=template)["StackId"]
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1}
    )
    changed = template.replace("plain", "other").replace(CANARY, CANARY + "x")
    change = cloudformation.create_change_set(
        StackName=name, ChangeSetName="c", TemplateBody=changed
    )["Id"]
    return {
        "stack": [name, made, made.rpartition("/")[0]],
        "changeset": ["c", change],
        "template": [template.replace(CANARY, "plain")],
    }


_MAKE: dict[str, Callable[[Callable[[str], Any], str, str], Names]] = {
    "s3": _s3,
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "sns": _sns,
    "kinesis": _kinesis,
    "kms": _kms,
    "ssm": _ssm,
    "secretsmanager": _secretsmanager,
    "events": _events,
    "scheduler": _scheduler,
    "cloudformation": _cloudformation,
}


def build_own(endpoint: str, owner: Keys) -> None:
    """Things of Lambent's own services, all called what requests call things by default."""
    iam, logs, functions = (client(endpoint, each, owner) for each in ("iam", "logs", "lambda"))
    document = json.dumps({"Version": "2012-10-17", "Statement": _LISTS_ALLOWED})
    iam.create_user(UserName="mine-x")
    iam.create_group(GroupName="mine-x")
    iam.create_role(RoleName="mine-x", AssumeRolePolicyDocument=_TRUST)
    iam.create_policy(PolicyName="mine-x", PolicyDocument=document)
    iam.put_user_policy(UserName="mine-x", PolicyName="mine-x", PolicyDocument=document)
    logs.create_log_group(logGroupName="mine-x")
    logs.create_log_stream(logGroupName="mine-x", logStreamName="mine-x")
    functions.create_function(
        FunctionName="mine-x",
        Runtime=f"python3.{sys.version_info.minor}",
        Handler="app.handler",
        Role=f"{_ROLE}/lambda",
        Code={"ZipFile": make_zip({"app.py": "def handler(event, context): return event"})},
    )
    functions.get_waiter("function_active_v2").wait(
        FunctionName="mine-x", WaiterConfig={"Delay": 0.05}
    )
    functions.publish_version(FunctionName="mine-x")
    functions.create_alias(FunctionName="mine-x", Name="mine-x", FunctionVersion="1")


_LISTS_ALLOWED = {"Effect": "Allow", "Action": _LISTS, "Resource": "*"}

# Members of services' requests, by pattern, and which of the names above they hold.
_ROLES = "(?:Task|Execution)?Role(?:Arn|ARN)$"
MEMBERS: dict[str, list[tuple[str, str]]] = {
    "s3": [
        ("^(Target)?Bucket$", "bucket"),
        ("^Key$|^Prefix$|KeyMarker", "objectkey"),
        ("CopySource$", "source"),
        ("VersionId$", "version"),
        ("UploadId$", "upload"),
    ],
    "dynamodb": [
        ("TableName$", "table"),
        ("^(Table|Resource|SourceTable)Arn$|^TableArn", "tablearn"),
        ("^Statement$", "statement"),
        ("BackupArn", "backup"),
        ("StreamArn", "streamarn"),
        ("S3Bucket$", "bucket"),
    ],
    "dynamodbstreams": [
        ("StreamArn", "streamarn"),
        ("TableName", "table"),
        ("ShardIterator$", "dynamodbiterator"),
        ("ShardId", "shard"),
    ],
    "sqs": [
        ("QueueUrl", "queueurl"),
        ("QueueName", "queuename"),
        ("Arn$", "queuearn"),
        ("ReceiptHandle", "receipt"),
    ],
    "sns": [
        ("TopicArn|TargetArn|ResourceArn", "topicarn"),
        ("SubscriptionArn", "subscription"),
        ("^Name$", "topicname"),
        ("^Endpoint$", "queuearn"),
    ],
    "events": [
        ("EventBusName|EventBusArn", "bus"),
        ("^Rule$|^Name$|RuleName|ArchiveName|NamePrefix", "rule"),
        ("ResourceARN|EventSourceArn", "eventsarn"),
        ("^Arn$", "queuearn"),
    ],
    "scheduler": [
        ("GroupName$|ScheduleGroupName", "group"),
        ("^Name$|NamePrefix|ScheduleName", "schedule"),
        ("ResourceArn", "schedulerarn"),
        ("^Arn$", "queuearn"),
    ],
    "kinesis": [
        ("StreamName", "stream"),
        ("ARN$", "kinesisarn"),
        ("ShardIterator$", "iterator"),
        ("ShardId", "kinesisshard"),
    ],
    "kms": [("KeyId|KeyArn", "keyid"), ("AliasName", "alias"), ("CiphertextBlob", "ciphertext")],
    "ssm": [("^Path$", "path"), ("^Names?$|ResourceId|ParameterName|PSParameterName", "parameter")],
    "secretsmanager": [("SecretId", "secret"), ("^Name$", "secretname")],
    "cloudformation": [
        ("StackName|StackId", "stack"),
        ("ChangeSetName", "changeset"),
        ("TemplateURL|PolicyURL", "templateurl"),
        ("TemplateBody", "template"),
    ],
}


def candidates(world: World, service: str, member: str, who: str) -> list[str]:
    """Under which names a member of a request may mean a thing of mine, or of the victim's."""
    if re.search(_ROLES, member):
        return [f"{_ROLE}/{who}-role"]
    for pattern, kind in MEMBERS.get(service, ()):
        if re.search(pattern, member):
            return world.names.get(who, {}).get(kind, [])
    return []
