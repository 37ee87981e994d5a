"""``lambent keys create | ls | revoke``: access keys of users, over IAM's public API."""

from __future__ import annotations

import argparse
import json
from shlex import quote
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from lambent.cli import table
from lambent.cli.client import Client, Refused

_SPACE = "{https://iam.amazonaws.com/doc/2010-05-08/}"


def _ask(client: Client, action: str, **parameters: str) -> ElementTree.Element:
    """One IAM operation; raises Refused."""
    form = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = client.request("POST", "/", form, headers, service="iam").body
    return ElementTree.fromstring(body)  # noqa: S314 - what our own server wrote


def _texts(found: ElementTree.Element, name: str) -> list[str]:
    return [each.text or "" for each in found.iter(_SPACE + name)]


def create(arguments: argparse.Namespace, client: Client) -> int:
    """A key for a user, who is made if there is none of the name; prints the secret, once."""
    try:
        _ask(client, "CreateUser", UserName=arguments.user)
    except Refused as refused:
        if refused.code != "EntityAlreadyExists":
            raise
    if arguments.policy:
        arn = arguments.policy
        if not arn.startswith("arn:"):
            arn = f"arn:aws:iam::aws:policy/{arn}"
        _ask(client, "AttachUserPolicy", UserName=arguments.user, PolicyArn=arn)
    made = _ask(client, "CreateAccessKey", UserName=arguments.user)
    (key,), (secret,) = _texts(made, "AccessKeyId"), _texts(made, "SecretAccessKey")
    if arguments.json:
        found = {"user": arguments.user, "access_key_id": key, "secret_access_key": secret}
        print(json.dumps(found, indent=2))
    else:
        table.say(f"export AWS_ACCESS_KEY_ID={quote(key)}")
        table.say(f"export AWS_SECRET_ACCESS_KEY={quote(secret)}")
    return 0


def ls(arguments: argparse.Namespace, client: Client) -> int:
    """Every user's keys."""
    rows: list[dict[str, Any]] = []
    marker = ""
    while True:
        page = _ask(client, "ListUsers", **({"Marker": marker} if marker else {}))
        for user in _texts(page, "UserName"):
            keys = _ask(client, "ListAccessKeys", UserName=user)
            for key, status, made in zip(
                _texts(keys, "AccessKeyId"),
                _texts(keys, "Status"),
                _texts(keys, "CreateDate"),
                strict=True,
            ):
                rows.append({"key": key, "user": user, "status": status, "created": made})
        marker = "".join(_texts(page, "Marker"))
        if not marker:
            break
    table.show(rows, ("key", "user", "status", "created"), arguments.json)
    return 0


def revoke(arguments: argparse.Namespace, client: Client) -> int:
    """Delete keys; they are refused from the next request on."""
    for key in arguments.keys:
        _ask(client, "DeleteAccessKey", AccessKeyId=key)
    return 0


ACTIONS = {"create": create, "ls": ls, "revoke": revoke}
