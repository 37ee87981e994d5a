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
