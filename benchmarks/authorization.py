"""What it costs to decide on an invocation where 200 statements are in force."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from lambent.api.authorization import Authorization, of_lambda
from lambent.api.context import Context
from lambent.clock import SystemClock
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder, ManagedPolicy, PolicyVersion
from lambent.store.sqlite import SqliteStore

_STATEMENTS = 200
_ROUNDS = 5_000


def _policies() -> list[list[dict[str, Any]]]:
    """Ten policies of twenty statements, a quarter of them about the action, some conditional."""
    found: list[list[dict[str, Any]]] = []
    for policy in range(10):
        statements: list[dict[str, Any]] = []
        for number in range(_STATEMENTS // 10):
            action = "lambda:InvokeFunction" if number % 4 == 0 else f"s3:Get{number}*"
            statement: dict[str, Any] = {
                "Effect": "Allow" if number else "Deny",
                "Action": action,
                "Resource": f"arn:aws:lambda:*:*:function:f-{policy}-{number}*",
            }
            if number % 8 == 0:
                statement["Condition"] = {"StringEquals": {"aws:PrincipalTag/team": "blue"}}
            statements.append(statement)
        found.append(statements)
    return found


async def _measure(folder: Path) -> float:
    store = SqliteStore(folder / "metadata.db")
    await store.open()
    directory = Directory(store)
    await directory.open()
    user = Holder(kind="user", account="0", name="ann", path="/", identifier="AIDA", created=0.0)
    attached = []
    for number, statements in enumerate(_policies()):
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        version = PolicyVersion("v1", document, 0.0)
        policy = ManagedPolicy(
            account="0", name=f"p{number}", path="/", identifier="ANPA", created=0.0, updated=0.0,
            description="", versions=(version,), default="v1",
        )  # fmt: skip
        attached.append((await directory.create_policy(policy)).arn)
    user = Holder(
        kind="user", account="0", name="ann", path="/", identifier="AIDA", created=0.0,
        attached=tuple(attached), tags={"team": "blue"},
    )  # fmt: skip
    await directory.create(user)
    authorization = Authorization(Authorizer(directory, SystemClock(), "enforce"), of_lambda)
    principal = Principal("0", "AKIA", "us-east-1", "lambda", user=user)
    context = Context(principal, "http://here", {})
    parameters = {"FunctionName": "f-9-8"}
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        await authorization.check("Invoke", context, parameters)
        took.append(time.perf_counter() - began)
    directory.close()
    await store.close()
    return statistics.median(took) * 1e6


def run(table: Any) -> None:
    """One figure."""
    with tempfile.TemporaryDirectory() as folder:
        value = asyncio.run(_measure(Path(folder)))
    table.add(f"a decision with {_STATEMENTS} statements, p50", value, 15, True, " us")
