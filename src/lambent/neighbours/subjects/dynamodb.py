"""What requests to DynamoDB and its streams want: tables, indices, keys of items, streams."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from lambent.neighbours.subjects.base import Asked, Unreadable, Wanted, items, text

_PARTIQL = {
    "select": "PartiQLSelect",
    "insert": "PartiQLInsert",
    "update": "PartiQLUpdate",
    "delete": "PartiQLDelete",
    "exists": "PartiQLSelect",
}
_PARTIQL_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\d+|[A-Za-z_][A-Za-z0-9_$]*|\S""")
_TABLE_ARN = re.compile(r"arn:aws:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{1,255}")
_TABLE = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TRANSACTED = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


# Source: Amazon DynamoDB, "Quotas": expressions are 4 KB at most, statements of PartiQL 8,192
# characters.  The embedded service takes time by the square of either.
_EXPRESSION_BYTES, _STATEMENT_CHARACTERS = 4096, 8192


def _check_expressions(inner: dict[str, Any]) -> None:
    """Raise Unreadable for an expression that is too long."""
    for name, value in inner.items():
        expression = value if name.endswith("Expression") and isinstance(value, str) else ""
        if len(expression.encode("utf-8", "surrogatepass")) > _EXPRESSION_BYTES:
            raise Unreadable(
                "ValidationException",
                f"Invalid {name}: Expression size has exceeded the maximum allowed size; "
                f"expression size: {len(expression)}",
            )


def wanted(asked: Asked) -> Iterator[Wanted]:
    operation, parameters = asked.operation, asked.parameters
    _check_expressions(parameters)
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for each in items(parameters.get("TransactItems")):
            for kind, inner in each.items():
                if kind not in _TRANSACTED or not isinstance(inner, dict):
                    raise Unreadable("ValidationException", f"{kind[:64]} cannot be transacted.")
                _check_expressions(inner)
                keys = _table_keys(inner)
                yield _of_table(asked, _TRANSACTED[kind], inner.get("TableName"), keys)
        return
    if operation in ("BatchGetItem", "BatchWriteItem"):
        tables = parameters.get("RequestItems")
        if not isinstance(tables, dict):
            raise Unreadable("ValidationException", "RequestItems must be a map.")
        for table, inner in tables.items():
            _check_expressions(inner if isinstance(inner, dict) else {})
            yield _of_table(asked, operation, table, _batched(operation, inner))
        return
    if operation in ("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"):
        statements = [asked.parameters]
        if operation != "ExecuteStatement":
            own = "TransactStatements" if operation == "ExecuteTransaction" else "Statements"
            statements = items(parameters.get(own))
        for each in statements:
            yield _partiql(asked, each.get("Statement"))
        return
    action = f"dynamodb:{operation}"
    found = False
    for name in _TABLE_ARNS:
        if name in parameters:
            found = True
            arn = text(asked, name)
            if name in ("TableArn", "SourceTableArn") and not _TABLE_ARN.fullmatch(arn):
                raise Unreadable("ValidationException", f"{name} is not the ARN of a table.")
            yield Wanted(action, arn, about=arn)
    index = text(asked, "IndexName") if operation in _OF_INDEXES else ""
    creation = parameters.get("TableCreationParameters")
    tables = [parameters[name] for name in _TABLE_NAMES if name in parameters]
    tables += [creation.get("TableName")] if isinstance(creation, dict) else []
    for table in tables:
        found = True
        yield _of_table(asked, operation, table, _table_keys(parameters), index)
    if "GlobalTableName" in parameters:
        found = True
        yield Wanted(action, asked.arn(f"global-table/{text(asked, 'GlobalTableName')}"))
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
        prefix = text(asked, "S3Prefix")
        yield _of_bucket("s3:PutObject", text(asked, "S3Bucket"), f"/{prefix}*")
    if asked.operation == "EnableKinesisStreamingDestination":
        stream = text(asked, "StreamArn")
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
    """The values of dynamodb:LeadingKeys; NUL, which no key is, where they are not known."""
    found: list[str] = []
    for name, value in keys:
        if name == ITEMS:
            for item in json.loads(value):
                found_key = item.get(partition_key) if isinstance(item, dict) else None
                found.append(_scalar(found_key))
        elif name == QUERY:
            found.append(_queried(json.loads(value), partition_key))
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
    if isinstance(statement, str) and len(statement) > _STATEMENT_CHARACTERS:
        raise Unreadable("ValidationException", "The statement is too long.")
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
        # A name with dots, or an index without quotes: the statement does not say which.
        raise Unreadable("ValidationException", "Names of tables with . or - must be in quotes.")
    # Which keys it touches is not read: a condition on them must hold for any.
    return _of_table(asked, _PARTIQL[verb], table, ((ITEMS, "[null]"),))


def streams_wanted(asked: Asked) -> Iterator[Wanted]:
    action = f"dynamodb:{asked.operation}"
    streams = [text(asked, "StreamArn")] if "StreamArn" in asked.parameters else []
    if "ShardIterator" in asked.parameters:
        streams.append(_iterated(text(asked, "ShardIterator")) or "*")
    if "TableName" in asked.parameters:
        streams.append(asked.arn(f"table/{text(asked, 'TableName')}/stream/*", "dynamodb"))
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
