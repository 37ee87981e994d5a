"""What the processes of a sandbox can do to each other: a hostile extension and its function."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import RUNTIME, Functions, make_zip
from tests.security.subjects import INTRUDER

_WAIT = """
import json, os, time
def handler(event, context):
    deadline = time.monotonic() + 10
    while not os.path.exists("/tmp/intruder") and time.monotonic() < deadline:
        time.sleep(0.01)
    with open("/tmp/intruder") as file:
        return json.load(file)
"""
_NODE = """
const fs = require('fs');
exports.handler = async () => {
  while (!fs.existsSync('/tmp/intruder')) await new Promise((go) => setTimeout(go, 10));
  return JSON.parse(fs.readFileSync('/tmp/intruder'));
};
"""
SUBJECTS: dict[str, tuple[str, str, dict[str, str | bytes], dict[str, str]]] = {
    "forked": (RUNTIME, "app.handler", {"app.py": _WAIT}, {}),
    "executed": (RUNTIME, "app.handler", {"app.py": _WAIT}, {"PYTHONUTF8": "1"}),
    "booted ahead": ("nodejs20.x", "index.handler", {"index.js": _NODE}, {}),
}
# Of the runtime itself: standard streams, its connection; files that it is reading.
_OWN = {"0", "1", "2", "3"}
_READ = ("/usr/", "/var/", "/tmp/", "/etc/")


def _intrude(functions: Functions, subject: str) -> Any:
    """What an extension that runs beside a function could do."""
    runtime, handler, files, variables = SUBJECTS[subject]
    made = functions.client.publish_layer_version(
        LayerName="intruder",
        Content={"ZipFile": make_zip({"extensions/intruder": INTRUDER.read_text()}, 0o755)},
    )
    name = functions.create(
        files,
        Runtime=runtime,
        Handler=handler,
        Environment={"Variables": variables},
        Layers=[made["LayerVersionArn"]],
        Timeout=30,
        MemorySize=512,
    )
    answer = functions.invoke(name)
    assert answer.error is None, answer.payload
    return answer.payload


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_extension_can_do_nothing_to_init_nor_to_what_init_forks(
    anyones: Functions, owner: str, subject: str
) -> None:
    for _ in range(1 if subject == "booted ahead" else 3):
        told = _intrude(anyones, subject)
        assert told["init"] == told["harassed"] == []
        held = told["caught"].get("descriptors", {}).items()
        assert {
            name: at for name, at in held if name not in _OWN and not at.startswith(_READ)
        } == {}
        if owner == "root":
            # It is another user than the runtime.
            assert told["uid"] == 994 and told["caught"] == {}
            assert told["runtimes"] and not any(told["runtimes"].values()), told
