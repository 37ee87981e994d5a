"""Documents that come from outside: each reader takes one, or refuses it in its own way, soon."""

from __future__ import annotations

import io
import json
import os
import stat
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree

import pytest

from lambent.aws import event_pattern, filter_pattern, model, query
from lambent.aws.model import Shape
from lambent.aws.parse import SerializationError
from lambent.errors import InvalidParameterValue
from lambent.functions import package
from lambent.iam.policy.document import Malformed, read
from lambent.iam.policy.evaluation import Outcome, Policies, Request, Requester, evaluate
from lambent.neighbours.subjects import canonical, query_services, s3_documents
from lambent.neighbours.subjects.base import Unreadable
from tests.fuzz import kit
from tests.fuzz.differential.requests import Maker, operations
from tests.fuzz.differential.world import World
from tests.fuzz.kit import Cases

_ACCOUNT, _REGION = "000000000000", "us-east-1"
# One document takes so long at most, on a busy machine.
_LONGEST_SECONDS = 2.0


@contextmanager
def _soon() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < _LONGEST_SECONDS


# -- archives -----------------------------------------------------------------------------

_LIMIT = 1 << 20
_NAMES = (
    "app.py",
    "a/b",
    "a/b/",
    "link",
    "link/x",
    "..",
    "../x",
    "/etc/x",
    "a/../../x",
    ".",
    "é",
    "-",
)
_TARGETS = (
    b"app.py",
    b"a",
    b"../x",
    b"/etc/passwd",
    b"..",
    b"link",
    b"a/../..",
    b".",
    b"x" * 5_000,
)
_MODES = (0o100644, 0o100644, 0o104755, 0o040755, 0o120777, 0o120777, 0o010644, 0o060644, 0)


def _archive(dice: Random) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(dice.randint(1, 5)):
            name = dice.choice(_NAMES)
            if dice.random() < 0.2:
                name = kit.text(dice, name)[:20_000].encode("utf-8", "replace").decode()
            info = zipfile.ZipInfo(name)
            info.external_attr = dice.choice(_MODES) << 16
            info.compress_type = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            large = b"\0" * (2 * _LIMIT) if dice.random() < 0.05 else b"content"
            archive.writestr(info, dice.choice((*_TARGETS, large)))
    return buffer.getvalue()


def _inside(tree: Path) -> int:
    """The bytes below a folder, all of whose entries stay there; raises AssertionError."""
    root, total = tree.resolve(), 0
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or path.is_symlink()
            assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), path
            if path.is_symlink():
                # As far as it leads: what it names need not be there.
                target = os.path.normpath(os.path.join(folder, os.readlink(path)))
                assert target == str(tree) or target.startswith(f"{tree}/"), path
                assert not path.exists() or root in (path.resolve(), *path.resolve().parents)
            else:
                total += status.st_size
    return total


def test_an_archive_lands_below_its_folder_or_nowhere(cases: Cases, tmp_path: Path) -> None:
    unpacked = 0
    for dice in cases(400):
        data = _archive(dice)
        if dice.random() < 0.6:
            data = kit.octets(dice, data)
        folder = tmp_path / str(cases.number)
        folder.mkdir()
        try:
            with _soon(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                package.unpack(io.BytesIO(data), folder / "tree", _LIMIT)
        except InvalidParameterValue:
            assert os.listdir(folder) == []
            continue
        unpacked += 1
        assert os.listdir(folder) == ["tree"]
        assert _inside(folder / "tree") <= _LIMIT
    assert sorted(os.listdir(tmp_path)) == sorted(str(each) for each in range(cases.number + 1))
    assert unpacked


# -- XML, forms, JSON ---------------------------------------------------------------------


def test_a_document_of_s3_is_sent_on_as_it_was_read(cases: Cases) -> None:
    taken = 0
    for dice in cases(1_500):
        operation = dice.choice(
            [each for each in operations("s3") if each.startswith(("Put", "De"))]
        )
        body = Maker(World(""), dice).request("s3", operation, "mine").body
        if dice.random() < 0.8:
            body = kit.octets(dice, body)
        try:
            with _soon():
                root, sent = s3_documents.canonical({}, body)
                named = list(s3_documents.deleted(root)) if root is not None else []
        except Unreadable:
            continue
        taken += 1
        again, same = s3_documents.canonical({}, sent)
        assert same == sent
        if again is not None:
            assert list(s3_documents.deleted(again)) == named
            # Any other reader finds the same.
            other = ElementTree.fromstring(sent)
            assert [each.text for each in other.iter()] == [each.text for each in again.iter()]
    assert taken


def test_a_form_for_a_service_has_one_reading(cases: Cases) -> None:
    taken = 0
    for dice in cases(3_000):
        service = dice.choice(("sns", "cloudformation"))
        operation = dice.choice(operations(service))
        fields = parse_qsl(Maker(World(""), dice).request(service, operation, "mine").body.decode())
        beside: dict[str, list[str]] = {}
        if fields and dice.random() < 0.3:
            name, value = dice.choice(fields)
            beside = {name: [value if dice.random() < 0.5 else kit.text(dice, value)]}
        body = urlencode(fields, quote_via=quote).encode()
        if dice.random() < 0.8:
            body = kit.octets(dice, body)
        try:
            asked = query_services.read(service, "/", beside, body, _ACCOUNT, _REGION)
            list(query_services.wanted(asked))
        except Unreadable:
            continue
        taken += 1
        assert (
            dict(parse_qsl(asked.body.decode("ascii"), keep_blank_values=True)) == asked.parameters
        )
        again = query_services.read(service, "/", {}, asked.body, _ACCOUNT, _REGION)
        assert (again.parameters, again.body) == (asked.parameters, asked.body)
    assert taken


_JSON_SERVICES = ("dynamodb", "sqs", "events", "kinesis", "kms", "ssm", "secretsmanager")


def test_a_document_for_a_service_has_one_reading(cases: Cases) -> None:
    taken = 0
    for dice in cases(3_000):
        service = dice.choice(_JSON_SERVICES)
        operation = dice.choice(operations(service))
        known = model.load(service).operations.get(operation)
        if known is None:
            continue
        body = Maker(World(""), dice).request(service, operation, "mine").body
        if dice.random() < 0.5:
            body = kit.octets(dice, body)
        elif dice.random() < 0.8:
            body = json.dumps(kit.document(dice, json.loads(body))).encode()
        try:
            found = canonical.read_json(known.input, body)
            sent = canonical.write_json(found)
        except Unreadable:
            continue
        taken += 1
        assert json.loads(sent) == found
        assert canonical.read_json(known.input, sent) == found
        if known.input is not None:
            assert set(found) <= set(known.input.members)
    assert taken


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (bytes,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
}


def _fits(shape: Shape, value: Any) -> None:
    """Raise AssertionError unless a value is of its shape."""
    if shape.kind in _TYPES:
        assert isinstance(value, _TYPES[shape.kind]), (shape.name, value)
    if shape.kind == "structure":
        for name, inner in value.items():
            _fits(shape.members[name].shape, inner)
    elif shape.kind == "list":
        assert shape.member is not None
        for inner in value:
            _fits(shape.member, inner)


def test_a_form_for_iam_becomes_what_its_model_says_or_nothing(cases: Cases) -> None:
    taken = 0
    for dice in cases(3_000):
        service = dice.choice(("iam", "sts"))
        operation = dice.choice(operations(service))
        body = Maker(World(""), dice).request(service, operation, "mine").body
        if dice.random() < 0.8:
            body = kit.octets(dice, body)
        try:
            form = query.parse_form(body)
            known = model.load(service).operations.get(form.get("Action", ""))
            if known is None or known.input is None:
                continue
            found = query.parameters(known, form)
        except SerializationError:
            continue
        taken += 1
        _fits(known.input, found)
    assert taken


# -- patterns -----------------------------------------------------------------------------

_PIECES = (
    "{", "}", "[", "]", "$.", "$", ".a", "a", "b", "=", "!=", "<", ">=", "&&", "||", "(", ")", "IS",
    "NULL", "TRUE", "NOT", "EXISTS", '"a b"', "*", "%", "%a.*b%", "%(a|b)+%", "1", "-1.5e3", "?a",
    "-a", ",", "...", "status=4*", " ", "\\", "\u212a", "{ $.a = 1 }", "[a, b=1, ...]", "[*]",
)  # fmt: skip
_MESSAGES = (
    "", "a b", '{"a": {"b": [1, null, "x"]}}', '1 2 [x] "y z"', "[" * 500, "a" * 5_000, "\0é"
)  # fmt: skip
_PATTERNS = ('{ $.a = "x" }', "[a, b=1, ...]", "a -b ?c", "%a+%")


def test_a_filter_pattern_matches_or_not_or_is_none(cases: Cases) -> None:
    compiled = 0
    for dice in cases(3_000):
        pattern = " ".join(dice.choices(_PIECES, k=dice.randint(1, 12)))
        if dice.random() < 0.5:
            pattern = kit.text(dice, dice.choice(_PATTERNS))
        try:
            with _soon():
                matches = filter_pattern.compile_pattern(pattern)
        except filter_pattern.InvalidPattern:
            continue
        compiled += 1
        for message in _MESSAGES:
            with _soon():
                assert matches(message) in (True, False)
    assert compiled


_EVENT = {"source": "aws.s3", "n": 1.5, "a": {"b": [1, None, "x"], "c": {}}, "": [[]]}
_PATTERN: dict[str, Any] = {
    "source": [{"prefix": "aws"}, {"anything-but": ["x", 1]}, {"wildcard": "a*s*"}],
    "n": [{"numeric": [">", 0, "<=", 5]}, {"exists": True}, None],
    "$or": [{"a": {"b": ["x"]}}, {"a": {"c": [{"exists": False}]}}],
    "ip": [{"cidr": "10.0.0.0/8"}, {"suffix": "s"}, {"equals-ignore-case": "AWS"}],
}


def test_an_event_pattern_matches_or_not_or_is_none(cases: Cases) -> None:
    compiled = 0
    for dice in cases(1_000):
        pattern: object = (
            _PATTERN if dice.random() < 0.5 else {"source": [dice.choice(_PATTERN["ip"])]}
        )
        for _ in range(dice.randint(0, 3)):
            pattern = kit.document(dice, pattern)
        event = kit.document(dice, _EVENT) if dice.random() < 0.5 else _EVENT
        try:
            with _soon():
                matches = event_pattern.compile_pattern(
                    event_pattern.read_pattern(json.dumps(pattern))
                )
        except event_pattern.InvalidPattern:
            continue
        compiled += 1
        with _soon():
            assert matches(event) in (True, False)
    assert compiled


# -- policies -----------------------------------------------------------------------------

# A managed policy's bound, and some.
_LONGEST_POLICY = 16 * 1024
_USER = Requester(_ACCOUNT, f"arn:aws:iam::{_ACCOUNT}:user/ann")
_THING = f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:queue"
_POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "one",
            "Effect": "Allow",
            "Action": ["sqs:*", "sqs:Send?essage"],
            "Resource": [_THING, "arn:aws:sqs:*:${aws:username}:q*"],
            "Condition": {
                "StringLike": {"aws:username": ["a*", "${aws:userid}"]},
                "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "ForAllValues:StringEquals": {"aws:TagKeys": []},
                "NumericLessThanIfExists": {"sqs:n": "5"},
                "DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"},
                "Bool": {"aws:SecureTransport": "false"},
            },
        },
        {"Effect": "Deny", "NotAction": "sqs:*", "NotResource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
    ],
}
_KEYS = {
    "aws:username": ["ann"],
    "aws:sourceip": ["10.1.2.3"],
    "aws:currenttime": ["2026-11-25T00:00:00Z"],
    "aws:securetransport": ["false"],
    "sqs:n": ["x"],
}
_DENY = json.dumps({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})


@pytest.mark.parametrize("of_resource", [False, True], ids=["identity", "resource"])
def test_a_policy_is_evaluated_or_none_and_a_deny_wins(cases: Cases, of_resource: bool) -> None:
    taken = 0
    request = Request(_USER, "sqs:SendMessage", _THING, _ACCOUNT, _KEYS)
    for dice in cases(2_000):
        document: object = _POLICY
        for _ in range(dice.randint(1, 3)):
            document = kit.document(dice, document)
        text = json.dumps(document)
        if dice.random() < 0.2:
            text = kit.text(dice, text)
        if len(text) > _LONGEST_POLICY:
            continue
        if of_resource:
            text = text.replace('"Effect": "Allow"', '"Effect": "Allow", "Principal": "*"')
        try:
            with _soon():
                found = read(text, principals=of_resource)
        except Malformed:
            continue
        taken += 1
        identity, resource = ([], found) if of_resource else ([found], None)
        with _soon():
            alone = evaluate(request, Policies(identity, resource=resource))
        assert alone.outcome in Outcome
        denied = evaluate(request, Policies([*identity, read(_DENY)], resource=resource))
        assert denied.outcome is Outcome.EXPLICIT_DENY
        # What is asked for beside changes nothing: the order of statements is of no account.
        turned = evaluate(request, Policies(identity[::-1], resource=resource))
        assert turned.outcome is alone.outcome
    assert taken
