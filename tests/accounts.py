"""Principals for tests of permissions: users, roles and another account, on a shared server."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import Server, User, fetch

ACCOUNT = "000000000000"
OTHER = "222222222222"
_NUMBERS = itertools.count()

Key = dict[str, str]
"""Credentials as boto3.client takes them."""


def refusal(call: Callable[[], Any]) -> str:
    """The code that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def denied(*calls: Callable[[], Any]) -> None:
    """Each call is refused because the caller may not."""
    for call in calls:
        assert refusal(call) in ("AccessDenied", "AccessDeniedException")


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """A statement that denies."""
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def grant(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def policy(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal: Any, action: str | list[str] = "sts:AssumeRole", **more: Any) -> str:
    """A trust policy of one statement."""
    return policy({"Effect": "Allow", "Principal": principal, "Action": action, **more})


def new_user(server: Server, *statements: dict[str, Any]) -> User:
    """A user of a name of his own who may do what the statements allow."""
    user = User(server, f"user-{next(_NUMBERS)}")
    if statements:
        user.may(policy(*statements))
    return user


def key_of(answer: Any) -> Key:
    """The credentials in an answer of STS."""
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


class OtherAccount:
    """The account OTHER, asked as its administrator; it has a role "lambda" for functions."""

    role = f"arn:aws:iam::{OTHER}:role/lambda"

    def __init__(self, server: Server) -> None:
        self._user, self.key = _administrator(server)

    def client(self, service: str) -> Any:
        """A client of the administrator's."""
        return self._user.client(service, **self.key)

    def user(self, name: str, *statements: dict[str, Any]) -> Key:
        """The key of a new user of that account."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
        }


_begun: dict[str, tuple[User, Key]] = {}


def _administrator(server: Server) -> tuple[User, Key]:
    """The administrator of the other account, which begins when it is first asked for."""
    if server.endpoint not in _begun:
        user = new_user(server, grant("sts:AssumeRole"))
        role = f"arn:aws:iam::{OTHER}:role/OrganizationAccountAccessRole"
        key = key_of(user.client("sts").assume_role(RoleArn=role, RoleSessionName="admin"))
        service = {"Service": "lambda.amazonaws.com"}
        user.client("iam", **key).create_role(
            RoleName="lambda", AssumeRolePolicyDocument=trust(service)
        )
        _begun[server.endpoint] = user, key
    return _begun[server.endpoint]


def signed(server: Server, key: Key, service: str, region: str, target: str,
           body: dict[str, Any]) -> int:  # fmt: skip
    """The status of a JSON request that is signed for any region, also for what is none."""
    request = AWSRequest(
        "POST", f"{server.endpoint}/", data=json.dumps(body).encode(),
        headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
    )  # fmt: skip
    credentials = Credentials(
        key["aws_access_key_id"], key["aws_secret_access_key"], key.get("aws_session_token")
    )
    SigV4Auth(credentials, service, region).add_auth(request)
    sent = urllib.request.Request(
        request.url, request.data, dict(request.headers), method="POST"
    )  # fmt: skip
    return fetch(sent)[0]
