"""Bytes that are hardly HTTP, at the public port: each is answered, none harms others."""

from __future__ import annotations

import contextlib
import re
import socket
from random import Random
from urllib.parse import urlsplit

from tests.conftest import Server
from tests.fuzz import kit
from tests.fuzz.kit import Cases

_HEALTH = b"GET /_lambent/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_SECONDS = 20.0
# A head or a body that never ends is waited for longer than this.
_QUIET_SECONDS = 0.2
_TARGETS = (
    b"/", b"/_lambent/health", b"/metrics", b"/2015-03-31/functions/f/invocations", b"/bucket/key",
    b"/_lambent/urls/x/", b"/_lambent/code/" + b"0" * 64, b"/_lambent/stacks/x", b"*", b"//a",
    b"http://x/_lambent/health", b"/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0",
    b"/b/k?AWSAccessKeyId=A&Signature=B&Expires=" + b"9" * 5_000,
    b"/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20251124/us-east-1/s3/aws4_request"
    b"&X-Amz-Date=20251124T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires="
    + b"9" * 5_000,
)  # fmt: skip
# What may be said with each, most of it as clients do.
_HEADERS: dict[bytes, tuple[bytes, ...]] = {
    b"Content-Type": (b"application/json", b"application/x-www-form-urlencoded", b"text/xml", b""),
    b"X-Amz-Target": (b"DynamoDB_20120810.GetItem", b"A.B", b""),
    b"X-Amz-Date": (b"20251124T000000Z", b"now"),
    b"Authorization": (
        b"AWS4-HMAC-SHA256 Credential=A/20251124/us-east-1/sqs/aws4_request, SignedHeaders=host, "
        b"Signature=0",
        b"AWS4-HMAC-SHA256 Credential=A/20251124/us-east-1/iam/aws4_request, SignedHeaders=host, "
        b"Signature=\xff",
        b"Basic QTpC",
        b"AWS A:B",
        b"",
    ),
    b"X-Amz-Security-Token": (b"AAAA", b"e30=" * 40, b"\xe9"),
    b"X-Amz-Content-Sha256": (
        b"UNSIGNED-PAYLOAD",
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        b"0" * 64,
    ),
    b"X-Lambent-Account": (b"000000000000",),
    b"Host": (b"x.lambda-url.us-east-1.localhost", b"b.s3.localhost", b"[::1]", b"127.0.0.1"),
    b"Cookie": (b"a=b; c", b"a" * 9_000),
    b"Origin": (b"null",),
    b"Expect": (b"100-continue", b"other"),
    b"Connection": (b"keep-alive", b"close", b"Upgrade"),
    b"Upgrade": (b"h2c",),
    b"TE": (b"trailers",),
}


def _request(dice: Random) -> bytes:
    method = dice.choice((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE"))
    version = b"HTTP/1.1" if dice.random() < 0.9 else dice.choice((b"HTTP/1.0", b"HTTP/2.0"))
    lines = [b" ".join((method, dice.choice(_TARGETS), version)), b"Host: x"]
    for _ in range(dice.choice((0, 1, 2, 3, 4))):
        name = dice.choice(list(_HEADERS))
        lines.append(name + b": " + dice.choice(_HEADERS[name]))
    body = dice.choice((b"", b"", b"hello", b"Action=ListUsers&Version=2010-05-08", b"{}"))
    if body and dice.random() < 0.3:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _answers(server: Server, data: bytes, seconds: float = _SECONDS) -> bytes:
    """All that comes back until the server hangs up, or says nothing for so long."""
    found = urlsplit(server.endpoint)
    place = (found.hostname or "", found.port or 0)
    with socket.create_connection(place, seconds) as connection:
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while piece := connection.recv(65_536):
                answer += piece
    return answer


def test_no_bytes_are_answered_with_a_failure(server: Server, cases: Cases) -> None:
    answered = 0
    for dice in cases(2_000):
        data = b"".join(_request(dice) for _ in range(dice.choice((1, 1, 1, 2))))
        if dice.random() < 0.4:
            data = kit.octets(dice, data)
        answer = _answers(server, data + _HEALTH, _QUIET_SECONDS)
        answered += bool(answer)
        statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        assert all(each < 500 or each in (501, 505) for each in statuses), (data, answer)
        assert not answer or answer.startswith(b"HTTP/1.1 "), (data, answer)
        if cases.number % 20 == 0:
            assert _answers(server, _HEALTH).startswith(b"HTTP/1.1 200 OK"), data
    assert answered > cases.number // 2


def test_a_head_that_is_read_says_once_what_it_says(server: Server, cases: Cases) -> None:
    """A length that is not plain, or there twice, is no length: nothing is smuggled behind it."""
    for dice in cases(400):
        inner = _HEALTH[: dice.randrange(1, len(_HEALTH))]
        lengths = dice.sample((b"0", b"%d" % len(inner), b"+1", b"0x1", b"1,1", b" 1", b"-1"), 2)
        names = dice.choices((b"Content-Length", b"content-length", b"Content-Length "), k=2)
        lines = [b"POST / HTTP/1.1", b"Host: x", names[0] + b": " + lengths[0]]
        lines.append(names[1] + b": " + lengths[1])
        if dice.random() < 0.5:
            coding = dice.choice((b"chunked", b"xchunked", b"chunked, identity", b"\x0bchunked"))
            lines.append(dice.choice((b"Transfer-Encoding: ", b"Transfer-Encoding:")) + coding)
        data = b"\r\n".join(lines) + b"\r\n\r\n" + inner + _HEALTH
        assert _answers(server, data).startswith(b"HTTP/1.1 400"), data
