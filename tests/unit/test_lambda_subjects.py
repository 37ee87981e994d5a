"""Which actions on which resources an operation of Lambda is authorised for."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.api.authorization import of_lambda
from lambent.api.context import Context
from lambent.iam.authenticate import Principal

ACCOUNT = "111111111111"
PLACE = f"arn:aws:lambda:r-1:{ACCOUNT}"
MAPPING = "0c3a7f6e-0000-4000-8000-000000000000"
SIGNING = f"{PLACE}:code-signing-config:csc-0123456789abcdef0"
FOREIGN = "arn:aws:lambda:r-1:222222222222:layer:l"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


def asked(operation: str, **parameters: Any) -> set[tuple[str, str]]:
    """The actions and resources that are asked about, without what begins every ARN."""
    context = Context(Principal(ACCOUNT, "K", "r-1", "lambda"), "", {})
    subjects = list(of_lambda(operation, context, parameters))
    assert all(each.owner == ACCOUNT for each in subjects)
    return {(each.action, each.resource.removeprefix(f"{PLACE}:")) for each in subjects}


@pytest.mark.parametrize(
    ("operation", "parameters", "resources"),
    [
        ("GetEventSourceMapping", {"UUID": MAPPING}, {f"event-source-mapping:{MAPPING}"}),
        ("UpdateEventSourceMapping", {"UUID": MAPPING}, {f"event-source-mapping:{MAPPING}"}),
        # The mapping is asked about whatever else is named.
        (
            "UpdateEventSourceMapping",
            {"UUID": MAPPING, "FunctionName": "thief"},
            {f"event-source-mapping:{MAPPING}", "function:thief"},
        ),
        (
            "PutFunctionCodeSigningConfig",
            {"FunctionName": "f", "CodeSigningConfigArn": SIGNING},
            {"function:f", SIGNING.removeprefix(f"{PLACE}:")},
        ),
        (
            "CreateFunction",
            {"FunctionName": "f", "CodeSigningConfigArn": SIGNING},
            {"function:f"},
        ),
        ("CreateEventSourceMapping", {"FunctionName": "f", "EventSourceArn": "q"}, {"*"}),
        ("ListEventSourceMappings", {"FunctionName": "f"}, {"*"}),
        ("ListFunctions", {}, {"*"}),
        ("ListFunctionUrlConfigs", {"FunctionName": "f"}, {"function:f"}),
        ("ListFunctionEventInvokeConfigs", {"FunctionName": "f"}, {"function:f"}),
        ("ListProvisionedConcurrencyConfigs", {"FunctionName": "f"}, {"function:f"}),
        (
            "ListFunctionsByCodeSigningConfig",
            {"CodeSigningConfigArn": SIGNING},
            {SIGNING.removeprefix(f"{PLACE}:")},
        ),
        ("GetFunction", {"FunctionName": f"{PLACE}:function:f:1"}, {"function:f:1"}),
        ("GetFunction", {"FunctionName": f"{ACCOUNT}:function:f:live"}, {"function:f:live"}),
        ("GetFunction", {"FunctionName": "f", "Qualifier": "1"}, {"function:f:1"}),
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 3}, {"layer:l:3"}),
        ("GetLayerVersion", {"LayerName": FOREIGN, "VersionNumber": 3}, {f"{FOREIGN}:3"}),
        ("ListLayerVersions", {"LayerName": FOREIGN}, {FOREIGN}),
        ("ListTags", {"Resource": f"{PLACE}:function:f"}, {"function:f"}),
    ],
)  # fmt: skip
def test_every_resource_that_an_operation_names_is_asked_about(
    operation: str, parameters: dict[str, Any], resources: set[str]
) -> None:
    assert asked(operation, **parameters) == {(f"lambda:{operation}", each) for each in resources}


def test_a_role_that_is_passed_is_asked_about() -> None:
    assert asked("CreateFunction", FunctionName="f", Role=ROLE) == {
        ("lambda:CreateFunction", "function:f"),
        ("iam:PassRole", ROLE),
    }


def test_a_layer_that_is_used_is_asked_about() -> None:
    layers = [f"{PLACE}:layer:mine:1", f"{FOREIGN}:2"]
    assert asked("UpdateFunctionConfiguration", FunctionName="f", Layers=layers) == {
        ("lambda:UpdateFunctionConfiguration", "function:f"),
        ("lambda:GetLayerVersion", "layer:mine:1"),
        ("lambda:GetLayerVersion", f"{FOREIGN}:2"),
    }


@pytest.mark.parametrize(
    ("operation", "parameters", "keys"),
    [
        (
            "UpdateEventSourceMapping", {"UUID": MAPPING, "FunctionName": "f"},
            {("lambda:functionarn", f"{PLACE}:function:f")},
        ),
        (
            "CreateEventSourceMapping", {"FunctionName": f"{PLACE}:function:f:live"},
            {("lambda:functionarn", f"{PLACE}:function:f:live")},
        ),
        (
            "AddPermission", {"FunctionName": "f", "Principal": "sns.amazonaws.com"},
            {("lambda:principal", "sns.amazonaws.com")},
        ),
        (
            "CreateFunction",
            {"FunctionName": "f", "CodeSigningConfigArn": SIGNING, "Layers": ["a", "b"],
             "Tags": {"Team": "x"}},
            {("lambda:codesigningconfigarn", SIGNING), ("lambda:layer", "a"),
             ("lambda:layer", "b"), ("aws:requesttag/team", "x"), ("aws:tagkeys", "Team")},
        ),
        ("UntagResource", {"Resource": "r", "TagKeys": ["a"]}, {("aws:tagkeys", "a")}),
        ("CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE"},
         {("lambda:functionurlauthtype", "NONE")}),
        ("Invoke", {"FunctionName": "f"}, set()),
    ],
)  # fmt: skip
def test_an_operation_brings_the_context_keys_that_policies_look_at(
    operation: str, parameters: dict[str, Any], keys: set[tuple[str, str]]
) -> None:
    context = Context(Principal(ACCOUNT, "K", "r-1", "lambda"), "", {})
    first = next(of_lambda(operation, context, parameters))
    assert set(first.keys) == keys
