"""S3 at a real endpoint, not one of ours: Versity's gateway, which verifies what we sign."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Functions, Server, fetch, make_zip, start_server
from tests.official.functions import ROOT

KEYS = ("remotekey", "a secret of the remote one")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint(clients: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("versity")
    address = f"127.0.0.1:{_free_port()}"
    process = subprocess.Popen(
        [str(ROOT / ".official/s3/versitygw"), "--port", address, "posix", str(folder)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ROOT_ACCESS_KEY": KEYS[0],
            "ROOT_SECRET_KEY": KEYS[1],
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.05)
    yield f"http://{address}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def server(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data: Path = tmp_path_factory.mktemp("server")
    (data / "lambent.toml").write_text(
        f"[neighbours.s3]\nendpoint = {json.dumps(endpoint)}\n"
        f'access_key_id = "{KEYS[0]}"\nsecret_access_key = "{KEYS[1]}"\nregion = "us-east-1"\n'
    )
    started = start_server(data)
    yield started
    assert started.stop() == 0


def test_objects_go_there_and_come_back(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="strange")
    key = "a b+c/ü=x&1"
    s3.put_object(
        Bucket="strange", Key=key, Body=b"x" * 300_000, Metadata={"k": "v"}, ContentType="text/x"
    )
    found = s3.get_object(Bucket="strange", Key=key)
    assert (len(found["Body"].read()), found["Metadata"]) == (300_000, {"k": "v"})
    assert found["ContentType"] == "text/x"
    some = s3.get_object(Bucket="strange", Key=key, Range="bytes=5-9")
    assert (some["Body"].read(), some["ContentRange"]) == (b"xxxxx", "bytes 5-9/300000")
    s3.copy_object(Bucket="strange", Key="copy", CopySource={"Bucket": "strange", "Key": key})
    listed = s3.list_objects_v2(Bucket="strange", Prefix="a b")["Contents"]
    assert [each["Key"] for each in listed] == [key]
    upload = s3.create_multipart_upload(Bucket="strange", Key="parts")["UploadId"]
    where = {"Bucket": "strange", "Key": "parts", "UploadId": upload}
    tag = s3.upload_part(**where, PartNumber=1, Body=b"y" * 5_300_000)["ETag"]
    s3.complete_multipart_upload(
        **where, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]}
    )
    assert s3.head_object(Bucket="strange", Key="parts")["ContentLength"] == 5_300_000
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "strange", "Key": "copy"})
    assert len(fetch(urllib.request.Request(url))[1]) == 300_000
    gone = s3.delete_objects(Bucket="strange", Delete={"Objects": [{"Key": "copy"}]})
    assert [each["Key"] for each in gone["Deleted"]] == ["copy"]
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket="strange", Key="copy")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"


def test_code_comes_from_there(server: Server) -> None:
    s3, functions = server.client("s3"), Functions(server, "strange-code")
    s3.create_bucket(Bucket="strange-code")
    archive = make_zip({"app.py": "def handler(event, context):\n    return event\n"})
    s3.put_object(Bucket="strange-code", Key="app.zip", Body=archive)
    name = functions.create("", Code={"S3Bucket": "strange-code", "S3Key": "app.zip"})
    assert functions.invoke(name, 7).payload == 7
    functions.remove()
