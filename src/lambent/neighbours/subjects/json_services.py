"""The json protocol's: DynamoDB, SQS, EventBridge, Kinesis, KMS, SSM, Secrets Manager."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from lambent.neighbours.subjects.base import Asked, Unreadable, Wanted

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
_NAME = re.compile(r"[A-Za-z0-9]{1,64}")
_QUEUE_URL = re.compile(r"(?:https?://[^/]+)?/?(\d{12})/([A-Za-z0-9_.-]{1,80})/?")
_TABLE_IN_PARTIQL = re.compile(
    r"""\s*(?:select\b.*?\bfrom|insert\s+into|update|delete\s+from|exists\s*\(\s*select\b.*?\bfrom)
    \s+(?:"([^"]+)"|([A-Za-z0-9_.-]+))""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_PARTIQL = {
    "select": "PartiQLSelect",
    "insert": "PartiQLInsert",
    "update": "PartiQLUpdate",
    "delete": "PartiQLDelete",
    "exists": "PartiQLSelect",
}


def read(headers: dict[str, str], body: bytes, account: str, region: str) -> Asked:
    """A request of the json protocol; raises Unreadable."""
    prefix, _, operation = headers.get("x-amz-target", "").partition(".")
    service = TARGETS.get(prefix)
    if service is None or not _NAME.fullmatch(operation):
        raise Unreadable("UnknownOperationException", "The operation is not known.")
    if "cbor" in headers.get("content-type", ""):
        raise Unreadable("SerializationException", "CBOR is not offered here; set it off (JSON).")
    try:
        parameters = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise Unreadable("SerializationException", "The body is not JSON.") from None
    if not isinstance(parameters, dict):
        raise Unreadable("SerializationException", "The body is not a JSON object.")
    return Asked(service, operation, account, region, parameters)


def wanted(asked: Asked) -> Iterator[Wanted]:
    """What it wants; raises Unreadable."""
    yield from _SERVICES[asked.service](asked)


def _texts(value: Any) -> list[str]:
    """Texts of a list that came from a client."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Unreadable("ValidationException", "A list of strings is expected.")
    return value


def _text(asked: Asked, *names: str) -> str:
    """The first of these parameters that is there; "" if none is."""
    for name in names:
        value = asked.parameters.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise Unreadable("ValidationException", f"{name} must be a string.")
            return value
    return ""


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Unreadable("ValidationException", "A list of structures is expected.")
    return value


# -- DynamoDB -----------------------------------------------------------------------------

_TRANSACTED = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def _dynamodb(asked: Asked) -> Iterator[Wanted]:
    operation, parameters = asked.operation, asked.parameters
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for each in _items(parameters.get("TransactItems")):
            for kind, inner in each.items():
                if kind not in _TRANSACTED or not isinstance(inner, dict):
                    raise Unreadable("ValidationException", f"{kind[:64]} cannot be transacted.")
                keys = _table_keys(inner)
                yield _of_table(asked, _TRANSACTED[kind], inner.get("TableName"), keys)
        return
    if operation in ("BatchGetItem", "BatchWriteItem"):
        tables = parameters.get("RequestItems")
        if not isinstance(tables, dict):
            raise Unreadable("ValidationException", "RequestItems must be a map.")
        for table, inner in tables.items():
            yield _of_table(asked, operation, table, _batched(operation, inner))
        return
    if operation in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"):
        statements = [asked.parameters]
        if operation != "ExecuteStatement":
            names = ("Statements", "TransactStatements")
            statements = _items(next((parameters[n] for n in names if n in parameters), None))
        for each in statements:
            yield _partiql(asked, each.get("Statement"))
        return
    action = f"dynamodb:{operation}"
    for name in ("ResourceArn", "BackupArn", "ExportArn", "ImportArn", "TableArn", "StreamArn"):
        if name in parameters:
            arn = _text(asked, name)
            yield Wanted(action, arn, about=arn)
            return
    for name, kind in (("TableName", "table"), ("GlobalTableName", "global-table")):
        if name in parameters and kind == "table":
            index = _text(asked, "IndexName")
            yield _of_table(asked, operation, parameters[name], _table_keys(parameters), index)
            return
        if name in parameters:
            yield Wanted(action, asked.arn(f"{kind}/{_text(asked, name)}"))
            return
    creation = parameters.get("TableCreationParameters")
    if isinstance(creation, dict):
        yield _of_table(asked, operation, creation.get("TableName"), ())
        return
    target = _text(asked, "TargetTableName")
    yield Wanted(action, asked.arn(f"table/{target}") if target else "*")


def _of_table(
    asked: Asked, operation: str, table: Any, keys: tuple[tuple[str, str], ...], index: str = ""
) -> Wanted:
    if not isinstance(table, str) or not table:
        raise Unreadable("ValidationException", "TableName must be a string.")
    arn = table if table.startswith("arn:") else asked.arn(f"table/{table}", "dynamodb")
    resource = f"{arn}/index/{index}" if index else arn
    return Wanted(f"dynamodb:{operation}", resource, about=arn, keys=keys)


def _table_keys(inner: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Condition keys; an item's key, as JSON, becomes leading keys where the table is known."""
    keys = []
    for name, key in (("Select", "dynamodb:select"), ("ReturnValues", "dynamodb:returnvalues")):
        if isinstance(inner.get(name), str):
            keys.append((key, inner[name]))
    for name in ("Key", "Item"):
        if isinstance(inner.get(name), dict):
            keys.append((ITEMS, json.dumps([inner[name]])))
    if any(name in inner for name in ("KeyConditionExpression", "KeyConditions")):
        kept = ("KeyConditionExpression", "KeyConditions", "ExpressionAttributeNames")
        query = {name: inner.get(name) for name in (*kept, "ExpressionAttributeValues")}
        keys.append((QUERY, json.dumps(query)))
    return tuple(keys)


# Not condition keys but what ``leading_keys`` makes of them when the table's own key is known.
ITEMS = "\0items"
QUERY = "\0query"


def _batched(operation: str, inner: Any) -> tuple[tuple[str, str], ...]:
    items: list[Any] = []
    if operation == "BatchGetItem" and isinstance(inner, dict):
        keys = inner.get("Keys")
        items = keys if isinstance(keys, list) else [keys]
    elif isinstance(inner, list):
        for each in inner:
            for request in each.values() if isinstance(each, dict) else ():
                if isinstance(request, dict):
                    items.append(request.get("Item") or request.get("Key"))
    return ((ITEMS, json.dumps(items)),)


def leading_keys(keys: tuple[tuple[str, str], ...], partition_key: str) -> list[str]:
    """The values of dynamodb:LeadingKeys; one nobody has where they cannot be told."""
    found: list[str] = []
    for name, text in keys:
        if name == ITEMS:
            for item in json.loads(text):
                value = item.get(partition_key) if isinstance(item, dict) else None
                found.append(_scalar(value))
        elif name == QUERY:
            found.append(_queried(json.loads(text), partition_key))
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        (inner,) = value.values()
        if isinstance(inner, str):
            return inner
    return "\0"


_EQUALS = re.compile(r"\(?\s*([#\w.]+)\s*=\s*(:\w+)")


def _queried(query: dict[str, Any], partition_key: str) -> str:
    conditions = query.get("KeyConditions")
    if isinstance(conditions, dict):
        condition = conditions.get(partition_key)
        values = condition.get("AttributeValueList") if isinstance(condition, dict) else None
        return _scalar(values[0]) if isinstance(values, list) and values else "\0"
    names = query.get("ExpressionAttributeNames") or {}
    values = query.get("ExpressionAttributeValues") or {}
    expression = query.get("KeyConditionExpression")
    if not isinstance(expression, str) or not isinstance(names, dict):
        return "\0"
    for name, placeholder in _EQUALS.findall(expression):
        if names.get(name, name) == partition_key and isinstance(values, dict):
            return _scalar(values.get(placeholder))
    return "\0"


def _partiql(asked: Asked, statement: Any) -> Wanted:
    found = _TABLE_IN_PARTIQL.match(statement) if isinstance(statement, str) else None
    if found is None:
        raise Unreadable("ValidationException", "Statement wasn't well formed, can't be processed.")
    verb = re.match(r"\s*(\w+)", statement)
    assert verb is not None
    return _of_table(asked, _PARTIQL[verb[1].lower()], found[1] or found[2], ())


def _streams(asked: Asked) -> Iterator[Wanted]:
    action = f"dynamodb:{asked.operation}"
    arn = _text(asked, "StreamArn")
    if not arn and "ShardIterator" in asked.parameters:
        arn = _iterated(_text(asked, "ShardIterator"))
    if not arn and "TableName" in asked.parameters:
        arn = asked.arn(f"table/{_text(asked, 'TableName')}/stream/*", "dynamodb")
    yield Wanted(action, arn or "*")


def _iterated(token: str) -> str:
    """The stream an iterator of the embedded services names; "" if it is another's."""
    try:
        document = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, RecursionError):
        return ""
    arn = document.get("arn") if isinstance(document, dict) else None
    return arn if isinstance(arn, str) else ""


# -- SQS ----------------------------------------------------------------------------------


def _sqs(asked: Asked) -> Iterator[Wanted]:
    # A batch is allowed to whoever may do it one by one.
    action = f"sqs:{asked.operation.removesuffix('Batch')}"
    url = _text(asked, "QueueUrl")
    if url:
        yield queue_wanted(asked, action, url)
    elif "QueueName" in asked.parameters:
        owner = _text(asked, "QueueOwnerAWSAccountId") or asked.account
        arn = f"arn:aws:sqs:{asked.region}:{owner}:{_text(asked, 'QueueName')}"
        yield Wanted(action, arn, about=arn)
    elif "SourceArn" in asked.parameters:
        arn = _text(asked, "SourceArn")
        yield Wanted(action, arn, about=arn)
        destination = _text(asked, "DestinationArn")
        if destination:
            yield Wanted("sqs:SendMessage", destination, about=destination)
    else:
        yield Wanted(action, "*")


def queue_wanted(asked: Asked, action: str, url: str) -> Wanted:
    """An action on the queue of a URL; raises Unreadable."""
    found = _QUEUE_URL.fullmatch(url)
    if found is None:
        raise Unreadable("InvalidAddress", "The address is not valid for this endpoint.")
    arn = f"arn:aws:sqs:{asked.region}:{found[1]}:{found[2]}"
    return Wanted(action, arn, about=arn)


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
            str(each.get("EventBusName") or "default") for each in _items(parameters.get("Entries"))
        }
        for bus in sorted(buses):
            arn = bus if bus.startswith("arn:") else asked.arn(f"event-bus/{bus}")
            yield Wanted(action, arn, about=arn)
        return
    if "ResourceARN" in parameters:
        yield Wanted(action, _text(asked, "ResourceARN"))
        return
    for suffix, kind in _EVENT_NAMES.items():
        if operation.endswith(suffix) and not operation.startswith("List"):
            name = _text(asked, "Name", f"{suffix}Name")
            yield Wanted(action, asked.arn(f"{kind}/{name}"))
            return
    if operation in ("PutPermission", "RemovePermission"):
        bus = _text(asked, "EventBusName") or "default"
        yield Wanted(action, asked.arn(f"event-bus/{bus}"))
        return
    name = _text(asked, "Rule") or (_text(asked, "Name") if operation.endswith("Rule") else "")
    if not name:
        yield Wanted(action, "*")
        return
    bus = _text(asked, "EventBusName").rpartition("/")[2]
    path = f"rule/{bus}/{name}" if bus and bus != "default" else f"rule/{name}"
    yield Wanted(action, asked.arn(path))
    roles = [parameters, *_items(parameters.get("Targets") or [])]
    yield from _passed((each.get("RoleArn") for each in roles), "events.amazonaws.com")


def _passed(roles: Iterator[Any], service: str) -> Iterator[Wanted]:
    """What it takes to hand a role to a service."""
    for role in roles:
        if isinstance(role, str) and role:
            yield Wanted("iam:PassRole", role, keys=(("iam:passedtoservice", service),))


# -- the rest -----------------------------------------------------------------------------


def _kinesis(asked: Asked) -> Iterator[Wanted]:
    action = f"kinesis:{asked.operation}"
    arn = _text(asked, "StreamARN", "ConsumerARN", "ResourceARN")
    if not arn and "StreamName" in asked.parameters:
        arn = asked.arn(f"stream/{_text(asked, 'StreamName')}")
    if arn:
        yield Wanted(action, arn, about=arn)
    else:
        # Whose an iterator is, only the service knows.
        token = _text(asked, "ShardIterator", "NextToken")
        yield Wanted(action, "*", about=f"iterator:{token}" if token else "")


_KMS_PLAIN = {"CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "ListRetirableGrants"}


def _kms(asked: Asked) -> Iterator[Wanted]:
    action = f"kms:{asked.operation}"
    if asked.operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        yield Wanted(action, asked.arn(_text(asked, "AliasName")))
        name = _text(asked, "TargetKeyId") or _text(asked, "AliasName")
        yield _of_key(asked, action, name)
        return
    if asked.operation in _KMS_PLAIN:
        yield Wanted(action, "*")
        return
    if asked.operation == "ReEncrypt":
        yield _of_key(asked, "kms:ReEncryptFrom", _key(asked, "SourceKeyId"))
        yield _of_key(asked, "kms:ReEncryptTo", _text(asked, "DestinationKeyId"))
        return
    yield _of_key(asked, action, _key(asked, "KeyId"))


def _key(asked: Asked, name: str) -> str:
    """The key a request names; else the one its ciphertext does."""
    named = _text(asked, name)
    if named:
        return named
    try:
        blob = base64.b64decode(_text(asked, "CiphertextBlob"))
        return blob[:36].decode("ascii")
    except ValueError:
        return ""


def _of_key(asked: Asked, action: str, name: str) -> Wanted:
    if not name:
        return Wanted(action, "*")
    resource = name if name.startswith(("arn:", "alias/")) else f"key/{name}"
    return Wanted(action, asked.arn(resource), about=name)


def _ssm(asked: Asked) -> Iterator[Wanted]:
    action, parameters = f"ssm:{asked.operation}", asked.parameters
    names = [_text(asked, "Name")] if "Name" in parameters else []
    names = _texts(parameters["Names"]) if "Names" in parameters else names
    if asked.operation == "GetParametersByPath":
        names = [_text(asked, "Path")]
    elif "ResourceId" in parameters:
        names = [_text(asked, "ResourceId")]
    if not names:
        yield Wanted(action, "*")
    for name in names:
        if name.startswith("arn:"):
            yield Wanted(action, name)
        else:
            # A version or a label follows the name.
            plain = name.partition(":")[0]
            yield Wanted(action, asked.arn(f"parameter/{plain.removeprefix('/')}"))


def _secretsmanager(asked: Asked) -> Iterator[Wanted]:
    action = f"secretsmanager:{asked.operation}"
    name = _text(asked, "SecretId")
    if asked.operation == "CreateSecret":
        # Six characters follow the name, which nobody knows yet.
        yield Wanted(action, asked.arn(f"secret:{_text(asked, 'Name')}-??????"))
    elif name:
        full = name if name.startswith("arn:") else f"secret:{name}-??????"
        yield Wanted(action, asked.arn(full), about=name)
    elif isinstance(asked.parameters.get("SecretIdList"), list):
        for each in _texts(asked.parameters["SecretIdList"]):
            full = each if each.startswith("arn:") else f"secret:{each}-??????"
            yield Wanted("secretsmanager:GetSecretValue", asked.arn(full), about=each)
    else:
        yield Wanted(action, "*")


_SERVICES: dict[str, Callable[[Asked], Iterator[Wanted]]] = {
    "dynamodb": _dynamodb,
    "dynamodbstreams": _streams,
    "sqs": _sqs,
    "events": _events,
    "kinesis": _kinesis,
    "kms": _kms,
    "ssm": _ssm,
    "secretsmanager": _secretsmanager,
}
