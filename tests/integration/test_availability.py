"""Whatever a caller sends, the server goes on answering others."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lambent.aws import sigv4
from lambent.clock import utc
from tests.conftest import ROLE, RUNTIME, Server
from tests.integration.test_hostile_requests import _ask, _signed
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


# -- memory --------------------------------------------------------------------------------------


def _resident(server: Server) -> int:
    """Bytes of memory that a server has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _offer(server: Server, headers: dict[str, str], size: int) -> socket.socket:
    """A connection that has sent the head of a CreateFunction and most of a body, and waits."""
    address = urlsplit(server.endpoint)
    assert address.hostname is not None and address.port is not None
    connection = socket.create_connection((address.hostname, address.port))
    lines = {"Host": address.netloc, **headers, "Content-Length": str(size)}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.sendall(f"POST /2015-03-31/functions HTTP/1.1\r\n{head}\r\n".encode())
    with contextlib.suppress(OSError):  # it may have been cut off by then
        connection.sendall(bytes(size - 1))
    return connection


def _signed_by(server: Server, access_key: str, declared: bool) -> dict[str, str]:
    host = urlsplit(server.endpoint).netloc
    headers = {"host": host} | ({"x-amz-content-sha256": "0" * 64} if declared else {})
    signed = sigv4.sign_headers(
        "POST",
        "/2015-03-31/functions",
        "",
        headers,
        b"",
        access_key,
        "a secret that is wrong",
        "us-east-1",
        "lambda",
        utc(time.time()),
    )
    del signed["host"]
    return signed


def test_a_large_body_of_who_has_no_key_costs_no_memory(servers: Callable[..., Server]) -> None:
    server = servers()
    known = server.key["access_key_id"]
    callers = [
        {},
        _signed_by(server, "AKIA" + "X" * 16, declared=False),
        _signed_by(server, known, declared=True),
        _signed_by(server, known, declared=False),
    ]
    server.client().list_functions()
    for headers in callers:
        before = _resident(server)
        with ThreadPoolExecutor(12) as threads:
            offers = [threads.submit(_offer, server, headers, 20_000_000) for _ in range(12)]
            connections = [each.result() for each in offers]
        grown = _resident(server) - before
        for each in connections:
            each.close()
        # A mebibyte for each, and what the process takes whatever comes.
        assert grown < (12 + 12) << 20


@pytest.mark.parametrize(
    ("service", "target", "headers", "body"),
    [
        ("lambda", "/2015-03-31/functions", {}, b'{"a":[' + b"{}," * 20_000_000 + b"{}]}"),
        ("lambda", "/2015-03-31/functions", {}, b'["' + b'","' * 20_000_000 + b'"]'),
        (
            "logs",
            "/",
            {"x-amz-target": "Logs_20140328.PutLogEvents"},
            b'{"logEvents":[' + b"{}," * 1_800_000 + b"{}]}",
        ),
        (
            "iam",
            "/",
            {"content-type": "application/x-www-form-urlencoded"},
            b"Action=ListUsers&" + b"a=b&" * 60_000,
        ),
        (
            "dynamodb",
            "/",
            {"x-amz-target": "DynamoDB_20120810.BatchGetItem"},
            b'{"RequestItems":{"t":{"Keys":[' + b"{}," * 3_500_000 + b"{}]}}}",
        ),
        ("s3", "/bucket?delete", {}, b"<Delete>" + b"<a/>" * 240_000 + b"</Delete>"),
    ],
    ids=["objects", "strings", "events", "form", "items", "xml"],
)
def test_health_is_answered_while_documents_of_many_parts_are_refused(
    server: Server, service: str, target: str, headers: dict[str, str], body: bytes
) -> None:
    signed = _signed(server, "POST", target, service, headers, body)
    with Prober(server) as prober:
        assert 400 <= _ask(server, "POST", target, signed, body) < 500
    assert prober.worst < MOST_SECONDS


# -- disk ----------------------------------------------------------------------------------------


def _archive(number: int, megabytes: int = 8) -> bytes:
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
    eventually(lambda: _used(server) - before < 20 << 20)
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
    server = servers("--account-code-megabytes", "20")
    client = server.client()
    shared = _archive(2)
    _create(client, "one", _archive(1))
    _create(client, "two", shared)
    _create(client, "same", shared)
    with pytest.raises(client.exceptions.CodeStorageExceededException):
        _create(client, "three", _archive(3))
    client.delete_function(FunctionName="one")
    _create(client, "three", _archive(3))
