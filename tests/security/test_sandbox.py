"""An adversarial function inside the sandbox: every probe must be contained."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tests.conftest import Functions

PROBES = Path(__file__).with_name("probes.py")


def test_every_probe_is_contained(functions: Functions, tmp_path: Path) -> None:
    name = functions.create({"app.py": PROBES.read_text()}, Timeout=60, MemorySize=512)
    canary = tmp_path / "canary"
    canary.write_text("host")
    with socket.socket(socket.AF_UNIX) as listener:
        abstract = f"lambent-probe-{os.getpid()}"
        listener.bind("\0" + abstract)
        listener.listen()
        answer = functions.invoke(
            name,
            {
                "canary": str(canary),
                "pids": [os.getpid(), functions.server.process.pid],
                "hostname": socket.gethostname(),
                "port": urlsplit(functions.server.endpoint).port,
                "abstract": abstract,
            },
        )
    assert answer.error is None, answer.payload
    leaks = {probe: result for probe, result in answer.payload.items() if result is not True}
    assert leaks == {}
    assert len(answer.payload) >= 120


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
