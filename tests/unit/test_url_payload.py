"""HTTP requests as events, and what functions answer as responses: payload format 2.0."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws.url_payload import BadAnswer, Caller, HttpRequest, event, head, response

NOW = 1_583_348_638.39


def request(**changes: Any) -> HttpRequest:
    fields: dict[str, Any] = {
        "method": "POST",
        "path": "/my/a%20path",
        "query": "parameter1=value1&parameter1=value2&parameter2=value",
        "protocol": "HTTP/1.1",
        "headers": {
            "host": "abc.lambda-url.us-east-1.localhost:4566",
            "header1": "value1, value2",
            "content-type": "text/plain; charset=utf-8",
            "cookie": "cookie1=a;  cookie2=b",
            "user-agent": "agent",
        },
        "body": "hällo".encode(),
        "source_ip": "192.0.2.7",
    }
    return HttpRequest(**{**fields, **changes})


def told(caller: Caller | None = None, **changes: Any) -> Any:
    return json.loads(event(request(**changes), "abc", "id-1", NOW, caller))


def test_an_event_has_everything_of_its_request() -> None:
    assert told() == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/a%20path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1=a", "cookie2=b"],
        "headers": {
            "host": "abc.lambda-url.us-east-1.localhost:4566",
            "header1": "value1, value2",
            "content-type": "text/plain; charset=utf-8",
            "user-agent": "agent",
        },
        "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "authentication": None,
            "domainName": "abc.lambda-url.us-east-1.localhost",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/my/a%20path",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "agent",
            },
            "requestId": "id-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "body": "hällo",
        "isBase64Encoded": False,
    }


def test_who_signed_is_told() -> None:
    caller = Caller("AKIA", "111122223333", "AIDA", "arn:aws:iam::111122223333:user/ann", "AIDA")
    context = told(caller)["requestContext"]
    assert context["accountId"] == "111122223333"
    assert context["authorizer"]["iam"] == {
        "accessKey": "AKIA",
        "accountId": "111122223333",
        "callerId": "AIDA",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:iam::111122223333:user/ann",
        "userId": "AIDA",
    }


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("application/json", b"{}", True),
        ("Text/HTML", b"<p>", True),
        ("application/xml", b"<a/>", True),
        ("application/x-www-form-urlencoded", b"a=b", False),
        ("image/png", b"\x89PNG", False),
        ("", b"abc", False),
        ("text/plain", b"\xff", False),
    ],
)
def test_a_body_is_text_or_base64(kind: str, body: bytes, text: bool) -> None:
    found = told(headers={"content-type": kind}, body=body)
    assert found["isBase64Encoded"] is not text
    assert found["body"] == (body.decode() if text else base64.b64encode(body).decode())


def test_what_is_not_there_is_left_out() -> None:
    found = told(query="", headers={}, body=b"")
    assert not {"cookies", "body", "queryStringParameters"} & found.keys()
    assert (found["rawQueryString"], found["isBase64Encoded"]) == ("", False)


def test_an_answer_with_a_status_is_taken_as_it_is() -> None:
    found = response(
        json.dumps(
            {
                "statusCode": 201,
                "headers": {
                    "X-Count": 3,
                    "x-on": True,
                    "Content-Length": "9",
                    "Content-Type": "a/b",
                },
                "cookies": ["a=1; Secure", "b=2"],
                "body": base64.b64encode(b"\x00\xff").decode(),
                "isBase64Encoded": True,
            }
        ).encode()
    )
    assert (found.status, found.body) == (201, b"\x00\xff")
    assert found.headers == [
        ("X-Count", "3"),
        ("x-on", "true"),
        ("Content-Type", "a/b"),
        ("Set-Cookie", "a=1; Secure"),
        ("Set-Cookie", "b=2"),
    ]


@pytest.mark.parametrize("payload", [b'"Hello"', b'{"message": "Hello"}', b"[1]", b"null", b"3"])
def test_any_other_answer_is_the_body(payload: bytes) -> None:
    found = response(payload)
    assert (found.status, found.body) == (200, payload)
    assert found.headers == [("Content-Type", "application/json")]


def test_a_status_alone_is_enough() -> None:
    assert response(b'{"statusCode": 204}').status == 204
    assert response(b'{"statusCode": "404", "body": "no"}').body == b"no"


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 99},
        {"statusCode": 1000},
        {"statusCode": True},
        {"statusCode": "ok"},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": {}}},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"": "c"}},
        {"statusCode": 200, "cookies": "a=b"},
        {"statusCode": 200, "cookies": [1]},
        {"statusCode": 200, "body": {}},
        {"statusCode": 200, "body": "#", "isBase64Encoded": True},
    ],
)
def test_what_is_no_response_is_said_to_be_none(answer: Any) -> None:
    with pytest.raises(BadAnswer):
        response(json.dumps(answer).encode())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


_MEMBERS = ("statusCode", "headers", "cookies", "body", "isBase64Encoded")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(_MEMBERS, _JSON)))
def test_no_answer_breaks_the_reader(answer: dict[str, Any]) -> None:
    try:
        found = response(json.dumps(answer).encode())
    except BadAnswer:
        return
    assert 200 <= found.status <= 599 and isinstance(found.body, bytes)
    assert all(isinstance(each, str) for pair in found.headers for each in pair)


def test_a_head_needs_no_status() -> None:
    assert head({"headers": {"a": "b"}}).status == 200
