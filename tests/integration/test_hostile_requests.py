"""Requests that no SDK would send: each is answered, none with a 500, and nobody is harmed."""

from __future__ import annotations

import http.client
import json
import random
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from lambent.aws import sigv4
from lambent.clock import utc
from tests.conftest import Functions, Server
from tests.integration.test_urls import Urls

SERVICES = ["s3", "dynamodb", "sqs", "sns", "events", "scheduler", "kinesis", "kms", "ssm"]
SERVICES += ["secretsmanager", "cloudformation", "iam", "sts", "lambda", "logs", "monitoring"]
TARGETS = [
    "DynamoDB_20120810.GetItem",
    "DynamoDB_20120810.BatchWriteItem",
    "AmazonSQS.SendMessage",
    "AWSEvents.PutEvents",
    "Kinesis_20131202.PutRecord",
    "TrentService.Decrypt",
    "AmazonSSM.GetParameters",
    "secretsmanager.GetSecretValue",
    "DynamoDBStreams_20120810.GetRecords",
    "Logs_20140328.PutLogEvents",
    "nothing",
    "A.B.C",
    "",
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b'"\\ud800"',
    b"\xff\xfe",
    b"[" * 100_000,
    b"Action=ListTopics",
    b"Action=CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%22Statement%22%3A%5B%5B%5D%5D%7D",
    b"Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument=%5B%5D",
    b"Action=" + b"A" * 5000,
    b"&".join(b"a=b" for _ in range(20_000)),
    b"<Delete>",
    b"<?xml version='1.0'?><a>&b;</a>",
    json.dumps({"TableName": {"S": 1}, "RequestItems": {"t": [1]}, "QueueUrl": 7}).encode(),
    json.dumps({"Entries": [[]], "Names": [{}], "KeyId": [], "SecretId": {}}).encode(),
]
PATHS = [
    "/",
    "//",
    "/a",
    "/bucket/key",
    "/%00",
    "/%ff",
    "/..",
    "/bucket?acl&policy",
    "/bucket/k?uploadId",
    "/bucket?delete",
    "/schedules/x",
    "/2015-03-31/functions/%2e%2e/invocations",
    "/?Action=Publish",
    "/_lambent/health",
    "/_ministack/reset",
    "/_localstack/health",
    "/bucket/" + "k" * 2000,
    "/v20180820/bucket",
    "/000000000000/q?Action=DeleteQueue",
    "/?" + "&".join("a=b" for _ in range(900)),
]
METHODS = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"]


def _ask(server: Server, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
    host = server.endpoint.partition("//")[2]
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"host": host, **headers, "content-length": str(len(body))}.items():
            connection.putheader(name, value.encode("latin-1", "replace"))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _signed(
    server: Server, method: str, target: str, service: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    path, _, query = target.partition("?")
    host = server.endpoint.partition("//")[2]
    return sigv4.sign_headers(
        method,
        path,
        query,
        {"host": host, "x-amz-content-sha256": sigv4.sha256(body), **headers},
        body,
        server.key["access_key_id"],
        server.key["secret_access_key"],
        "us-east-1",
        service,
        utc(time.time()),
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_signed_request_of_any_shape_is_answered(server: Server, service: str) -> None:
    dice = random.Random(f"shape {service}")
    for _ in range(60):
        method, target = dice.choice(METHODS), dice.choice(PATHS)
        headers: dict[str, Any] = {}
        if dice.random() < 0.8:
            headers["x-amz-target"] = dice.choice(TARGETS)
        headers["content-type"] = dice.choice(
            ["application/x-amz-json-1.0", "application/x-www-form-urlencoded", "text/x", ""]
        )
        body = dice.choice(BODIES)
        headers = _signed(server, method, target, service, headers, body)
        status = _ask(server, method, target, headers, body)
        # 501: what is not offered; the embedded services may find 503 themselves.
        assert status < 500 or status == 501, (method, target, headers, body[:80])


def test_a_signature_of_any_shape_is_answered(server: Server) -> None:
    dice = random.Random("signature")
    parts = [
        "AWS4-HMAC-SHA256 ", "Credential=", server.key["access_key_id"], "/20261125/us-east-1/s3/",
        "aws4_request", ", SignedHeaders=host;x-amz-date", ", Signature=", "0" * 64, "\xff", "AWS ",
        "/", "=", ";", " ", "us-east-1", "iam",
    ]  # fmt: skip
    for _ in range(200):
        text = "".join(dice.choices(parts, k=dice.randint(1, 9))).strip()
        headers = {"authorization": text}
        if dice.random() < 0.7:
            headers["x-amz-date"] = dice.choice(["20261125T000000Z", "now", "", "\xe9"])
        if dice.random() < 0.5:
            headers["x-amz-security-token"] = dice.choice(["", "AAAA", "e30=" * 40, "\xe9"])
        status = _ask(server, "PUT", dice.choice(PATHS), headers, b"x")
        assert status in (200, 400, 403, 404), (headers, status)


def test_the_neighbours_are_alive_after_all_that(server: Server) -> None:
    server.client("s3").list_buckets()
    assert server.client("sqs").create_queue(QueueName="alive")["QueueUrl"]


def test_a_function_url_survives_whatever_it_is_asked(functions: Functions) -> None:
    """What reaches the function is an event, whatever was sent."""
    urls = Urls(functions)
    _, url = urls.create("def handler(event, context):\n    return event['rawPath']\n")
    _, signed = urls.create("def handler(event, context): pass", AuthType="AWS_IAM")
    dice = random.Random("urls")
    values = ["", "a", "a=b; c", "\xff\xfe", "x" * 3000, "%00", "{}", ",", ";", "=", "\t"]
    names = ["cookie", "content-type", "origin", "user-agent", "x-forwarded-for", "authorization"]
    names += ["x-amzn-trace-id", "x-amz-date", "access-control-request-method", "accept", "x-a"]
    queries = ["", "?", "?a", "?a=%ff&b", "?=&&=", "?" + "a=b&" * 900, "?X-Amz-Signature=1"]
    queries += ["?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/e", "?a=%zz"]
    for _ in range(300):
        host = urlsplit(dice.choice((url, signed))).netloc
        headers = {dice.choice(names): dice.choice(values) for _ in range(dice.randrange(4))}
        method, path = dice.choice(METHODS), dice.choice(PATHS).partition("?")[0]
        body = dice.choice(BODIES)
        status = _ask(
            functions.server, method, path + dice.choice(queries), {**headers, "host": host}, body
        )
        expected = (200,) if host in url else (400, 403)
        assert status in expected, (method, path, headers, status)
    for host in ("a" * 32 + ".lambda-url.us-east-1.x", ".lambda-url.", "x.lambda-url.r.h"):
        assert _ask(functions.server, "GET", "/", {"host": host}, b"") == 403
    for path in ("/_lambent/urls/", "/_lambent/urls/../x", "/_lambent/urls/" + "a" * 33 + "/"):
        assert _ask(functions.server, "GET", path, {}, b"") == 403
