"""The json protocol's: DynamoDB, SQS, EventBridge, Kinesis, KMS, SSM, Secrets Manager.

Whatever a request names must be allowed, also what its operation has no use for: which of two names
a service looks at is nobody's guess.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lambent.aws import model
from lambent.neighbours.subjects import canonical, dynamodb
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted, items, text, texts

# Services by the prefix of X-Amz-Target.
TARGETS = {
    "DynamoDB_20120810": "dynamodb",
    "DynamoDBStreams_20120810": "dynamodbstreams",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
    "Kinesis_20131202": "kinesis",
    "TrentService": "kms",
    "AmazonSSM": "ssm",
    "secretsmanager": "secretsmanager",
}
# An ARN of each of them is of the region at hand: the services do not look at the region in it.
_ARN = re.compile(r"arn:aws:(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<account>\d{12}|):.+")
_QUEUE_URL = re.compile(r"(?:https?://[^/]+)?/?(\d{12})/([A-Za-z0-9_.-]{1,80})/?")


def read(headers: dict[str, str], body: bytes, account: str, region: str) -> Asked:
    """A request of the json protocol; raises Unreadable."""
    prefix, _, name = headers.get("x-amz-target", "").partition(".")
    service = TARGETS.get(prefix)
    if service is None:
        raise Unreadable("UnknownOperationException", "The operation is not known.")
    operation = canonical.operation_of(service, name)
    if "cbor" in headers.get("content-type", ""):
        raise Unreadable("SerializationException", "CBOR is not offered here; set it off (JSON).")
    parameters = canonical.read_json(operation.input, body)
    version = model.load(service).json_version
    sent = {
        "x-amz-target": f"{prefix}.{operation.name}",
        "content-type": f"application/x-amz-json-{version}",
    }
    request, content = Outgoing(headers=sent), canonical.write_json(parameters)
    return Asked(service, operation.name, account, region, parameters, request, content)


def wanted(asked: Asked) -> Iterator[Wanted]:
    """What it wants, one thing at least; raises Unreadable."""
    return checked(asked, _SERVICES[asked.service](asked))


def checked(asked: Asked, found: Iterable[Wanted]) -> Iterator[Wanted]:
    """What a request wants; raises Unreadable for nothing at all, and for another region's."""
    empty = True
    for each in found:
        empty = False
        named = _ARN.fullmatch(each.resource)
        if each.resource.startswith("arn:") and named is None:
            raise Unreadable("ValidationException", "A resource's name is not a valid ARN.")
        if named is not None and named["region"] not in ("", asked.region):
            where = f"{each.resource[:256]} is not in {asked.region}."
            raise Unreadable("ValidationException", where)
        yield each
    if empty:
        raise Unreadable("ValidationException", "The request names nothing to work on.")


# -- SQS ----------------------------------------------------------------------------------


def _sqs(asked: Asked) -> Iterator[Wanted]:
    # A batch is allowed to whoever may do it one by one.
    action = f"sqs:{asked.operation.removesuffix('Batch')}"
    found = False
    if "QueueUrl" in asked.parameters:
        found = True
        yield queue_wanted(asked, action, text(asked, "QueueUrl"))
    if "QueueName" in asked.parameters:
        found = True
        owner = text(asked, "QueueOwnerAWSAccountId") or asked.account
        arn = f"arn:aws:sqs:{asked.region}:{owner}:{text(asked, 'QueueName')}"
        yield Wanted(action, arn, about=arn)
    for name, does in (("SourceArn", action), ("DestinationArn", "sqs:SendMessage")):
        if name in asked.parameters:
            found = True
            yield Wanted(does, text(asked, name), about=text(asked, name))
    if not found:
        yield Wanted(action, "*")
    attributes = asked.parameters.get("Attributes")
    if isinstance(attributes, dict):
        check_redrive(asked, str(attributes.get("RedrivePolicy") or ""))


def check_redrive(asked: Asked, policy: str) -> None:
    """Raise Unreadable for a dead-letter queue of another account or region.

    Source: Amazon SQS Developer Guide, "Using dead-letter queues".
    """
    if not policy:
        return
    try:
        document = json.loads(policy)
        target = str(document["deadLetterTargetArn"]) if isinstance(document, dict) else ""
    except (ValueError, KeyError, RecursionError):
        return  # the service refuses it
    if not target.startswith(f"arn:aws:sqs:{asked.region}:{asked.account}:"):
        raise Unreadable(
            "InvalidParameterValue",
            f"Value {policy[:512]} for parameter RedrivePolicy is invalid. Reason: Dead-letter "
            "target must be in the same account and region.",
        )


def queue_wanted(asked: Asked, action: str, url: str) -> Wanted:
    """An action on the queue of a URL; raises Unreadable."""
    account, name = queue_of(url)
    arn = f"arn:aws:sqs:{asked.region}:{account}:{name}"
    return Wanted(action, arn, about=arn)


def queue_of(url: str) -> tuple[str, str]:
    """The account and the name of a queue by its URL or the path of one; raises Unreadable."""
    found = _QUEUE_URL.fullmatch(url)
    if found is None:
        raise Unreadable("InvalidAddress", "The address is not valid for this endpoint.")
    return found[1], found[2]


# -- EventBridge --------------------------------------------------------------------------

_EVENT_NAMES = {
    "Archive": "archive",
    "Connection": "connection",
    "ApiDestination": "api-destination",
    "EventBus": "event-bus",
    "Replay": "replay",
    "Endpoint": "endpoint",
}


def _events(asked: Asked) -> Iterator[Wanted]:
    operation, parameters = asked.operation, asked.parameters
    action = f"events:{operation}"
    if operation in ("PutEvents", "PutPartnerEvents"):
        buses = {
            str(each.get("EventBusName") or "default") for each in items(parameters.get("Entries"))
        }
        for bus in sorted(buses):
            arn = _bus(asked, bus)
            yield Wanted(action, arn, about=arn)
        return
    names = [text(asked, "ResourceARN")] if "ResourceARN" in parameters else []
    bus = _own_bus(asked)
    for suffix, kind in _EVENT_NAMES.items():
        if operation.endswith(suffix) and not operation.startswith("List"):
            own = {text(asked, each) for each in ("Name", f"{suffix}Name") if each in parameters}
            names += [asked.arn(f"{kind}/{each}") for each in sorted(own)]
            break
    else:
        rules = {text(asked, "Rule")} if "Rule" in parameters else set()
        if "Name" in parameters and operation.endswith("Rule"):
            rules.add(text(asked, "Name"))
        path = f"rule/{bus}/" if bus and bus != "default" else "rule/"
        names += [asked.arn(path + rule) for rule in sorted(rules)]
        if operation in ("PutPermission", "RemovePermission"):
            names.append(asked.arn(f"event-bus/{bus or 'default'}"))
    for name in names or ["*"]:
        yield Wanted(action, name)
    roles = [parameters, *items(parameters.get("Targets") or [])]
    yield from _passed((each.get("RoleArn") for each in roles), "events.amazonaws.com")


_BUS = re.compile(r"[A-Za-z0-9_.-]{1,256}|aws\.partner(?:/[A-Za-z0-9_.-]{1,100}){1,4}")
_BUS_ARN = re.compile(r"arn:aws:events:[a-z0-9-]+:\d{12}:event-bus/(?P<name>.+)")


def _bus(asked: Asked, bus: str) -> str:
    """The ARN of an event bus that is named either way; raises Unreadable."""
    full = _BUS_ARN.fullmatch(bus)
    if not _BUS.fullmatch(full["name"] if full is not None else bus):
        raise Unreadable("ValidationException", "The name of the event bus is not valid.")
    return bus if full is not None else asked.arn(f"event-bus/{bus}")


def _own_bus(asked: Asked) -> str:
    """The name of the event bus that a rule belongs to; raises Unreadable for another account's."""
    arn = _bus(asked, text(asked, "EventBusName") or "default")
    own = asked.arn("event-bus/")
    if not arn.startswith(own):
        raise Unreadable("ValidationException", "The event bus is not in this account and region.")
    return arn.removeprefix(own)


def _passed(roles: Iterator[Any], service: str) -> Iterator[Wanted]:
    """What it takes to hand a role to a service."""
    for role in roles:
        if isinstance(role, str) and role:
            yield Wanted("iam:PassRole", role, keys=(("iam:passedtoservice", service),))


# -- the rest -----------------------------------------------------------------------------


def _kinesis(asked: Asked) -> Iterator[Wanted]:
    action, parameters = f"kinesis:{asked.operation}", asked.parameters
    named = ("StreamARN", "ConsumerARN", "ResourceARN")
    arns = [text(asked, name) for name in named if name in parameters]
    if "StreamName" in parameters:
        arns.append(asked.arn(f"stream/{text(asked, 'StreamName')}"))
    for arn in arns:
        yield Wanted(action, arn, about=arn)
    # Whose an iterator is, only the service knows.
    tokens = [text(asked, name) for name in ("ShardIterator", "NextToken") if name in parameters]
    for token in tokens:
        yield Wanted(action, "*", about=f"iterator:{token}")
    if not arns and not tokens:
        yield Wanted(action, "*")


def _kms(asked: Asked) -> Iterator[Wanted]:
    action = f"kms:{asked.operation}"
    if asked.operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        yield Wanted(action, asked.arn(text(asked, "AliasName")))
    inner = _embedded(asked)
    if asked.operation == "ReEncrypt":
        for name in sorted({text(asked, "SourceKeyId"), inner} - {""}) or [""]:
            yield _of_key(asked, "kms:ReEncryptFrom", name)
        yield _of_key(asked, "kms:ReEncryptTo", text(asked, "DestinationKeyId"))
        return
    names = {text(asked, each) for each in ("KeyId", "TargetKeyId", "AliasName")}
    for name in sorted({*names, inner} - {""}) or [""]:
        yield _of_key(asked, action, name)


def _embedded(asked: Asked) -> str:
    """The key that a ciphertext of the embedded service was made with; "" if there is none."""
    try:
        blob = base64.b64decode(text(asked, "CiphertextBlob"))
        return blob[:36].decode("ascii") if len(blob) > 36 else ""
    except ValueError:
        return ""


def _of_key(asked: Asked, action: str, name: str) -> Wanted:
    if not name:
        return Wanted(action, "*")
    resource = name if name.startswith(("arn:", "alias/")) else f"key/{name}"
    return Wanted(action, asked.arn(resource), about=name)


_PARAMETER = re.compile(r"/?[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_PARAMETER_ARN = re.compile(r"arn:aws:ssm:[a-z0-9-]+:\d{12}:parameter/(?P<name>[^/:][^:]*)")
_PATH = re.compile(r"/|(?:/[A-Za-z0-9_.-]+)+/?")


def _ssm(asked: Asked) -> Iterator[Wanted]:
    action, parameters = f"ssm:{asked.operation}", asked.parameters
    names = [text(asked, each) for each in ("Name", "ResourceId") if each in parameters]
    names += texts(parameters["Names"]) if "Names" in parameters else []
    if not names and "Path" not in parameters:
        yield Wanted(action, "*")
    if "Path" in parameters:
        path = text(asked, "Path")
        if not _PATH.fullmatch(path):
            raise Unreadable("ValidationException", "Path is not a valid hierarchy.")
        yield Wanted(action, asked.arn(f"parameter/{path.strip('/')}"))
    for name in names:
        yield Wanted(action, _parameter(asked, name))


def _parameter(asked: Asked, name: str) -> str:
    """The ARN of a parameter, whichever way it is named: a version or a label may follow."""
    place = asked.arn("parameter/")
    if name.startswith("arn:"):
        arn, colon, selector = name, "", ""
        if name.count(":") > 5:
            arn, colon, selector = name.rpartition(":")
        full = _PARAMETER_ARN.fullmatch(arn)
        plain, place = (full["name"], arn[: full.start("name")]) if full else ("", "")
    else:
        plain, colon, selector = name.partition(":")
        plain = plain.removeprefix("/")
    if not _PARAMETER.fullmatch(plain) or plain.startswith("/") or (colon and not selector):
        raise Unreadable("ValidationException", "The name of a parameter is not valid.")
    return place + plain


def _secretsmanager(asked: Asked) -> Iterator[Wanted]:
    action, parameters = f"secretsmanager:{asked.operation}", asked.parameters
    found = False
    if asked.operation == "CreateSecret":
        # Six characters follow the name, which nobody knows yet.
        found = True
        yield Wanted(action, asked.arn(f"secret:{text(asked, 'Name')}-??????"))
    if "SecretId" in parameters:
        found = True
        yield _of_secret(asked, action, text(asked, "SecretId"))
    if not found:
        yield Wanted(action, "*")
    if asked.operation == "BatchGetSecretValue":
        # A filter may find any secret, also one that a policy denies by its name.
        listed = texts(parameters.get("SecretIdList") or [])
        if not listed or "Filters" in parameters:
            raise Unreadable(
                "InvalidParameterException",
                "Secrets are named in SecretIdList; Filters are not offered here.",
            )
        for each in listed:
            yield _of_secret(asked, "secretsmanager:GetSecretValue", each)


def _of_secret(asked: Asked, action: str, name: str) -> Wanted:
    full = name if name.startswith("arn:") else asked.arn(f"secret:{name}-??????")
    return Wanted(action, full, about=name)


_SERVICES: dict[str, Callable[[Asked], Iterator[Wanted]]] = {
    "dynamodb": dynamodb.wanted,
    "dynamodbstreams": dynamodb.streams_wanted,
    "sqs": _sqs,
    "events": _events,
    "kinesis": _kinesis,
    "kms": _kms,
    "ssm": _ssm,
    "secretsmanager": _secretsmanager,
}
