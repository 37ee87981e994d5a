"""A service sent to a real endpoint: here another server, with keys of its own."""

from __future__ import annotations

import base64
import os
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambent.aws import signed_body, sigv4
from lambent.clock import utc
from tests.conftest import Functions, Server, User, fetch, make_zip, start_server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A server whose S3 and SQS are those of another, the second."""
    remote = start_server(tmp_path_factory.mktemp("remote"))
    environment = {}
    for service in ("S3", "SQS"):
        prefix = f"LAMBENT_NEIGHBOURS_{service}_"
        environment[prefix + "ENDPOINT"] = remote.endpoint
        environment[prefix + "ACCESS_KEY_ID"] = remote.key["access_key_id"]
        environment[prefix + "SECRET_ACCESS_KEY"] = remote.key["secret_access_key"]
    environment["LAMBENT_NEIGHBOURS_S3_REGION"] = "us-east-1"
    server = start_server(tmp_path_factory.mktemp("server"), environment=environment)
    yield server, remote
    assert server.stop() == 0
    assert remote.stop() == 0


def test_what_is_kept_is_kept_there(pair: tuple[Server, Server]) -> None:
    server, remote = pair
    here, there = server.client("s3"), remote.client("s3")
    here.create_bucket(Bucket="there")
    here.put_object(Bucket="there", Key="a b", Body=b"x" * 100_000, Metadata={"k": "v"})
    found = there.get_object(Bucket="there", Key="a b")
    assert (len(found["Body"].read()), found["Metadata"]) == (100_000, {"k": "v"})
    there.put_object(Bucket="there", Key="b", Body=b"back")
    assert here.get_object(Bucket="there", Key="b")["Body"].read() == b"back"
    assert [each["Key"] for each in here.list_objects_v2(Bucket="there")["Contents"]] == [
        "a b",
        "b",
    ]
    assert here.head_object(Bucket="there", Key="b")["ContentLength"] == 4
    with pytest.raises(ClientError) as missing:
        here.get_object(Bucket="there", Key="nothing")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"
    queues = server.client("sqs")
    address = queues.create_queue(QueueName="far")["QueueUrl"]
    queues.send_message(QueueUrl=address, MessageBody="hello")
    message = remote.client("sqs").receive_message(QueueUrl=address)["Messages"][0]
    assert message["Body"] == "hello"
    # Another service is still the embedded one.
    assert remote.client("sns").list_topics()["Topics"] == []
    server.client("sns").create_topic(Name="near")
    assert remote.client("sns").list_topics()["Topics"] == []


def test_an_upload_in_parts_arrives(pair: tuple[Server, Server]) -> None:
    server, remote = pair
    config = Config(request_checksum_calculation="when_required", signature_version="s3v4")
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.key["access_key_id"],
        aws_secret_access_key=server.key["secret_access_key"],
        config=config,
    )
    s3.create_bucket(Bucket="streamed")
    body = os.urandom(3 * 1024 * 1024)
    s3.upload_fileobj(_Unseekable(body), "streamed", "k")
    assert remote.client("s3").get_object(Bucket="streamed", Key="k")["Body"].read() == body


class _Unseekable:
    """A body whose length nobody knows."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    def read(self, size: int = -1) -> bytes:
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("place", ["embedded", "remote"])
def test_a_stream_of_signed_chunks_is_verified(
    pair: tuple[Server, Server], place: str, signed: bool
) -> None:
    server = pair[1] if place == "embedded" else pair[0]
    bucket = f"chunks-{place}-{signed}".lower()
    server.client("s3").create_bucket(Bucket=bucket)
    parts = [os.urandom(70_000), b"the end"]
    assert _put_chunks(server, f"/{bucket}/k", parts, signed) == 200
    found = server.client("s3").get_object(Bucket=bucket, Key="k")
    assert found["Body"].read() == b"".join(parts)
    assert "ContentEncoding" not in found
    if signed:
        assert _put_chunks(server, f"/{bucket}/forged", parts, signed, forge=b"the END") == 403
        assert _put_chunks(server, f"/{bucket}/forged", parts, signed, trailer="AAAAAA==") == 403
    assert _put_chunks(server, f"/{bucket}/cut", parts, signed, cut=True) == 400
    listed = server.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in listed] == ["k"]


def _put_chunks(
    server: Server,
    path: str,
    parts: list[bytes],
    signed: bool,
    forge: bytes = b"",
    trailer: str = "",
    cut: bool = False,
) -> int:
    """PUT an object in aws-chunked framing, as Java's and JavaScript's SDKs do; the status."""
    payload = signed_body.SIGNED_STREAM_TRAILER if signed else signed_body.UNSIGNED_STREAM_TRAILER
    keys = (server.key["access_key_id"], server.key["secret_access_key"])
    now = utc(time.time())
    headers = sigv4.sign_headers(
        "PUT",
        path,
        "",
        {
            "host": server.endpoint.partition("//")[2],
            "content-encoding": "aws-chunked",
            "x-amz-content-sha256": payload,
            "x-amz-decoded-content-length": str(sum(map(len, parts))),
            "x-amz-trailer": "x-amz-checksum-crc32",
        },
        b"",
        *keys,
        "us-east-1",
        "s3",
        now,
        payload=payload,
    )
    stamp = headers["x-amz-date"]
    scope = sigv4.scope_of(keys[0], stamp[:8], "us-east-1", "s3")
    key = sigv4.SigningKey(keys[1], scope)
    previous = headers["authorization"].rpartition("Signature=")[2]
    body = b""
    for part in [*parts, b""]:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope.text}\n{previous}\n"
        previous = key.sign(f"{text}{sigv4.EMPTY_SHA256}\n{sigv4.sha256(part)}")
        sent = forge if forge and len(forge) == len(part) else part
        mark = f";chunk-signature={previous}" if signed else ""
        body += b"%x%b\r\n" % (len(part), mark.encode()) + (sent + b"\r\n" if part else b"")
    checksum = base64.b64encode(zlib.crc32(b"".join(parts)).to_bytes(4, "big")).decode()
    line = f"x-amz-checksum-crc32:{checksum}\n"
    text = f"AWS4-HMAC-SHA256-TRAILER\n{stamp}\n{scope.text}\n{previous}\n"
    mark = key.sign(text + sigv4.sha256(line.encode()))
    body += (f"x-amz-checksum-crc32:{trailer}" if trailer else line.strip()).encode() + b"\r\n"
    body += f"x-amz-trailer-signature:{mark}\r\n\r\n".encode() if signed else b"\r\n"
    body = body[: len(body) // 2] if cut else body
    request = urllib.request.Request(
        server.endpoint + path, data=body, method="PUT", headers=headers
    )
    return fetch(request)[0]


def test_who_may_what_is_decided_here(pair: tuple[Server, Server]) -> None:
    server, _ = pair
    server.client("s3").create_bucket(Bucket="guarded")
    theirs = User(server, "nobody").client("s3")
    with pytest.raises(ClientError) as refused:
        theirs.list_objects_v2(Bucket="guarded")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_code_comes_from_there(pair: tuple[Server, Server]) -> None:
    server, remote = pair
    remote.client("s3").create_bucket(Bucket="code-there")
    archive = make_zip({"app.py": "def handler(event, context):\n    return event\n"})
    remote.client("s3").put_object(Bucket="code-there", Key="app.zip", Body=archive)
    functions = Functions(server, "far-code")
    name = functions.create("", Code={"S3Bucket": "code-there", "S3Key": "app.zip"})
    assert functions.invoke(name, 7).payload == 7
    functions.remove()


def test_an_endpoint_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    environment = {"LAMBENT_NEIGHBOURS_S3_ENDPOINT": "http://127.0.0.1:9"}
    server = start_server(tmp_path / "data", environment=environment)
    with pytest.raises(ClientError) as refused:
        server.client("s3").list_buckets()
    answer: dict[str, Any] = refused.value.response
    assert answer["Error"]["Code"] == "ServiceUnavailable"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert server.stop() == 0
