"""Destinations and dead letters, at the real neighbours: who is told what, and by whose leave."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Functions, Server, allow, fetch, total
from tests.integration.test_neighbours import eventually

ACCOUNT = "000000000000"
ARN = f"us-east-1:{ACCOUNT}"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
FAILS = "def handler(event, context):\n    raise ValueError('no ' + event['n'])\n"
ANSWERS = "def handler(event, context):\n    return {'got': event}\n"


class Sender:
    """Functions with a role of their own, whose leave the tests give."""

    def __init__(self, functions: Functions, role: str) -> None:
        self.functions = functions
        self.server = functions.server
        self.client = functions.client
        self.iam = self.server.client("iam")
        self.role = role
        self.arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        self.iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))

    def may(self, *actions: str, resource: str = "*") -> None:
        self.iam.put_role_policy(
            RoleName=self.role, PolicyName="sends", PolicyDocument=allow(list(actions), resource)
        )

    def create(self, code: str, **more: Any) -> str:
        name = self.functions.create(code, Role=self.arn, **more)
        self.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        return name

    def tell(self, name: str, success: str = "", failure: str = "", **more: Any) -> None:
        wanted = {"OnSuccess": success, "OnFailure": failure}
        self.client.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=0,
            DestinationConfig={key: {"Destination": arn} for key, arn in wanted.items() if arn},
            **more,
        )

    def send(self, name: str, payload: Any, **more: Any) -> str:
        answer = self.client.invoke(
            FunctionName=name, InvocationType="Event", Payload=json.dumps(payload), **more
        )
        answer["Payload"].close()
        return str(answer["ResponseMetadata"]["RequestId"])


@pytest.fixture
def sender(functions: Functions, request: pytest.FixtureRequest) -> Iterator[Sender]:
    yield Sender(functions, request.node.name.replace("_", "-")[-60:])


class Queue:
    """A queue, read to its end."""

    def __init__(self, server: Server, name: str, **attributes: str) -> None:
        self.client = server.client("sqs")
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.arn = f"arn:aws:sqs:{ARN}:{name}"

    def messages(self) -> list[Any]:
        found = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(found.get("Messages", []))

    def one(self) -> Any:
        (message,) = eventually(self.messages)
        return message


def test_a_queue_is_told_of_a_failure_to_the_letter(sender: Sender) -> None:
    queue = Queue(sender.server, "told-of-failures")
    sender.may("sqs:SendMessage", resource=queue.arn)
    name = sender.create(FAILS)
    sender.tell(name, failure=queue.arn)
    request = sender.send(name, {"n": "1", "large": 12345678901234567890, "f": 1.10})
    body = queue.one()["Body"]
    # What was sent is told as it was sent.
    assert '"large": 12345678901234567890, "f": 1.1' in body
    record = json.loads(body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request,
            "functionArn": f"arn:aws:lambda:{ARN}:function:{name}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": "1", "large": 12345678901234567890, "f": 1.1},
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": {
            "errorMessage": "no 1",
            "errorType": "ValueError",
            "requestId": request,
            "stackTrace": record["responsePayload"]["stackTrace"],
        },
    }


def test_topics_buses_buckets_and_functions_are_told_too(sender: Sender) -> None:
    server = sender.server
    queue = Queue(server, "behind-topic-and-bus")
    policy = allow("sqs:SendMessage", queue.arn, Principal="*")
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})
    topic = server.client("sns").create_topic(Name="told")["TopicArn"]
    server.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    events = server.client("events")
    bus = events.create_event_bus(Name="told")["EventBusArn"]
    events.put_rule(Name="all", EventBusName="told", EventPattern='{"source": ["lambda"]}')
    events.put_targets(Rule="all", EventBusName="told", Targets=[{"Id": "q", "Arn": queue.arn}])
    s3 = server.client("s3")
    s3.create_bucket(Bucket="told-in-objects")
    other = sender.create(
        "def handler(e, c):\n    print('EVENT', e['requestContext']['condition'])"
    )
    target = f"arn:aws:lambda:{ARN}:function:{other}"
    sender.may("sns:Publish", "events:PutEvents", "s3:PutObject", "lambda:InvokeFunction")
    works, breaks = sender.create(ANSWERS), sender.create(FAILS)

    sender.tell(works, success=topic)
    first = sender.send(works, {"n": "topic"})
    record = json.loads(json.loads(queue.one()["Body"])["Message"])
    assert record["requestContext"]["requestId"] == first
    assert record["responsePayload"] == {"got": {"n": "topic"}}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestContext"]["approximateInvokeCount"] == 1

    sender.tell(works, success=bus)
    sender.send(works, {"n": "bus"})
    message = eventually(lambda: [m for m in queue.messages() if "detail-type" in m["Body"]])[0]
    event = json.loads(message["Body"])
    assert event["source"] == "lambda"
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["resources"] == [bus, f"arn:aws:lambda:{ARN}:function:{works}:$LATEST"]
    assert event["detail"]["requestPayload"] == {"n": "bus"}

    sender.tell(breaks, failure="arn:aws:s3:::told-in-objects")
    request = sender.send(breaks, {"n": "bucket"})
    listed = eventually(lambda: s3.list_objects_v2(Bucket="told-in-objects").get("Contents"))
    key = listed[0]["Key"]
    assert re.fullmatch(
        rf"aws/lambda/async/{breaks}/\d{{4}}/\d\d/\d\d/"
        r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}",
        key,
    )
    stored = json.loads(s3.get_object(Bucket="told-in-objects", Key=key)["Body"].read())
    assert stored["requestContext"]["requestId"] == request

    sender.tell(breaks, failure=target)
    sender.send(breaks, {"n": "function"})
    logs = server.client("logs")
    found = eventually(
        lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{other}", filterPattern="EVENT")[
            "events"
        ]
    )
    assert found[0]["message"].strip() == "EVENT RetriesExhausted"


def test_dead_letters_carry_the_event_and_what_was_wrong(sender: Sender) -> None:
    server = sender.server
    queue, behind = Queue(server, "dead-letters"), Queue(server, "dead-letters-of-a-topic")
    policy = allow("sqs:SendMessage", behind.arn, Principal="*")
    behind.client.set_queue_attributes(QueueUrl=behind.url, Attributes={"Policy": policy})
    sns = server.client("sns")
    topic = sns.create_topic(Name="dead-letters")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=behind.arn)
    sender.may("sqs:SendMessage", "sns:Publish")
    name = sender.create(FAILS, DeadLetterConfig={"TargetArn": queue.arn})
    request = sender.send(name, {"n": "x" * 2000})
    letter = queue.one()
    assert json.loads(letter["Body"]) == {"n": "x" * 2000}
    attributes = letter["MessageAttributes"]
    assert attributes["RequestID"] == {"StringValue": request, "DataType": "String"}
    assert attributes["ErrorCode"] == {"StringValue": "200", "DataType": "Number"}
    assert attributes["ErrorMessage"]["StringValue"] == ("no " + "x" * 2000)[:1024]

    other = sender.create(FAILS, DeadLetterConfig={"TargetArn": topic})
    request = sender.send(other, {"n": "topic"})
    envelope = json.loads(behind.one()["Body"])
    assert json.loads(envelope["Message"]) == {"n": "topic"}
    assert envelope["MessageAttributes"]["RequestID"]["Value"] == request


def test_a_role_that_may_not_tells_nobody_and_once_it_may_it_does(sender: Sender) -> None:
    queue = Queue(sender.server, "not-yours")
    sender.may("sqs:SendMessage", resource="arn:aws:sqs:us-east-1:000000000000:another")
    name = sender.create(FAILS)
    sender.tell(name, failure=queue.arn)
    sender.send(name, {"n": "secret"})
    failures = "DestinationDeliveryFailures"
    assert eventually(lambda: total(sender.server, failures, name)) >= 1
    assert queue.messages() == []
    sender.may("sqs:SendMessage", resource=queue.arn)
    assert json.loads(queue.one()["Body"])["requestPayload"] == {"n": "secret"}


def test_no_concurrency_at_all_ends_at_the_failure_destination(sender: Sender) -> None:
    queue = Queue(sender.server, "never-ran")
    sender.may("sqs:SendMessage")
    name = sender.create(ANSWERS)
    sender.tell(name, failure=queue.arn)
    sender.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    sender.send(name, {"n": 1})
    record = json.loads(queue.one()["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record


def test_an_alias_has_destinations_of_its_own(sender: Sender) -> None:
    queue = Queue(sender.server, "of-the-alias")
    sender.may("sqs:SendMessage")
    name = sender.create(ANSWERS)
    version = sender.client.publish_version(FunctionName=name)["Version"]
    sender.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    sender.client.put_function_event_invoke_config(
        FunctionName=name,
        Qualifier="live",
        DestinationConfig={"OnSuccess": {"Destination": queue.arn}},
    )
    sender.send(name, {"to": "latest"})
    sender.send(name, {"to": "live"}, Qualifier="live")
    record = json.loads(queue.one()["Body"])
    assert record["requestPayload"] == {"to": "live"}
    arn = f"arn:aws:lambda:{ARN}:function:{name}:live"
    assert record["requestContext"]["functionArn"] == arn
    assert record["responseContext"]["executedVersion"] == version


def metrics_of(server: Server) -> str:
    """What Prometheus would read."""
    pair = f"{server.key['access_key_id']}:{server.key['secret_access_key']}".encode()
    headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    request = urllib.request.Request(server.endpoint + "/metrics", headers=headers)
    return fetch(request)[1].decode()


def test_events_can_be_listed_looked_at_replayed_and_removed(sender: Sender) -> None:
    server = sender.server
    name = sender.create("import os\ndef handler(e, c):\n    raise ValueError('\x1b[31mno')\n")

    def lambent(*arguments: str) -> str:
        place = ("--data-dir", str(server.data), "--endpoint", server.endpoint)
        command = [sys.executable, "-m", "lambent", "events", *arguments, *place]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def events(*arguments: str) -> Any:
        return json.loads(lambent(*arguments, "--json"))

    def row() -> Any:
        found = [each for each in events("ls") if each["function"] == name]
        return found[0] if found and found[0]["failed"] else None

    request = sender.send(name, {"n": 1})
    assert eventually(row)["failed"] == 1
    (event,) = events("peek", name)
    assert (event["id"], event["state"], event["attempts"]) == (request, "failed", 1)
    assert "no" in event["error"] and event["payload"] == '{"n": 1}'
    text = metrics_of(server)
    labels = f'account="{ACCOUNT}",region="us-east-1",function="{name}"'
    assert f"lambent_events_failed{{{labels}}} 1" in text
    assert f"lambent_events_queued{{{labels}}} 0" in text
    assert events("replay", name) == [{"replayed": 1}]
    assert eventually(row)["failed"] == 1
    shown = lambent("peek", name)
    assert request in shown and "\x1b" not in shown
    assert events("purge", name) == [{"purged": 1}]
    assert [each for each in events("ls") if each["function"] == name] == []
