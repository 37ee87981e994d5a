"""Valid requests of every operation, from AWS's service models, and ways to make them ambiguous."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from tests.fuzz import kit
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
_DEEPEST = 5
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
_S3_HEADERS = (
    "x-amz-copy-source",
    "x-amz-acl",
    "x-amz-tagging",
    "x-amz-grant-full-control",
    "x-amz-website-redirect-location",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-rename-source",
    "x-amz-server-side-encryption-aws-kms-key-id",
)


@cache
def model(service: str) -> ServiceModel:
    """AWS's model of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def operations(service: str) -> list[str]:
    """The operations worth a try: of Systems Manager only the Parameter Store is offered."""
    names = list(model(service).operation_names)
    return [each for each in names if "Parameter" in each] if service == "ssm" else names


@cache
def _delicate(service: str) -> list[str]:
    return [each for each in operations(service) if re.search(_DELICATE, each)]


def chosen(service: str, random: random.Random) -> str:
    """An operation."""
    delicate = _delicate(service)
    return random.choice(delicate if delicate and random.random() < 0.5 else operations(service))


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


class Maker:
    """Makes requests about a world's things; who: whose names they hold ("mine", "victim")."""

    def __init__(self, world: World, random: random.Random) -> None:
        self._world = world
        self._random = random

    def request(self, service: str, operation: str, who: str) -> Wire:
        """One request that AWS's client could have made."""
        described = model(service).operation_model(operation)
        shape = described.input_shape
        given = {} if shape is None else self._structure(service, shape, who, 0)
        protocol = model(service).metadata["protocol"]
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
        if re.match("Create|Import|Restore|Register", operation) and self._random.random() < 0.6:
            content = re.sub(rb'mine-(?:t|q|topic|stream|secret|stack)(?=["&]|$)', b"mine-new", content)
        return Wire(service, operation, made["method"], path, query, headers, content)

    def _structure(self, service: str, shape: Any, who: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, inner in shape.members.items():
            known = bool(candidates(self._world, service, name, who))
            likely = 1.0 if name in shape.required_members else 0.6 if known else 0.15
            if depth == 0 and name in _ALWAYS:
                likely = 1.0
            if name in _NEVER or depth > _DEEPEST or self._random.random() > likely:
                continue
            found[name] = self._value(service, name, inner, who, depth + 1)
        if getattr(shape, "is_tagged_union", False) and len(found) > 1:
            name = self._random.choice(list(found))
            found = {name: found[name]}
        return found

    def _value(self, service: str, member: str, shape: Any, who: str, depth: int) -> Any:
        random = self._random
        special = _SPECIAL.get(member)
        if special is not None and service.startswith("dynamodb"):
            return special(random)
        kind = shape.type_name
        if kind == "structure":
            return self._structure(service, shape, who, depth)
        if kind == "list":
            count = random.choice((1, 1, 2))
            inner = shape.member
            name = member[:-1] if member.endswith("s") else member
            return [self._value(service, name, inner, who, depth + 1) for _ in range(count)]
        if kind == "map":
            named = candidates(self._world, service, shape.key.name, who)
            key = named[0] if named else self._text(shape.key, random)
            return {key: self._value(service, member, shape.value, who, depth + 1)}
        if kind == "string":
            found = candidates(self._world, service, member, who)
            if member == "Bucket" and depth > 1:
                found = self._world.names[who]["bucketarn"]
            if found:
                return found[0] if random.random() < 0.6 else random.choice(found)
            if member in _TEXTS and random.random() < 0.8:
                return random.choice(_TEXTS[member])
            if shape.enum:
                return random.choice(shape.enum)
            return self._text(shape, random)
        if kind == "blob":
            found = candidates(self._world, service, member, who)
            import base64

            return base64.b64decode(found[0]) if found else b"blob"
        if kind in ("integer", "long"):
            least = shape.metadata.get("min", 1)
            return random.choice((least, least, shape.metadata.get("max", 10)))
        if kind in ("float", "double"):
            return 1.5
        if kind == "boolean":
            return random.random() < 0.5
        return 1764000000 if kind == "timestamp" else "x"

    @staticmethod
    def _text(shape: Any, random: random.Random) -> str:
        return random.choice(("mine-x", "1", "x"))


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


def _row(random: random.Random) -> dict[str, Any]:
    return random.choice((_ROW, _ROW, {"pk": {"S": "mine"}}, _VICTIMS_ROW))


_SPECIAL: dict[str, Callable[[random.Random], Any]] = {
    "Key": _row,
    "Keys": lambda random: [_row(random)],
    "Item": lambda random: {**_row(random), "v": {"S": "new"}},
    "ExpressionAttributeValues": lambda random: {":v": {"S": random.choice("1 mine victim".split())}},
    "ExpressionAttributeNames": lambda random: {"#n": "pk"},
    "KeySchema": lambda random: [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": lambda random: [{"AttributeName": "pk", "AttributeType": "S"}],
}


# -- ambiguity ----------------------------------------------------------------------------


class Mutator:
    """Makes a request mean a second thing to another reader."""

    def __init__(self, world: World, random: random.Random) -> None:
        self._world = world
        self._random = random
        self._maker = Maker(world, random)

    def change(self, wire: Wire) -> None:
        """Change a request once or more."""
        for _ in range(self._random.choice((1, 1, 2, 2, 3, 4))):
            own = _OWN_CHANGES.get(wire.service, ())
            chosen = self._random.choice(own if own and self._random.random() < 0.2 else _CHANGES)
            wire.notes.append(chosen.__name__.strip("_"))
            chosen(self, wire)

    # The victim's names, one for a member of a request.

    def name_of(self, service: str, member: str) -> str:
        """A victim's name that a member could hold."""
        found = candidates(self._world, service, member, "victim")
        if not found:
            found = self._random.choice(list(self._world.names["victim"].values()))
        return self._random.choice(found)

    def member(self, service: str) -> str:
        """A member of some request; such as name things are more likely."""
        found = members(service)
        named = [each for each in found if candidates(self._world, service, each, "victim")]
        return self._random.choice(named if named and self._random.random() < 0.8 else found)


def _document(body: bytes) -> dict[str, Any] | None:
    """A body as an object of JSON."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _swapped(me: Mutator, wire: Wire) -> None:
    """One place that names mine names the victim's."""
    parts = (wire.path, wire.query, wire.body.decode("latin-1"), *wire.headers.values())
    whole = "\0\0".join(parts)
    places = [each.start() for each in re.finditer("mine", whole)]
    if not places:
        return
    place = me._random.choice(places)
    changed = (whole[:place] + "victim" + whole[place + 4 :]).split("\0\0")
    if len(changed) == len(parts):
        wire.path, wire.query, body, *values = changed
        wire.body = body.encode("latin-1")
        wire.headers = dict(zip(wire.headers, values, strict=True))


def _replaced(me: Mutator, wire: Wire) -> None:
    """The body is that of a request about the victim's."""
    wire.body = me._maker.request(wire.service, wire.operation, "victim").body


def _added(me: Mutator, wire: Wire) -> None:
    """A member more, before or after the others; perhaps one that is there, perhaps misspelt."""
    name = me.member(wire.service)
    value = me.name_of(wire.service, name)
    if me._random.random() < 0.25:
        name = me._random.choice((name.upper(), name.lower(), name[0].swapcase() + name[1:]))
    if wire.body.startswith(b"{"):
        value_text = json.dumps(value)
        if me._random.random() < 0.15:
            value_text = json.dumps([{"Statement": value}, {"TableName": value}])
        pair = f"{json.dumps(name)}: {value_text}".encode()
        inner = wire.body.strip()[1:-1]
        both = (pair, inner) if me._random.random() < 0.5 else (inner, pair)
        wire.body = b"{" + b", ".join(filter(None, both)) + b"}"
    elif b"<" in wire.body:
        wire.body = wire.body.replace(b"</", f"<{name}>{value}</{name}></".encode("utf-8"), 1)
    else:
        _field_added(me, wire)


def _other_list(me: Mutator, wire: Wire) -> None:
    """A whole member of a request about the victim's, beside those that are there."""
    operation = me._random.choice(operations(wire.service))
    if me._random.random() < 0.5:
        operation = wire.operation
    other = me._maker.request(wire.service, operation, "victim")
    mine, theirs = _document(wire.body), _document(other.body)
    if mine is not None and theirs is not None:
        renamed = {"TransactStatements": "Statements", "Statements": "TransactStatements"}
        if theirs and me._random.random() < 0.5:
            name = me._random.choice(list(theirs))
            theirs = {renamed.get(name, name): theirs[name]}
        both = {**theirs, **mine} if me._random.random() < 0.7 else {**mine, **theirs}
        wire.body = json.dumps(both).encode()
        return
    fields = [f"{name}={quote(value)}" for name, value in parse_qsl(other.body.decode("latin-1"))]
    wire.query = "&".join(filter(None, [wire.query, me._random.choice(fields) if fields else ""]))


def _field_added(me: Mutator, wire: Wire) -> None:
    """A field more of a form, in the body or in the query, its name perhaps encoded."""
    name = me.member(wire.service)
    value = quote(me.name_of(wire.service, name), safe="")
    if me._random.random() < 0.4:
        place = me._random.randrange(len(name))
        name = name[:place] + f"%{ord(name[place]):02x}" + name[place + 1 :]
    pair = f"{name}={value}"
    if me._random.random() < 0.5:
        wire.query = "&".join(filter(None, [wire.query, pair]))
    else:
        wire.body = b"&".join(filter(None, [wire.body, pair.encode()]))


def _name_encoded(me: Mutator, wire: Wire) -> None:
    """A letter of a field's name in the body or the query is encoded."""
    text = wire.body.decode("latin-1") if me._random.random() < 0.6 else wire.query
    names = [each for each in re.finditer(r"(?:^|&)([A-Za-z])", text)]
    if names and not text.startswith(("{", "<")):
        found = me._random.choice(names)
        changed = text[: found.start(1)] + f"%{ord(found[1]):02x}" + text[found.end(1) :]
        if text == wire.query:
            wire.query = changed
        else:
            wire.body = changed.encode("latin-1")


def _other_method(me: Mutator, wire: Wire) -> None:
    """Another method."""
    wire.method = me._random.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"))


def _other_path(me: Mutator, wire: Wire) -> None:
    """Another path, or the same with a turn."""
    paths = ["/", f"/{OWNER}/victim-q", f"/{OWNER}/mine-q", "/victim-b/k", "/victim-b", "/mine-b/k"]
    paths += ["/schedules/victim-s", "/schedule-groups/victim-g", "//victim-b/k", "/mine-b/../victim-b/k"]
    paths += ["/mine-b%2f..%2fvictim-b/k", "/schedules/mine-s%2f..%2fvictim-s", f"/queue/victim-q"]
    paths += [wire.path + "/", "/" + wire.path, wire.path + "/victim-s", wire.path + "%00"]
    paths.append(kit.text(me._random, wire.path).encode("ascii", "ignore").decode())
    wire.path = "/" + me._random.choice(paths).removeprefix("/")
    wire.path = re.sub(r"[\s?#]", "", wire.path)


def _target(me: Mutator, wire: Wire) -> None:
    """X-Amz-Target says something, perhaps of another operation."""
    described = model(wire.service).metadata
    prefix = described.get("targetPrefix") or {
        "cloudformation": "CloudFormation_20100515",
        "sns": "AmazonSimpleNotificationService",
    }.get(wire.service, wire.service)
    if me._random.random() < 0.3:
        prefix = me._random.choice(("AmazonSQS", "DynamoDB_20120810", "AmazonSSM", "TrentService"))
    wire.headers["x-amz-target"] = f"{prefix}.{me._random.choice(operations(wire.service))}"


def _as_json(me: Mutator, wire: Wire) -> None:
    """The form goes to the query, and a body of JSON about the victim's says another thing."""
    operation = me._random.choice(operations(wire.service))
    other = me._maker.request(wire.service, operation, "victim")
    if other.body.startswith(b"{") or not other.body:
        return
    wire.query = "&".join(filter(None, [wire.query, wire.body.decode("latin-1")]))
    wire.body = json.dumps(dict(parse_qsl(other.body.decode()))).encode()
    wire.headers["x-amz-target"] = f"CloudFormation_20100515.{operation}"
    wire.headers["content-type"] = "application/x-amz-json-1.0"


def _as_form(me: Mutator, wire: Wire) -> None:
    """JSON becomes a form, in the body or the query."""
    given = _document(wire.body)
    if given is None:
        return
    plain = {name: value for name, value in given.items() if isinstance(value, str | int)}
    version = model(wire.service).metadata["apiVersion"]
    form = urlencode({"Action": wire.operation, "Version": version, **plain})
    wire.headers.pop("x-amz-target", None)
    wire.headers["content-type"] = "application/x-www-form-urlencoded"
    wire.body, wire.query = (form.encode(), "") if me._random.random() < 0.5 else (b"", form)


def _moved(me: Mutator, wire: Wire) -> None:
    """What the body said the query says, or the other way round."""
    if b"=" not in wire.body or wire.body.startswith((b"{", b"<")):
        if wire.query and wire.service != "s3":
            wire.body, wire.query = wire.query.encode(), ""
        return
    text = re.sub(r"[^!-~]", "", wire.body.decode("latin-1"))
    wire.query = "&".join(filter(None, [wire.query, text]))
    if me._random.random() < 0.7:
        wire.body = b""


def _header(me: Mutator, wire: Wire) -> None:
    """A header that S3 obeys, or another type of content."""
    if me._random.random() < 0.3:
        wire.headers["content-type"] = me._random.choice(
            (
                "application/x-www-form-urlencoded",
                "application/x-amz-json-1.1",
                "application/json; charset=utf-16",
                "text/xml",
                "multipart/form-data; boundary=x",
            )
        )
        return
    wire.headers[me._random.choice(_S3_HEADERS)] = me.name_of("s3", "CopySource")


def _copied(me: Mutator, wire: Wire) -> None:
    """An object of mine is made from another, whose version may be named in many ways."""
    wire.method, wire.path, wire.query, wire.body = "PUT", "/mine-b/copy", "", b""
    source = me.name_of("s3", "CopySource")
    if me._random.random() < 0.6:
        old = me._world.names["victim"]["oldversion"][0]
        extra = me._random.choice(("?", "?x=1&", "?versionId=null&", "?VersionId=1&", "?&", "%3f"))
        name = me._random.choice(("versionId", "version%49d", "VersionId", "versionid"))
        source = f"/versioned-b/k{extra}{name}={old}"
    elif me._random.random() < 0.5:
        source = kit.text(me._random, source).encode("ascii", "ignore").decode()
    wire.headers = {"x-amz-copy-source": source}


def _configured(me: Mutator, wire: Wire) -> None:
    """A setting of a bucket of mine names the victim's bucket."""
    operation = me._random.choice(
        [each for each in operations("s3") if re.match("PutBucket|CreateBucketMeta", each)]
    )
    made = me._maker.request("s3", operation, "mine")
    wire.method, wire.path, wire.query = made.method, made.path, made.query
    wire.headers, body = made.headers, made.body.decode("latin-1")
    wire.body = body.replace("mine-b", "victim-b").encode("latin-1")
    wire.operation = operation


def _in_two_places(me: Mutator, wire: Wire) -> None:
    """A form's queue is named by the path, the query and the body, not everywhere the same."""
    random = me._random
    fields = {"Action": wire.operation, "Version": "2012-11-05", "VisibilityTimeout": "0"}
    query, body = dict(fields), {}
    if random.random() < 0.4:
        query, body = body, query
    name = random.choice(("QueueUrl", "QueueUrl", "Queue%55rl", "queueUrl", "QueueName"))
    for form in random.sample((query, body), random.choice((1, 1, 2))):
        form[name] = random.choice(("/000000000000/mine-q", "mine-q", "/000000000000/victim-q"))
    wire.path = random.choice(("/", "/000000000000/mine-q", "/000000000000/victim-q"))
    wire.query = "&".join(f"{name}={value}" for name, value in query.items())
    wire.body = "&".join(f"{name}={value}" for name, value in body.items()).encode()
    wire.method = random.choice(("GET", "POST", "POST", "PUT"))
    wire.headers = {"content-type": "application/x-www-form-urlencoded"}


def _both_lists(me: Mutator, wire: Wire) -> None:
    """Statements of mine in one list, of the victim's in another."""
    random = me._random
    wire.operation = random.choice(("ExecuteTransaction", "BatchExecuteStatement"))
    wire.headers["x-amz-target"] = f"DynamoDB_20120810.{wire.operation}"
    lists = [
        [{"Statement": f"SELECT * FROM \"{who}-t\" WHERE pk = '1'"}] for who in ("mine", "victim")
    ]
    random.shuffle(lists)
    names = ["Statements", random.choice(("TransactStatements", "statements", "Statement"))]
    wire.body = json.dumps(dict(zip(names, lists, strict=True))).encode()


_OWN_CHANGES: dict[str, tuple[Callable[[Mutator, Wire], None], ...]] = {
    "s3": (_copied, _copied, _configured),
    "sqs": (_in_two_places,),
    "dynamodb": (_both_lists,),
}


def _query(me: Mutator, wire: Wire) -> None:
    """A parameter more in the query: a subresource, a version, an upload of the victim's."""
    names = ("versionId", "uploadId", "delete", "acl", "policy", "tagging", "list-type", "prefix")
    name = me._random.choice((*names, "x-amz-copy-source", "partNumber", "groupName", "Bucket"))
    value = quote(me.name_of(wire.service, name[0].upper() + name[1:]), safe="")
    wire.query = "&".join(filter(None, [wire.query, f"{name}={value}"]))


def _encoding(me: Mutator, wire: Wire) -> None:
    """The body in another encoding, or with something around it."""
    kind = me._random.randrange(4)
    if kind == 0:
        wire.body = wire.body.decode("latin-1").encode(me._random.choice(("utf-16", "utf-8-sig")))
    elif kind == 1:
        wire.body += me._random.choice((b"\0", b"{}", b"\r\n", b" x", b"&"))
    else:
        wire.body = kit.octets(me._random, wire.body)


def _twisted(me: Mutator, wire: Wire) -> None:
    """A name of mine is spelt so that another reader may see the victim's."""
    turns = ("mine-x/../victim", "victim\\u0000mine", "mine%2f..%2fvictim", "mine,victim", "mine victim")
    turns += ("mine/victim", "mine\\\\victim", "mine;victim", "mine:victim", "mine&victim", "mine#victim")
    text = wire.body.decode("latin-1")
    wire.body = text.replace("mine", me._random.choice(turns), 1).encode("latin-1")


_CHANGES: tuple[Callable[[Mutator, Wire], None], ...] = (
    _swapped,
    _swapped,
    _swapped,
    _replaced,
    _added,
    _added,
    _other_list,
    _other_list,
    _field_added,
    _name_encoded,
    _other_method,
    _other_path,
    _target,
    _as_json,
    _as_form,
    _moved,
    _header,
    _query,
    _encoding,
    _twisted,
)
