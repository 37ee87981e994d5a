"""Roles: whom a trust policy lets in, and what is left of a session when its role is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Functions, Server, User, allow

ACCOUNT = "000000000000"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def refused(call: Callable[[], Any]) -> str:
    """The code of a refusal."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def trust(principal: dict[str, str] | str, action: str | list[str] = "sts:AssumeRole",
          **more: Any) -> str:  # fmt: skip
    """A trust policy of one statement."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def assume(user: User, name: str, **more: Any) -> dict[str, str]:
    """Credentials of a role, as a client takes them."""
    answer = user.client("sts").assume_role(
        RoleArn=role_arn(name), RoleSessionName="session", **more
    )
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def test_a_role_is_not_assumed_within_its_account_unless_its_trust_policy_allows(
    server: Server,
) -> None:
    bob = User(server, "trust-bob")
    mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    shared = {"StringEquals": {"sts:ExternalId": "shared"}}
    trusts = {
        "service": trust({"Service": "lambda.amazonaws.com"}),
        "alice": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/trust-alice"}),
        "external": trust({"AWS": ROOT}, Condition=shared),
        "mfa": trust({"AWS": ROOT}, Condition=mfa),
        "tags": trust({"AWS": ROOT}, "sts:TagSession"),
    }
    for name, document in trusts.items():
        server.client("iam").create_role(
            RoleName=f"trust-{name}", AssumeRolePolicyDocument=document
        )
    bob.may(allow("sts:*", role_arn("trust-*")))
    for name in trusts:
        assert refused(lambda name=name: assume(bob, f"trust-{name}")) == "AccessDenied"  # type: ignore[misc]
    assume(bob, "trust-external", ExternalId="shared")


def test_tags_and_a_source_identity_need_the_trust_policy_too(server: Server) -> None:
    bob = User(server, "trust-tagger")
    bob.may(allow("sts:*"))
    server.client("iam").create_role(
        RoleName="trust-plain", AssumeRolePolicyDocument=trust({"AWS": ROOT})
    )
    assume(bob, "trust-plain")
    tags = [{"Key": "team", "Value": "blue"}]
    assert refused(lambda: assume(bob, "trust-plain", Tags=tags)) == "AccessDenied"
    assert refused(lambda: assume(bob, "trust-plain", SourceIdentity="eve")) == "AccessDenied"
    wider = trust({"AWS": ROOT}, ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"])
    server.client("iam").update_assume_role_policy(RoleName="trust-plain", PolicyDocument=wider)
    assume(bob, "trust-plain", Tags=tags, SourceIdentity="bob")


def test_a_function_whose_role_may_assume_every_role_becomes_only_those_that_trust_it(
    server: Server, functions: Functions
) -> None:
    iam = server.client("iam")
    service = trust({"Service": "lambda.amazonaws.com"})
    for name in ("trust-function", "trust-service-too"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=service)
    it = trust({"AWS": role_arn("trust-function")})
    iam.create_role(RoleName="trust-function-itself", AssumeRolePolicyDocument=it)
    iam.put_role_policy(
        RoleName="trust-function", PolicyName="p", PolicyDocument=allow("sts:AssumeRole")
    )
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    names = ('ACCESS_KEY_ID', 'SECRET_ACCESS_KEY', 'SESSION_TOKEN')\n"
        "    return {'aws_' + name.lower(): os.environ['AWS_' + name] for name in names}\n"
    )
    name = functions.create(source, Role=role_arn("trust-function"))
    sts = User(server, "trust-nobody").client("sts", **functions.invoke(name).payload)

    def become(role: str) -> Any:
        return sts.assume_role(RoleArn=role_arn(role), RoleSessionName="it")

    assert refused(lambda: become("trust-service-too")) == "AccessDenied"
    assert become("trust-function-itself")["Credentials"]


def test_a_session_ends_with_its_role_though_a_policy_names_its_arn(server: Server) -> None:
    iam, s3 = server.client("iam"), server.client("s3")
    user = User(server, "phoenix-user")
    document = trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/phoenix-user"})
    iam.create_role(RoleName="phoenix", AssumeRolePolicyDocument=document)
    s3.create_bucket(Bucket="phoenix-bucket")
    s3.put_object(Bucket="phoenix-bucket", Key="k", Body=b"ashes")
    named = {"AWS": role_arn("phoenix")}
    policy = allow("s3:GetObject", "arn:aws:s3:::phoenix-bucket/*", Principal=named)
    s3.put_bucket_policy(Bucket="phoenix-bucket", Policy=policy)
    old = assume(user, "phoenix")

    def read(credentials: dict[str, str]) -> bytes:
        bucket = user.client("s3", **credentials)
        return bytes(bucket.get_object(Bucket="phoenix-bucket", Key="k")["Body"].read())

    assert read(old) == b"ashes"
    iam.delete_role(RoleName="phoenix")
    assert refused(lambda: read(old)) == "InvalidAccessKeyId"
    iam.create_role(RoleName="phoenix", AssumeRolePolicyDocument=document)
    assert refused(lambda: read(old)) == "InvalidAccessKeyId"
    who = user.client("sts", **old)
    assert refused(who.get_caller_identity) == "InvalidClientTokenId"
    assert read(assume(user, "phoenix")) == b"ashes"
