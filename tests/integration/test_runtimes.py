"""Every CPython on the host runs functions, forked from its zygote and executed afresh."""

from __future__ import annotations

import pytest

from lambent.runtime.languages import Languages
from tests.conftest import Functions

SOURCE = """
import sys, logging, decimal
def handler(event, context):
    logging.getLogger().warning('careful')
    return {"v": list(sys.version_info[:2]), "exe": sys.executable, "n": decimal.Decimal("1.5"),
            "path": sys.path[0], "text": "é", "builtins": exit is not None}
"""


PYTHONS = [name for name in Languages().names() if name.startswith("python")]


@pytest.mark.parametrize("fresh", [False, True], ids=["forked", "executed"])
@pytest.mark.parametrize("runtime", PYTHONS)
def test_a_function_runs_on_its_own_python(functions: Functions, runtime: str, fresh: bool) -> None:
    environment = {"Variables": {"PYTHONHASHSEED": "0"}} if fresh else {"Variables": {}}
    name = functions.create(SOURCE, Runtime=runtime, Environment=environment)
    answer = functions.invoke(name)
    assert answer.error is None, answer.payload
    assert answer.payload["v"] == [3, int(runtime.removeprefix("python3."))]
    assert answer.payload["exe"] == f"/var/lang/bin/{runtime}"
    assert (answer.payload["n"], answer.payload["path"]) == (1.5, "/var/task")
    assert answer.payload["text"] == "é" and answer.payload["builtins"]
    assert "[WARNING]\t" in answer.log and "careful" in answer.log


def test_a_handler_may_lie_in_a_package(functions: Functions) -> None:
    name = functions.create(
        {"pkg/__init__.py": "", "pkg/inner.py": "def run(e, c): return __name__"},
        Handler="pkg/inner.run",
    )
    assert functions.invoke(name).payload == "pkg.inner"
