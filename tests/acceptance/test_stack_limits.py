"""Templates of any size, depth and growth are answered at once, and delay no other."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.acceptance.test_stack_rights import deploy, policy, statement
from tests.conftest import Server, User

QUICK = 10.0  # seconds on a busy machine: minutes and hours without the limits
RESOURCE = {"W": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}


def anchors(levels: int) -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    for level in range(1, levels + 1):
        lines.append(f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join([*lines, f"Resources: {{W: {{Type: X, Properties: {{X: *a{levels}}}}}}}"])


BOMBS = {
    "aliases": (anchors(8), "YAML aliases are not allowed"),
    "few aliases": (anchors(1), "YAML aliases are not allowed"),
    "merges": ("<<: {Resources: {}}", "merges are not allowed"),
    "deep YAML": ("[" * 20_000, "nested deeper"),
    "deep blocks": ("- " * 20_000, "nested deeper"),
    "deep JSON": ('{"Resources":' * 3_900, "nested deeper"),
    "open quotes": ('{"a":' + '"\\"' * 15_000, "Template format error"),
    "a long number": ("Description: " + "9" * 40_000, "number is too long"),
    "a number of sixties": ("Description: 1" + ":1" * 20_000, "number is too long"),
    "open variables": (
        json.dumps(
            {"Resources": RESOURCE, "Outputs": {"O": {"Value": {"Fn::Sub": "${" * 20_000}}}}
        ),
        "variable names in Fn::Sub",
    ),
    "a pattern that backtracks": (
        json.dumps(
            {
                "Parameters": {
                    "P": {
                        "Type": "String",
                        "AllowedPattern": "(a+)+$",
                        "Default": "a" * 4000 + "b",
                    }
                },
                "Resources": RESOURCE,
            }
        ),
        "must match pattern",
    ),
}


@pytest.fixture(scope="module")
def bomber(server: Server) -> User:
    user = User(server, "bomber")
    user.may(policy(statement(["cloudformation:*", "s3:GetObject"])))
    return user


def attempt(stacks: Any, operation: str, **template: str) -> str:
    """The error of an operation that reads a template, "" if there is none."""
    more: dict[str, str] = {}
    if operation in ("create_stack", "create_change_set"):
        more["StackName"] = "bomb"
    if operation == "create_change_set":
        more |= {"ChangeSetName": "bomb", "ChangeSetType": "CREATE"}
    began = time.monotonic()
    try:
        getattr(stacks, operation)(**more, **template)
    except ClientError as error:
        return str(error)
    finally:
        assert time.monotonic() - began < QUICK
    return ""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(bomber: User, name: str) -> None:
    body, message = BOMBS[name]
    stacks = bomber.client("cloudformation")
    assert message in attempt(stacks, "create_stack", TemplateBody=body)
    assert message in attempt(stacks, "create_change_set", TemplateBody=body)
    for operation in ("validate_template", "get_template_summary"):
        refusal = attempt(stacks, operation, TemplateBody=body)
        assert message in refusal or name == "a pattern that backtracks"


def test_a_bomb_in_an_object_is_refused_at_once(server: Server, bomber: User) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bombs")
    stacks = bomber.client("cloudformation")
    for key, body, message in (
        ("deep", "[" * 900_000, "nested deeper"),
        ("wide", "[" + "x," * 450_000 + "]", "keys and values"),
        ("large", "a" * 1_000_001, "may not exceed"),
    ):
        s3.put_object(Bucket="bombs", Key=key, Body=body.encode())
        url = f"{server.endpoint}/bombs/{key}"
        assert message in attempt(stacks, "validate_template", TemplateURL=url)
        nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}
        status, why = deploy(stacks, f"nested-{key}", {"Resources": {"N": nested}})
        assert status == "ROLLBACK_COMPLETE"
        assert message in why
        location = {"Name": "AWS::Include", "Parameters": {"Location": f"s3://bombs/{key}"}}
        including = {"Resources": RESOURCE, "Mappings": {"Fn::Transform": location}}
        body = json.dumps(including)
        assert message in attempt(stacks, "create_stack", TemplateBody=body)
        s3.delete_object(Bucket="bombs", Key=key)
    s3.delete_bucket(Bucket="bombs")


def multiplied(levels: int) -> Any:
    """A function of functions, each level eight times the one below."""
    value: Any = "xx"
    for _ in range(levels):
        value = {"Fn::Sub": ["${a}" * 8, {"a": value}]}
    return value


def test_functions_of_functions_end_at_a_bound(bomber: User) -> None:
    stacks = bomber.client("cloudformation")
    template = {"Resources": RESOURCE, "Outputs": {"O": {"Value": multiplied(15)}}}
    began = time.monotonic()
    status, why = deploy(stacks, "multiplying", template)
    assert status == "ROLLBACK_COMPLETE"
    assert "may not exceed" in why
    many = {"Fn::Join": ["y" * 40_000, {"Fn::Split": [",", "," * 9_000]}]}
    template = {"Resources": RESOURCE, "Outputs": {"O": {"Value": many}}}
    status, why = deploy(stacks, "joining", template)
    assert "may not exceed" in why
    assert time.monotonic() - began < 2 * QUICK


def test_loops_of_loops_end_at_a_bound(bomber: User) -> None:
    items = [f"i{number}" for number in range(300)]
    body: Any = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
    fragment: Any = {"R${A}${B}${C}${D}": body}
    for name in "ABCD":
        fragment = {f"Fn::ForEach::L{name}": [name, items, fragment]}
    template = {"Transform": "AWS::LanguageExtensions", "Resources": fragment}
    refusal = attempt(
        bomber.client("cloudformation"), "create_stack", TemplateBody=json.dumps(template)
    )
    assert "expands to more than is allowed" in refusal


def test_variables_of_variables_end_at_a_bound(bomber: User) -> None:
    variables = {f"v{n}": f"${{v{n + 1}}}" * 2 for n in range(40)} | {"v40": "x"}
    length = {"Fn::Length": {"Fn::Split": [",", {"Fn::Sub": ["${v0}", variables]}]}}
    template = {
        "Transform": "AWS::LanguageExtensions",
        "Resources": RESOURCE,
        "Outputs": {"O": {"Value": length}},
    }
    refusal = attempt(
        bomber.client("cloudformation"), "create_stack", TemplateBody=json.dumps(template)
    )
    assert "may not exceed" in refusal


def test_a_stack_that_contains_itself_ends_at_a_bound(server: Server, bomber: User) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="loops")
    url = f"{server.endpoint}/loops/t.json"
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}
    template = {"Resources": {"N": nested}}
    s3.put_object(Bucket="loops", Key="t.json", Body=json.dumps(template).encode())
    status, why = deploy(bomber.client("cloudformation"), "loop", template)
    assert status == "ROLLBACK_COMPLETE"
    assert "levels deep" in why
    s3.delete_object(Bucket="loops", Key="t.json")
    s3.delete_bucket(Bucket="loops")


def test_a_template_larger_than_the_quota_is_refused(bomber: User) -> None:
    stacks = bomber.client("cloudformation")
    body = json.dumps({"Description": "x" * 60_000, "Resources": RESOURCE})
    refusal = attempt(stacks, "validate_template", TemplateBody=body)
    assert "less than or equal to 51200" in refusal
    assert len(refusal) < 1_000
