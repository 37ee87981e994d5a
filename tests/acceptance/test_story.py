"""The story of a function, its role and two buckets, told with the AWS CLI and boto3 alone."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.clock import ManualClock
from lambent.iam.keyring import KeyRing
from lambent.iam.sessions import Grant, Sessions
from tests.conftest import RUNTIME, Server, User, allow

ACCOUNT, OTHER = "000000000000", "222222222222"
READER = """
import boto3, botocore
s3 = boto3.client("s3")

def handler(event, context):
    try:
        return s3.get_object(Bucket=event["bucket"], Key="k")["Body"].read().decode()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]
"""
# Of boto3, as much as S3 needs.
PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
DATA = (
    "botocore/data/s3/",
    "botocore/data/sdk-default",
    "botocore/data/partitions",
    "botocore/data/endpoints",
    "botocore/data/_retry",
    "boto3/data/s3/",
)


def with_boto3(source: str) -> bytes:
    """An archive of a function that brings boto3 along."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("app.py"), source)
        for package in PACKAGES:
            spec = importlib.util.find_spec(package)
            assert spec is not None and spec.origin is not None
            origin = Path(spec.origin)
            base = origin.parent.parent if origin.name == "__init__.py" else origin.parent
            files = origin.parent.rglob("*") if origin.name == "__init__.py" else [origin]
            for path in files:
                name = str(path.relative_to(base))
                wanted = "/data/" not in name or name.startswith(DATA)
                if path.is_file() and path.suffix != ".pyc" and wanted:
                    archive.writestr(_entry(name), path.read_bytes())
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


class Cli:
    """The AWS CLI with a key of its own."""

    def __init__(self, server: Server, home: Path, **key: str) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            **{f"AWS_{name.upper()}": value for name, value in key.items()},
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        aws = Path(sys.executable).with_name("aws")
        command = [sys.executable, str(aws), *words, "--output", "json"]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=60
        )

    def __call__(self, *words: str) -> Any:
        """What it says; fails if it does."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout

    def denied(self, *words: str) -> str:
        """What it says when it is refused."""
        done = self.run(*words)
        assert done.returncode != 0, done.stdout
        return done.stderr


def policy(effect: str, action: str, resource: str | None = None, **more: Any) -> str:
    statement = {"Effect": effect, "Action": action, **more}
    if resource is not None:
        statement["Resource"] = resource
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_the_story(servers: Callable[..., Server], tmp_path: Path) -> None:
    server = servers()
    owner = Cli(
        server,
        tmp_path,
        access_key_id=server.key["access_key_id"],
        secret_access_key=server.key["secret_access_key"],
    )

    # Two buckets, an object in each.
    (tmp_path / "object").write_text("what is in it")
    for bucket in ("open-bucket", "shut-bucket"):
        owner("s3", "mb", f"s3://{bucket}")
        owner("s3", "cp", str(tmp_path / "object"), f"s3://{bucket}/k")

    # A role that trusts Lambda and may read one of them; a function with that role.
    trust = policy("Allow", "sts:AssumeRole", Principal={"Service": "lambda.amazonaws.com"})
    role = owner(
        "iam", "create-role", "--role-name", "reader", "--assume-role-policy-document", trust
    )["Role"]["Arn"]
    reads = owner(
        "iam",
        "create-policy",
        "--policy-name",
        "reads",
        "--policy-document",
        policy("Allow", "s3:GetObject", "arn:aws:s3:::open-bucket/*"),
    )["Policy"]["Arn"]
    attachment = ("--role-name", "reader", "--policy-arn", reads)
    owner("iam", "attach-role-policy", *attachment)
    functions = server.client("lambda")
    functions.create_function(
        FunctionName="reader",
        Runtime=RUNTIME,
        Role=role,
        Handler="app.handler",
        Timeout=30,
        MemorySize=512,
        Code={"ZipFile": with_boto3(READER)},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="reader")

    def read(bucket: str) -> Any:
        payload = json.dumps({"bucket": bucket})
        answer = functions.invoke(FunctionName="reader", Payload=payload)
        found = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, found
        return found

    assert read("open-bucket") == "what is in it"
    assert read("shut-bucket") == {
        "Code": "AccessDenied",
        "Message": f"User: arn:aws:sts::{ACCOUNT}:assumed-role/reader/reader is not authorized to "
        "perform: s3:GetObject on resource: arn:aws:s3:::shut-bucket/k because no identity-based "
        "policy allows the s3:GetObject action",
    }

    # Detached and attached: at once, in an environment that is warm.
    owner("iam", "detach-role-policy", *attachment)
    assert read("open-bucket")["Code"] == "AccessDenied"
    owner("iam", "attach-role-policy", *attachment)
    assert read("open-bucket") == "what is in it"
    # The bucket's own policy has a say, too: to let in, and to keep out, whoever it is.
    everything = {"Principal": "*"}
    shut = "arn:aws:s3:::shut-bucket/*"
    let_in = policy("Allow", "s3:GetObject", shut, Principal={"AWS": role})
    owner("s3api", "put-bucket-policy", "--bucket", "shut-bucket", "--policy", let_in)
    assert read("shut-bucket") == "what is in it"
    keep_out = policy("Deny", "s3:GetObject", shut, **everything)
    owner("s3api", "put-bucket-policy", "--bucket", "shut-bucket", "--policy", keep_out)
    assert "explicit deny in a resource-based policy" in read("shut-bucket")["Message"]
    owner.denied("s3", "cp", "s3://shut-bucket/k", "-")
    owner("s3api", "delete-bucket-policy", "--bucket", "shut-bucket")

    # A second account sees nothing of it until both sides let it.
    keys = _of_another_account(server)
    there = Cli(server, tmp_path, **keys)
    assert there("sts", "get-caller-identity")["Account"] == OTHER
    assert there("s3api", "list-buckets")["Buckets"] == []
    there("s3", "mb", "s3://their-bucket")
    there("s3", "cp", str(tmp_path / "object"), "s3://their-bucket/k")
    assert "BucketAlreadyExists" in there.denied("s3", "mb", "s3://open-bucket")
    assert "403" in there.denied("s3", "cp", "s3://open-bucket/k", "-")
    assert read("their-bucket")["Code"] == "AccessDenied"
    to_us = policy("Allow", "s3:GetObject", "arn:aws:s3:::their-bucket/*", Principal={"AWS": role})
    there("s3api", "put-bucket-policy", "--bucket", "their-bucket", "--policy", to_us)
    assert read("their-bucket")["Code"] == "AccessDenied"
    owner(
        "iam",
        "put-role-policy",
        "--role-name",
        "reader",
        "--policy-name",
        "theirs",
        "--policy-document",
        policy("Allow", "s3:GetObject", "arn:aws:s3:::their-bucket/*"),
    )
    assert read("their-bucket") == "what is in it"

    # A session that is over, a forged signature, a stolen key that was revoked.
    over = _that_is_over(tmp_path / "data", role)
    assert "ExpiredToken" in Cli(server, tmp_path, **over).denied("s3api", "list-buckets")
    assert "ExpiredToken" in Cli(server, tmp_path, **over).denied("lambda", "list-functions")
    forged = {"access_key_id": server.key["access_key_id"], "secret_access_key": "guessed"}
    assert "SignatureDoesNotMatch" in Cli(server, tmp_path, **forged).denied(
        "s3api", "list-buckets"
    )
    owner("iam", "create-user", "--user-name", "ann")
    owner(
        "iam",
        "attach-user-policy",
        "--user-name",
        "ann",
        "--policy-arn",
        "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
    )
    made = owner("iam", "create-access-key", "--user-name", "ann")["AccessKey"]
    stolen = {
        "access_key_id": made["AccessKeyId"],
        "secret_access_key": made["SecretAccessKey"],
    }
    thief = Cli(server, tmp_path, **stolen)
    assert len(thief("s3api", "list-buckets")["Buckets"]) == 2
    assert "AccessDenied" in thief.denied("s3", "mb", "s3://mine-now")
    lambent = [sys.executable, "-m", "lambent", "keys", "revoke", made["AccessKeyId"]]
    revoking = {**os.environ, "LAMBENT_DATA_DIR": str(tmp_path / "data")}
    subprocess.run(lambent, env=revoking, check=True, capture_output=True)
    assert "InvalidAccessKeyId" in thief.denied("s3api", "list-buckets")


def _of_another_account(server: Server) -> dict[str, str]:
    """Credentials of a second account, as members of an organization begin."""
    founder = User(server, "founder")
    founder.may(allow("sts:AssumeRole"))
    sts = founder.client("sts")
    given = sts.assume_role(
        RoleArn=f"arn:aws:iam::{OTHER}:role/OrganizationAccountAccessRole", RoleSessionName="first"
    )["Credentials"]
    return {
        "access_key_id": given["AccessKeyId"],
        "secret_access_key": given["SecretAccessKey"],
        "session_token": given["SessionToken"],
    }


def _that_is_over(data: Path, role: str) -> dict[str, str]:
    """Credentials this server gave out a day ago."""
    clock = ManualClock(time.time() - 86_400)
    sessions = Sessions(clock, KeyRing.open(data / "secret.key"))
    session = sessions.issue(Grant(ACCOUNT, role, "old", "AROA"))
    return {
        "access_key_id": session.access_key_id,
        "secret_access_key": session.secret,
        "session_token": session.token,
    }


def test_who_may_not_list_a_bucket_is_not_told_what_it_lacks(server: Server) -> None:
    server.client("s3").create_bucket(Bucket="reticent")
    curious = User(server, "curious")
    curious.may(allow("s3:GetObject", "arn:aws:s3:::reticent/*"))
    theirs = curious.client("s3")
    with pytest.raises(ClientError) as refused:
        theirs.get_object(Bucket="reticent", Key="nothing")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    curious.may(allow("s3:ListBucket", "arn:aws:s3:::reticent"), "list")
    with pytest.raises(ClientError) as missing:
        theirs.get_object(Bucket="reticent", Key="nothing")
    assert missing.value.response["Error"]["Code"] == "NoSuchKey"
