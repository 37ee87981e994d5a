"""A function that calls itself, by whatever way, is stopped after sixteen times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Functions, total
from tests.integration.test_async import events_of
from tests.integration.test_destinations import ACCOUNT, ARN, Queue, Sender
from tests.integration.test_endpoint import SOURCE
from tests.integration.test_neighbours import eventually

# Calls what it is told to, as an AWS SDK does: with its own tracing header.
LOOP = """
import datetime, hashlib, json, os, urllib.error, urllib.parse, urllib.request
import sigv4

def call(service, method, path, body, headers):
    url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    headers = {"host": url.netloc, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
               "x-amzn-trace-id": os.environ["_X_AMZN_TRACE_ID"], **headers}
    signed = sigv4.sign_headers(method, path, "", headers, body,
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ["AWS_REGION"], service, datetime.datetime.now(datetime.timezone.utc),
        os.environ["AWS_SESSION_TOKEN"])
    request = urllib.request.Request(url.geturl() + path, body, signed, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null") if service == "lambda" else None
    except urllib.error.HTTPError as error:
        return {"code": error.headers.get("x-amzn-errortype"), "body": error.read().decode()}

def handler(event, context):
    print("EVENT", context.function_name)
    kind = os.environ["KIND"]
    me = "/2015-03-31/functions/%s/invocations" % os.environ.get("NEXT", context.function_name)
    if kind == "lambda":
        return call("lambda", "POST", me, b"{}", {})
    if kind == "event":
        return call("lambda", "POST", me, b"{}", {"x-amz-invocation-type": "Event"})
    if kind == "sns":
        body = urllib.parse.urlencode({"Action": "Publish", "Version": "2010-03-31",
            "TopicArn": os.environ["TARGET"], "Message": "again"}).encode()
        return call("sns", "POST", "/", body, {"content-type": "application/x-www-form-urlencoded"})
    if kind == "sqs":
        body = json.dumps({"QueueUrl": os.environ["TARGET"], "MessageBody": "again"}).encode()
        return call("sqs", "POST", "/", body, {"content-type": "application/x-amz-json-1.0",
            "x-amz-target": "AmazonSQS.SendMessage"})
    if kind == "s3":
        return call("s3", "PUT", "/%s/again" % os.environ["TARGET"], b"x", {})
"""


class Looper(Sender):
    """Functions that may do anything and call themselves."""

    def loop(self, kind: str, target: str = "", **more: Any) -> str:
        self.may("*")
        name = self.functions.create(
            {"app.py": LOOP, "sigv4.py": SOURCE},
            Role=self.arn,
            Timeout=60,
            Environment={"Variables": {"KIND": kind, "TARGET": target, **more}},
        )
        self.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        return name

    def runs(self, name: str) -> int:
        return len(events_of(self.server, name))

    def stopped(self, name: str) -> float:
        """How often a loop of a function was stopped."""
        return total(self.server, "RecursiveInvocationsDropped", name)


@pytest.fixture
def looper(functions: Functions, request: pytest.FixtureRequest) -> Iterator[Looper]:
    yield Looper(functions, request.node.name.replace("_", "-").replace("[", "-").strip("]")[-60:])


def test_a_function_that_invokes_itself_is_told_so(looper: Looper) -> None:
    name = looper.loop("lambda")
    answer = looper.functions.invoke(name).payload
    assert answer["code"] == "RecursiveInvocationException"
    assert name in json.loads(answer["body"])["Message"]
    assert eventually(lambda: looper.runs(name) == 16)
    assert looper.stopped(name) == 1.0
    # Who begins anew begins a chain of his own.
    assert looper.functions.invoke(name).payload["code"] == "RecursiveInvocationException"


def test_two_functions_that_call_each_other_are_counted_apart(looper: Looper) -> None:
    other = looper.loop("lambda")
    name = looper.loop("lambda", NEXT=other)
    looper.client.update_function_configuration(
        FunctionName=other, Environment={"Variables": {"KIND": "lambda", "NEXT": name}}
    )
    looper.functions.settle(other)
    assert looper.functions.invoke(name).payload["code"] == "RecursiveInvocationException"
    assert eventually(lambda: looper.runs(name) == 16 and looper.runs(other) == 16)


def test_a_loop_of_events_ends_at_the_failure_destination(looper: Looper) -> None:
    name = looper.loop("event")
    queue = Queue(looper.server, "loops")
    looper.tell(name, failure=queue.arn)
    looper.send(name, {})
    record = json.loads(queue.one()["Body"])
    assert record["requestContext"]["condition"] == "RecursiveInvocation"
    assert looper.runs(name) == 16


@pytest.mark.parametrize("kind", ["sns", "s3"])
def test_a_loop_through_another_service_is_stopped(looper: Looper, kind: str) -> None:
    if kind == "sns":
        target = looper.server.client("sns").create_topic(Name="loops")["TopicArn"]
    else:
        target = "loops-through-objects"
        looper.server.client("s3").create_bucket(Bucket=target)
    name = looper.loop(kind, target)
    arn = f"arn:aws:lambda:{ARN}:function:{name}"
    looper.client.add_permission(
        FunctionName=name,
        StatementId=kind,
        Action="lambda:InvokeFunction",
        Principal=f"{kind}.amazonaws.com",
        SourceAccount=ACCOUNT,
    )
    if kind == "sns":
        looper.server.client("sns").subscribe(TopicArn=target, Protocol="lambda", Endpoint=arn)
    else:
        looper.server.client("s3").put_bucket_notification_configuration(
            Bucket=target,
            NotificationConfiguration={
                "LambdaFunctionConfigurations": [
                    {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
                ]
            },
        )
    looper.functions.invoke(name)
    assert eventually(lambda: looper.stopped(name) >= 1.0)
    assert looper.runs(name) == 16


def test_a_loop_through_a_queue_ends_among_its_dead_letters(looper: Looper) -> None:
    dead = Queue(looper.server, "loops-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    queue = Queue(looper.server, "loops-again", VisibilityTimeout="1", RedrivePolicy=redrive)
    name = looper.loop("sqs", queue.url)
    looper.client.update_function_configuration(FunctionName=name, Timeout=1)
    looper.functions.settle(name)
    made = looper.client.create_event_source_mapping(FunctionName=name, EventSourceArn=queue.arn)
    looper.functions.invoke(name)
    assert dead.one()["Body"] == "again"
    assert looper.runs(name) == 16 and looper.stopped(name) == 1.0
    looper.client.delete_event_source_mapping(UUID=made["UUID"])


def test_a_loop_of_destinations_is_stopped(looper: Looper) -> None:
    name = looper.loop("nothing")
    other = looper.loop("nothing")
    for source, target in ((name, other), (other, name)):
        looper.tell(source, success=f"arn:aws:lambda:{ARN}:function:{target}")
    looper.send(name, {})
    assert eventually(lambda: looper.stopped(name) + looper.stopped(other) >= 1.0)
    assert (looper.runs(name), looper.runs(other)) == (16, 16)


def test_a_function_may_be_allowed_to_go_on(looper: Looper) -> None:
    name = looper.loop("event")
    looper.client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    looper.send(name, {})
    assert eventually(lambda: looper.runs(name) > 40)
    looper.client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Terminate")
    assert eventually(lambda: looper.stopped(name) >= 1.0)
