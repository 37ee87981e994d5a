"""AWS's own clients stream as ours do."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.conftest import Functions, make_zip
from tests.official.functions import COMMONJS, SUBJECTS


@pytest.mark.parametrize("client", ["nodejs20.x", "aws-lambda-ric"])
def test_aws_s_client_for_node_streams_as_ours_does(functions: Functions, client: str) -> None:
    if client == "nodejs20.x":
        name = functions.create({"app.js": COMMONJS}, Runtime=client, Handler="app.stream")
    else:
        files = SUBJECTS[client].files()
        name = functions.create(
            {}, Runtime="provided.al2023", Handler="app.stream", MemorySize=512,
            Code={"ZipFile": make_zip(files, 0o755)},
        )  # fmt: skip

    def streamed(event: str) -> tuple[bytes, dict[str, str]]:
        answer = functions.client.invoke_with_response_stream(FunctionName=name, Payload=event)
        with contextlib.closing(answer["EventStream"]) as stream:
            events = list(stream)
        body = b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e)
        return body, events[-1]["InvokeComplete"]

    assert streamed("{}") == (b'one two {"three":3}', {})
    for event, body, message in (('{"fail": 1}', b"", "before"), ('{"late": 1}', b"one ", "late")):
        got, complete = streamed(event)
        assert got.startswith(body) and complete["ErrorCode"] == "Unhandled"
        assert json.loads(complete["ErrorDetails"])["errorMessage"] == message
    assert streamed("{}")[0].startswith(b"one")
