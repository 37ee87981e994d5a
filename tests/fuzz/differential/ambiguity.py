"""Ways to make a valid request ambiguous: what one reader takes for mine another may not."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tests.fuzz import kit
from tests.fuzz.differential.requests import Maker, Wire, members, model, operations
from tests.fuzz.differential.rig import OWNER
from tests.fuzz.differential.world import World, candidates

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


class Mutator:
    """Makes a request mean a second thing to another reader."""

    def __init__(self, world: World, dice: Random) -> None:
        self._world = world
        self._dice = dice
        self._maker = Maker(world, dice)

    def change(self, wire: Wire) -> None:
        """Change a request once or more."""
        for _ in range(self._dice.choice((1, 1, 2, 2, 3, 4))):
            own = _OWN_CHANGES.get(wire.service, ())
            chosen = self._dice.choice(own if own and self._dice.random() < 0.2 else _CHANGES)
            wire.notes.append(chosen.__name__.strip("_"))
            with contextlib.suppress(UnicodeError):  # half a pair of surrogates
                chosen(self, wire)

    # The victim's names, one for a member of a request.

    def name_of(self, service: str, member: str) -> str:
        """A victim's name that a member could hold."""
        found = candidates(self._world, service, member, "victim")
        if not found:
            found = self._dice.choice(list(self._world.names["victim"].values()))
        return self._dice.choice(found)

    def member(self, service: str) -> str:
        """A member of some request; such as name things are more likely."""
        found = members(service)
        named = [each for each in found if candidates(self._world, service, each, "victim")]
        return self._dice.choice(named if named and self._dice.random() < 0.8 else found)


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
    place = me._dice.choice(places)
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
    if me._dice.random() < 0.25:
        name = me._dice.choice((name.upper(), name.lower(), name[0].swapcase() + name[1:]))
    if wire.body.startswith(b"{"):
        value_text = json.dumps(value)
        if me._dice.random() < 0.15:
            value_text = json.dumps([{"Statement": value}, {"TableName": value}])
        pair = f"{json.dumps(name)}: {value_text}".encode()
        inner = wire.body.strip()[1:-1]
        both = (pair, inner) if me._dice.random() < 0.5 else (inner, pair)
        wire.body = b"{" + b", ".join(filter(None, both)) + b"}"
    elif b"<" in wire.body:
        wire.body = wire.body.replace(b"</", f"<{name}>{value}</{name}></".encode(), 1)
    else:
        _field_added(me, wire)


def _other_list(me: Mutator, wire: Wire) -> None:
    """A whole member of a request about the victim's, beside those that are there."""
    operation = me._dice.choice(operations(wire.service))
    if me._dice.random() < 0.5:
        operation = wire.operation
    other = me._maker.request(wire.service, operation, "victim")
    mine, theirs = _document(wire.body), _document(other.body)
    if mine is not None and theirs is not None:
        renamed = {"TransactStatements": "Statements", "Statements": "TransactStatements"}
        if theirs and me._dice.random() < 0.5:
            name = me._dice.choice(list(theirs))
            theirs = {renamed.get(name, name): theirs[name]}
        both = {**theirs, **mine} if me._dice.random() < 0.7 else {**mine, **theirs}
        wire.body = json.dumps(both).encode()
        return
    fields = [f"{name}={quote(value)}" for name, value in parse_qsl(other.body.decode("latin-1"))]
    wire.query = "&".join(filter(None, [wire.query, me._dice.choice(fields) if fields else ""]))


def _field_added(me: Mutator, wire: Wire) -> None:
    """A field more of a form, in the body or in the query, its name perhaps encoded."""
    name = me.member(wire.service)
    value = quote(me.name_of(wire.service, name), safe="")
    if me._dice.random() < 0.4:
        place = me._dice.randrange(len(name))
        name = name[:place] + f"%{ord(name[place]):02x}" + name[place + 1 :]
    pair = f"{name}={value}"
    if me._dice.random() < 0.5:
        wire.query = "&".join(filter(None, [wire.query, pair]))
    else:
        wire.body = b"&".join(filter(None, [wire.body, pair.encode()]))


def _name_encoded(me: Mutator, wire: Wire) -> None:
    """A letter of a field's name in the body or the query is encoded."""
    text = wire.body.decode("latin-1") if me._dice.random() < 0.6 else wire.query
    names = list(re.finditer(r"(?:^|&)([A-Za-z])", text))
    if names and not text.startswith(("{", "<")):
        found = me._dice.choice(names)
        changed = text[: found.start(1)] + f"%{ord(found[1]):02x}" + text[found.end(1) :]
        if text == wire.query:
            wire.query = changed
        else:
            wire.body = changed.encode("latin-1")


def _other_method(me: Mutator, wire: Wire) -> None:
    """Another method."""
    wire.method = me._dice.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"))


def _other_path(me: Mutator, wire: Wire) -> None:
    """Another path, or the same with a turn."""
    paths = ["/", f"/{OWNER}/victim-q", f"/{OWNER}/mine-q", "/victim-b/k", "/victim-b", "/mine-b/k"]
    paths += [
        "/schedules/victim-s",
        "/schedule-groups/victim-g",
        "//victim-b/k",
        "/mine-b/../victim-b/k",
    ]
    paths += ["/mine-b%2f..%2fvictim-b/k", "/schedules/mine-s%2f..%2fvictim-s", "/queue/victim-q"]
    paths += [wire.path + "/", "/" + wire.path, wire.path + "/victim-s", wire.path + "%00"]
    paths.append(kit.text(me._dice, wire.path).encode("ascii", "ignore").decode())
    wire.path = "/" + me._dice.choice(paths).removeprefix("/")
    wire.path = re.sub(r"[\s?#]", "", wire.path)


def _target(me: Mutator, wire: Wire) -> None:
    """X-Amz-Target says something, perhaps of another operation."""
    described = model(wire.service).metadata
    prefix = described.get("targetPrefix") or {
        "cloudformation": "CloudFormation_20100515",
        "sns": "AmazonSimpleNotificationService",
    }.get(wire.service, wire.service)
    if me._dice.random() < 0.3:
        prefix = me._dice.choice(("AmazonSQS", "DynamoDB_20120810", "AmazonSSM", "TrentService"))
    wire.headers["x-amz-target"] = f"{prefix}.{me._dice.choice(operations(wire.service))}"


def _as_json(me: Mutator, wire: Wire) -> None:
    """The form goes to the query, and a body of JSON about the victim's says another thing."""
    operation = me._dice.choice(operations(wire.service))
    other = me._maker.request(wire.service, operation, "victim")
    if other.body.startswith(b"{") or not other.body:
        return
    wire.query = "&".join(filter(None, [wire.query, wire.body.decode("latin-1")]))
    wire.body = json.dumps(dict(parse_qsl(other.body.decode("latin-1")))).encode()
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
    wire.body, wire.query = (form.encode(), "") if me._dice.random() < 0.5 else (b"", form)


def _moved(me: Mutator, wire: Wire) -> None:
    """What the body said the query says, or the other way round."""
    if b"=" not in wire.body or wire.body.startswith((b"{", b"<")):
        if wire.query and wire.service != "s3":
            wire.body, wire.query = wire.query.encode(), ""
        return
    text = re.sub(r"[^!-~]", "", wire.body.decode("latin-1"))
    wire.query = "&".join(filter(None, [wire.query, text]))
    if me._dice.random() < 0.7:
        wire.body = b""


def _header(me: Mutator, wire: Wire) -> None:
    """A header that S3 obeys, or another type of content."""
    if me._dice.random() < 0.3:
        wire.headers["content-type"] = me._dice.choice(
            (
                "application/x-www-form-urlencoded",
                "application/x-amz-json-1.1",
                "application/json; charset=utf-16",
                "text/xml",
                "multipart/form-data; boundary=x",
            )
        )
        return
    wire.headers[me._dice.choice(_S3_HEADERS)] = me.name_of("s3", "CopySource")


def _copied(me: Mutator, wire: Wire) -> None:
    """An object of mine is made from another, whose version may be named in many ways."""
    wire.method, wire.path, wire.query, wire.body = "PUT", "/mine-b/copy", "", b""
    source = me.name_of("s3", "CopySource")
    if me._dice.random() < 0.6:
        old = me._world.names["victim"]["oldversion"][0]
        extra = me._dice.choice(("?", "?x=1&", "?versionId=null&", "?VersionId=1&", "?&", "%3f"))
        name = me._dice.choice(("versionId", "version%49d", "VersionId", "versionid"))
        source = f"/versioned-b/k{extra}{name}={old}"
    elif me._dice.random() < 0.5:
        source = kit.text(me._dice, source).encode("ascii", "ignore").decode()
    wire.headers = {"x-amz-copy-source": source}


def _configured(me: Mutator, wire: Wire) -> None:
    """A setting of a bucket of mine names the victim's bucket."""
    operation = me._dice.choice(
        [each for each in operations("s3") if re.match("PutBucket|CreateBucketMeta", each)]
    )
    made = me._maker.request("s3", operation, "mine")
    wire.method, wire.path, wire.query = made.method, made.path, made.query
    wire.headers, body = made.headers, made.body.decode("latin-1")
    wire.body = body.replace("mine-b", "victim-b").encode("latin-1")
    wire.operation = operation


def _in_two_places(me: Mutator, wire: Wire) -> None:
    """A form's queue is named by the path, the query and the body, not everywhere the same."""
    dice = me._dice
    fields = {"Action": wire.operation, "Version": "2012-11-05", "VisibilityTimeout": "0"}
    query: dict[str, str] = dict(fields)
    body: dict[str, str] = {}
    if dice.random() < 0.4:
        query, body = body, query
    name = dice.choice(("QueueUrl", "QueueUrl", "Queue%55rl", "queueUrl", "QueueName"))
    for form in dice.sample((query, body), dice.choice((1, 1, 2))):
        form[name] = dice.choice(("/000000000000/mine-q", "mine-q", "/000000000000/victim-q"))
    wire.path = dice.choice(("/", "/000000000000/mine-q", "/000000000000/victim-q"))
    wire.query = "&".join(f"{name}={value}" for name, value in query.items())
    wire.body = "&".join(f"{name}={value}" for name, value in body.items()).encode()
    wire.method = dice.choice(("GET", "POST", "POST", "PUT"))
    wire.headers = {"content-type": "application/x-www-form-urlencoded"}


def _both_lists(me: Mutator, wire: Wire) -> None:
    """Statements of mine in one list, of the victim's in another."""
    dice = me._dice
    wire.operation = dice.choice(("ExecuteTransaction", "BatchExecuteStatement"))
    wire.headers["x-amz-target"] = f"DynamoDB_20120810.{wire.operation}"
    lists = [
        [{"Statement": f"SELECT * FROM \"{who}-t\" WHERE pk = '1'"}] for who in ("mine", "victim")
    ]
    dice.shuffle(lists)
    names = ["Statements", dice.choice(("TransactStatements", "statements", "Statement"))]
    wire.body = json.dumps(dict(zip(names, lists, strict=True))).encode()


_TOKENS = (
    "SELECT", "*", "FROM", '"mine-t"', '"mine-t"', '"victim-t"', '"victim-t"', "mine-t", "victim-t",
    "'1'", ".", ",", '"pub"', "WHERE", "pk", "=", "UNION", "(", ")", "[", "]", "--", "/*", "*/",
    "EXISTS",
    "UPDATE", "SET", "v", "INSERT", "INTO", "VALUE", "{'pk': '1'}", "DELETE", "AS", "''", '""', ";",
    "\n", "\u00a0", "'from \"mine-t\"'", "ALL", "IN", "RETURNING", "?", "`", "<<", ">>", "\\",
)  # fmt: skip
_BEGINNINGS = (
    ("SELECT", "*", "FROM"),
    ("SELECT", "v", "FROM"),
    ("UPDATE",),
    ("DELETE", "FROM"),
    ("INSERT", "INTO"),
    ("EXISTS", "(", "SELECT", "*", "FROM"),
)


def _stated(me: Mutator, wire: Wire) -> None:
    """A statement of tokens: the table that is read may not be the one that was asked about."""
    dice = me._dice
    tokens = [*dice.choice(_BEGINNINGS), *dice.choices(_TOKENS, k=dice.randint(1, 9))]
    if dice.random() < 0.5:
        tokens += ["WHERE", "pk", "=", "'1'"]
    if dice.random() < 0.1:
        dice.shuffle(tokens)
    statement = dice.choice((" ", " ", "", "\t")).join(tokens)
    wire.operation = "ExecuteStatement"
    wire.headers["x-amz-target"] = "DynamoDB_20120810.ExecuteStatement"
    wire.body = json.dumps({"Statement": statement}).encode()


_OWN_CHANGES: dict[str, tuple[Callable[[Mutator, Wire], None], ...]] = {
    "s3": (_copied, _copied, _configured),
    "sqs": (_in_two_places,),
    "dynamodb": (_both_lists, _stated, _stated),
}


def _query(me: Mutator, wire: Wire) -> None:
    """A parameter more in the query: a subresource, a version, an upload of the victim's."""
    names = ("versionId", "uploadId", "delete", "acl", "policy", "tagging", "list-type", "prefix")
    name = me._dice.choice((*names, "x-amz-copy-source", "partNumber", "groupName", "Bucket"))
    value = quote(me.name_of(wire.service, name[0].upper() + name[1:]), safe="")
    wire.query = "&".join(filter(None, [wire.query, f"{name}={value}"]))


def _encoding(me: Mutator, wire: Wire) -> None:
    """The body in another encoding, or with something around it."""
    kind = me._dice.randrange(4)
    if kind == 0:
        wire.body = wire.body.decode("latin-1").encode(me._dice.choice(("utf-16", "utf-8-sig")))
    elif kind == 1:
        wire.body += me._dice.choice((b"\0", b"{}", b"\r\n", b" x", b"&"))
    else:
        wire.body = kit.octets(me._dice, wire.body)


def _reshaped(me: Mutator, wire: Wire) -> None:
    """A place of the document holds something else; a field of the form another text."""
    found = _document(wire.body)
    if found is not None:
        wire.body = json.dumps(kit.document(me._dice, found)).encode()
    elif wire.body and wire.service not in ("s3", "cloudwatch"):
        fields = parse_qsl(wire.body.decode("latin-1"))
        changed = dict(fields)
        name = me._dice.choice(list(changed) or ["Action"])
        changed[name] = kit.text(me._dice, changed.get(name, ""))
        wire.body = urlencode(changed, errors="surrogatepass").encode()


def _twisted(me: Mutator, wire: Wire) -> None:
    """A name of mine is spelt so that another reader may see the victim's."""
    turns = [f"mine{sign}victim" for sign in ("-x/../", "%2f..%2f", *", /;:&#", "\\", "\u0000")]
    text = wire.body.decode("latin-1")
    wire.body = text.replace("mine", me._dice.choice(turns), 1).encode("latin-1")


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
    _reshaped,
    _reshaped,
    _twisted,
)
