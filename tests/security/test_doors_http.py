"""HTTP at the public port has one reading: of heads, of lengths, of what comes behind."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /_lambent/health HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (GET * 1 + CLOSE + b"\r\n", [200]),
        ((GET + b"\r\n") * 2 + GET + CLOSE + b"\r\n", [200, 200, 200]),
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + GET + b"\r\n", [400]),
        (POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nGET /", [400]),
        (POST + b"Content-Length: 0, 5\r\n\r\nGET /", [400]),
        (POST + b"Content-Length: +5\r\n\r\nabcde", [400]),
        (POST + b"Content-Length: -1\r\n\r\n", [400]),
        (POST + b"Content-Length: 0x5\r\n\r\nabcde", [400]),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", [400]),
        (POST + "Content-Length: \u0665\r\n\r\n".encode(), [400]),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", [400]),
        (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"\r\n10000000000000001\r\na\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"\r\n1\na\n0\n\n", [400]),
        (CHUNKED + b"\r\n1;a\rGET / HTTP/1.1\r\na\r\n0\r\n\r\n", [400]),
        (b"GET /_lambent/health HTTP/1.1\nHost: x\n\n", [400]),
        (GET + b"X: a\rb\r\n\r\n", [400]),
        (GET + b"X: a\0b\r\n\r\n", [400]),
        (b"GET /_lambent\0/health HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
        (GET + b"X y: a\r\n\r\n", [400]),
        (GET + b": a\r\n\r\n", [400]),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
        (GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", [431]),
        (GET + b"".join(b"X%d: a\r\n" % each for each in range(200)) + b"\r\n", [431]),
    ],
    ids=lambda each: repr(each[-30:])[:40] if isinstance(each, bytes) else None,
)
def test_one_reading_of_heads_and_lengths(server: Server, data: bytes, statuses: list[int]) -> None:
    found = urlsplit(server.endpoint)
    with socket.create_connection((found.hostname or "", found.port or 0), 30) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionResetError:
            pass
    assert [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", answer)] == statuses
