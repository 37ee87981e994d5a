"""A server with everything it may have running: a function, an extension, services, a network.

``python -m tests.network.world MODE python -m tests.security.staged FOLDER`` prints what
``tools.process_table`` sees of it, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import Functions, make_zip, start_server
from tools import process_table

_SECRET = "LAMBENT_NEIGHBOURS_S3_SECRET_ACCESS_KEY"
# What a deployment with a real endpoint has in the server's environment; nobody else may have it.
_ENVIRONMENT = {
    "LAMBENT_NEIGHBOURS_S3_ENDPOINT": "http://192.0.2.2:9000",
    "LAMBENT_NEIGHBOURS_S3_ACCESS_KEY_ID": "remote",
    _SECRET: "remote-secret",
    "AWS_SECRET_ACCESS_KEY": "of-the-administrator",
}
_APP = "def handler(event, context):\n    return 1\n"
_REGISTERED = """#!/usr/bin/python3
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
request = urllib.request.Request(base + "register", b'{"events": ["INVOKE"]}',
    {"Lambda-Extension-Name": "watcher", "Content-Type": "application/json"})
identifier = urllib.request.urlopen(request).headers["Lambda-Extension-Identifier"]
while True:
    request = urllib.request.Request(base + "event/next",
        headers={"Lambda-Extension-Identifier": identifier})
    urllib.request.urlopen(request).read()
"""


def _settled(pid: int) -> list[process_table.Process]:
    """The tree once what is ready ahead is there and nothing is on its way."""
    wanted = {"init, prepared", "init, with a function", "runtime", "extension", "services"}
    deadline = time.monotonic() + 20
    while True:
        processes = process_table.tree(pid)
        kinds = {each.kind for each in processes}
        again = {each.pid for each in process_table.tree(pid)}
        if wanted <= kinds and again == {each.pid for each in processes}:
            return processes
        assert time.monotonic() < deadline, kinds
        time.sleep(0.1)


def main() -> None:
    """See the module's docstring."""
    data = Path(sys.argv[1])
    flags = ("--function-network", "required")
    server = start_server(data, *flags, environment=_ENVIRONMENT)
    functions = Functions(server, "staged")
    layer = functions.client.publish_layer_version(
        LayerName="watcher",
        Content={"ZipFile": make_zip({"extensions/watcher": _REGISTERED}, 0o755)},
    )
    name = functions.create(_APP, Layers=[layer["LayerVersionArn"]], Timeout=30, MemorySize=512)
    answer = functions.invoke(name)
    assert answer.payload == 1, answer
    server.client("sqs").create_queue(QueueName="staged")
    processes = _settled(server.process.pid)
    said: dict[str, Any] = {
        "table": process_table.markdown(processes),
        "processes": [
            {
                "kind": each.kind,
                "uid": each.uid,
                "no_new_privs": each.status["NoNewPrivs"],
                "seccomp": each.status["Seccomp"],
                "groups": each.status["Groups"].split(),
                "capabilities": {
                    which: each.capabilities(which)
                    for which in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
                },
                "namespaces": sorted(each.namespaces),
                "descriptors": sorted(each.descriptors),
                "environment": sorted(each.environment),
            }
            for each in processes
        ],
        "stopped": server.stop(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
