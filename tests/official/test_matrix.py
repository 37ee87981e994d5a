"""Every language does the same, and fails the same, on its own bootstrap or on AWS's client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Functions, Server, make_zip
from tests.official.functions import SUBJECTS, Subject


class Matrix:
    """One function of the matrix, on the shared server."""

    def __init__(self, functions: Functions, subject: Subject, layer: str) -> None:
        self.subject = subject
        self.functions = functions
        self.name = functions.create(
            {},
            Runtime=subject.runtime,
            Handler=subject.handler,
            Code={"ZipFile": make_zip(subject.files(), 0o755)},
            MemorySize=subject.memory,
            Timeout=5,
            Layers=[layer],
            Environment={"Variables": {"COLOUR": "green"}},
        )

    def __call__(self, do: str = "", **more: Any) -> Any:
        return self.functions.invoke(self.name, {"do": do, **more})


@pytest.fixture(scope="module")
def layer(server: Server) -> str:
    """A layer with a file in it."""
    content = {"ZipFile": make_zip({"marker.txt": "from the layer"})}
    made = server.client().publish_layer_version(LayerName="matrix", Content=content)
    return str(made["LayerVersionArn"])


@pytest.fixture(scope="module", params=SUBJECTS)
def matrix(request: pytest.FixtureRequest, server: Server, layer: str) -> Iterator[Matrix]:
    """Each function in turn."""
    functions = Functions(server, f"matrix-{request.param}")
    yield Matrix(functions, SUBJECTS[request.param], layer)
    functions.remove()


def test_it_answers_with_its_event(matrix: Matrix) -> None:
    event = {"do": "", "text": "häßlich \u2028 🙂", "numbers": [1, 2.5, -3e9], "none": None}
    answer = matrix.functions.invoke(matrix.name, event)
    assert answer.error is None, answer.payload
    assert answer.payload == event
    assert matrix(b=1).payload == {"do": "", "b": 1}


def test_it_knows_its_context(matrix: Matrix) -> None:
    answer = matrix("context")
    assert answer.error is None, answer.payload
    assert answer.payload == {
        "id": answer.raw["ResponseMetadata"]["RequestId"],
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{matrix.name}",
        "name": matrix.name,
        "memory": str(matrix.subject.memory),
        "left": True,
    }


def test_it_sees_its_variables_its_layer_and_starts_programs(matrix: Matrix) -> None:
    assert matrix("env").payload == "green"
    assert matrix("layer").payload == "from the layer"
    assert matrix("child").payload == "green\n/var/task\n"


def test_its_error_is_told(matrix: Matrix) -> None:
    answer = matrix("error")
    assert answer.error == "Unhandled"
    assert answer.payload["errorMessage"] == "boom"
    assert matrix.subject.error_type in answer.payload["errorType"]
    frames = [
        str(each) for each in answer.payload.get("stackTrace", answer.payload.get("trace", []))
    ]
    assert not any("/var/runtime" in each or "lambent" in each for each in frames), frames
    assert matrix(a=1).payload == {"do": "", "a": 1}


def test_one_that_takes_too_long_is_ended_and_keeps_its_files(matrix: Matrix) -> None:
    before = matrix("tmp").payload
    answer = matrix("sleep")
    assert answer.payload["errorType"] == "Sandbox.Timedout", answer.payload
    assert "Task timed out after 5.00 seconds" in answer.log
    after = matrix("tmp")
    assert after.error is None, after.payload
    assert after.payload == before + 1


def test_its_exit_is_told_and_keeps_its_files(matrix: Matrix) -> None:
    before = matrix("tmp").payload
    answer = matrix("exit")
    assert answer.payload["errorType"] == "Runtime.ExitError", answer.payload
    assert answer.payload["errorMessage"].endswith("Runtime exited with error: exit status 3")
    after = matrix("tmp")
    assert after.error is None, after.payload
    assert after.payload == before + 1


def test_an_answer_over_the_limit_is_refused(matrix: Matrix) -> None:
    answer = matrix("large")
    assert answer.payload["errorType"] == "Function.ResponseSizeTooLarge", answer.payload
    assert matrix(a=1).payload == {"do": "", "a": 1}


def test_one_that_runs_out_of_memory_is_ended_and_starts_again(matrix: Matrix) -> None:
    answer = matrix("memory")
    assert answer.error == "Unhandled"
    # Where no control group limits memory each process has a limit, and some languages say so.
    own = ("java.lang.OutOfMemoryError", "MemoryError", "RangeError")
    kinds = ("Runtime.OutOfMemory", "Runtime.ExitError", *own)
    assert answer.payload["errorType"] in kinds, answer.payload
    assert matrix(a=1).payload == {"do": "", "a": 1}
