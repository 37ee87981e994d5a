"""Function URLs against Invoke, and what streaming adds to a function's own time."""

from __future__ import annotations

import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Server, make_zip, start_server

ROUNDS = 5
BODY = b'{"hello": "world", "numbers": [1, 2, 3]}'
ANSWER = "def handler(event, context):\n    return {'statusCode': 200, 'body': event['body']}\n"
# Says when its first byte was written.
FIRST = (
    "import time\n"
    "def handler(event, context):\n"
    "    yield '%.6f' % time.time()\n"
    "    time.sleep(0.02)\n"
    "    yield 'end'\n"
)
LARGE = (
    "def handler(event, context):\n"
    "    piece = b'x' * 1048576\n"
    "    for _ in range(200):\n"
    "        yield piece\n"
)


def _open(client: Any, name: str, **more: Any) -> str:
    """A URL that everybody may ask."""
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE", **more)
    for action, condition in (
        ("lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}),
        ("lambda:InvokeFunction", {"InvokedViaFunctionUrl": True}),
    ):
        client.add_permission(
            FunctionName=name, StatementId=action[7:], Action=action, Principal="*", **condition
        )
    return str(urlsplit(url["FunctionUrl"]).netloc)


def _request(host: str) -> bytes:
    head = f"POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)


def _first_bytes(server: Server, host: str, count: int) -> list[float]:
    """Seconds from when the function wrote its first byte until it was here."""
    address = urlsplit(server.endpoint)
    found = []
    with socket.create_connection((address.hostname, address.port)) as connection:
        for _ in range(count):
            connection.sendall(_request(host))
            buffer = b""
            while b"\r\n\r\n" not in buffer or not buffer.partition(b"\r\n\r\n")[2]:
                buffer += connection.recv(65536)
            here = time.time()
            chunk = buffer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1]
            found.append(here - float(chunk))
            while not buffer.endswith(b"0\r\n\r\n"):
                buffer += connection.recv(65536)
    return found


def _resident(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def run(table: Any, create: Any, load: Any, signed: Any) -> None:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--stream-rate-bytes", "0")
        client = server.client()
        port = int(urlsplit(server.endpoint).port or 0)
        create(client, "echo")
        create(client, "answer", make_zip({"app.py": ANSWER}))
        host = _open(client, "answer")
        for request in (signed(server, "echo"), _request(host)):
            load(port, 1, 1.0, request)
        ratios = []
        for _ in range(ROUNDS):
            plain = load(port, 1, 1.0, signed(server, "echo"))["p50"]
            ours = load(port, 1, 1.0, _request(host))["p50"]
            ratios.append(ours / plain)
        print(f"     p50 {ours * 1e6:.0f} us against {plain * 1e6:.0f} us")
        table.add("function URL, p50 / Invoke's", statistics.median(ratios), 1.3, True)

        create(client, "first", make_zip({"app.py": FIRST}))
        streaming = _open(client, "first", InvokeMode="RESPONSE_STREAM")
        _first_bytes(server, streaming, 5)
        delays = _first_bytes(server, streaming, 100)
        table.add(
            "streamed first byte, after the function's, p50",
            statistics.median(delays) * 1000, 2.0, True, " ms",
        )  # fmt: skip

        create(client, "large", make_zip({"app.py": LARGE}), Timeout=60)
        pid = server.process.pid
        before, most, size = _resident(pid), 0.0, 0
        began = time.perf_counter()
        answer = client.invoke_with_response_stream(FunctionName="large", Payload=json.dumps({}))
        for number, each in enumerate(answer["EventStream"]):
            size += len(each.get("PayloadChunk", {}).get("Payload", b""))
            if number % 50 == 0:
                most = max(most, _resident(pid))
        took = time.perf_counter() - began
        assert size == 200 * 1024 * 1024
        print(f"     200 MB in {took:.2f} s")
        table.add("200 MB streamed, growth of the server", most - before, 20, True, " MB")
        server.stop()
