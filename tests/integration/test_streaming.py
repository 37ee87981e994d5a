"""Responses that come piece by piece: by the API and by URL, from Python and from Node.js."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EventStreamError
from urllib3.exceptions import ProtocolError

from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip
from tests.integration.test_urls import Urls

SLOW = """
import time

def handler(event, context):
    print("begins")
    yield "first"
    time.sleep(event.get("wait", 0.4))
    yield b"second"
"""
BREAKS = """
def handler(event, context):
    yield "a bit"
    raise ValueError("in the middle")
"""
NODE = """
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.setContentType('text/plain');
  stream.write('first');
  await new Promise((done) => setTimeout(done, 400));
  stream.end('second');
});
exports.http = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, {
    statusCode: 201, headers: { 'X-Own': 'yes' }, cookies: ['a=1'],
  });
  stream.write('body');
  stream.end();
});
"""
HTTP = """
def handler(event, context):
    yield {"statusCode": 202, "headers": {"Content-Type": "text/csv"}, "cookies": ["c=2"]}
    yield "a,b"
"""
LARGE = """
def handler(event, context):
    piece = b"x" * 1048576
    for _ in range(event["megabytes"]):
        yield piece
"""


def streamed(functions: Functions, name: str, event: Any = None, **more: Any) -> list[Any]:
    """The events of a streamed invocation, with the time each took to come."""
    began = time.monotonic()
    answer = functions.client.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps(event or {}), **more
    )
    with contextlib.closing(answer["EventStream"]) as events:
        return [(time.monotonic() - began, each) for each in events]


def payload(events: list[Any]) -> bytes:
    return b"".join(e["PayloadChunk"]["Payload"] for _, e in events if "PayloadChunk" in e)


def test_pieces_come_when_the_function_yields_them(functions: Functions) -> None:
    name = functions.create(SLOW)
    streamed(functions, name, {"wait": 0})
    (first, piece), *rest, (_, end) = streamed(functions, name, LogType="Tail")
    assert piece == {"PayloadChunk": {"Payload": b"first"}}
    assert payload(rest) == b"second" and rest[-1][0] - first > 0.3
    complete = end["InvokeComplete"]
    assert "ErrorCode" not in complete and complete["LogResult"]


def test_an_error_in_the_middle_is_told_at_the_end(functions: Functions) -> None:
    name = functions.create(BREAKS)
    events = streamed(functions, name)
    assert payload(events) == b"a bit"
    complete = events[-1][1]["InvokeComplete"]
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorMessage"], details["errorType"]) == ("in the middle", "ValueError")
    # The environment lives on.
    assert payload(streamed(functions, name)) == b"a bit"


def test_a_timeout_in_the_middle_is_told_too(functions: Functions) -> None:
    name = functions.create(SLOW, Timeout=1)
    events = streamed(functions, name, {"wait": 5})
    assert payload(events) == b"first"
    assert "timed out" in events[-1][1]["InvokeComplete"]["ErrorDetails"]
    assert payload(streamed(functions, name, {"wait": 0})) == b"firstsecond"


def test_a_function_that_does_not_stream_answers_in_one_piece(functions: Functions) -> None:
    name = functions.create(
        "def handler(e, c):\n    if e: raise KeyError('x')\n    return {'a': 1}\n"
    )
    events = streamed(functions, name)
    assert payload(events) == b'{"a": 1}' and "InvokeComplete" in events[-1][1]
    complete = streamed(functions, name, {"fail": 1})[-1][1]["InvokeComplete"]
    assert json.loads(complete["ErrorDetails"])["errorType"] == "KeyError"


def test_what_cannot_be_invoked_is_an_error_and_no_stream(functions: Functions) -> None:
    name = functions.create(SLOW)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as refused:
        streamed(functions, name)
    assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
    dry = functions.client.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")
    assert dry["StatusCode"] == 204
    dry["EventStream"].close()


def test_a_streaming_function_can_be_invoked_plainly(functions: Functions) -> None:
    name = functions.create(SLOW)
    answer = functions.client.invoke(FunctionName=name, Payload=b'{"wait": 0}')
    assert answer["Payload"].read() == b"firstsecond"


def test_a_generator_may_yield_text_and_bytes_only(functions: Functions) -> None:
    name = functions.create("def handler(e, c):\n    yield 'a'\n    yield 3\n")
    events = streamed(functions, name)
    details = json.loads(events[-1][1]["InvokeComplete"]["ErrorDetails"])
    assert details["errorType"] == "Runtime.MarshalError"
    broken = functions.create("def handler(e, c):\n    raise ValueError('at once')\n    yield 1\n")
    answer = functions.invoke(broken)
    assert (answer.error, answer.payload["errorMessage"]) == ("Unhandled", "at once")


@pytest.fixture
def node(functions: Functions) -> Callable[[str], str]:
    runtimes = ("nodejs24.x", "nodejs22.x", "nodejs20.x", "nodejs18.x")

    def create(handler: str) -> str:
        for runtime in runtimes:
            try:
                return functions.create({"app.js": NODE}, Runtime=runtime, Handler=handler)
            except ClientError:
                continue
        raise AssertionError("no Node.js")

    return create


def test_node_streams_as_it_writes(functions: Functions, node: Callable[[str], str]) -> None:
    name = node("app.handler")
    streamed(functions, name)
    (first, piece), *rest, _ = streamed(functions, name)
    assert piece == {"PayloadChunk": {"Payload": b"first"}}
    assert payload(rest) == b"second" and rest[-1][0] - first > 0.3


# -- by URL -------------------------------------------------------------------------------------


@pytest.fixture
def urls(functions: Functions) -> Iterator[Urls]:
    yield Urls(functions)


def fetched(server: Server, url: str, method: str = "GET") -> tuple[Any, list[tuple[float, bytes]]]:
    """An answer's head, and its pieces with the time each took to come."""
    parts, address = urlsplit(url), urlsplit(server.endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request(method, "/", headers={"host": parts.netloc})
    answer = connection.getresponse()
    began, pieces = time.monotonic(), []
    try:
        while piece := answer.read1(65536):
            pieces.append((time.monotonic() - began, piece))
    finally:
        connection.close()
    return answer, pieces


def test_a_url_streams(urls: Urls) -> None:
    _, url = urls.create(SLOW, InvokeMode="RESPONSE_STREAM")
    answer, pieces = fetched(urls.server, url)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert [piece for _, piece in pieces] == [b"first", b"second"]
    assert pieces[1][0] - pieces[0][0] > 0.3
    assert fetched(urls.server, url, "HEAD")[1] == []


@pytest.mark.parametrize("language", ["python", "node"])
def test_status_and_headers_come_before_the_body(
    urls: Urls, node: Callable[[str], str], language: str
) -> None:
    name = urls.functions.create(HTTP) if language == "python" else node("app.http")
    url = urls.open(name, InvokeMode="RESPONSE_STREAM")
    answer, pieces = fetched(urls.server, url)
    body = b"".join(piece for _, piece in pieces)
    told = (answer.status, answer.headers["set-cookie"], body)
    if language == "python":
        assert told == (202, "c=2", b"a,b") and answer.headers["content-type"] == "text/csv"
    else:
        assert told == (201, "a=1", b"body") and answer.headers["x-own"] == "yes"


def test_an_error_in_the_middle_breaks_the_connection_of_a_url(urls: Urls) -> None:
    _, url = urls.create(BREAKS, InvokeMode="RESPONSE_STREAM")
    with pytest.raises(http.client.IncompleteRead):
        parts, address = urlsplit(url), urlsplit(urls.server.endpoint)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request("GET", "/", headers={"host": parts.netloc})
            connection.getresponse().read()
        finally:
            connection.close()


# -- limits -------------------------------------------------------------------------------------


def resident(server: Server) -> float:
    """Memory of the server's process, in MB."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def test_a_large_response_goes_through_a_small_server(servers: Callable[..., Server]) -> None:
    server = servers("--stream-rate-bytes", "0")
    functions = Functions(server, "large")
    name = functions.create(LARGE, Timeout=60, MemorySize=512)
    streamed(functions, name, {"megabytes": 1})
    before, most, size = resident(server), 0.0, 0
    answer = functions.client.invoke_with_response_stream(
        FunctionName=name, Payload=b'{"megabytes": 200}'
    )
    last: Any = {}
    for number, each in enumerate(answer["EventStream"]):
        size += len(each.get("PayloadChunk", {}).get("Payload", b""))
        last = each
        if number % 50 == 0:
            most = max(most, resident(server))
    answer["EventStream"].close()
    assert size == 200 * 1024 * 1024 and "ErrorCode" not in last["InvokeComplete"]
    assert most - before < 20
    # A byte more is too much.
    events = streamed(functions, name, {"megabytes": 201})
    details = json.loads(events[-1][1]["InvokeComplete"]["ErrorDetails"])
    assert details["errorType"] == "Function.ResponseSizeTooLarge"
    assert payload(streamed(functions, name, {"megabytes": 1})) == b"x" * 1024 * 1024


def test_a_client_that_does_not_read_holds_the_function_back(
    servers: Callable[..., Server],
) -> None:
    code = """
import time

def handler(event, context):
    for number in range(400):
        print("EVENT", number)
        yield b"x" * 262144
"""
    server = servers("--stream-rate-bytes", "0")
    functions = Functions(server, "held")
    name = functions.create(code, Timeout=60)
    url = Urls(functions).open(name, InvokeMode="RESPONSE_STREAM")
    parts, address = urlsplit(url), urlsplit(server.endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("GET", "/", headers={"host": parts.netloc})
    answer = connection.getresponse()
    logs = server.client("logs")

    def written() -> int:
        found = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{name}", filterPattern="EVENT"
        )
        return sum(len(page["events"]) for page in found)

    time.sleep(1.0)
    held = written()
    assert 0 < held < 200
    time.sleep(0.5)
    assert written() == held
    # It goes on when the client does, and also when he goes.
    answer.read(1024)
    connection.close()
    deadline = time.monotonic() + 20
    while written() < 400:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_rate_after_the_burst_is_kept(servers: Callable[..., Server]) -> None:
    server = servers("--stream-burst-bytes", "1048576", "--stream-rate-bytes", "4194304")
    functions = Functions(server, "rate")
    name = functions.create(LARGE, Timeout=60)
    streamed(functions, name, {"megabytes": 1})
    events = streamed(functions, name, {"megabytes": 5})
    assert len(payload(events)) == 5 * 1024 * 1024
    assert 0.9 < events[-1][0] < 3.0


def test_a_server_that_stops_does_not_wait_for_a_stream(
    servers: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    server = servers("--drain-seconds", "0.2")
    client = server.client()
    client.create_function(
        FunctionName="endless",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Code={
            "ZipFile": make_zip({"app.py": "def handler(e, c):\n    while True: yield 'x' * 999\n"})
        },
    )
    client.get_waiter("function_active_v2").wait(FunctionName="endless")
    answer = client.invoke_with_response_stream(FunctionName="endless")
    stream = iter(answer["EventStream"])
    assert "PayloadChunk" in next(stream)
    assert server.stop() == 0
    assert "ERROR" not in capfd.readouterr().err
    with pytest.raises((EventStreamError, ProtocolError)):
        for _ in stream:
            pass
    answer["EventStream"].close()
