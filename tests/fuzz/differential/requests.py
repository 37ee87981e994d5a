"""Valid requests of every operation, from AWS's service models."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from tests.fuzz.differential.rig import OWNER
from tests.fuzz.differential.world import World, candidates

# The services that are offered; what of their models is not, the gateway refuses.
SERVICES = (
    "s3",
    "dynamodb",
    "dynamodbstreams",
    "sqs",
    "sns",
    "events",
    "scheduler",
    "kinesis",
    "kms",
    "ssm",
    "secretsmanager",
    "cloudformation",
)
# Lambent's own: of these, no answer is a failure.
OWN = ("lambda", "iam", "sts", "logs", "cloudwatch")
_DEEPEST = 5
# Their answers go on.
_ENDLESS = ("StartLiveTail", "SubscribeToShard")
# What is asked for more often than the rest: it moves content, or names several things.
_DELICATE = (
    "Copy|Batch|Transact|Execute|Receive|Get(Object|Item|Secret|Param|Records)|Query|Scan|Import"
    "|Export|Restore|Replication|Redrive|Put(Object|Item|Events|Targets|Rule)$|Decrypt|ReEncrypt"
    "|(Get|List|Describe|Create|Update|Delete)(Stack|Template|ChangeSet|Schedule)s?$|Purge|Publish"
)
# What makes a setting work.
TRIGGERS = {
    "s3": ("PutObject", "GetObject", "CopyObject"),
    "dynamodb": ("PutItem", "GetItem"),
    "sqs": ("ReceiveMessage", "SendMessage"),
    "sns": ("Publish",),
    "events": ("PutEvents",),
    "kinesis": ("PutRecord",),
    "cloudformation": ("ExecuteChangeSet",),
}


@cache
def model(service: str) -> ServiceModel:
    """AWS's model of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def operations(service: str) -> list[str]:
    """The operations worth a try: of Systems Manager only the Parameter Store is offered."""
    names = [each for each in model(service).operation_names if each not in _ENDLESS]
    return [each for each in names if "Parameter" in each] if service == "ssm" else names


@cache
def _delicate(service: str) -> list[str]:
    return [each for each in operations(service) if re.search(_DELICATE, each)]


def chosen(service: str, dice: Random) -> str:
    """An operation."""
    delicate = _delicate(service)
    return dice.choice(delicate if delicate and dice.random() < 0.5 else operations(service))


@cache
def members(service: str) -> list[str]:
    """Every member of any operation's request."""
    found: set[str] = set()
    for name in operations(service):
        shape = model(service).operation_model(name).input_shape
        found.update(shape.members if shape is not None else ())
    return sorted(found)


@dataclass
class Wire:
    """A request before it is signed; headers by lower-case names, query as it is sent."""

    service: str
    operation: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    notes: list[str] = field(default_factory=list)
    presigned: bool = False

    def __str__(self) -> str:
        target = self.path + ("?" + self.query if self.query else "")
        how = "presigned" if self.presigned else "signed"
        return (
            f"{self.service} {self.operation} ({', '.join(self.notes) or 'plain'}; {how}):\n"
            f"      {self.method} {target}\n      {self.headers}\n      {self.body[:600]!r}"
        )


_PROTOCOLS = ("json", "query", "rest-json", "rest-xml", "smithy-rpc-v2-cbor")


class Maker:
    """Makes requests about a world's things; who: whose names they hold ("mine", "victim")."""

    def __init__(self, world: World, dice: Random) -> None:
        self._world = world
        self._dice = dice

    def request(self, service: str, operation: str, who: str) -> Wire:
        """One request that AWS's client could have made."""
        described = model(service).operation_model(operation)
        shape = described.input_shape
        given = {} if shape is None else self._structure(service, shape, who, 0)
        protocols = model(service).metadata.get("protocols", [model(service).metadata["protocol"]])
        protocol = self._dice.choice([each for each in protocols if each in _PROTOCOLS])
        serializer = create_serializer(protocol, include_validation=False)
        made = serializer.serialize_to_request(given, described)
        path, _, fixed = made["url_path"].partition("?")
        pairs = made["query_string"] or {}
        query = "&".join(filter(None, [fixed, urlencode(pairs, doseq=True, quote_via=quote)]))
        body = made["body"]
        if isinstance(body, dict):
            body = urlencode(body).encode()
        headers = {name.lower(): str(value) for name, value in made["headers"].items()}
        content = body.encode() if isinstance(body, str) else bytes(body or b"")
        if re.match("Create|Import|Restore|Register", operation) and self._dice.random() < 0.6:
            content = re.sub(
                rb'mine-(?:t|q|topic|stream|secret|stack)(?=["&]|$)', b"mine-new", content
            )
        return Wire(service, operation, made["method"], path, query, headers, content)

    def _structure(self, service: str, shape: Any, who: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, inner in shape.members.items():
            known = bool(candidates(self._world, service, name, who))
            likely = 1.0 if name in shape.required_members else 0.6 if known else 0.15
            if depth == 0 and name in _ALWAYS:
                likely = 1.0
            if name in _NEVER or depth > _DEEPEST or self._dice.random() > likely:
                continue
            found[name] = self._value(service, name, inner, who, depth + 1)
        if getattr(shape, "is_tagged_union", False) and len(found) > 1:
            name = self._dice.choice(list(found))
            found = {name: found[name]}
        return found

    def _value(self, service: str, member: str, shape: Any, who: str, depth: int) -> Any:
        dice = self._dice
        special = _SPECIAL.get(member)
        if special is not None and service.startswith("dynamodb"):
            return special(dice)
        kind = shape.type_name
        if kind == "structure":
            return self._structure(service, shape, who, depth)
        if kind == "list":
            count = dice.choice((1, 1, 2))
            inner = shape.member
            name = member[:-1] if member.endswith("s") else member
            return [self._value(service, name, inner, who, depth + 1) for _ in range(count)]
        if kind == "map":
            named = candidates(self._world, service, shape.key.name, who)
            key = named[0] if named else self._text(shape.key, dice)
            return {key: self._value(service, member, shape.value, who, depth + 1)}
        if kind == "string":
            found = candidates(self._world, service, member, who)
            if member == "Bucket" and depth > 1:
                found = self._world.names.get(who, {}).get("bucketarn", [])
            if found:
                return found[0] if dice.random() < 0.6 else dice.choice(found)
            if member in _TEXTS and dice.random() < 0.8:
                return dice.choice(_TEXTS[member])
            if shape.enum:
                return dice.choice(shape.enum)
            return self._text(shape, dice)
        if kind == "blob":
            found = candidates(self._world, service, member, who)
            return base64.b64decode(found[0]) if found else b"blob"
        if kind in ("integer", "long"):
            least = shape.metadata.get("min", 1)
            return dice.choice((least, least, shape.metadata.get("max", 10)))
        if kind in ("float", "double"):
            return 1.5
        if kind == "boolean":
            return dice.random() < 0.5
        return 1764000000 if kind == "timestamp" else "x"

    @staticmethod
    def _text(shape: Any, dice: Random) -> str:
        return dice.choice(("mine-x", "mine-x", "1", "x"))


_ALWAYS = {"Key", "Body", "Statements", "TransactStatements", "Entries"}
# A client's own; or what only makes every request wait or fail.
_NEVER = {"DryRun", "WaitTimeSeconds", "ContentMD5", "ExpectedBucketOwner", "RequestPayer"}
_NEVER |= {"ExpectedSourceBucketOwner", "IfMatch", "IfNoneMatch", "IfModifiedSince"}
_NEVER |= {"IfUnmodifiedSince", "ContentLength", "ChecksumAlgorithm", "MFA"}
_TEXTS = {
    "KeyConditionExpression": ["pk = :v", "g = :v"],
    "FilterExpression": ["attribute_exists(pk)"],
    "UpdateExpression": ["SET v = :v"],
    "ProjectionExpression": ["pk", "v"],
    "IndexName": ["pub"],
    "ConditionExpression": ["attribute_exists(pk)"],
    "ScheduleExpression": ["rate(1 hour)", "at(2099-01-01T00:00:00)"],
    "EventPattern": ['{"source": ["x"]}'],
    "InputFormat": ["DYNAMODB_JSON"],
    "BillingMode": ["PAY_PER_REQUEST"],
    "Status": ["Enabled"],
    "S3KeyPrefix": ["dump/", ""],
    "Role": [f"arn:aws:iam::{OWNER}:role/mine-role"],
    "Policy": ['{"Version": "2012-10-17", "Statement": []}'],
    "PolicyDocument": ['{"Version": "2012-10-17", "Statement": []}'],
    "Select": ["ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT"],
}
_ROW = {"pk": {"S": "1"}}
_VICTIMS_ROW = {"pk": {"S": "victim"}}


def _row(dice: Random) -> dict[str, Any]:
    return dice.choice((_ROW, _ROW, {"pk": {"S": "mine"}}, _VICTIMS_ROW))


_SPECIAL: dict[str, Callable[[Random], Any]] = {
    "Key": _row,
    "Keys": lambda dice: [_row(dice)],
    "Item": lambda dice: {**_row(dice), "v": {"S": "new"}},
    "ExpressionAttributeValues": lambda dice: {":v": {"S": dice.choice(("1", "mine", "victim"))}},
    "ExpressionAttributeNames": lambda dice: {"#n": "pk"},
    "KeySchema": lambda dice: [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": lambda dice: [{"AttributeName": "pk", "AttributeType": "S"}],
}
