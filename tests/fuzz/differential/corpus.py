"""Requests that once meant one thing to the gateway and another to a service: each run plays them.

Each is one case: who asks, and requests that must neither tell nor change what is the victim's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from tests.fuzz.differential.requests import Wire, model
from tests.fuzz.differential.rig import OWNER, REGION
from tests.fuzz.differential.world import World

_FORM = {"content-type": "application/x-www-form-urlencoded"}
_STATEMENT = "SELECT * FROM \"{}\" WHERE pk = '{}'"


def _json(service: str, operation: str, **parameters: Any) -> Wire:
    described = model(service).metadata
    headers = {
        "x-amz-target": f"{described['targetPrefix']}.{operation}",
        "content-type": f"application/x-amz-json-{described['jsonVersion']}",
    }
    return Wire(service, operation, "POST", "/", "", headers, json.dumps(parameters).encode())


def _s3(method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> Wire:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Wire("s3", "", method, path, query, named, body)


def _form(operation: str, **fields: str) -> Wire:
    body = urlencode({"Action": operation, "Version": "2010-05-15", **fields}).encode()
    return Wire("cloudformation", operation, "POST", "/", "", dict(_FORM), body)


def cases(world: World) -> Iterator[tuple[str, list[Wire]]]:
    """Callers and requests."""
    yield from _of_tables(world)
    yield from _of_buckets(world)
    yield from _of_names(world)
    yield from _of_forms(world)


def _of_tables(world: World) -> Iterator[tuple[str, list[Wire]]]:
    statements = {
        name: [{"Statement": _STATEMENT.format(table, "1")}]
        for name, table in (("Statements", "mine-t"), ("TransactStatements", "victim-t"))
    }
    yield "mine", [_json("dynamodb", "ExecuteTransaction", **statements)]
    swapped = dict(zip(statements, reversed(statements.values()), strict=True))
    yield "mine", [_json("dynamodb", "BatchExecuteStatement", **swapped)]
    index = f"arn:aws:dynamodb:{REGION}:{OWNER}:table/victim-t/index/pub"
    for operation in ("GetItem", "DeleteItem"):
        yield "mine", [_json("dynamodb", operation, TableName=index, Key={"pk": {"S": "1"}})]
    for operation in ("Scan", "DeleteTable", "DescribeTable"):
        yield "mine", [_json("dynamodb", operation, TableName=index)]
    yield "mine", [_json("dynamodb", "ExportTableToPointInTime", TableArn=index, S3Bucket="mine-b")]
    backup = {"BackupName": "backup", "TableName": index}
    yield "mine", [_json("dynamodb", "CreateBackup", **backup)]
    victims = _STATEMENT.format("shared-t", "victim")
    yield "mine", [_json("dynamodb", "ExecuteStatement", Statement=victims)]
    yield (
        "mine",
        [
            _json(
                "dynamodb",
                "ImportTable",
                S3BucketSource={"S3Bucket": "victim-b", "S3KeyPrefix": "dump/"},
                InputFormat="DYNAMODB_JSON",
                TableCreationParameters={
                    "TableName": "mine-new",
                    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                    "BillingMode": "PAY_PER_REQUEST",
                },
            )
        ],
    )


_REPLICATION = (
    b'<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Role>arn:aws:iam::000000000000:role/mine-role</Role><Rule><ID>1</ID><Status>Enabled</Status>"
    b"<Prefix></Prefix><Destination><Bucket>arn:aws:s3:::victim-b</Bucket></Destination></Rule>"
    b"</ReplicationConfiguration>"
)


def _of_buckets(world: World) -> Iterator[tuple[str, list[Wire]]]:
    replicate = _s3("PUT", "/mine-b", "replication", _REPLICATION)
    yield "mine", [replicate, _s3("PUT", "/mine-b/new", body=b"x")]
    old = world.names["victim"]["oldversion"][0]
    for before in ("?", "?x=1&", "?&", "?versionId=null&", "%3F"):
        source = f"/versioned-b/k{before}versionId={old}"
        copy = _s3("PUT", "/mine-b/copy", x_amz_copy_source=source)
        yield "mine", [copy, _s3("GET", "/mine-b/copy")]
    for source in (
        "victim-b/k",
        "/mine-b/../victim-b/k",
        "//victim-b/k",
        "mine-b%2f..%2fvictim-b/k",
    ):
        copy = _s3("PUT", "/mine-b/copy", x_amz_copy_source=source)
        yield "mine", [copy, _s3("GET", "/mine-b/copy")]


def _of_names(world: World) -> Iterator[tuple[str, list[Wire]]]:
    parameter = f"arn:aws:ssm:{REGION}:{OWNER}:parameter"
    for name in ("//victim/key", "/victim/key:1", "//victim/key:1", "/victim/key:one"):
        yield "denied", [_json("ssm", "GetParameter", Name=parameter + name)]
        yield "denied", [_json("ssm", "GetParameter", Name=name)]
    yield "denied", [_json("secretsmanager", "BatchGetSecretValue")]
    names = [{"Key": "name", "Values": ["victim"]}]
    yield "denied", [_json("secretsmanager", "BatchGetSecretValue", Filters=names)]
    change = Wire(
        "scheduler", "UpdateSchedule", "PUT", "/schedules/victim-s", "groupName=mine-g", {}, b""
    )
    yield "mine", [change]
    stream = world.names["mine"]["streamarn"][0]
    yield "mine", [_json("dynamodbstreams", "ListStreams", StreamArn=stream)]


def _of_forms(world: World) -> Iterator[tuple[str, list[Wire]]]:
    for operation in ("GetTemplate", "DescribeStackResources", "DeleteStack"):
        wire = _form("ListStacks")
        wire.query, wire.body = (
            wire.body.decode(),
            json.dumps({"StackName": "victim-stack"}).encode(),
        )
        wire.headers = {
            "x-amz-target": f"CloudFormation_20100515.{operation}",
            "content-type": "application/x-amz-json-1.0",
        }
        yield "mine", [wire]
    for name in world.names["victim"]["changeset"]:
        for operation in ("DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet"):
            yield (
                "denied",
                [
                    _form("DeleteStack", StackName="mine-stack"),
                    _form(operation, ChangeSetName=name),
                ],
            )
    receive = "Action=ReceiveMessage&Version=2012-11-05&VisibilityTimeout=30"
    for method in ("GET", "POST", "PUT", "DELETE"):
        for name in ("QueueUrl", "Queue%55rl"):
            path, body = f"/{OWNER}/victim-q", f"{name}=/{OWNER}/mine-q".encode()
            yield "mine", [Wire("sqs", "ReceiveMessage", method, path, receive, dict(_FORM), body)]
