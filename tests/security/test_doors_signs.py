"""Line breaks, folders and doubled names, everywhere: no value becomes another request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.conftest import Server, User, allow
from tests.security.doors import ACCOUNT, REFUSED, REGION, Asked, Door, Keys, administrator

SECRET = "what only its owner may read"
BUCKET = "doors-signs"
# What ends a line, a text or a folder for one reader or another.
SIGNS = ["\r\n", "\n", "\r", "\0", "..", "/../", "%0d%0a", "\u2028", " ", "\r\nx-lambent-a: 1"]


@pytest.fixture(scope="module")
def door(server: Server) -> Door:
    return Door(server)


@dataclass
class Kept:
    """What must stay as it is, and whose requests must not reach it."""

    door: Door
    nobody: Keys
    uploader: Keys
    administrator: Keys

    def check(self, answer: bytes = b"") -> None:
        assert SECRET.encode() not in answer
        manager, logs = (self.door.server.client(each) for each in ("secretsmanager", "logs"))
        assert manager.get_secret_value(SecretId="kept")["SecretString"] == SECRET
        found = logs.describe_log_groups(logGroupNamePrefix="kept")["logGroups"]
        assert [each["logGroupName"] for each in found] == ["kept"]


@pytest.fixture(scope="module")
def kept(door: Door) -> Iterator[Kept]:
    server = door.server
    server.client("secretsmanager").create_secret(Name="kept", SecretString=SECRET)
    server.client("logs").create_log_group(logGroupName="kept")
    nobody, uploader = User(server, "door-nobody"), User(server, "door-uploader")
    uploader.may(allow("s3:*", f"arn:aws:s3:::{BUCKET}/*"))
    server.client("s3").create_bucket(Bucket=BUCKET)
    yield Kept(door, _keys(nobody), _keys(uploader), administrator(server))
    server.client("secretsmanager").delete_secret(SecretId="kept", ForceDeleteWithoutRecovery=True)


def _keys(user: User) -> Keys:
    return Keys(user.key["AccessKeyId"], user.key["SecretAccessKey"])


def _smuggled(account: str) -> str:
    """What once was a second request to the services behind the gateway."""
    body = json.dumps({"SecretId": "kept", "SecretString": "taken"})
    own = f"x-lambent-service: secretsmanager\r\nx-lambent-account: {account}\r\n"
    head = "POST / HTTP/1.1\r\nx-amz-target: secretsmanager.PutSecretValue\r\n"
    return f"1\r\ncontent-length: 0\r\n\r\n{head}{own}content-length: {len(body)}\r\n\r\n{body}"


@pytest.mark.parametrize("who", ["nobody", "uploader", "administrator"])
def test_no_parameter_of_a_presigned_url_becomes_another_request(
    door: Door, kept: Kept, who: str
) -> None:
    keys = getattr(kept, who)
    line = quote(_smuggled(ACCOUNT), safe="")
    places = [f"X-Amz-Meta-Z={line}", f"X-Amz-{line}=1", f"x-amz-copy-source=%2F{line}"]
    places += [f"X-Amz-Meta-Z=1&X-Amz-Meta-Z={line}", f"prefix={line}", f"response-expires={line}"]
    for query in places:
        for method in ("GET", "PUT"):
            asked = door.presign(Asked(method, f"/{BUCKET}/x", query), keys)
            status, answer = door.send(asked)
            assert status < 500 or status == 501, (query, answer)
            kept.check(answer)
    for scope in (
        {"region": f"r\r\n{_smuggled(ACCOUNT)}"},
        {"service": f"s3\r\n{_smuggled(ACCOUNT)}"},
    ):
        plain = {name: value.replace("/", "") for name, value in scope.items()}
        asked = door.presign(Asked("GET", f"/{BUCKET}/x"), keys, **plain)
        assert door.send(asked)[0] in REFUSED
        kept.check()


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_regions_services_and_keys_are_plain_names(door: Door, kept: Kept, sign: str) -> None:
    """Of a signature in the query, where anything can be written, and in a header, by its bytes."""
    for value in (sign, f"us-east-1{sign}", f"{sign}us-east-1"):
        for scope in ({"region": value}, {"service": value}):
            for keys in (door.owner, kept.administrator):
                status, _ = door.send(door.presign(Asked("GET", f"/{BUCKET}"), keys, **scope))
                assert status in REFUSED
        if not any(each in value for each in "\r\n\0"):
            target = {"x-amz-target": "Logs_20140328.DeleteLogGroup"}
            body = json.dumps({"logGroupName": "kept"}).encode()
            asked = Asked("POST", "/", "", target, body)
            for region, service in ((value, "logs"), (REGION, value)):
                signed = door.sign(asked, service, kept.administrator, region)
                assert door.send(signed)[0] in REFUSED
    kept.check()


_JSON = {"content-type": "application/x-amz-json-1.1"}


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
@pytest.mark.parametrize(
    ("service", "target", "parameters"),
    [
        (
            "secretsmanager",
            "secretsmanager.PutSecretValue",
            {"SecretId": "kept", "SecretString": "x"},
        ),
        ("logs", "Logs_20140328.DeleteLogGroup", {"logGroupName": "kept"}),
        ("sqs", "AmazonSQS.CreateQueue", {"QueueName": "kept"}),
        ("ssm", "AmazonSSM.GetParameter", {"Name": "/kept"}),
        ("dynamodb", "DynamoDB_20120810.DescribeTable", {"TableName": "kept"}),
    ],
    ids=["secretsmanager", "logs", "sqs", "ssm", "dynamodb"],
)
def test_names_targets_and_headers_with_signs_reach_nothing(
    door: Door, kept: Kept, sign: str, service: str, target: str, parameters: dict[str, str]
) -> None:
    """By an administrator of another account: in each name, once, twice, and in two places."""
    name, value = next(iter(parameters.items()))
    texts = [value + sign, sign + value, f"{sign}/{ACCOUNT}/{value}", f"{ACCOUNT}{sign}{value}"]
    documents = [json.dumps({**parameters, name: text}) for text in texts]
    twice = json.dumps(parameters)[:-1] + f", {json.dumps(name)}: {json.dumps(texts[0])}}}"
    for body in [*documents, twice]:
        asked = Asked("POST", "/", "", {**_JSON, "x-amz-target": target}, body.encode())
        status, answer = door.send(door.sign(asked, service, kept.administrator))
        assert status < 500, (body, answer)
    document, beside = documents[0].encode(), f"{name}={quote(value + sign, safe='')}"
    places = [("/", beside, target), (f"/{quote(sign, safe='')}", "", target)]
    places.append(("/", f"{beside}&{beside}", target))
    if not any(each in sign for each in "\r\n\0"):
        places += [
            ("/", "", each) for each in (target + sign, sign + target, f"{target}, {target}")
        ]
    for path, query, named in places:
        asked = Asked("POST", path, query, {**_JSON, "x-amz-target": named}, document)
        status, answer = door.send(door.sign(asked, service, kept.administrator))
        assert status < 500, (path, query, named, answer)
    kept.check()


def test_a_form_is_what_its_form_says(door: Door, kept: Kept) -> None:
    """Neither a target beside it nor a queue in another place makes it another request."""
    sqs, cloudformation = door.server.client("sqs"), door.server.client("cloudformation")
    for name in ("door-mine", "door-theirs"):
        sqs.create_queue(QueueName=name)
    theirs = f"/{ACCOUNT}/door-theirs"
    sqs.send_message(QueueUrl=theirs, MessageBody=SECRET)
    queue = {"Type": "AWS::SQS::Queue", "Metadata": {"x": SECRET}}
    cloudformation.create_stack(
        StackName="door-stack", TemplateBody=json.dumps({"Resources": {"Q": queue}})
    )
    user = User(door.server, "door-forms")
    user.may(allow("sqs:*", f"arn:aws:sqs:{REGION}:{ACCOUNT}:door-mine"), "queue")
    user.may(allow("cloudformation:ListStacks"), "stacks")
    keys = _keys(user)
    form = {"content-type": "application/x-www-form-urlencoded"}
    receive = "Action=ReceiveMessage&Version=2012-11-05&VisibilityTimeout=0"
    for method in ("GET", "POST", "PUT", "DELETE"):
        for body in (b"QueueUrl=/000000000000/door-mine", b"Queue%55rl=/000000000000/door-mine"):
            asked = door.sign(Asked(method, theirs, receive, form, body), "sqs", keys)
            status, answer = door.send(asked)
            assert status in REFUSED and SECRET.encode() not in answer
    for action in ("GetTemplate", "DescribeStackResources", "DeleteStack"):
        headers = {**_JSON, "x-amz-target": f"CloudFormation_20100515.{action}"}
        body = json.dumps({"StackName": "door-stack"}).encode()
        listing = Asked("POST", "/", "Action=ListStacks&Version=2010-05-15", headers, body)
        status, answer = door.send(door.sign(listing, "cloudformation", keys))
        assert status in REFUSED and SECRET.encode() not in answer
    (stack,) = cloudformation.describe_stacks(StackName="door-stack")["Stacks"]
    assert not stack["StackStatus"].startswith("DELETE")
    cloudformation.delete_stack(StackName="door-stack")
