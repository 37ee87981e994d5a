"""What the services beside Lambda send by themselves: by leave of a policy or a role, or not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROLE, RUNTIME, Server, make_zip
from tests.integration.test_neighbours import eventually

ACCOUNT = "000000000000"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:"
# Long enough that what is on its way has come.
A_WHILE = 1.0


class Listener:
    """A function that writes down what it is told."""

    def __init__(self, server: Server, name: str) -> None:
        self.client = server.client()
        self.logs = server.client("logs")
        self.name = name
        self.arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
        code = "import json\ndef handler(event, context):\n    print('EVENT', json.dumps(event))\n"
        self.client.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": make_zip({"app.py": code})},
        )
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)

    def allow(self, service: str, source: str) -> None:
        self.client.add_permission(
            FunctionName=self.name,
            StatementId=service.partition(".")[0],
            Action="lambda:InvokeFunction",
            Principal=service,
            SourceArn=source,
        )

    def events(self) -> list[Any]:
        found = self.logs.filter_log_events(
            logGroupName=f"/aws/lambda/{self.name}", filterPattern="EVENT"
        )
        return [json.loads(each["message"].partition(" ")[2]) for each in found["events"]]


@pytest.fixture
def listener(server: Server, request: pytest.FixtureRequest) -> Iterator[Listener]:
    name = request.node.name.replace("_", "-")[:50]
    made = Listener(server, name)
    yield made
    made.client.delete_function(FunctionName=name)


def quiet(listener: Listener) -> None:
    """Nothing comes, and nothing does still."""
    time.sleep(A_WHILE)
    listener.client.invoke(FunctionName=listener.name, Payload=b'"last"')
    assert eventually(listener.events) == ["last"]


def test_a_topic_runs_a_function_that_lets_it(server: Server, listener: Listener) -> None:
    sns = server.client("sns")
    topic = sns.create_topic(Name="runs")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=listener.arn)
    listener.allow("sns.amazonaws.com", topic)
    sent = sns.publish(TopicArn=topic, Message="hello", Subject="s")["MessageId"]
    (event,) = eventually(listener.events)
    (record,) = event["Records"]
    assert record["EventSource"] == "aws:sns"
    assert record["Sns"]["Message"] == "hello" and record["Sns"]["MessageId"] == sent


def test_a_topic_does_not_run_a_function_that_does_not(server: Server, listener: Listener) -> None:
    sns = server.client("sns")
    topic = sns.create_topic(Name="in-vain")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=listener.arn)
    listener.allow("sns.amazonaws.com", topic + "-of-another-name")
    sns.publish(TopicArn=topic, Message="hello")
    quiet(listener)


def test_a_bucket_runs_a_function_that_lets_it(server: Server, listener: Listener) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="notifying")
    listener.allow("s3.amazonaws.com", "arn:aws:s3:::notifying")
    s3.put_bucket_notification_configuration(
        Bucket="notifying",
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": listener.arn, "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    s3.put_object(Bucket="notifying", Key="new", Body=b"1234")
    (event,) = eventually(listener.events)
    (record,) = event["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["object"]["key"] == "new" and record["s3"]["object"]["size"] == 4


def test_a_rule_runs_a_function_that_lets_it(server: Server, listener: Listener) -> None:
    events = server.client("events")
    rule = events.put_rule(Name="runs", EventPattern='{"source": ["runs"]}')["RuleArn"]
    listener.allow("events.amazonaws.com", rule)
    events.put_targets(Rule="runs", Targets=[{"Id": "1", "Arn": listener.arn}])
    entry = {"Source": "runs", "DetailType": "d", "Detail": '{"a": 1}'}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    (event,) = eventually(listener.events)
    assert (event["source"], event["detail"]) == ("runs", {"a": 1})


def test_a_schedule_runs_a_function_with_a_role_that_may(
    server: Server, listener: Listener
) -> None:
    iam, scheduler = server.client("iam"), server.client("scheduler")
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "scheduler.amazonaws.com"},
    }
    allow = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": listener.arn}
    for name, statements in (("clock", [allow]), ("idle-clock", [])):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_policy(trust)))[
            "Role"
        ]["Arn"]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="p", PolicyDocument=json.dumps(_policy(*statements))
            )
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime()),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": listener.arn, "RoleArn": role, "Input": json.dumps({"by": name})},
        )
    assert eventually(listener.events, 60) == [{"by": "clock"}]
    time.sleep(A_WHILE)
    assert listener.events() == [{"by": "clock"}]


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def test_a_topic_sends_to_a_queue_whose_policy_lets_it(server: Server) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name="to-queues")["TopicArn"]
    urls = {}
    for name in ("open", "shut"):
        urls[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=QUEUE + name)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": QUEUE + "open",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    sqs.set_queue_attributes(
        QueueUrl=urls["open"], Attributes={"Policy": json.dumps(_policy(statement))}
    )
    sns.publish(TopicArn=topic, Message="hello")
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=urls["open"]).get("Messages"))
    assert json.loads(message["Body"])["Message"] == "hello"
    assert "Messages" not in sqs.receive_message(QueueUrl=urls["shut"])


def test_a_topic_takes_no_address_it_cannot_reach(server: Server) -> None:
    sns = server.client("sns")
    topic = sns.create_topic(Name="nowhere")["TopicArn"]
    with pytest.raises(sns.exceptions.InvalidParameterException) as refused:
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:1/")
    assert "not offered" in str(refused.value)


def test_a_rule_sends_to_another_bus_with_a_role_only(server: Server) -> None:
    events, sqs, iam = (server.client(name) for name in ("events", "sqs", "iam"))
    bus = events.create_event_bus(Name="second")["EventBusArn"]
    url = sqs.create_queue(QueueName="second-bus")["QueueUrl"]
    rule = events.put_rule(
        Name="all", EventBusName="second", EventPattern='{"source": [{"prefix": ""}]}'
    )["RuleArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": QUEUE + "second-bus",
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(_policy(statement))})
    target = {"Id": "q", "Arn": QUEUE + "second-bus"}
    events.put_targets(Rule="all", EventBusName="second", Targets=[target])
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "events.amazonaws.com"},
    }
    role = iam.create_role(
        RoleName="between-buses", AssumeRolePolicyDocument=json.dumps(_policy(trust))
    )["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus}
    iam.put_role_policy(
        RoleName="between-buses", PolicyName="p", PolicyDocument=json.dumps(_policy(allow))
    )
    for source, more in (("without", {}), ("with", {"RoleArn": role})):
        events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
        events.put_targets(Rule=source, Targets=[{"Id": "b", "Arn": bus, **more}])
        entry = {"Source": source, "DetailType": "d", "Detail": "{}"}
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    assert json.loads(message["Body"])["source"] == "with"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
