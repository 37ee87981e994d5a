"""What the processes of one sandbox can do to each other: a hostile extension beside its function."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import RUNTIME, Functions, make_zip
from tests.security.subjects import INTRUDER

_FUNCTION = """
import json, os, time
def handler(event, context):
    deadline = time.monotonic() + 10
    while not os.path.exists("/tmp/intruder") and time.monotonic() < deadline:
        time.sleep(0.01)
    with open("/tmp/intruder") as file:
        return json.load(file)
"""
# Of the runtime itself: standard streams, its connection.
_OWN = {"0", "1", "2", "3"}


def _intrude(functions: Functions, **options: Any) -> Any:
    made = functions.client.publish_layer_version(
        LayerName="intruder",
        Content={"ZipFile": make_zip({"extensions/intruder": INTRUDER.read_text()}, 0o755)},
    )
    name = functions.create(
        _FUNCTION, Layers=[made["LayerVersionArn"]], Timeout=30, MemorySize=512, **options
    )
    answer = functions.invoke(name)
    assert answer.error is None, answer.payload
    return answer.payload


@pytest.mark.parametrize("variables", [{}, {"PYTHONUTF8": "1"}], ids=["forked", "executed"])
def test_an_extension_cannot_open_init_nor_what_init_forks(
    functions: Functions, variables: dict[str, str]
) -> None:
    for _ in range(3):
        told = _intrude(functions, Runtime=RUNTIME, Environment={"Variables": variables})
        assert told["init"] == []
        assert set(told["caught"].get("descriptors", {})) <= _OWN, told["caught"]
