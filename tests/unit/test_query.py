"""The query protocol, with botocore's serializer and parser at the other end."""

from __future__ import annotations

from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import model, query
from lambent.aws.parse import SerializationError

IAM = model.load("iam")
_RAW = botocore.loaders.Loader().load_service_model("iam", "service-2")
CLIENT = botocore.model.ServiceModel(_RAW, "iam")


def sent(operation: str, parameters: dict[str, Any]) -> bytes:
    """The form a client sends."""
    serializer = botocore.serialize.create_serializer("query", include_validation=False)
    request = serializer.serialize_to_request(parameters, CLIENT.operation_model(operation))
    from urllib.parse import urlencode

    return urlencode(request["body"]).encode()


def read(operation: str, body: bytes) -> dict[str, Any]:
    return query.parameters(IAM.operations[operation], query.parse_form(body))


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("GetRole", {"RoleName": "a b&c=d.e"}),
        ("ListRoles", {"MaxItems": 7, "PathPrefix": "/ü/"}),
        ("ListPolicies", {"OnlyAttached": True, "Scope": "Local"}),
        ("TagRole", {"RoleName": "r", "Tags": [{"Key": str(n), "Value": "v"} for n in range(12)]}),
        ("UntagRole", {"RoleName": "r", "TagKeys": ["a", "b"]}),
        ("CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": '{"a": [1, "\\n"]}'}),
    ],
)
def test_a_request_is_read_as_it_was_meant(operation: str, parameters: dict[str, Any]) -> None:
    assert read(operation, sent(operation, parameters)) == parameters


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("GetUser", {"User": {"UserName": "a<b>&\"'", "Path": "/", "CreateDate": 1_800_000_000.0}}),
        ("ListRoleTags", {"Tags": [{"Key": "k", "Value": "ü"}], "IsTruncated": False}),
        ("GetAccountSummary", {"SummaryMap": {"Users": 3, "Roles": 0}}),
        ("ListRoles", {"Roles": [], "IsTruncated": True, "Marker": "m"}),
        ("UpdateRole", {}),
        ("DeleteRole", {}),
    ],
)
def test_an_answer_is_understood(operation: str, result: dict[str, Any]) -> None:
    response = query.serialize(IAM.operations[operation], result, IAM.xml_namespace, "id")
    parser = botocore.parsers.QueryParser()
    shape = CLIENT.operation_model(operation).output_shape
    told = {"body": response.body, "headers": {}, "status_code": response.status}
    parsed = parser.parse(told, shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id"
    if "User" in parsed:
        parsed["User"]["CreateDate"] = parsed["User"]["CreateDate"].timestamp()
    assert parsed == result


def test_what_xml_cannot_say_does_not_break_it() -> None:
    response = query.serialize_error("Code", 400, "\x00 \ufffe <", IAM.xml_namespace, "id")
    parsed = botocore.parsers.QueryParser().parse(
        {"body": response.body, "headers": {}, "status_code": 400}, None
    )
    assert parsed["Error"]["Message"] == "\ufffd \ufffd <"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ListRoles", b"MaxItems=many"),
        ("ListPolicies", b"OnlyAttached=perhaps"),
        ("GetRole", b"RoleName=\xff"),
        ("GetRole", b"a=b&" * 30_000),
        ("GetRole", b"Role" + b".x" * 100 + b"=1"),
    ],
)
def test_what_is_no_request_is_refused(operation: str, body: bytes) -> None:
    with pytest.raises(SerializationError):
        read(operation, body)


def test_elements_without_a_number_that_could_be_are_none() -> None:
    for number in (b"9" * 6000, b"x", b"-1", b"%D9%A1", b""):
        body = b"RoleName=r&Tags.member." + number + b".Key=1"
        assert read("TagRole", body) == {"RoleName": "r", "Tags": []}


@given(
    st.binary(max_size=200) | st.text(alphabet="Tags.member1Key=&%", max_size=60).map(str.encode)
)
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for name in ("TagRole", "ListRoles"):
        try:
            read(name, body)
        except SerializationError:
            pass
