"""Templates as text: what is read, what is refused, and how much work that takes."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from lambent.neighbours.ministack import (
    stack_failures,
    template_expansion,
    template_patterns,
    template_text,
)
from lambent.neighbours.ministack.stack_types import TYPES, roles, unsupported
from lambent.neighbours.ministack.template_text import MOST_LEVELS, MOST_NODES, Malformed, parse
from lambent.neighbours.subjects.base import Unreadable
from lambent.neighbours.templates import check, object_of

SHORT = """
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Size: {Type: Number, Default: 7}
Conditions:
  Is: !Equals [!Ref Size, "7"]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Condition: Is
    Properties:
      QueueName: !Sub
        - "${a}-${AWS::Region}"
        - a: !If [Is, x, !Ref "AWS::NoValue"]
      DelaySeconds: !GetAtt Other.Att.Name
      Yes: no
"""


def test_shorthand_is_what_it_stands_for() -> None:
    template = parse(SHORT)
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    assert template["Conditions"] == {"Is": {"Fn::Equals": [{"Ref": "Size"}, "7"]}}
    queue = template["Resources"]["Queue"]["Properties"]
    no_value = {"Ref": "AWS::NoValue"}
    variables = {"a": {"Fn::If": ["Is", "x", no_value]}}
    assert queue["QueueName"] == {"Fn::Sub": ["${a}-${AWS::Region}", variables]}
    assert queue["DelaySeconds"] == {"Fn::GetAtt": ["Other", "Att.Name"]}
    assert queue["True"] is False  # YAML 1.1
    assert parse(json.dumps(template)) == template


REFUSED = {
    "an alias": ("Metadata: &a [1]\nOutputs: *a", "aliases are not allowed"),
    "a merge": ("<<: {Metadata: {}}", "merges are not allowed"),
    "binary": ("Metadata: !!binary aaaa", "tag"),
    "a set": ("Metadata: !!set {a}", "tag"),
    "python": ("Metadata: !!python/object:os.system []", "tag"),
    "a number": ("Metadata: " + "1" * 65, "number is too long"),
    "not a number": ('{"Metadata": NaN}', "NaN"),
    "a list": ("[]", "must be a JSON or YAML mapping"),
    "nothing": ("", "must be a JSON or YAML mapping"),
    "a resource of text": ('{"Resources": {"A": "b"}}', "definition is malformed"),
    "a resource without type": ('{"Resources": {"A": {}}}', "must contain a Type member"),
    "resources in a list": ('{"Resources": []}', "must be an object"),
    "an open variable": ('{"A": {"Fn::Sub": "${${"}}', "variable names in Fn::Sub"),
    "a long key": (json.dumps({"a" * 1025: 1}), "longer than 1024"),
    "many parameters": (
        json.dumps({"Parameters": {f"P{n}": {"Type": "String"} for n in range(201)}}),
        "Number of parameters, 201, is greater than maximum allowed, 200",
    ),
    "many resources": (
        json.dumps({"Resources": {f"R{n}": {"Type": "X"} for n in range(501)}}),
        "Number of resources, 501, is greater than maximum allowed, 500",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(Malformed, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize("style", ["JSON", "YAML", "YAML blocks"])
def test_levels_are_counted(style: str) -> None:
    def nested(levels: int) -> str:
        if style == "YAML blocks":
            return "A:\n" + "- " * (levels - 1) + "x"
        value: Any = "x"
        for _ in range(levels - 1):
            value = [value]
        return ("" if style == "JSON" else "---\n") + json.dumps({"A": value})

    parse(nested(MOST_LEVELS))
    with pytest.raises(Malformed, match="nested deeper"):
        parse(nested(MOST_LEVELS + 1))


@pytest.mark.parametrize("start", ["", "---\n"], ids=["JSON", "YAML"])
def test_keys_and_values_are_counted(start: str) -> None:
    few, many = ([1] * (MOST_NODES - 3), [1] * (MOST_NODES - 2))
    parse(start + json.dumps({"A": few}))
    with pytest.raises(Malformed, match="keys and values"):
        parse(start + json.dumps({"A": many}))


HUGE = {
    "brackets": "[" * 1_000_000,
    "dashes": "- " * 500_000,
    "question marks": "? " * 500_000,
    "items": "[" + "x," * 490_000,
    "JSON brackets": '{"a":' * 200_000,
    "JSON quotes": '{"a":' + '"\\"' * 330_000,
    "digits": "A: " + "9" * 900_000,
    "sixties": "A: 1" + ":1" * 450_000,
    "directives": "%TAG !a! tag:x\n" * 60_000,
    "documents": "---\n" * 240_000,
    "quotes": "'" * 999_999,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_is_refused_in_little_time(name: str) -> None:
    began = time.process_time()
    with pytest.raises(Malformed):
        parse(HUGE[name])
    assert time.process_time() - began < 1.5


# -- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("[a-zA-Z][a-zA-Z0-9]*", "Name9", True),
        ("[a-zA-Z][a-zA-Z0-9]*", "9Name", False),
        (r"((\d{1,3})\.){3}\d{1,3}/(\d{1,2})", "10.0.0.0/16", True),
        ("^(true|false)$", "false", True),
        ("a?b+?[^c]", "bbd", True),
        ("", "", True),
        ("(a+)+$", "a" * 4000 + "b", False),
    ],
)
def test_patterns_match_as_a_whole(pattern: str, text: str, fits: bool) -> None:
    assert template_patterns.matches(pattern, [text]) is fits


@pytest.mark.parametrize(
    "pattern", ["(", "(?=a)a", r"(a)\1", "(a?){900}a{900}", "((a{99}){99}){99}", "((){9999}){9999}"]
)
def test_patterns_that_cannot_be_counted_are_refused(pattern: str) -> None:
    began = time.process_time()
    with pytest.raises(template_patterns.Unmatchable):
        template_patterns.matches(pattern, ["a" * 900])
    assert time.process_time() - began < 1.5


# -- expansion --------------------------------------------------------------------------------


def test_a_budget_ends() -> None:
    share = template_expansion.Budget()
    share.take(template_expansion.MOST_EXPANDED)
    with pytest.raises(template_expansion.TooLarge):
        share.take(1)
    with pytest.raises(template_expansion.TooLarge):
        share.text(template_expansion.MOST_TEXT + 1)
    for _ in range(template_expansion.MOST_RESOURCES):
        share.resource()
    with pytest.raises(template_expansion.TooLarge):
        share.resource()


def test_variables_that_end_are_let_through() -> None:
    template_text.closed("${a} ${b.c} and ${!literal} and $ { } ${")
    with pytest.raises(Malformed):
        template_text.closed("${a} ${ ${")


# -- types, requests --------------------------------------------------------------------------


def test_a_type_has_its_properties_and_no_other() -> None:
    assert unsupported(TYPES["AWS::SQS::Queue"], {"QueueName": "q"}) == ""
    assert unsupported(TYPES["AWS::SQS::Queue"], {"Bucket": "b"}) == (
        "Encountered unsupported property Bucket"
    )
    # It would read any bucket of the account.
    assert unsupported(TYPES["AWS::DynamoDB::Table"], {"ImportSourceSpecification": {}})


def test_what_the_table_says_of_a_type_fits_together() -> None:
    for name, kind in TYPES.items():
        assert not kind.named or kind.named in kind.properties, name
        assert kind.without_effect <= kind.properties, name
        assert {path.partition(".")[0] for path in kind.roles} <= kind.properties, name
        assert bool(kind.roles) == bool(kind.passed_to), name


def test_roles_are_where_the_table_says() -> None:
    rule = {"RoleArn": "a", "Targets": [{"RoleArn": "b"}, {"Arn": "c"}], "Name": "d"}
    assert roles(TYPES["AWS::Events::Rule"], rule) == {"a", "b"}
    assert roles(TYPES["AWS::Scheduler::Schedule"], {"Target": "none"}) == set()


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("https://s3.amazonaws.com/b/k/e%20y", ("b", "k/e y")),
        ("http://127.0.0.1:4720/b/k", ("b", "k")),
        ("https://b.s3.amazonaws.com/k", ("b", "k")),
        ("https://b.x.s3.us-east-1.amazonaws.com/k/l", ("b.x", "k/l")),
        ("https://s3.us-east-1.amazonaws.com/b/k%252e", ("b", "k%2e")),
    ],
)
def test_a_url_names_one_object(url: str, names: tuple[str, str]) -> None:
    assert object_of(url) == names


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://b/k",
        "file:///b/k",
        "https://s3.amazonaws.com/b",
        "https://h/b/k?versionId=1",
        "//[",
    ],
)
def test_a_url_that_names_none_is_refused(url: str) -> None:
    with pytest.raises(Unreadable):
        object_of(url)


def test_documents_have_aws_quotas() -> None:
    check({"TemplateBody": "x" * 51_200, "StackPolicyBody": "x" * 16_384})
    for name, length in (("TemplateBody", 51_201), ("StackPolicyBody", 16_385)):
        with pytest.raises(Unreadable, match="Member must have length less than"):
            check({name: "x" * length})


@pytest.mark.parametrize(
    "parameters", [{"ChangeSetType": "IMPORT"}, {"ImportExistingResources": "True"}]
)
def test_resources_are_not_imported(parameters: dict[str, str]) -> None:
    """None of them would be asked about."""
    with pytest.raises(Unreadable, match="not offered"):
        check(parameters)
    check({"ChangeSetType": "CREATE", "ImportExistingResources": "false"})


def test_so_many_stacks_are_at_work_at_a_time() -> None:
    stacks: dict[str, dict[str, str]] = {
        str(number): {"StackStatus": "CREATE_IN_PROGRESS"}
        for number in range(stack_failures.MOST_AT_WORK - 1)
    }
    stacks["reviewed"] = {"StackStatus": "REVIEW_IN_PROGRESS"}
    stacks["done"] = {"StackStatus": "CREATE_COMPLETE"}
    handle = stack_failures.limited(lambda _: "done", stacks, lambda code, message: code)
    assert handle({}) == "done"
    stacks["one more"] = {"StackStatus": "ROLLBACK_IN_PROGRESS"}
    assert handle({}) == "LimitExceededException"
