"""Every operation of the model against a real server, with random input that the model allows.

Whatever is asked, the answer is the operation's output or one of its own errors; never the
server's failure, and never an error the model does not know of that operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.api.operations import method_name
from lambent.aws import model
from lambent.aws.model import Shape
from tests.conftest import ROLE, RUNTIME, Functions, Server, make_zip

LAMBDA = model.load("lambda")
ARN = "arn:aws:lambda:us-east-1:000000000000:"
# What any operation may answer: AWS's front door, not in the operations' lists.
COMMON = {"ValidationException", "SerializationException", "AccessDeniedException"}
# Things that exist, so that random requests get past "not found".
KNOWN: dict[str, tuple[Any, ...]] = {
    "FunctionName": ("fuzzed", f"{ARN}function:fuzzed", "fuzzed:1", "fuzzed:live", "none"),
    "UnqualifiedFunctionName": ("fuzzed", f"{ARN}function:fuzzed", "none"),
    "NamespacedFunctionName": ("fuzzed", "fuzzed:1", "fuzzed:live", "none"),
    "FunctionUrlFunctionName": ("fuzzed", "none"),
    "FunctionUrlQualifier": ("live", "none"),
    "Qualifier": ("1", "live", "$LATEST", "9", "none"),
    "NumericLatestPublishedOrAliasQualifier": ("1", "live", "$LATEST", "9"),
    "Alias": ("live", "second"),
    "Version": ("$LATEST", "1", "9"),
    "VersionWithLatestPublished": ("$LATEST", "1", "9"),
    "AdditionalVersion": ("1", "2"),
    "LayerName": ("fuzzed", "none"),
    "LayerVersionNumber": (1, 2, 0, -1),
    "Runtime": (RUNTIME, "python2.7"),
    "RoleArn": (ROLE,),
    "TaggableResource": (f"{ARN}function:fuzzed", f"{ARN}function:fuzzed:1"),
    "PolicyResourceArn": (f"{ARN}function:fuzzed", f"{ARN}function:fuzzed:live"),
    "Principal": ("*", "123456789012", "s3.amazonaws.com", "nobody"),
    "Arn": (
        "arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:sqs:us-east-1:000000000000:q.fifo",
        "arn:aws:kinesis:us-east-1:000000000000:stream/s", "arn:aws:s3:::bucket",
    ),
    "LayerVersionArn": (f"{ARN}layer:fuzzed:1", f"{ARN}layer:fuzzed:9"),
    "Blob": (make_zip({"app.py": "def handler(e, c): return e"}), b"no zip", b""),
}  # fmt: skip


def constrained(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Random values that satisfy a shape's constraints."""
    if shape.name in KNOWN:
        return st.sampled_from(KNOWN[shape.name])
    kind = shape.kind
    least, most = int(shape.minimum or 0), int(shape.maximum if shape.maximum is not None else 40)
    if shape.enum:
        return st.sampled_from(shape.enum)
    if kind == "string":
        if shape.matcher is not None:
            simple = re.compile(shape.matcher.pattern.replace("(eusc-)?", ""), re.ASCII)
            return st.from_regex(simple, fullmatch=True).filter(
                lambda text: least <= len(text) <= (shape.maximum or 10**6)
            )
        return st.text(
            st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=max(1, least),
            max_size=max(least, min(most, 20)),
        )  # fmt: skip
    if kind in ("integer", "long"):
        top = int(shape.maximum) if shape.maximum is not None else 10_000
        return st.integers(int(shape.minimum or 0), top)
    if kind in ("double", "float"):
        return st.floats(shape.minimum or 0, shape.maximum or 10, allow_nan=False)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return st.integers(0, 2_000_000_000)
    if kind == "blob":
        return st.sampled_from(KNOWN["Blob"])
    if kind == "list":
        assert shape.member is not None
        bound = max(least, min(most, 2))
        return st.lists(constrained(shape.member, depth + 1), min_size=least, max_size=bound)
    if kind == "map":
        assert shape.key is not None and shape.value is not None
        keys, entries = constrained(shape.key, depth + 1), constrained(shape.value, depth + 1)
        return st.dictionaries(keys, entries, min_size=min(least, 1), max_size=2)
    members = {
        name: constrained(member.shape, depth + 1)
        for name, member in shape.members.items()
        if depth < 3 or name in shape.required
    }
    required = {name: members.pop(name) for name in shape.required}
    return st.fixed_dictionaries(required, optional=members)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    functions = Functions(server, "fuzzed")
    made = functions.client
    made.create_function(
        FunctionName="fuzzed", Runtime=RUNTIME, Handler="app.handler", Role=ROLE,
        Code={"ZipFile": KNOWN["Blob"][0]},
    )  # fmt: skip
    functions.settle("fuzzed")
    made.publish_version(FunctionName="fuzzed")
    made.create_alias(FunctionName="fuzzed", Name="live", FunctionVersion="1")
    made.publish_layer_version(LayerName="fuzzed", Content={"ZipFile": KNOWN["Blob"][0]})
    yield server.client(parameter_validation=False)
    made.delete_function(FunctionName="fuzzed")


def without_ruin(name: str) -> bool:
    """Deleting the function would leave nothing to ask about."""
    return name != "DeleteFunction"


@pytest.mark.parametrize("name", sorted(filter(without_ruin, LAMBDA.operations)))
def test_an_operation_answers_with_its_output_or_its_own_errors(client: Any, name: str) -> None:
    operation = LAMBDA.operations[name]
    allowed = set(operation.errors) | COMMON

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        given_input = data.draw(constrained(operation.input)) if operation.input else {}
        try:
            answer = client._make_api_call(name, given_input)
        except ClientError as error:
            told = error.response
            assert told["Error"]["Code"] in allowed, told
            assert told["ResponseMetadata"]["HTTPStatusCode"] < 500, told
            assert told["Error"]["Message"]
        else:
            if "Payload" in answer:
                answer["Payload"].read()
            if "EventStream" in answer:
                list(answer["EventStream"])
                answer["EventStream"].close()
            assert answer["ResponseMetadata"]["HTTPStatusCode"] < 300
            # A function without code signing is answered with nothing, as on AWS.
            if operation.output is not None and name != "GetFunctionCodeSigningConfig":
                for member in operation.output.required:
                    assert member in answer

    ask()


def test_every_paginator_of_botocore_ends(client: Any) -> None:
    """All 16 paginated operations, one item a page where the model allows."""
    paginators = botocore.session.get_session().get_paginator_model("lambda")
    needed = {
        "FunctionName": "fuzzed",
        "LayerName": "fuzzed",
        "CapacityProviderName": "none",
        "CheckpointToken": "none",
        "DurableExecutionArn": f"{ARN}function:fuzzed:1/durable-execution/name/id",
        "CodeSigningConfigArn": client.create_code_signing_config(
            AllowedPublishers={
                "SigningProfileVersionArns": [
                    "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"
                ]
            }
        )["CodeSigningConfig"]["CodeSigningConfigArn"],
    }
    asked = 0
    for name in LAMBDA.operations:
        try:
            configured = paginators.get_paginator(name)
        except ValueError:
            continue
        asked += 1
        operation = LAMBDA.operations[name]
        assert operation.input is not None
        options = {key: needed[key] for key in operation.input.required if key in needed}
        try:
            pages = client.get_paginator(method_name(name)).paginate(
                **options, PaginationConfig={"PageSize": 1}
            )
            items = [each for page in pages for each in page.get(configured["result_key"], [])]
        except ClientError as error:
            assert "is not offered by this version" in str(error)
        else:
            assert len(items) < 10_000
    assert asked == 16
