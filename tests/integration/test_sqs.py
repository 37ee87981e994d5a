"""Queues feed functions: the real services, roles and sandboxes."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import (
    ROLE,
    RUNTIME,
    Functions,
    Server,
    User,
    allow,
    make_zip,
    start_server,
    total,
)
from tests.integration.test_async import events_of
from tests.integration.test_destinations import ARN, FAILS, Queue, Sender
from tests.integration.test_neighbours import eventually

PRINTS = """
import json
def handler(event, context):
    print("EVENT", json.dumps(event))
"""
READS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


class Fed(Sender):
    """Functions with a role of their own, fed by a queue."""

    def __init__(self, functions: Functions, name: str) -> None:
        super().__init__(functions, name)
        self.may(*READS)
        self.name = name

    def queue(self, suffix: str = "", **attributes: str) -> Queue:
        return Queue(self.server, f"{self.name}{suffix}", **attributes)

    def feed(self, name: str, queue: Queue, **more: Any) -> str:
        made = self.client.create_event_source_mapping(
            FunctionName=name, EventSourceArn=queue.arn, **more
        )
        return str(made["UUID"])

    def refusal(self, name: str, queue: str, **more: Any) -> str:
        with pytest.raises(ClientError) as caught:
            self.client.create_event_source_mapping(FunctionName=name, EventSourceArn=queue, **more)
        error = caught.value.response["Error"]
        assert error["Code"] == "InvalidParameterValueException"
        return str(error["Message"])

    def records(self, name: str) -> list[Any]:
        """What a function was given, in order."""
        try:
            events = [json.loads(each) for each in events_of(self.server, name)]
        except ClientError:
            return []  # it has not been run
        return [record for event in events for record in event["Records"]]

    def bodies(self, name: str) -> list[str]:
        return [each["body"] for each in self.records(name)]


@pytest.fixture
def fed(functions: Functions, request: pytest.FixtureRequest) -> Iterator[Fed]:
    made = Fed(functions, request.node.name.replace("_", "-").replace("[", "-").strip("]")[-60:])
    yield made
    for each in made.client.list_event_source_mappings()["EventSourceMappings"]:
        made.client.delete_event_source_mapping(UUID=each["UUID"])


def left(queue: Queue) -> int:
    """Messages a queue still has, seen or not."""
    found = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    kinds = ("", "NotVisible", "Delayed")
    return sum(int(found["Attributes"][f"ApproximateNumberOfMessages{kind}"]) for kind in kinds)


def test_a_function_gets_messages_to_the_letter_and_the_queue_is_rid_of_them(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    fed.feed(name, queue)
    sent = queue.client.send_message(
        QueueUrl=queue.url,
        MessageBody="hello",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "x"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    (record,) = eventually(lambda: fed.records(name))
    attributes = record.pop("attributes")
    assert {**record, "receiptHandle": ""} == {
        "messageId": sent["MessageId"],
        "receiptHandle": "",
        "body": "hello",
        "messageAttributes": {
            "text": {
                "stringValue": "x",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "String",
            },
            "bytes": {
                "binaryValue": "AP8=",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Binary",
            },
        },
        "md5OfMessageAttributes": sent["MD5OfMessageAttributes"],
        "md5OfBody": sent["MD5OfMessageBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": "us-east-1",
    }
    assert set(attributes) == {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert attributes["ApproximateReceiveCount"] == "1"
    assert eventually(lambda: left(queue) == 0)


def test_an_alias_is_fed_a_whole_batch_of_many_messages(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    version = fed.client.publish_version(FunctionName=name)["Version"]
    fed.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    for start in range(0, 50, 10):
        entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(start, start + 10)]
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    fed.feed(f"{name}:live", queue, BatchSize=50, MaximumBatchingWindowInSeconds=20)
    assert eventually(lambda: len(fed.bodies(name)) == 50)
    assert len(events_of(fed.server, name)) == 1
    streams = fed.server.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")
    assert f"[{version}]" in streams["logStreams"][0]["logStreamName"]
    assert eventually(lambda: left(queue) == 0)


def test_what_fails_goes_to_the_queues_dead_letters_after_its_attempts(fed: Fed) -> None:
    dead = fed.queue("-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    queue = fed.queue(VisibilityTimeout="1", RedrivePolicy=redrive)
    name = fed.create(PRINTS + "    raise ValueError\n", Timeout=1)
    fed.feed(name, queue)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="never")
    assert dead.one()["Body"] == "never"
    counts = [each["attributes"]["ApproximateReceiveCount"] for each in fed.records(name)]
    assert counts == ["1", "2"] and left(queue) == 0


def test_a_function_says_which_messages_failed_and_only_those_come_again(fed: Fed) -> None:
    queue = fed.queue(VisibilityTimeout="1")
    name = fed.create(
        PRINTS
        + "    return {'batchItemFailures': [{'itemIdentifier': each['messageId']}\n"
        + "        for each in event['Records'] if each['body'] == 'bad'\n"
        + "        and each['attributes']['ApproximateReceiveCount'] == '1']}\n",
        Timeout=1,
    )
    entries = [{"Id": each, "MessageBody": each} for each in ("good", "bad", "fine")]
    queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    fed.feed(name, queue, FunctionResponseTypes=["ReportBatchItemFailures"])
    assert eventually(lambda: len(fed.bodies(name)) == 4)
    assert fed.bodies(name) == ["good", "bad", "fine", "bad"]
    assert eventually(lambda: left(queue) == 0)


def test_the_groups_of_a_fifo_queue_keep_their_order(fed: Fed) -> None:
    queue = fed.queue(".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    name = fed.create("import random, time\n" + PRINTS + "    time.sleep(random.random() / 20)\n")
    fed.feed(name, queue, BatchSize=3)
    for number in range(30):
        queue.client.send_message(
            QueueUrl=queue.url, MessageBody=str(number), MessageGroupId=str(number % 3)
        )
    assert eventually(lambda: len(fed.bodies(name)) == 30)
    for group in range(3):
        mine = [
            int(each["body"])
            for each in fed.records(name)
            if each["attributes"]["MessageGroupId"] == str(group)
        ]
        assert mine == sorted(mine)


def test_filters_and_what_they_count(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    pattern = json.dumps({"body": {"kind": ["created"], "size": [{"numeric": [">", 5]}]}})
    uuid = fed.feed(
        name,
        queue,
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
        MetricsConfig={"Metrics": ["EventCount"]},
    )
    for body in ('{"kind": "created", "size": 9}', '{"kind": "created", "size": 1}', "text"):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body)
    assert eventually(lambda: fed.bodies(name)) == ['{"kind": "created", "size": 9}']
    assert eventually(lambda: left(queue) == 0)

    def counted(metric: str) -> float:
        return total(fed.server, metric, uuid, "EventSourceMappingUUID")

    assert eventually(lambda: counted("DeletedEventCount") == 3)
    assert (counted("PolledEventCount"), counted("FilteredOutEventCount")) == (3, 2)
    assert counted("InvokedEventCount") == 1 and counted("FailedInvokeEventCount") == 0


def test_a_throttled_function_gets_its_messages_when_it_may_run_again(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    fed.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    fed.feed(name, queue)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="patient")
    assert eventually(lambda: left(queue) == 1)
    time.sleep(0.5)
    assert fed.bodies(name) == []
    fed.client.delete_function_concurrency(FunctionName=name)
    (record,) = eventually(lambda: fed.records(name))
    # It was held, and did not go back.
    assert record["attributes"]["ApproximateReceiveCount"] == "1"


def test_a_mapping_is_switched_off_on_and_away(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    uuid = fed.feed(name, queue)
    client = fed.client
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="later")
    time.sleep(0.5)
    # Whoever hung up while he waited got nothing: the message is there for others.
    assert fed.bodies(name) == [] and left(queue) == 1
    client.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=1)
    assert eventually(lambda: fed.bodies(name)) == ["later"]
    client.delete_event_source_mapping(UUID=uuid)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="never")
    time.sleep(0.5)
    assert fed.bodies(name) == ["later"] and queue.one()["Body"] == "never"


def test_a_mapping_is_refused_where_it_could_not_work(fed: Fed) -> None:
    queue = fed.queue(VisibilityTimeout="5")
    slow, name = fed.create(PRINTS, Timeout=6), fed.create(PRINTS, Timeout=5)
    assert fed.refusal(slow, queue.arn) == (
        "Queue visibility timeout: 5 seconds is less than Function timeout: 6 seconds"
    )
    assert "does not exist" in fed.refusal(name, queue.arn + "-of-nobody")
    wrong = {"Filters": [{"Pattern": "text"}]}
    assert fed.refusal(name, queue.arn, FilterCriteria=wrong) == (
        "Invalid filter pattern definition."
    )
    fed.may("sqs:ReceiveMessage", "sqs:GetQueueAttributes")
    assert fed.refusal(name, queue.arn) == (
        "The function execution role does not have permissions to call DeleteMessage on SQS"
    )
    fed.may(*READS)
    uuid = fed.feed(name, queue)
    # A change is looked at like the first; switching off always goes.
    with pytest.raises(ClientError, match="visibility timeout"):
        fed.client.update_event_source_mapping(UUID=uuid, FunctionName=slow)
    fed.may("sqs:SendMessage")
    with pytest.raises(ClientError, match="ReceiveMessage on SQS"):
        fed.client.update_event_source_mapping(UUID=uuid, BatchSize=1)
    fed.client.update_event_source_mapping(UUID=uuid, Enabled=False)


def test_a_role_that_may_no_longer_gets_no_messages(fed: Fed) -> None:
    queue = fed.queue()
    name = fed.create(PRINTS)
    uuid = fed.feed(name, queue)
    fed.may("sqs:SendMessage")
    # Another poll begins: the one in progress was allowed.
    fed.client.tag_resource(
        Resource=f"arn:aws:lambda:{ARN}:event-source-mapping:{uuid}", Tags={"a": "b"}
    )
    queue.client.send_message(QueueUrl=queue.url, MessageBody="secret")
    time.sleep(1)
    assert fed.bodies(name) == [] and queue.one()["Body"] == "secret"


def test_messages_of_topics_and_buckets_arrive(fed: Fed) -> None:
    queue = fed.queue()
    server = fed.server
    policy = allow("sqs:SendMessage", queue.arn, Principal="*")
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})
    topic = server.client("sns").create_topic(Name=fed.name)["TopicArn"]
    server.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    bucket = "notifies-a-queue-that-feeds"
    server.client("s3").create_bucket(Bucket=bucket)
    server.client("s3").put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": queue.arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    name = fed.create(PRINTS)
    fed.feed(name, queue)
    server.client("sns").publish(TopicArn=topic, Message="from a topic")
    server.client("s3").put_object(Bucket=bucket, Key="key", Body=b"x")

    def came() -> bool:
        bodies = [json.loads(each) for each in fed.bodies(name)]
        topics = any(each.get("Message") == "from a topic" for each in bodies)
        return topics and any("Records" in each for each in bodies)

    assert eventually(came)


def test_a_queue_of_another_account_that_lets_the_role_in(fed: Fed) -> None:
    # The queue is account 1's; the function's role is account 0's.
    user = User(fed.server, fed.name)
    user.may(allow("sts:AssumeRole"))
    session = user.client("sts").assume_role(
        RoleArn="arn:aws:iam::111111111111:role/OrganizationAccountAccessRole",
        RoleSessionName="owner",
    )["Credentials"]
    sqs = user.client(
        "sqs",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    url = sqs.create_queue(QueueName="shared")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:111111111111:shared"
    name = fed.create(PRINTS)
    assert "permissions to call ReceiveMessage" in fed.refusal(name, arn)
    policy = allow(list(READS), arn, Principal={"AWS": fed.arn})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    fed.client.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)
    sqs.send_message(QueueUrl=url, MessageBody="from abroad")
    assert eventually(lambda: fed.bodies(name)) == ["from abroad"]


def test_polling_goes_on_after_a_restart(servers: Callable[..., Server]) -> None:
    first = servers()
    _prepare(first, {"app.py": PRINTS})
    queue = Queue(first, "survives")
    first.client().create_event_source_mapping(FunctionName="fed", EventSourceArn=queue.arn)
    assert first.stop() == 0
    second = servers()
    Queue(second, "survives").client.send_message(
        QueueUrl=queue.url.replace(first.endpoint, second.endpoint), MessageBody="after"
    )
    assert "after" in eventually(lambda: events_of(second, "fed"))[0]


def _prepare(server: Server, files: dict[str, str | bytes], **more: Any) -> None:
    server.client("iam").put_role_policy(
        RoleName="lambda", PolicyName="reads", PolicyDocument=allow(list(READS))
    )
    client = server.client()
    client.create_function(
        FunctionName="fed",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Timeout=1,
        Code={"ZipFile": make_zip(files)},
        **more,
    )
    client.get_waiter("function_active_v2").wait(FunctionName="fed")


KILLS = int(os.environ.get("LAMBENT_KILLS", "5"))
_WRITER = """
import os
def handler(event, context):
    file = os.open(os.environ["WHERE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for each in event["Records"]:
        os.write(file, (each["body"] + "\\n").encode())
    os.close(file)
"""


# What urllib3 leaves of a connection that is cut in the middle of an answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_message_is_run_whenever_the_server_is_killed(
    servers: Callable[..., Server], tmp_path: Path
) -> None:
    remote = start_server(tmp_path / "remote")
    dice = random.Random("queues")
    prefix = "LAMBENT_NEIGHBOURS_SQS_"
    environment = {
        prefix + "ENDPOINT": remote.endpoint,
        prefix + "ACCESS_KEY_ID": remote.key["access_key_id"],
        prefix + "SECRET_ACCESS_KEY": remote.key["secret_access_key"],
    }

    def start() -> Server:
        return servers("--isolation", "process", environment=environment)

    server = start()
    where = tmp_path / "runs"
    _prepare(server, {"app.py": _WRITER}, Environment={"Variables": {"WHERE": str(where)}})
    queue = Queue(remote, "killed", VisibilityTimeout="1")
    server.client().create_event_source_mapping(FunctionName="fed", EventSourceArn=queue.arn)
    sent: list[str] = []
    ending = threading.Event()

    def send() -> None:
        while not ending.is_set():
            body = f"m{len(sent)}"
            try:
                queue.client.send_message(QueueUrl=queue.url, MessageBody=body)
            except (BotoCoreError, ClientError):  # pragma: no cover - the remote is not killed
                continue
            sent.append(body)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(0.1 + dice.random() * 0.7)
            server.kill()
            server = start()
    finally:
        ending.set()
        thread.join()
    assert len(sent) > 20 * KILLS

    def runs() -> Counter[str]:
        return Counter(where.read_text().split())

    assert eventually(lambda: set(sent) <= set(runs()), 60)
    assert eventually(lambda: left(queue) == 0)
    print(f"{KILLS} kills, {len(sent)} messages, {sum(runs().values())} runs")
    assert remote.stop() == 0


def test_a_failing_function_says_so_in_its_metrics(fed: Fed) -> None:
    queue = fed.queue(VisibilityTimeout="3")
    name = fed.create(FAILS)
    fed.feed(name, queue)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="x")
    assert eventually(lambda: total(fed.server, "Errors", name) >= 1.0)
