"""``lambent url``: give a function a URL, show it, take it away."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import quote

from lambent.cli import table
from lambent.cli.client import Client, Refused

# What lets everybody in; both are needed since October 2025.
_PUBLIC: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("FunctionURLAllowPublicAccess", "InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}),
    ("FunctionURLInvokeAllowPublicAccess", "InvokeFunction", {"InvokedViaFunctionUrl": True}),
)


def run(arguments: argparse.Namespace, client: Client) -> int:
    """Print the URL; made if there was none."""
    name = quote(arguments.name, safe="")
    path = f"/2021-10-31/functions/{name}/url"
    policy = f"/2015-03-31/functions/{name}/policy"
    if arguments.rm:
        client.request("DELETE", path)
        for statement, _, _ in _PUBLIC:
            try:
                client.request("DELETE", f"{policy}/{statement}")
            except Refused as refused:
                if refused.code != "ResourceNotFoundException":
                    raise
        return 0
    wanted = {
        "AuthType": "AWS_IAM" if arguments.private else "NONE",
        "InvokeMode": "RESPONSE_STREAM" if arguments.stream else "BUFFERED",
    }
    try:
        answer = client.request("POST", path, json.dumps(wanted).encode())
    except Refused as refused:
        if refused.code != "ResourceConflictException":
            raise
        answer = client.request("PUT", path, json.dumps(wanted).encode())
    for statement, action, condition in () if arguments.private else _PUBLIC:
        permission = {
            "StatementId": statement,
            "Action": f"lambda:{action}",
            "Principal": "*",
            **condition,
        }
        try:
            client.request("POST", policy, json.dumps(permission).encode())
        except Refused as refused:
            if refused.code != "ResourceConflictException":
                raise
    found = answer.json()
    if arguments.json:
        table.show([found], (), True)
    else:
        table.say(found["FunctionUrl"])
    return 0
