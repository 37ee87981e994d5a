"""What a function's AWS SDK finds: an endpoint, a region, credentials of its role."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from tests.conftest import Functions, Server

# A signed request with nothing but the standard library, as an SDK makes it.
SOURCE = (Path(__file__).resolve().parents[2] / "src/lambent/aws/sigv4.py").read_text()
FUNCTION = """
import datetime, json, os, urllib.error, urllib.parse, urllib.request
import sigv4

def handler(event, context):
    url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    path = "/2015-03-31/functions/"
    headers = sigv4.sign_headers("GET", path, "", {"host": url.netloc}, b"",
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ["AWS_REGION"], "lambda", datetime.datetime.now(datetime.timezone.utc),
        event.get("token", os.environ["AWS_SESSION_TOKEN"]))
    request = urllib.request.Request(url.geturl() + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            names = [each["FunctionName"] for each in json.load(answer)["Functions"]]
            return {"status": answer.status, "names": names}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "message": json.loads(error.read()).get("Message", "")}
"""


def create(functions: Functions) -> str:
    return functions.create({"app.py": FUNCTION, "sigv4.py": SOURCE}, Timeout=10)


def test_a_functions_credentials_may_do_what_its_role_allows(functions: Functions) -> None:
    name = create(functions)
    denied = functions.invoke(name).payload
    assert denied == {
        "status": 403,
        "message": f"User: arn:aws:sts::000000000000:assumed-role/lambda/{name} is not authorized "
        "to perform: lambda:ListFunctions on resource: * because no identity-based policy allows "
        "the lambda:ListFunctions action",
    }
    iam = functions.server.client("iam")
    arn = "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess"
    try:
        iam.attach_role_policy(RoleName="lambda", PolicyArn=arn)
        assert functions.invoke(name).payload["status"] == 200
        deny = {"Statement": {"Effect": "Deny", "Action": "lambda:List*", "Resource": "*"}}
        iam.put_role_policy(RoleName="lambda", PolicyName="no", PolicyDocument=json.dumps(deny))
        assert (
            "with an explicit deny in an identity-based policy"
            in (functions.invoke(name).payload["message"])
        )
        iam.delete_role_policy(RoleName="lambda", PolicyName="no")
        assert functions.invoke(name).payload["status"] == 200
    finally:
        iam.detach_role_policy(RoleName="lambda", PolicyArn=arn)
    assert functions.invoke(name).payload["status"] == 403
    forged = functions.invoke(name, {"token": "AAAA" + "x" * 80})
    assert forged.payload["status"] == 403 and "security token" in forged.payload["message"]


def test_they_may_do_what_the_owner_may_where_a_setting_says_so(
    servers: Callable[..., Server],
) -> None:
    server = servers("--authorization", "off")
    functions = Functions(server, "access")
    name = create(functions)
    assert functions.invoke(name).payload == {"status": 200, "names": [name]}


def test_one_booted_ahead_reaches_the_endpoint_too(functions: Functions) -> None:
    source = (
        "exports.handler = async () => {\n"
        "  const answer = await fetch(process.env.AWS_ENDPOINT_URL + '/_lambent/health');\n"
        "  return [answer.status, process.env.AWS_ACCESS_KEY_ID.slice(0, 4)];\n"
        "}\n"
    )
    name = functions.create({"index.js": source}, Runtime="nodejs20.x", Handler="index.handler")
    assert functions.invoke(name).payload == [200, "ASIA"]


def test_a_session_is_of_one_server_and_one_key(server: Server, functions: Functions) -> None:
    name = functions.create(
        "import os\ndef handler(e, c): return {k: v for k, v in os.environ.items() if 'AWS_' in k}"
    )
    told = functions.invoke(name).payload
    assert told["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    stolen = boto3.client(
        "lambda", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=server.key["access_key_id"],
        aws_secret_access_key=server.key["secret_access_key"],
        aws_session_token=told["AWS_SESSION_TOKEN"],
    )  # fmt: skip
    with pytest.raises(stolen.exceptions.ClientError, match="security token"):
        stolen.list_functions()
