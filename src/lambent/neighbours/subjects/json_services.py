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
from lambent.neighbours.subjects import canonical
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted

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
_TABLE = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TABLE_ARN = re.compile(r"arn:aws:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{1,255}")
_QUEUE_URL = re.compile(r"(?:https?://[^/]+)?/?(\d{12})/([A-Za-z0-9_.-]{1,80})/?")
_PARTIQL_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\d+|[A-Za-z_][A-Za-z0-9_$]*|\S""")
_PARTIQL = {
    "select": "PartiQLSelect",
    "insert": "PartiQLInsert",
    "update": "PartiQLUpdate",
    "delete": "PartiQLDelete",
    "exists": "PartiQLSelect",
}


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
            own = "TransactStatements" if operation == "ExecuteTransaction" else "Statements"
            statements = _items(parameters.get(own))
        for each in statements:
            yield _partiql(asked, each.get("Statement"))
        return
    action = f"dynamodb:{operation}"
    found = False
    for name in _TABLE_ARNS:
        if name in parameters:
            found = True
            arn = _text(asked, name)
            if name in ("TableArn", "SourceTableArn") and not _TABLE_ARN.fullmatch(arn):
                raise Unreadable("ValidationException", f"{name} is not the ARN of a table.")
            yield Wanted(action, arn, about=arn)
    index = _text(asked, "IndexName") if operation in _OF_INDEXES else ""
    creation = parameters.get("TableCreationParameters")
    tables = [parameters[name] for name in _TABLE_NAMES if name in parameters]
    tables += [creation.get("TableName")] if isinstance(creation, dict) else []
    for table in tables:
        found = True
        yield _of_table(asked, operation, table, _table_keys(parameters), index)
    if "GlobalTableName" in parameters:
        found = True
        yield Wanted(action, asked.arn(f"global-table/{_text(asked, 'GlobalTableName')}"))
    if not found:
        yield Wanted(action, "*")
    yield from _of_other_services(asked)


def _of_other_services(asked: Asked) -> Iterator[Wanted]:
    """What a DynamoDB operation does elsewhere, which takes the caller's permission there."""
    parameters = asked.parameters
    source = parameters.get("S3BucketSource")
    if source is not None:
        bucket, prefix = source.get("S3Bucket", ""), source.get("S3KeyPrefix", "")
        yield _of_bucket("s3:ListBucket", bucket, "")
        yield _of_bucket("s3:GetObject", bucket, f"/{prefix}*")
    if "S3Bucket" in parameters:
        prefix = _text(asked, "S3Prefix")
        yield _of_bucket("s3:PutObject", _text(asked, "S3Bucket"), f"/{prefix}*")
    if asked.operation == "EnableKinesisStreamingDestination":
        stream = _text(asked, "StreamArn")
        yield Wanted("kinesis:PutRecord", stream, about=stream, service="kinesis")


_BUCKET = re.compile(r"[a-zA-Z0-9._-]{3,63}")


def _of_bucket(action: str, bucket: str, rest: str) -> Wanted:
    if not _BUCKET.fullmatch(bucket) or "*" in rest[:-1] or "?" in rest:
        raise Unreadable("ValidationException", "The bucket or the prefix is not valid.")
    return Wanted(action, f"arn:aws:s3:::{bucket}{rest}", bucket, service="s3")


_TABLE_ARNS = (
    "ResourceArn",
    "BackupArn",
    "ExportArn",
    "ImportArn",
    "TableArn",
    "SourceTableArn",
    "StreamArn",
)
_TABLE_NAMES = ("TableName", "SourceTableName", "TargetTableName")
_OF_INDEXES = ("Query", "Scan", "DescribeContributorInsights", "UpdateContributorInsights")


def _of_table(
    asked: Asked, operation: str, table: Any, keys: tuple[tuple[str, str], ...], index: str = ""
) -> Wanted:
    if not isinstance(table, str) or not table:
        raise Unreadable("ValidationException", "TableName must be a string.")
    arn = table if table.startswith("arn:") else asked.arn(f"table/{table}", "dynamodb")
    if not _TABLE_ARN.fullmatch(arn):
        # Also the ARN of an index, by which the service would find its table.
        raise Unreadable("ValidationException", "TableName is not the name or ARN of a table.")
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
    """The one table of a statement; raises Unreadable where it might be another."""
    if isinstance(statement, str) and ("--" in statement or "/*" in statement):
        # A quote in a comment, or a comment in quotes: pass such values as parameters.
        raise Unreadable("ValidationException", "Statements with comments are not offered.")
    tokens = _PARTIQL_TOKEN.findall(statement) if isinstance(statement, str) else []
    words = [token.lower() for token in tokens]
    verb = words[0] if words else ""
    place = {"insert": 2, "update": 1, "delete": 2}.get(verb)
    if verb in ("select", "exists") and words.count("from") == 1:
        place = words.index("from") + 1
    leads = {"insert": "into", "delete": "from"}
    whole = place is not None and place < len(tokens) and words[1] == leads.get(verb, words[1])
    table = tokens[place].strip('"') if place is not None and whole else ""
    plain = _TABLE.fullmatch(table)
    if plain is None or (verb != "select" and verb != "exists" and words.count("from") > 1):
        raise Unreadable("ValidationException", "Statement wasn't well formed, can't be processed.")
    assert place is not None
    if not tokens[place].startswith('"') and tokens[place + 1 : place + 2] in (["."], ["-"]):
        # A name with dots, or an index without quotes: which of both is not to be told.
        raise Unreadable("ValidationException", "Names of tables with . or - must be in quotes.")
    # Which keys it touches is not read: a condition on them must hold for any.
    return _of_table(asked, _PARTIQL[verb], table, ((ITEMS, "[null]"),))


def _streams(asked: Asked) -> Iterator[Wanted]:
    action = f"dynamodb:{asked.operation}"
    streams = [_text(asked, "StreamArn")] if "StreamArn" in asked.parameters else []
    if "ShardIterator" in asked.parameters:
        streams.append(_iterated(_text(asked, "ShardIterator")) or "*")
    if "TableName" in asked.parameters:
        streams.append(asked.arn(f"table/{_text(asked, 'TableName')}/stream/*", "dynamodb"))
    for stream in streams or ["*"]:
        yield Wanted(action, stream)


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
    found = False
    if "QueueUrl" in asked.parameters:
        found = True
        yield queue_wanted(asked, action, _text(asked, "QueueUrl"))
    if "QueueName" in asked.parameters:
        found = True
        owner = _text(asked, "QueueOwnerAWSAccountId") or asked.account
        arn = f"arn:aws:sqs:{asked.region}:{owner}:{_text(asked, 'QueueName')}"
        yield Wanted(action, arn, about=arn)
    for name, does in (("SourceArn", action), ("DestinationArn", "sqs:SendMessage")):
        if name in asked.parameters:
            found = True
            yield Wanted(does, _text(asked, name), about=_text(asked, name))
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
            str(each.get("EventBusName") or "default") for each in _items(parameters.get("Entries"))
        }
        for bus in sorted(buses):
            arn = _bus(asked, bus)
            yield Wanted(action, arn, about=arn)
        return
    names = [_text(asked, "ResourceARN")] if "ResourceARN" in parameters else []
    bus = _own_bus(asked)
    for suffix, kind in _EVENT_NAMES.items():
        if operation.endswith(suffix) and not operation.startswith("List"):
            own = {_text(asked, each) for each in ("Name", f"{suffix}Name") if each in parameters}
            names += [asked.arn(f"{kind}/{each}") for each in sorted(own)]
            break
    else:
        rules = {_text(asked, "Rule")} if "Rule" in parameters else set()
        if "Name" in parameters and operation.endswith("Rule"):
            rules.add(_text(asked, "Name"))
        path = f"rule/{bus}/" if bus and bus != "default" else "rule/"
        names += [asked.arn(path + rule) for rule in sorted(rules)]
        if operation in ("PutPermission", "RemovePermission"):
            names.append(asked.arn(f"event-bus/{bus or 'default'}"))
    for name in names or ["*"]:
        yield Wanted(action, name)
    roles = [parameters, *_items(parameters.get("Targets") or [])]
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
    arn = _bus(asked, _text(asked, "EventBusName") or "default")
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
    arns = [_text(asked, name) for name in named if name in parameters]
    if "StreamName" in parameters:
        arns.append(asked.arn(f"stream/{_text(asked, 'StreamName')}"))
    for arn in arns:
        yield Wanted(action, arn, about=arn)
    # Whose an iterator is, only the service knows.
    tokens = [_text(asked, name) for name in ("ShardIterator", "NextToken") if name in parameters]
    for token in tokens:
        yield Wanted(action, "*", about=f"iterator:{token}")
    if not arns and not tokens:
        yield Wanted(action, "*")


def _kms(asked: Asked) -> Iterator[Wanted]:
    action = f"kms:{asked.operation}"
    if asked.operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        yield Wanted(action, asked.arn(_text(asked, "AliasName")))
    inner = _embedded(asked)
    if asked.operation == "ReEncrypt":
        for name in sorted({_text(asked, "SourceKeyId"), inner} - {""}) or [""]:
            yield _of_key(asked, "kms:ReEncryptFrom", name)
        yield _of_key(asked, "kms:ReEncryptTo", _text(asked, "DestinationKeyId"))
        return
    names = {_text(asked, each) for each in ("KeyId", "TargetKeyId", "AliasName")}
    for name in sorted({*names, inner} - {""}) or [""]:
        yield _of_key(asked, action, name)


def _embedded(asked: Asked) -> str:
    """The key that a ciphertext of the embedded service was made with; "" if there is none."""
    try:
        blob = base64.b64decode(_text(asked, "CiphertextBlob"))
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
    names = [_text(asked, each) for each in ("Name", "ResourceId") if each in parameters]
    names += _texts(parameters["Names"]) if "Names" in parameters else []
    if not names and "Path" not in parameters:
        yield Wanted(action, "*")
    if "Path" in parameters:
        path = _text(asked, "Path")
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
        yield Wanted(action, asked.arn(f"secret:{_text(asked, 'Name')}-??????"))
    if "SecretId" in parameters:
        found = True
        yield _of_secret(asked, action, _text(asked, "SecretId"))
    if not found:
        yield Wanted(action, "*")
    if asked.operation == "BatchGetSecretValue":
        # A filter may find any secret, also one that a policy denies by its name.
        listed = _texts(parameters.get("SecretIdList") or [])
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
    "dynamodb": _dynamodb,
    "dynamodbstreams": _streams,
    "sqs": _sqs,
    "events": _events,
    "kinesis": _kinesis,
    "kms": _kms,
    "ssm": _ssm,
    "secretsmanager": _secretsmanager,
}
