"""The services beside Lambda, embedded: on the same endpoint, durable, and mended when they die."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import ROLE, RUNTIME, Server, fetch, make_zip

# What a crash may lose at most, and some for a busy machine.
LAST_SECOND = 1.0


def eventually(ask: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first answer that is neither an error nor empty."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = ask()
            if found:
                return found
        except ClientError:
            pass
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def neighbours_of(server: Server) -> int:
    """The pid of a server's neighbours."""
    folder = os.fsencode(server.data.resolve() / "neighbours")
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"lambent.neighbours.ministack" in line and folder in line:
                return int(entry.name)
    raise AssertionError("there is no such process")


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_objects_are_kept_and_read(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    key = "a b+c/ü?x=1&y"
    s3.put_object(Bucket="kept", Key=key, Body=b"x" * 1000, Metadata={"k": "v"}, Tagging="a=b")
    found = s3.get_object(Bucket="kept", Key=key, Range="bytes=0-9")
    assert (found["Body"].read(), found["Metadata"]) == (b"x" * 10, {"k": "v"})
    assert s3.get_object_tagging(Bucket="kept", Key=key)["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.copy_object(Bucket="kept", Key="copy", CopySource={"Bucket": "kept", "Key": key})
    listed = s3.list_objects_v2(Bucket="kept")["Contents"]
    assert [(each["Key"], each["Size"]) for each in listed] == [(key, 1000), ("copy", 1000)]
    gone = s3.delete_objects(Bucket="kept", Delete={"Objects": [{"Key": "copy"}, {"Key": key}]})
    assert len(gone["Deleted"]) == 2
    assert refusal(s3.get_object, Bucket="kept", Key=key) == "NoSuchKey"
    assert "kept" in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    s3.delete_bucket(Bucket="kept")
    assert refusal(s3.list_objects_v2, Bucket="kept") == "NoSuchBucket"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_put_and_get(server: Server, version: str) -> None:
    s3 = server.client("s3", signature_version=version)
    bucket = f"presigned-{version}"
    server.client("s3").create_bucket(Bucket=bucket)
    where = {"Bucket": bucket, "Key": "k é"}
    url = s3.generate_presigned_url("put_object", Params={**where, "ContentType": "text/x"})
    request = urllib.request.Request(
        url, data=b"presigned", method="PUT", headers={"Content-Type": "text/x"}
    )
    assert fetch(request)[0] == 200
    url = s3.generate_presigned_url("get_object", Params={**where, "ResponseContentType": "text/y"})
    _, body, headers = fetch(url)
    assert (body, headers["content-type"]) == (b"presigned", "text/y")
    status, body, _ = fetch(url.replace("k%20", "l%20"))
    assert status == 403 and b"SignatureDoesNotMatch" in body


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_is_good_for_nothing_that_was_not_signed(
    server: Server, version: str
) -> None:
    """Who was given a URL to put one object cannot copy another with it."""
    given = server.client("sts").get_session_token()["Credentials"]
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(signature_version=version),
    )
    owner, bucket = server.client("s3"), f"given-{version}"
    owner.create_bucket(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    where = {"Bucket": bucket, "Key": "k", "ContentType": "text/x"}
    url = s3.generate_presigned_url("put_object", Params={**where, "Metadata": {"a": "b"}})
    signed = {"Content-Type": "text/x", "x-amz-meta-a": "b"}

    def put(url: str, **more: str) -> tuple[int, bytes, dict[str, str]]:
        headers = {**signed, **{name.replace("_", "-"): value for name, value in more.items()}}
        return fetch(urllib.request.Request(url, data=b"new", method="PUT", headers=headers))

    source = f"/{bucket}/secret"
    assert put(url, x_amz_copy_source=source)[0] == 403
    assert put(f"{url}&x-amz-copy-source={source}")[0] == 403
    assert put(url, x_amz_acl="public-read")[0] == 403
    assert put(url)[0] == 200
    found = owner.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["Metadata"]) == (b"new", {"a": "b"})


def test_a_bucket_may_be_named_by_the_host(server: Server) -> None:
    port = server.endpoint.rpartition(":")[2]
    for method, path, body in (("PUT", "/", b""), ("PUT", "/k/l", b"v")):
        url = f"http://virtual-one.s3.us-east-1.localhost:{port}{path}"
        request = AWSRequest(method, url, data=body)
        _sign(server, request)
        request.headers["Host"] = f"virtual-one.s3.us-east-1.localhost:{port}"
        there = urllib.request.Request(
            server.endpoint + path, data=body, method=method, headers=dict(request.headers)
        )
        assert fetch(there)[0] == 200
    assert server.client("s3").get_object(Bucket="virtual-one", Key="k/l")["Body"].read() == b"v"


def _sign(server: Server, request: AWSRequest) -> None:
    keys = Credentials(server.key["access_key_id"], server.key["secret_access_key"])
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)


def test_tables_queues_topics_streams_keys_and_secrets_answer(server: Server) -> None:
    dynamodb = server.client("dynamodb")
    dynamodb.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    dynamodb.put_item(TableName="items", Item={"k": {"S": "1"}})
    assert dynamodb.get_item(TableName="items", Key={"k": {"S": "1"}})["Item"]
    streams = server.client("dynamodbstreams")
    arn = streams.list_streams(TableName="items")["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert len(streams.get_records(ShardIterator=iterator)["Records"]) == 1

    sqs, sns, events = (server.client(name) for name in ("sqs", "sns", "events"))
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    assert url == f"{server.endpoint}/000000000000/inbox"
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
    assert sns.create_topic(Name="news")["TopicArn"].endswith(":news")
    events.put_rule(Name="rule", EventPattern='{"source": ["mine"]}')
    assert events.list_rules()["Rules"][0]["Name"] == "rule"

    kinesis = server.client("kinesis")
    kinesis.create_stream(StreamName="flow", ShardCount=1)
    kinesis.put_record(StreamName="flow", Data=b"drop", PartitionKey="p")
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
    secret = kms.encrypt(KeyId="alias/mine", Plaintext=b"s")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"s"
    ssm = server.client("ssm")
    ssm.put_parameter(Name="/a/b", Value="v", Type="SecureString")
    assert ssm.get_parameter(Name="/a/b", WithDecryption=True)["Parameter"]["Value"] == "v"
    vault = server.client("secretsmanager")
    vault.create_secret(Name="sesame", SecretString="open")
    assert vault.get_secret_value(SecretId="sesame")["SecretString"] == "open"
    scheduler = server.client("scheduler")
    scheduler.create_schedule(
        Name="hourly",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:sqs:us-east-1:000000000000:inbox", "RoleArn": ROLE},
    )
    assert scheduler.get_schedule(Name="hourly")["State"] == "ENABLED"
    stacks = server.client("cloudformation")
    template = {
        "Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "made"}}}
    }
    stacks.create_stack(StackName="stack", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(
        StackName="stack", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert sqs.get_queue_url(QueueName="made")["QueueUrl"].endswith("/made")


def test_regions_are_apart(server: Server) -> None:
    elsewhere = boto3.client(
        "sqs",
        endpoint_url=server.endpoint,
        region_name="eu-central-1",
        aws_access_key_id=server.key["access_key_id"],
        aws_secret_access_key=server.key["secret_access_key"],
    )
    elsewhere.create_queue(QueueName="only-there")
    assert refusal(server.client("sqs").get_queue_url, QueueName="only-there") == (
        "AWS.SimpleQueueService.NonExistentQueue"
    )


def test_code_of_a_function_comes_from_s3(server: Server) -> None:
    s3, functions = server.client("s3"), server.client()
    s3.create_bucket(Bucket="code")
    archive = make_zip({"app.py": "def handler(event, context):\n    return event\n"})
    s3.put_object(Bucket="code", Key="app.zip", Body=archive)
    made: dict[str, Any] = {
        "FunctionName": "from-s3",
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "app.handler",
    }
    functions.create_function(**made, Code={"S3Bucket": "code", "S3Key": "app.zip"})
    functions.get_waiter("function_active_v2").wait(FunctionName="from-s3")
    answer = functions.invoke(FunctionName="from-s3", Payload=b'"hi"')
    assert answer["Payload"].read() == b'"hi"'
    functions.delete_function(FunctionName="from-s3")
    with pytest.raises(ClientError) as missing:
        functions.create_function(**made, Code={"S3Bucket": "code", "S3Key": "nope.zip"})
    assert "S3 Error Code: NoSuchKey" in str(missing.value)


def _keep_something(server: Server) -> None:
    s3, sqs = server.client("s3"), server.client("sqs")
    s3.create_bucket(Bucket="lasting", ObjectLockEnabledForBucket=False)
    s3.put_bucket_versioning(Bucket="lasting", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="lasting", Key="k", Body=b"first")
    s3.put_object(Bucket="lasting", Key="k", Body=b"second", Metadata={"a": "b"})
    url = sqs.create_queue(QueueName="lasting")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="kept")


def _is_kept(server: Server) -> None:
    s3, sqs = server.client("s3"), server.client("sqs")
    found = eventually(lambda: s3.get_object(Bucket="lasting", Key="k"))
    assert (found["Body"].read(), found["Metadata"]) == (b"second", {"a": "b"})
    versions = s3.list_object_versions(Bucket="lasting")["Versions"]
    assert len(versions) == 2
    url = sqs.get_queue_url(QueueName="lasting")["QueueUrl"]
    message = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"][0]
    assert message["Body"] == "kept"


def test_an_orderly_stop_loses_nothing(servers: Callable[..., Server]) -> None:
    first = servers()
    _keep_something(first)
    pid = neighbours_of(first)
    assert first.stop() == 0
    assert not Path(f"/proc/{pid}").exists()
    _is_kept(servers())


def test_a_crash_of_the_server_takes_the_neighbours_down_in_order(
    servers: Callable[..., Server],
) -> None:
    first = servers()
    _keep_something(first)
    first.kill()
    _is_kept(servers())


def test_a_crash_of_the_neighbours_is_mended_while_lambda_goes_on(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    functions = server.client()
    functions.create_function(
        FunctionName="steady",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": make_zip({"app.py": "def handler(event, context):\n    return event\n"})},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="steady")
    _keep_something(server)
    time.sleep(LAST_SECOND)
    pid = neighbours_of(server)
    os.kill(pid, signal.SIGKILL)
    assert functions.invoke(FunctionName="steady", Payload=b"1")["Payload"].read() == b"1"
    _is_kept(server)
    assert neighbours_of(server) != pid


def test_services_that_do_not_answer_are_ended_and_started_again(
    servers: Callable[..., Server],
) -> None:
    server = servers("--embedded-silent-seconds", "0.2")
    _keep_something(server)
    time.sleep(LAST_SECOND)
    pid = neighbours_of(server)
    os.kill(pid, signal.SIGSTOP)
    _is_kept(server)
    assert neighbours_of(server) != pid


@pytest.mark.parametrize("victim", ["neighbours", "server"])
def test_what_was_acknowledged_a_second_before_any_crash_is_there(
    servers: Callable[..., Server], victim: str
) -> None:
    """Three lives under load, each ended at an instant of the dice's choosing."""
    dice = random.Random(f"crash of {victim}")
    told: list[tuple[float, str]] = []
    sure: set[str] = set()
    server = servers()
    server.client("s3").create_bucket(Bucket="lives")
    server.client("sqs").create_queue(QueueName="lives")
    server.client("ssm").put_parameter(Name="/lives/first", Value="x", Type="String")
    time.sleep(LAST_SECOND)
    for life in range(3):
        ended = threading.Event()

        def write(life: int = life, server: Server = server, ended: Any = ended) -> None:
            s3, sqs, ssm = (server.client(name) for name in ("s3", "sqs", "ssm"))
            url = f"{server.endpoint}/000000000000/lives"
            for number in itertools.count():
                name = f"{life}-{number}"
                try:
                    s3.put_object(Bucket="lives", Key=name, Body=name.encode())
                    ssm.put_parameter(Name=f"/lives/{name}", Value=name, Type="String")
                    sqs.send_message(QueueUrl=url, MessageBody=name)
                except (BotoCoreError, ClientError):
                    if ended.is_set():
                        return
                    continue
                told.append((time.monotonic(), name))
                if ended.is_set():
                    return

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(2 + dice.random())
        at = time.monotonic()
        if victim == "server":
            server.kill()
        else:
            os.kill(neighbours_of(server), signal.SIGKILL)
        ended.set()
        writer.join()
        if victim == "server":
            server = servers()
        s3, ssm = server.client("s3"), server.client("ssm")
        listed = eventually(partial(s3.get_paginator("list_objects_v2").paginate, Bucket="lives"))
        kept = {each["Key"] for page in listed for each in page["Contents"]}
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/lives")
        named = {each["Value"] for page in pages for each in page["Parameters"]}
        sure |= {name for when, name in told if when < at - LAST_SECOND}
        told.clear()
        assert len(sure) > 10
        assert sure <= kept and sure <= named
        some = s3.get_object(Bucket="lives", Key=max(sure))["Body"].read()
        assert some == max(sure).encode()
    url = f"{server.endpoint}/000000000000/lives"
    count = server.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    assert int(count["ApproximateNumberOfMessages"]) >= len(sure)


def test_state_that_cannot_be_read_is_set_aside(
    servers: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = servers()
    _keep_something(first)
    assert first.stop() == 0
    state = tmp_path / "data" / "neighbours" / "state"
    whole = (state / "sqs.json").read_bytes()
    (state / "sqs.json").write_bytes(whole[: len(whole) // 2])
    second = servers()
    assert refusal(second.client("sqs").get_queue_url, QueueName="lasting") == (
        "AWS.SimpleQueueService.NonExistentQueue"
    )
    second.client("sqs").create_queue(QueueName="new")
    assert second.client("s3").get_object(Bucket="lasting", Key="k")["Body"].read() == b"second"
    assert second.stop() == 0
    (aside,) = state.glob("sqs.json.unreadable-*")
    assert aside.read_bytes() == whole[: len(whole) // 2]
    assert "the state of sqs cannot be read" in capfd.readouterr().err
    assert b"/new" in (state / "sqs.json").read_bytes()


def _resident(pid: int) -> int:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError


def test_large_objects_stream_through_the_gateway(servers: Callable[..., Server]) -> None:
    server = servers()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="large")
    before = _resident(server.process.pid)
    body = os.urandom(1024 * 1024) * 128
    s3.put_object(Bucket="large", Key="k", Body=body)
    found = s3.get_object(Bucket="large", Key="k")["Body"]
    total = 0
    while piece := found.read(1024 * 1024):
        assert piece == body[total : total + len(piece)]
        total += len(piece)
    assert total == len(body)
    assert _resident(server.process.pid) - before < 32


def test_what_is_too_large_is_refused(servers: Callable[..., Server]) -> None:
    server = servers("--object-bytes", "100000")
    s3 = server.client("s3")
    s3.create_bucket(Bucket="small")
    s3.put_object(Bucket="small", Key="k", Body=b"x" * 100_000)
    assert refusal(s3.put_object, Bucket="small", Key="l", Body=b"x" * 100_001) == "EntityTooLarge"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="small")["Contents"]] == ["k"]
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="small")["QueueUrl"]
    large = {"QueueUrl": url, "MessageBody": "x" * (13 * 1024 * 1024)}
    assert "TooLarge" in refusal(sqs.send_message, **large)


def test_a_body_that_is_not_what_was_signed_is_not_kept(server: Server) -> None:
    server.client("s3").create_bucket(Bucket="honest")
    request = AWSRequest("PUT", f"{server.endpoint}/honest/k", data=b"x" * 300_000)
    _sign(server, request)
    forged = urllib.request.Request(
        request.url, data=b"x" * 299_999 + b"y", method="PUT", headers=dict(request.headers)
    )
    assert b"XAmzContentSHA256Mismatch" in fetch(forged)[1]
    assert refusal(server.client("s3").get_object, Bucket="honest", Key="k") == "NoSuchKey"
