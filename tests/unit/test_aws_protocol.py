"""The protocol layer against botocore: what it serialises we parse, what we serialise it parses."""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any
from urllib.parse import urlsplit

import botocore.parsers
import botocore.serialize
import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.aws import model, parse, serialize, validate
from lambent.aws.model import Operation, Shape
from lambent.aws.router import Router

LAMBDA = model.load("lambda")
ROUTER = Router(LAMBDA)
ORACLE = botocore.session.get_session().get_service_model("lambda")
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
)
LABEL = st.text("abcXYZ019:/$ _-%é", min_size=1, max_size=12).filter(
    lambda text: text.strip("/ ") == text and "//" not in text
)


def values(shape: Shape, location: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Random values of a shape, as botocore's callers give them."""
    kind = shape.kind
    if kind == "string":
        if location == "header":
            return st.text("abc XYZ-09=:", min_size=1, max_size=10).map(str.strip).filter(bool)
        return LABEL if location == "uri" else TEXT
    if kind in ("integer", "long"):
        return st.integers(-(2**31), 2**31)
    if kind in ("double", "float"):
        return st.floats(-1e6, 1e6, allow_nan=False)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return st.integers(0, 2_000_000_000).map(
            lambda seconds: datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        )
    if kind == "blob":
        return st.binary(max_size=20)
    if kind == "list":
        assert shape.member is not None
        return st.lists(values(shape.member, location, depth + 1), min_size=1, max_size=2)
    if kind == "map":
        assert shape.value is not None
        return st.dictionaries(TEXT, values(shape.value, location, depth + 1), max_size=2)
    return structures(shape, depth + 1)


def structures(shape: Shape, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for name, member in shape.members.items():
        if member.shape.event_stream or (depth > 4 and name not in shape.required):
            continue
        strategy = values(member.shape, member.location, depth)
        must = name in shape.required or member.location in ("uri", "statusCode")
        (required if must else optional)[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


def plain(value: Any) -> Any:
    """botocore's values as ours: timestamps are seconds, NaN-free floats rounded by JSON."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def operations() -> list[str]:
    return sorted(LAMBDA.operations)


@pytest.mark.parametrize("name", operations())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_we_parse_what_botocore_serialises(name: str, data: st.DataObject) -> None:
    operation = LAMBDA.operations[name]
    given = data.draw(structures(operation.input)) if operation.input else {}
    serializer = botocore.serialize.create_serializer("rest-json", include_validation=False)
    request = serializer.serialize_to_request(given, ORACLE.operation_model(name))
    url = urlsplit(request["url_path"])
    query = parse.parse_query(url.query)
    for key, value in request["query_string"].items():
        query[key] = [str(v) for v in value] if isinstance(value, list) else [_query(value)]
    found = ROUTER.match(request["method"], url.path, query)
    assert found is not None and found[0].name == name
    headers = {key.lower(): str(value) for key, value in request["headers"].items()}
    body = request["body"]
    body = body if isinstance(body, bytes) else body.encode()
    parsed = parse.parse_rest(operation, found[1], query, headers, body)
    expected = plain(given)
    payload = operation.input.payload if operation.input else None
    if payload and operation.input and operation.input.members[payload].shape.kind == "blob":
        expected.setdefault(payload, b"")
    # botocore sends an absent structure payload as an empty one.
    if payload and parsed.get(payload) == {}:
        expected.setdefault(payload, {})
    assert parsed == expected


def _query(value: Any) -> str:
    return (
        {True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )


@pytest.mark.parametrize("name", operations())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_botocore_parses_what_we_serialise(name: str, data: st.DataObject) -> None:
    operation = LAMBDA.operations[name]
    if operation.output is None or operation.status == 204 or _streams(operation):
        return
    result = data.draw(structures(operation.output))
    for member in operation.output.members.values():
        if member.location == "statusCode":
            result[member.name] = operation.status
    response = serialize.serialize_rest(operation, plain(result))
    payload = operation.output.payload
    if payload and operation.output.members[payload].shape.kind == "blob":
        # botocore hands such a body on as a stream.
        assert response.body == result.pop(payload, b"")
        response.body = b""
    parser = botocore.parsers.create_parser("rest-json")
    shown = parser.parse(
        {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": response.body,
        },
        ORACLE.operation_model(name).output_shape,
    )
    shown.pop("ResponseMetadata")
    if payload and shown.get(payload) in ("", b""):
        del shown[payload]
    assert _close(plain(shown), plain(result))


def _streams(operation: Operation) -> bool:
    assert operation.output is not None
    return any(member.shape.event_stream for member in operation.output.members.values())


def _close(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, abs_tol=1e-6)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_close(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_close, left, right))
    return bool(left == right)


def parameters(name: str, body: Any, **labels: str) -> dict[str, Any]:
    operation = LAMBDA.operations[name]
    return parse.parse_rest(operation, labels, {}, {}, json.dumps(body).encode())


def broken(name: str, **given: Any) -> str:
    with pytest.raises(validate.ValidationError) as caught:
        validate.validate(LAMBDA.operations[name].input, given)
    return str(caught.value)


CODE = {"ZipFile": b"x"}
ROLE = "arn:aws:iam::000000000000:role/r"


def test_one_violation_is_told_in_awss_words() -> None:
    assert broken("CreateFunction", FunctionName="f", Code=CODE, Role=ROLE, Timeout=0) == (
        "1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    )


def test_all_violations_are_told_in_one_message() -> None:
    text = broken("CreateFunction", FunctionName="no!", Code=CODE, Timeout=99999)
    assert text.startswith("3 validation errors detected: ")
    assert "Value null at 'role' failed to satisfy constraint: Member must not be null" in text
    assert (
        "Value 'no!' at 'functionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: " in text
    )
    assert (
        "Value '99999' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 5400" in text
    )


def test_lists_and_maps_are_told_as_a_whole() -> None:
    text = broken("CreateFunction", FunctionName="f", Code=CODE, Role=ROLE, Architectures=["mips"])
    assert text.endswith(
        "Value '[mips]' at 'architectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64]]"
    )
    nested = broken("CreateFunction", FunctionName="f", Code={"S3Bucket": "a"}, Role=ROLE)
    assert "at 'code.s3Bucket' failed to satisfy constraint" in nested


def test_sensitive_values_are_not_repeated() -> None:
    text = broken(
        "CreateFunction",
        FunctionName="f",
        Code=CODE,
        Role=ROLE,
        Environment={"Variables": {"1bad": "secret"}},
    )
    assert "secret" not in text and "Map keys must satisfy constraint" in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Timeout": "3"}, "STRING_VALUE cannot be converted to Integer"),
        ({"Timeout": True}, "TRUE_VALUE cannot be converted to Integer"),
        ({"Timeout": 1.5}, "NUMBER_VALUE cannot be converted to Integer"),
        ({"Handler": 3}, "NUMBER_VALUE cannot be converted to String"),
        ({"Layers": "x"}, "STRING_VALUE cannot be converted to List"),
        ({"Code": {"ZipFile": "%%"}}, "Blob value must be valid base64"),
        ([], "Start of list cannot be converted to a structure"),
    ],
)
def test_wrong_types_are_serialization_errors(body: Any, message: str) -> None:
    with pytest.raises(parse.SerializationError, match=message):
        parameters("CreateFunction", body)


def test_hostile_json_is_a_serialization_error() -> None:
    operation = LAMBDA.operations["CreateFunction"]
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":' * 10_000):
        with pytest.raises(parse.SerializationError):
            parse.parse_rest(operation, {}, {}, {}, body)


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    found = parameters("CreateFunction", {"Handler": None, "Nonsense": 1, "Timeout": 3})
    assert found == {"Timeout": 3}


def test_labels_may_carry_encoded_arns() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    encoded = arn.replace(":", "%3A")
    found = ROUTER.match("GET", f"/2015-03-31/functions/{encoded}", {})
    assert found is not None and found[1] == {"FunctionName": arn}
    assert ROUTER.match("GET", "/2015-03-31/functions/a/b/c/d", {}) is None
    assert ROUTER.match("PATCH", "/2015-03-31/functions/", {}) is None


def test_the_same_path_is_two_operations_by_query() -> None:
    path = "/2018-10-31/layers"
    by_arn = ROUTER.match("GET", path, {"find": ["LayerVersion"]})
    listing = ROUTER.match("GET", path, {})
    assert by_arn is not None and by_arn[0].name == "GetLayerVersionByArn"
    assert listing is not None and listing[0].name == "ListLayers"


@pytest.mark.parametrize("code", sorted(n for n, s in LAMBDA.shapes.items() if s.error_status))
def test_botocore_reads_our_errors(code: str) -> None:
    shape = LAMBDA.shapes[code]
    response = serialize.serialize_rest_error(LAMBDA, code, shape.error_status, "why", {})
    parser = botocore.parsers.create_parser("rest-json")
    shown = parser.parse(
        {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": response.body,
        },
        ORACLE.operation_model("Invoke").output_shape,
    )
    assert shown["Error"] == {"Code": code, "Message": "why"}
    document = json.loads(response.body)
    assert document.get("message", document.get("Message")) == "why"
    assert ("message" in document) == ("message" in shape.members)


def test_a_zip_travels_as_base64() -> None:
    body = {"Code": {"ZipFile": base64.b64encode(b"zip").decode()}}
    assert parameters("CreateFunction", body) == {"Code": {"ZipFile": b"zip"}}


def test_event_stream_messages_are_what_botocore_reads() -> None:
    from botocore.eventstream import EventStreamBuffer

    from lambent.aws import eventstream

    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.event("sessionStart", b"{}") + eventstream.encode({"n": "v"}, b"x"))
    first, second = buffer
    assert first.headers == {
        ":message-type": "event",
        ":event-type": "sessionStart",
        ":content-type": "application/json",
    }
    assert (first.payload, second.headers, second.payload) == (b"{}", {"n": "v"}, b"x")
