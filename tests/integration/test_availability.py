"""Whatever a caller sends, the server goes on answering others."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROLE, RUNTIME, Server
from tests.integration.test_neighbours import eventually

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


# -- disk ----------------------------------------------------------------------------------------


def _archive(number: int, megabytes: int = 20) -> bytes:
    """One that is small, and unpacks to much."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        code = zipfile.ZipInfo("app.py")
        code.external_attr = 0o644 << 16
        archive.writestr(code, f"def handler(event, context):\n    return {number}\n")
        archive.writestr("zeros", bytes(megabytes << 20))
    return buffer.getvalue()


def _used(server: Server) -> int:
    """Bytes of code, unpacked and not."""
    roots = (server.data / "code", server.data / "blobs")
    return sum(path.stat().st_size for root in roots for path in root.rglob("*") if path.is_file())


def _create(client: Any, name: str, archive: bytes) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": archive},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def test_code_that_is_replaced_deleted_or_only_tried_leaves_the_disk(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    client = server.client()
    before = _used(server)
    _create(client, "fill", _archive(0))
    for number in range(1, 4):
        client.update_function_code(
            FunctionName="fill", ZipFile=_archive(number), DryRun=number == 3
        )
        client.get_waiter("function_updated_v2").wait(FunctionName="fill")
    assert client.invoke(FunctionName="fill")["Payload"].read() == b"2"
    layer = client.publish_layer_version(LayerName="fill", Content={"ZipFile": _archive(9)})
    eventually(lambda: _used(server) - before < 45 << 20)
    assert client.invoke(FunctionName="fill")["Payload"].read() == b"2"
    client.delete_function(FunctionName="fill")
    client.delete_layer_version(LayerName="fill", VersionNumber=layer["Version"])
    eventually(lambda: _used(server) - before < 1 << 20)
    # What is there is what is named, also for the next server.
    _create(client, "kept", _archive(5, 1))
    server.kill()
    server = servers()
    assert server.client().invoke(FunctionName="kept")["Payload"].read() == b"5"


def test_an_account_has_so_much_disk_for_its_code(servers: Callable[..., Server]) -> None:
    server = servers("--account-code-megabytes", "50")
    client = server.client()
    shared = _archive(2)
    _create(client, "one", _archive(1))
    _create(client, "two", shared)
    _create(client, "same", shared)
    with pytest.raises(client.exceptions.CodeStorageExceededException):
        _create(client, "three", _archive(3))
    client.delete_function(FunctionName="one")
    _create(client, "three", _archive(3))
