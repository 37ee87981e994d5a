"""Control operations through boto3, as SDK users and infrastructure tools drive them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import botocore.exceptions
import pytest

from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip


def test_a_function_is_pending_then_active(server: Server) -> None:
    client = server.client()
    created = client.create_function(
        FunctionName="states",
        Runtime=RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": make_zip({"app.py": "def handler(e, c): return 1"})},
        Description="what it does",
        Tags={"team": "a"},
    )
    assert created["State"] == "Pending" and created["StateReasonCode"] == "Creating"
    assert "LastUpdateStatus" not in created
    for waiter in (
        "function_exists",
        "function_active",
        "function_active_v2",
        "function_updated_v2",
    ):
        client.get_waiter(waiter).wait(FunctionName="states")
    shown = client.get_function(FunctionName="states")
    configuration = shown["Configuration"]
    assert configuration["State"] == "Active"
    assert configuration["LastUpdateStatus"] == "Successful"
    assert configuration["RevisionId"] != created["RevisionId"]
    assert shown["Tags"] == {"team": "a"}
    assert (configuration["Timeout"], configuration["MemorySize"]) == (3, 128)
    with pytest.raises(client.exceptions.ResourceConflictException) as caught:
        client.create_function(
            FunctionName="states", Runtime=RUNTIME, Handler="app.handler", Role=ROLE,
            Code={"ZipFile": make_zip({"app.py": ""})},
        )  # fmt: skip
    assert "Function already exist: states" in str(caught.value)
    client.delete_function(FunctionName="states")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="states")


def test_the_code_can_be_downloaded_where_get_function_says(functions: Functions) -> None:
    source = "def handler(e, c): return 'downloaded'"
    name = functions.create(source)
    location = functions.client.get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == make_zip({"app.py": source})
    forged = location.replace("Expires=600", "Expires=6000")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(forged)
    assert caught.value.code == 403
    caught.value.close()


def test_a_configuration_can_be_updated_under_its_revision(functions: Functions) -> None:
    name = functions.create("import os\ndef handler(e, c): return os.environ.get('AA')")
    client = functions.client
    before = client.get_function_configuration(FunctionName=name)
    changed = client.update_function_configuration(
        FunctionName=name,
        RevisionId=before["RevisionId"],
        Environment={"Variables": {"AA": "1"}},
        MemorySize=256,
    )
    assert changed["LastUpdateStatus"] == "InProgress" and changed["MemorySize"] == 256
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_function_configuration(
            FunctionName=name, RevisionId=before["RevisionId"], Timeout=9
        )
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.invoke(name).payload == "1"


def test_functions_are_listed_page_by_page(functions: Functions) -> None:
    names = {functions.create("def handler(e, c): pass") for _ in range(7)}
    pages = functions.client.get_paginator("list_functions").paginate(
        PaginationConfig={"PageSize": 2}
    )
    listed = [each["FunctionName"] for page in pages for each in page["Functions"]]
    assert names <= set(listed) and listed == sorted(listed)


def test_versions_are_listed(functions: Functions) -> None:
    name = functions.create("def handler(e, c): return 1")
    client = functions.client
    for number in range(3):
        code = make_zip({"app.py": f"def handler(e, c): return {number + 5}"})
        client.update_function_code(FunctionName=name, ZipFile=code, Publish=True)
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    listed = [each["Version"] for page in pages for each in page["Versions"]]
    assert listed == ["$LATEST", "1", "2", "3"]
    client.delete_function(FunctionName=name, Qualifier="2")
    assert functions.invoke(name, Qualifier="3").payload == 7
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        functions.invoke(name, Qualifier="2")


def code(error: Any) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        ({"Runtime": "python3.7"}, "InvalidParameterValueException", "Runtimes it has: "),
        ({"Runtime": "cobol"}, "ValidationException", "at 'runtime' failed to satisfy constraint"),
        ({"Timeout": 901}, "InvalidParameterValueException", "Timeout"),
        (
            {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]},
            "InvalidParameterValueException",
            "Layer version arn:aws:lambda:us-east-1:000000000000:layer:x:1 does not exist.",
        ),
        (
            {"Code": {"ZipFile": b"no zip"}},
            "InvalidParameterValueException",
            "Could not unzip uploaded file",
        ),
        (
            {"Code": {"S3Bucket": "bucket", "S3Key": "key"}},
            "InvalidParameterValueException",
            "S3 Error Code: NoSuchBucket",
        ),
        (
            {"Code": {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectStorageMode": "REFERENCE"}},
            "InvalidParameterValueException",
            "S3ObjectStorageMode REFERENCE is not offered",
        ),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            "InvalidParameterValueException",
            "Reserved keys used in this request: AWS_REGION",
        ),
        (
            {"Environment": {"Variables": {"AA": "x" * 5000}}},
            "InvalidParameterValueException",
            "exceeded the 4KB limit",
        ),
        ({"FunctionName": "x" * 65}, "InvalidParameterValueException", "at most 64"),
        ({"Architectures": ["arm64", "x86_64"]}, "ValidationException", "architectures"),
    ],
    ids=range(11),
)
def test_a_wrong_create_is_refused_in_awss_words(
    server: Server, options: dict[str, Any], expected: str, message: str
) -> None:
    client = server.client(parameter_validation=False)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.create_function(
            **{
                "FunctionName": "refused",
                "Runtime": RUNTIME,
                "Handler": "app.handler",
                "Role": ROLE,
                "Code": {"ZipFile": make_zip({"app.py": ""})},
                **options,
            }
        )
    assert code(caught) == expected
    assert message in str(caught.value)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="refused")


def test_archives_over_the_limits_are_refused(servers: Any) -> None:
    server = servers("--zipped-bytes", "20000", "--unzipped-bytes", "30000")
    client = server.client()

    def create(data: bytes) -> None:
        client.create_function(
            FunctionName="f", Runtime=RUNTIME, Handler="a.b", Role=ROLE, Code={"ZipFile": data}
        )

    with pytest.raises(botocore.exceptions.ClientError) as caught:
        create(make_zip({"big": b"x" * 25_000}))
    assert code(caught) == "RequestEntityTooLargeException"
    assert "Zipped size must be smaller than 20000 bytes" in str(caught.value)
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", b"\0" * 31_000)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        create(buffer.getvalue())
    assert "Unzipped size must be smaller than 30000 bytes" in str(caught.value)


def test_what_is_not_built_yet_says_so_by_name(server: Server) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        server.client().list_capacity_providers()
    assert code(caught) == "InvalidParameterValueException"
    assert "The operation ListCapacityProviders is not offered by this version of Lambent." in str(
        caught.value
    )
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        server.client("ecs").list_clusters()
    assert "ecs is not offered" in str(caught.value)


def test_wrong_credentials_are_refused(server: Server) -> None:
    import boto3

    def client(key: str, secret: str) -> Any:
        return boto3.client(
            "lambda", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=key, aws_secret_access_key=secret,
        )  # fmt: skip

    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client(server.key["access_key_id"], "wrong").list_functions()
    assert code(caught) == "SignatureDoesNotMatch"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client("AKIAWRONG", "wrong").list_functions()
    assert code(caught) == "UnrecognizedClientException"
    with pytest.raises(urllib.error.HTTPError) as unsigned:
        urllib.request.urlopen(f"{server.endpoint}/2015-03-31/functions")
    assert unsigned.value.code == 403
    assert unsigned.value.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    unsigned.value.close()


def test_any_credentials_are_believed_only_when_told_to(servers: Any) -> None:
    import boto3

    server = servers("--authentication", "any", "--authorization", "off")

    def client(account: str) -> Any:
        return boto3.client(
            "lambda", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=account, aws_secret_access_key="x",
        )  # fmt: skip

    made = client("123456789012").create_function(
        FunctionName="f", Runtime=RUNTIME, Handler="app.handler", Role=ROLE,
        Code={"ZipFile": make_zip({"app.py": "def handler(e, c): return 1"})},
    )  # fmt: skip
    assert made["FunctionArn"] == "arn:aws:lambda:us-east-1:123456789012:function:f"
    assert client("test").list_functions()["Functions"] == []
    assert len(client("123456789012").list_functions()["Functions"]) == 1
    # Nothing relaxes what holds between accounts.
    with pytest.raises(Exception, match="no resource-based policy allows"):
        client("test").invoke(FunctionName=made["FunctionArn"])


def test_health_is_open(server: Server) -> None:
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/health") as answer:
        assert json.load(answer) == {"status": "ok"}
