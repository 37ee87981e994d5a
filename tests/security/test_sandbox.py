"""An adversarial function inside the sandbox: every probe must be contained."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import lambent
from tests.conftest import RUNTIME, Functions, make_zip
from tests.security.subjects import PROBES

SOURCE = Path(lambent.__file__).parent


# The probes run by the runtime itself, or in a program it starts: its sandbox holds that too.
_PROGRAM = (
    "import json, sys; sys.path[:0] = ['/var/task']; import app; "
    "print(json.dumps(app.handler(json.load(sys.stdin), None)))"
)
_NODE = f"""
const {{ execFileSync }} = require('child_process');
exports.handler = async (event) => JSON.parse(execFileSync('/usr/bin/python3',
  ['-c', {json.dumps(_PROGRAM)}], {{ input: JSON.stringify(event) }}));
"""
_SHELL = f"""#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while curl -sS -D /tmp/headers -o /tmp/event "$api/next"; do
  id=$(grep -i "^lambda-runtime-aws-request-id:" /tmp/headers | cut -d' ' -f2 | tr -d '\\r')
  /usr/bin/python3 -c "{_PROGRAM}" < /tmp/event > /tmp/answer
  curl -sS -o /dev/null --data-binary @/tmp/answer "$api/$id/response"
done
"""
_JAVA = """
package example;
public class Probes {
    public java.util.Map<String, Object> run(java.util.Map<String, Object> event) throws Exception {
        StringBuilder pids = new StringBuilder();
        for (Object each : (java.util.List<?>) event.get("pids")) {
            pids.append(pids.length() == 0 ? "" : ",").append(each);
        }
        String told = "{\\"canary\\":\\"" + event.get("canary") + "\\",\\"pids\\":[" + pids
            + "],\\"hostname\\":\\"" + event.get("hostname") + "\\",\\"port\\":" + event.get("port")
            + ",\\"abstract\\":\\"" + event.get("abstract") + "\\",\\"paths\\":[\\""
            + String.join("\\",\\"", (java.util.List<String>) event.get("paths")) + "\\"]}";
        Process child = new ProcessBuilder("/usr/bin/python3", "-c", PROGRAM).start();
        child.getOutputStream().write(told.getBytes());
        child.getOutputStream().close();
        String answer = new String(child.getInputStream().readAllBytes());
        java.util.Map<String, Object> results = new java.util.LinkedHashMap<>();
        for (String each : answer.trim().replaceAll("^[{]|[}]$", "").split(", (?=\\")")) {
            int colon = each.lastIndexOf("\\": ");
            String value = each.substring(colon + 3);
            results.put(each.substring(1, colon), value.equals("true") ? (Object) true : value);
        }
        return results;
    }
}
"""


def _java() -> dict[str, str | bytes]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "Probes.java")
        source.write_text(_JAVA.replace("PROGRAM", json.dumps(_PROGRAM)))
        subprocess.run(["javac", "-d", folder, str(source)], check=True)
        return {"example/Probes.class": Path(folder, "example/Probes.class").read_bytes()}


SUBJECTS: dict[str, tuple[str, str, Callable[[], dict[str, str | bytes]], dict[str, str]]] = {
    "forked": (RUNTIME, "app.handler", dict, {}),
    "executed": (RUNTIME, "app.handler", dict, {"PYTHONUTF8": "1"}),
    "node": ("nodejs20.x", "index.handler", lambda: {"index.js": _NODE}, {}),
    "java": ("java17", "example.Probes::run", _java, {}),
    "provided": ("provided.al2023", "x", lambda: {"bootstrap": _SHELL}, {}),
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_probe_is_contained(anyones: Functions, tmp_path: Path, subject: str) -> None:
    runtime, handler, files, variables = SUBJECTS[subject]
    name = anyones.create(
        {},
        Runtime=runtime,
        Handler=handler,
        Code={"ZipFile": make_zip({"app.py": PROBES.read_text(), **files()}, 0o755)},
        Environment={"Variables": variables},
        Timeout=120,
        MemorySize=1024,
    )
    canary = tmp_path / "canary"
    canary.write_text("host")
    with socket.socket(socket.AF_UNIX) as listener:
        abstract = f"lambent-probe-{os.getpid()}"
        listener.bind("\0" + abstract)
        listener.listen()
        answer = anyones.invoke(
            name,
            {
                "canary": str(canary),
                "pids": [os.getpid(), anyones.server.process.pid],
                "hostname": socket.gethostname(),
                "port": urlsplit(anyones.server.endpoint).port,
                "abstract": abstract,
                "paths": [str(anyones.server.data), str(SOURCE)],
            },
        )
    assert answer.error is None, answer.payload
    leaks = {probe: result for probe, result in answer.payload.items() if result is not True}
    assert leaks == {}
    assert len(answer.payload) >= 158


def test_two_environments_do_not_see_each_others_files(functions: Functions) -> None:
    source = (
        "import os\n"
        "def handler(e, c):\n"
        "    open('/tmp/' + e['n'], 'w').close()\n"
        "    return os.listdir('/tmp')\n"
    )
    one, other = functions.create(source), functions.create(source)
    assert functions.invoke(one, {"n": "a"}).payload == ["a"]
    assert functions.invoke(other, {"n": "b"}).payload == ["b"]


def test_a_runtime_api_abused_from_inside_harms_nobody(functions: Functions) -> None:
    abuser = functions.create(
        "import socket\n"
        "def handler(e, c):\n"
        "    held = []\n"
        "    try:\n"
        "        for i in range(900):\n"
        "            s = socket.create_connection(('127.0.0.1', 9001), 1); held.append(s)\n"
        "            s.sendall(b'POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\\r\\n')\n"
        "    except OSError: pass\n"
        "    s = socket.create_connection(('127.0.0.1', 9001), 1) if len(held) < 60 else held[0]\n"
        "    try:\n"
        "        s.sendall(b'Host: x\\r\\nX: ' + b'y' * 200000 + b'\\r\\n\\r\\n')\n"
        "    except OSError: pass\n"
        "    return len(held)\n",
        Timeout=20,
    )
    good = functions.create("def handler(e, c): return 'ok'")
    functions.invoke(abuser)
    assert functions.invoke(good).payload == "ok"
    assert functions.invoke(abuser).error is None


def test_an_endpoint_abused_from_inside_harms_nobody(functions: Functions) -> None:
    abuser = functions.create(
        "import socket\n"
        "def handler(e, c):\n"
        "    held = []\n"
        "    for i in range(300):\n"
        "        s = socket.create_connection(('127.0.0.1', 4566), 5); held.append(s)\n"
        "        s.sendall(b'GET /2015-03-31/functions/ HTTP/1.1\\r\\nX: ')\n"
        "    cut = 0\n"
        "    for s in held:\n"
        "        s.settimeout(0.05)\n"
        "        try: cut += s.recv(1) == b''\n"
        "        except ConnectionError: cut += 1\n"
        "        except OSError: pass\n"
        "    return cut\n",
        Timeout=20,
        MemorySize=1024,
    )
    good = functions.create("def handler(e, c): return 'ok'")
    assert functions.invoke(abuser).payload >= 300 - 64
    assert functions.invoke(good).payload == "ok"
