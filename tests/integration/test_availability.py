"""Whatever a caller sends, the server goes on answering others."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server

ACCOUNT = "000000000000"


class Prober:
    """Asks for health again and again; worst: the longest time that took, in seconds."""

    def __init__(self, server: Server) -> None:
        self._host = urlsplit(server.endpoint).netloc
        self._stop = threading.Event()
        self.worst = 0.0
        self._thread = threading.Thread(target=self._probe, daemon=True)

    def _probe(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        while not self._stop.is_set():
            began = time.perf_counter()
            connection.request("GET", "/_lambent/health")
            assert connection.getresponse().read()
            self.worst = max(self.worst, time.perf_counter() - began)
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


# Of which 50 ms are the event loop's; the rest is for a busy machine.
MOST_SECONDS = 0.5


@pytest.fixture
def group(server: Server) -> Iterator[str]:
    """A log group with three megabytes of one letter."""
    logs = server.client("logs")
    logs.create_log_group(logGroupName="/test/long")
    logs.create_log_stream(logGroupName="/test/long", logStreamName="s")
    for _ in range(3):
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": "a" * 250_000}] * 4
        logs.put_log_events(logGroupName="/test/long", logStreamName="s", logEvents=events)
    yield "/test/long"
    logs.delete_log_group(logGroupName="/test/long")


def test_health_is_answered_while_logs_are_searched_with_any_expression(
    server: Server, group: str
) -> None:
    logs = server.client("logs")
    with Prober(server) as prober:
        for pattern in ("%" + ".*" * 12 + "x%", "%[a-z0-9]{1,250}[a-z0-9]{1,240}!%", "-a"):
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, filterPattern=pattern
            )
            assert [event for page in pages for event in page["events"]] == []
    assert prober.worst < MOST_SECONDS


def test_topics_and_queues_answer_while_a_filter_policy_meets_a_long_message(
    server: Server,
) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name="bombs")["TopicArn"]
    sqs.create_queue(QueueName="bombs")
    policy = {"a": [{"wildcard": "*a" * 10 + "b"}]}
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:bombs",
        Attributes={"FilterPolicy": json.dumps(policy)},
    )
    began = time.perf_counter()
    attribute = {"DataType": "String", "StringValue": "a" * 50_000}
    sns.publish(TopicArn=topic, Message="x", MessageAttributes={"a": attribute})
    assert sqs.list_queues(QueueNamePrefix="bombs")["QueueUrls"]
    assert time.perf_counter() - began < 5
