"""Function URLs by real HTTP: who may, what the function sees, what the client gets."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import Functions, Server, User, allow, total

ECHO = "def handler(event, context):\n    return event\n"
# Answers what it is told to.
PARROT = "import json\ndef handler(event, context):\n    return json.loads(event['body'])\n"


@dataclass
class Got:
    """An answer: status, headers (lower-case; those that come again joined), body."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: Server,
    url: str,
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Got:
    """Ask a function URL; its name need not be known to anybody but the server."""
    parts, address = urlsplit(url), urlsplit(server.endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    target = parts.path.rstrip("/") + path
    connection.request(method, target, body, {"host": parts.netloc, **(headers or {})})
    answer = connection.getresponse()
    got = Got(
        answer.status,
        {name.lower(): value for name, value in answer.getheaders()},
        answer.headers.get_all("set-cookie") or [],
        answer.read(),
    )
    connection.close()
    return got


class Urls:
    """Functions with URLs."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.server = functions.server
        self.client = functions.client

    def create(self, code: str, **config: Any) -> tuple[str, str]:
        """A function that everybody may ask, and its URL."""
        name = self.functions.create(code)
        return name, self.open(name, **config)

    def open(self, name: str, public: bool = True, **config: Any) -> str:
        parameters = {"FunctionName": name, "AuthType": "NONE", **config}
        url = self.client.create_function_url_config(**parameters)["FunctionUrl"]
        if public:
            self.let_everybody(name, **{k: v for k, v in config.items() if k == "Qualifier"})
        return str(url)

    def let_everybody(self, name: str, **more: Any) -> None:
        self.client.add_permission(
            FunctionName=name,
            StatementId="url",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
            **more,
        )
        self.client.add_permission(
            FunctionName=name,
            StatementId="invoke",
            Action="lambda:InvokeFunction",
            Principal="*",
            InvokedViaFunctionUrl=True,
            **more,
        )


@pytest.fixture
def urls(functions: Functions) -> Iterator[Urls]:
    yield Urls(functions)


def test_a_request_becomes_an_event_and_its_answer_a_response(urls: Urls) -> None:
    _, url = urls.create(ECHO)
    assert ".lambda-url.us-east-1.localhost:" in url
    got = ask(
        urls.server,
        url,
        "POST",
        "/a%20b/c?x=1&x=2&y",
        b'{"n": 1}',
        {
            "Content-Type": "application/json",
            "X-Thing": "one",
            "Cookie": "a=1; b=2",
            "X-Forwarded-For": "9.9.9.9",
            "X-Amzn-Tls-Version": "TLSv1.3",
        },
    )
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    event = got.json()
    assert event["rawPath"] == "/a%20b/c" and event["rawQueryString"] == "x=1&x=2&y"
    assert event["queryStringParameters"] == {"x": "1,2", "y": ""}
    assert event["cookies"] == ["a=1", "b=2"] and event["body"] == '{"n": 1}'
    assert event["headers"]["x-thing"] == "one"
    context = event["requestContext"]
    assert context["http"]["method"] == "POST" and context["accountId"] == "anonymous"
    # Who asks cannot say that he is somebody else.
    assert context["http"]["sourceIp"] == event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert "x-amzn-tls-version" not in event["headers"]
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 60
    assert context["requestId"] == got.headers["x-amzn-requestid"]
    moment = datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


def test_a_response_is_what_the_function_says(urls: Urls) -> None:
    _, url = urls.create(PARROT)

    def answered(answer: Any) -> Got:
        body = json.dumps(answer).encode()
        return ask(urls.server, url, "POST", "/", body, {"content-type": "application/json"})

    got = answered(
        {
            "statusCode": 418,
            "headers": {"content-type": "text/plain", "x-a": "b\r\nx-evil: 1"},
            "cookies": ["a=1", "b=2"],
            "body": "AP8=",
            "isBase64Encoded": True,
        }
    )
    assert (got.status, got.body, got.cookies) == (418, b"\x00\xff", ["a=1", "b=2"])
    assert got.headers["content-type"] == "text/plain" and "x-evil" not in got.headers
    got = answered("just text")
    assert (got.status, got.body) == (200, b'"just text"')
    bad = answered({"statusCode": 200, "body": {"an": "object"}})
    assert (bad.status, bad.body) == (502, b"Internal Server Error")
    assert answered({"statusCode": 204, "body": "never sent"}).body == b""


def test_what_goes_wrong_has_awss_status(urls: Urls) -> None:
    name, url = urls.create("def handler(e, c):\n    raise ValueError('secret')\n")
    got = ask(urls.server, url)
    assert (got.status, got.body) == (502, b"Internal Server Error")
    urls.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    got = ask(urls.server, url)
    assert got.status == 429 and got.headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert got.headers["retry-after"] == "1"
    assert got.json()["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    too_large = ask(urls.server, url, "POST", "/", b"x" * (6 * 1024 * 1024 + 1))
    assert too_large.status == 413
    unknown = url.replace(urlsplit(url).netloc.partition(".")[0], "a" * 32)
    got = ask(urls.server, unknown)
    assert (got.status, got.json()) == (403, {"Message": None})
    urls.client.delete_function_url_config(FunctionName=name)
    assert ask(urls.server, url).status == 403


def test_a_url_is_there_by_path_too(urls: Urls) -> None:
    _, url = urls.create(ECHO)
    url_id = urlsplit(url).netloc.partition(".")[0]
    by_path = f"{urls.server.endpoint}/_lambent/urls/{url_id}/"
    event = ask(urls.server, by_path, path="/x/y?z=1").json()
    assert (event["rawPath"], event["rawQueryString"]) == ("/x/y", "z=1")
    assert event["requestContext"]["domainPrefix"] == url_id
    assert ask(urls.server, by_path.rstrip("/"), path="").json()["rawPath"] == "/"


def test_a_page_speaks_for_nothing_but_its_own_url(urls: Urls) -> None:
    answer = {
        "statusCode": 200,
        "headers": {"Content-Type": "text/html", "Clear-Site-Data": "*", "X-Own": "1"},
        "cookies": ["a=1; Domain=localhost; Path=/", "b=2;domain = .localhost"],
    }
    _, url = urls.create(f"def handler(event, context):\n    return {answer!r}\n")
    own = ask(urls.server, url)
    assert own.cookies == ["a=1; Path=/", "b=2"] and "clear-site-data" in own.headers
    url_id = urlsplit(url).netloc.partition(".")[0]
    shared = ask(urls.server, f"{urls.server.endpoint}/_lambent/urls/{url_id}/")
    assert shared.cookies == [] and "clear-site-data" not in shared.headers
    policy = shared.headers["content-security-policy"]
    assert policy.startswith("sandbox ") and "allow-same-origin" not in policy
    assert shared.headers["x-own"] == "1"


def test_nobody_may_whom_no_policy_lets(urls: Urls) -> None:
    name = urls.functions.create(ECHO)
    url = urls.open(name, public=False)
    got = ask(urls.server, url)
    assert got.status == 403 and got.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert "urls-auth.html" in got.json()["Message"]
    # One of the two permissions is not enough.
    urls.client.add_permission(
        FunctionName=name,
        StatementId="half",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    assert ask(urls.server, url).status == 403
    urls.client.remove_permission(FunctionName=name, StatementId="half")
    urls.let_everybody(name)
    assert ask(urls.server, url).status == 200
    # What lets everybody in by the URL does not let them in by the API, nor to a signed URL.
    urls.client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert ask(urls.server, url).status == 403


def test_a_policy_that_looks_at_the_request_is_asked_each_time(urls: Urls) -> None:
    name, url = urls.create(ECHO)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert ask(urls.server, url).status == ask(urls.server, url).status == 200
    held_out = {
        "Sid": "out",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "lambda:*",
        "Resource": arn,
        "Condition": {"StringLike": {"aws:UserAgent": "bad*"}},
    }
    document = json.loads(urls.client.get_policy(FunctionName=name)["Policy"])
    document["Statement"].append(held_out)
    urls.client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(document))
    for _ in range(2):
        assert ask(urls.server, url, headers={"user-agent": "good"}).status == 200
        assert ask(urls.server, url, headers={"user-agent": "bad/1"}).status == 403


def signed(
    urls: Urls,
    url: str,
    key: dict[str, str],
    body: bytes = b"",
    service: str = "lambda",
    region: str = "us-east-1",
) -> dict[str, str]:
    """Headers of a POST that botocore signs."""
    request = AWSRequest("POST", url, data=body, headers={"content-type": "text/plain"})
    request.headers["host"] = urlsplit(url).netloc
    credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def test_a_signed_url_wants_a_signature_and_a_policy(urls: Urls) -> None:
    name = urls.functions.create(ECHO)
    url = urls.open(name, public=False, AuthType="AWS_IAM")
    server = urls.server
    user = User(server, name[-60:])

    def asked(headers: dict[str, str], body: bytes = b"hello") -> Got:
        return ask(server, url, "POST", "/", body, headers)

    assert asked({}).status == 403
    good = signed(urls, url, user.key, b"hello")
    assert asked(good).status == 403  # who he is is known, that he may is not
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    user.may(allow(["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"], arn))
    event = asked(good).json()
    assert event["body"] == "hello"
    iam = event["requestContext"]["authorizer"]["iam"]
    assert iam["userArn"] == f"arn:aws:iam::000000000000:user/{name[-60:]}"
    assert iam["accessKey"] == user.key["AccessKeyId"] and iam["userId"].startswith("AIDA")
    assert event["requestContext"]["accountId"] == "000000000000"
    assert "authorization" not in event["headers"]
    assert asked(good, b"hellO").status == 403
    for service in ("execute-api", "s3", "iam"):
        assert asked(signed(urls, url, user.key, b"hello", service)).status == 403
    assert asked(signed(urls, url, user.key, b"hello", region="eu-west-1")).status == 403
    # What was signed for one URL is good for no other.
    another = urls.open(urls.functions.create(ECHO), public=False, AuthType="AWS_IAM")
    moved = {**good, "host": urlsplit(another).netloc}
    assert ask(server, another, "POST", "/", b"hello", moved).status == 403
    for action in ("lambda:InvokeFunction", "lambda:InvokeFunctionUrl"):
        user.may(allow(action, arn))
        assert asked(good).status == 403
    tagged = {"StringEquals": {"aws:ResourceTag/stage": "test"}}
    user.may(allow("lambda:*", arn, Condition=tagged))
    assert asked(good).status == 403
    urls.client.tag_resource(Resource=arn, Tags={"Stage": "test"})
    assert asked(good).status == 200
    user.may(
        allow(
            ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"],
            arn,
            Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        )
    )
    assert asked(good).status == 403


@pytest.mark.parametrize("auth", ["NONE", "AWS_IAM"])
def test_who_may_not_is_told_before_he_has_sent_everything(urls: Urls, auth: str) -> None:
    url = urls.open(urls.functions.create(ECHO), public=False, AuthType=auth)
    where = urlsplit(urls.server.endpoint)
    with socket.create_connection((where.hostname or "", where.port or 0), 30) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Length: 6000000\r\n\r\n"
        connection.sendall(head.encode() + b"x")
        assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


def test_an_alias_has_a_url_of_its_own(urls: Urls) -> None:
    code = "def handler(e, c):\n    return c.function_version + ' ' + c.invoked_function_arn\n"
    name = urls.functions.create(code)
    version = urls.client.publish_version(FunctionName=name)["Version"]
    urls.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    plain = urls.open(name)
    live = urls.open(name, Qualifier="live")
    assert ask(urls.server, plain).json().startswith("$LATEST ")
    told = ask(urls.server, live).json()
    assert told.startswith(f"{version} ") and told.endswith(f":{name}:live")


def test_a_browser_of_another_origin_is_answered_without_the_function(urls: Urls) -> None:
    cors = {
        "AllowOrigins": ["https://shop.example"],
        "AllowMethods": ["PUT"],
        "AllowHeaders": ["content-type"],
        "MaxAge": 300,
    }
    _, url = urls.create("def handler(e, c):\n    raise ValueError('not to be run')\n", Cors=cors)
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    got = ask(urls.server, url, "OPTIONS", headers=asks)
    assert (got.status, got.body) == (200, b"")
    assert got.headers["access-control-allow-origin"] == "https://shop.example"
    assert got.headers["access-control-allow-methods"] == "PUT"
    assert got.headers["access-control-allow-headers"] == "content-type"
    assert got.headers["access-control-max-age"] == "300"
    other = ask(urls.server, url, "OPTIONS", headers={**asks, "Origin": "https://evil.example"})
    assert not any(name.startswith("access-control") for name in other.headers)
    failed = ask(urls.server, url, headers={"Origin": "https://shop.example"})
    assert failed.status == 502
    assert failed.headers["access-control-allow-origin"] == "https://shop.example"


def test_urls_are_known_again_after_a_restart(servers: Any) -> None:
    server = servers()
    functions = Functions(server, "restarted")
    _, url = Urls(functions).create(ECHO)
    assert ask(server, url).status == 200
    assert server.stop() == 0
    server = servers()
    again = url.replace(urlsplit(url).netloc, urlsplit(url).hostname or "")
    assert ask(server, again).status == 200


def test_requests_are_counted(urls: Urls) -> None:
    name, url = urls.create(PARROT)
    for status in (200, 404, 500):
        body = json.dumps({"statusCode": status}).encode()
        ask(urls.server, url, "POST", "/", body, {"content-type": "application/json"})
    counts = [
        total(urls.server, m, name) for m in ("UrlRequestCount", "Url4xxCount", "Url5xxCount")
    ]
    assert counts == [3.0, 1.0, 1.0]


def test_who_makes_urls_can_be_held_to_private_ones(urls: Urls) -> None:
    name = urls.functions.create(ECHO)
    user = User(urls.server, "makes-" + name[-50:])
    user.may(
        allow(
            "lambda:*FunctionUrlConfig",
            Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        )
    )
    client = user.client("lambda")
    with pytest.raises(ClientError) as refused:
        client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    with pytest.raises(ClientError):
        client.update_function_url_config(FunctionName=name, AuthType="NONE")
