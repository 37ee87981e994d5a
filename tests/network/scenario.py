"""On the host of ``world``: starts a server, lets functions try the network, prints what they saw.

``python -m tests.network.scenario FOLDER SCENARIO``
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Functions, Server, start_server
from tests.network import world

_APP = """
import socket, subprocess, threading

def attempt(target):
    kind, address, port = target
    try:
        if kind == "name":
            return socket.gethostbyname(address)
        if kind == "question":
            stream = socket.create_connection((address, port), 2)
            question = b"\\1\\2\\1\\0\\0\\1" + b"\\0" * 6 + b"\\7example\\4test\\0\\0\\1\\0\\1"
            stream.sendall(len(question).to_bytes(2, "big") + question)
            return stream.recv(4096)[2:][-4:].hex()
        if kind == "datagram":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.settimeout(1)
                end.connect((address, port))
                end.send(b"x" * 20)
                return end.recv(100).hex()
        with socket.create_connection((address, port), 2) as stream:
            if kind == "listening":
                return "connected"
            found = b""
            while piece := stream.recv(65536):
                found += piece
            return found.decode() if len(found) < 200 else len(found)
    except OSError as error:
        return type(error).__name__ + " " + str(error.errno or error)

def handler(event, context):
    if "listen" in event:
        global listener
        listener = socket.create_server(("0.0.0.0", event["listen"]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.connect(("203.0.113.10", 9))
            return end.getsockname()[0]
    if "run" in event:
        done = subprocess.run(event["run"], capture_output=True, text=True)
        return done.stdout + done.stderr
    if "flood" in event:
        ends = []
        for number in range(event["flood"]):
            end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            end.sendto(b"x" * 20, (event["address"], event.get("port", 1000 + number)))
            end.close()
        return attempt(["tcp", event["address"], 80])
    return [attempt(each) for each in event["targets"]]
"""
_NODE = """
const dns = require('dns').promises;
exports.handler = async () => {
  const { address } = await dns.lookup('example.test');
  return await new Promise((done) => require('net').connect(80, address)
    .on('data', (data) => done(data.toString())));
};
"""


def _probe(functions: Functions, name: str, *targets: tuple[str, str, int]) -> list[Any]:
    answer = functions.invoke(name, {"targets": targets})
    if not isinstance(answer.payload, list):
        raise RuntimeError(f"the function has failed: {answer}")
    return answer.payload


def _functions(server: Server) -> tuple[Functions, str]:
    functions = Functions(server, "net")
    return functions, functions.create(_APP, Timeout=30, MemorySize=512)


def _until(done: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it comes true."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def reach(folder: Path) -> dict[str, Any]:
    """What a function can reach and what not."""
    server = start_server(folder, "--function-network", "required")
    functions, name = _functions(server)
    other = functions.create(_APP, Timeout=30)
    neighbour = functions.invoke(other, {"listen": 7000}).payload
    own = functions.invoke(name, {"listen": 7001}).payload
    reached = {
        "the web": ("tcp", world.WEB, 80),
        "three megabytes": ("tcp", world.WEB, 81),
        "a name": ("name", "example.test", 0),
        "no such name": ("name", "nowhere.test", 0),
        "a name over TCP": ("question", "169.254.100.1", 53),
        "a name server of one's own": ("question", world.NAMES, 53),
        "the endpoint": ("listening", "127.0.0.1", 4566),
        "itself": ("listening", own, 7001),
        "metadata": ("tcp", world.METADATA, 80),
        "a private network": ("tcp", world.PRIVATE, 80),
        "another private network": ("tcp", world.OTHER_PRIVATE, 80),
        "the host": ("tcp", world.HOST, 8080),
        "the host's other address": ("tcp", world.HOST_PRIVATE, 8080),
        "the host's loopback": ("tcp", "127.0.0.1", 8081),
        "the gateway": ("tcp", "169.254.100.1", 8080),
        "the way on": ("tcp", "169.254.2.1", 8080),
        "slirp's gateway": ("tcp", "169.254.2.2", 8081),
        "another function": ("listening", neighbour, 7000),
        "mail": ("tcp", world.WEB, 25),
        "everybody": ("datagram", "255.255.255.255", 53),
    }
    seen = dict(zip(reached, _probe(functions, name, *reached.values()), strict=True))
    seen["resolv.conf"] = functions.invoke(name, {"run": ["cat", "/etc/resolv.conf"]}).payload
    seen["node"] = functions.invoke(
        functions.create({"index.js": _NODE}, Runtime="nodejs20.x", Handler="index.handler")
    ).payload
    seen["probes"] = _leaks(functions)
    flood = {"flood": 1200, "address": world.WEB}
    seen["the web after a flood"] = functions.invoke(other, flood).payload
    # Nobody else is worse off for it.
    seen["the web of another"] = _probe(functions, name, reached["the web"])[0]
    functions.invoke(other, {**flood, "flood": 3000, "address": "169.254.100.1", "port": 53})
    seen["a name of another"] = _probe(functions, name, reached["a name"])[0]
    seen["stopped"] = server.stop()
    return seen


def _leaks(functions: Functions) -> dict[str, Any]:
    """What an adversarial function gets away with."""
    probes = Path(__file__).parents[1] / "security/probes.py"
    name = functions.create(probes.read_text(), Timeout=120, MemorySize=1024)
    event = {
        "canary": str(Path(__file__)),
        "pids": [os.getpid(), functions.server.process.pid],
        "hostname": socket.gethostname(),
        "port": 8080,
        "abstract": "no-such-socket",
        "interfaces": ["lo", "eth0"],
    }
    answer = functions.invoke(name, event)
    return {probe: result for probe, result in answer.payload.items() if result is not True}


def change(folder: Path) -> dict[str, Any]:
    """What is set, what comes and goes, and what is left behind."""
    root = os.getuid() == 0
    iptables = ["iptables", "-P", "FORWARD", "DROP"]
    if root:
        # A host as Docker leaves it.
        subprocess.run(iptables, check=True)
    server = start_server(
        folder, "--function-network", "required", "--function-network-allow", "10.1.2.0/24"
    )
    functions, name = _functions(server)

    def one(*target: Any) -> Any:
        return _probe(functions, name, target)[0]

    seen = {
        "the web": one("tcp", world.WEB, 80),
        "an allowed network": one("tcp", world.PRIVATE, 80),
        "another private network": one("tcp", world.OTHER_PRIVATE, 80),
        "the host in the allowed network": one("tcp", world.HOST_PRIVATE, 8080),
    }
    # The host gets an address while the server runs.
    world.new_address("10.1.2.77")
    seen["the host's new address"] = _until(lambda: one("tcp", "10.1.2.77", 8080) == "OSError 113")
    agent = int(Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text())
    helpers = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    names = {int(each): Path(f"/proc/{each}/comm").read_text().strip() for each in helpers}
    for pid in names:
        # The zygote too: what comes next is a new one.
        os.kill(pid, signal.SIGKILL)
    del functions

    functions, name = _functions(server)
    seen["a name after the helpers' death"] = _until(
        lambda: bool(one("name", "example.test", 0) == world.WEB)
    )
    seen["the web after the helpers' death"] = _until(
        lambda: str(one("tcp", world.WEB, 80)).startswith(world.WEB)
    )
    seen["helpers"] = sorted(names.values())
    seen["stopped"] = server.stop()
    seen["links"] = [name for _, name in socket.if_nameindex()]
    if root:
        listed = ["nft", "list", "tables", "ip"], ["iptables", "-S"]
        seen["left"] = "lambent" in "".join(
            subprocess.run(each, check=True, capture_output=True, text=True).stdout
            for each in listed
        )
        seen["forwarding"] = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    return seen


SCENARIOS: dict[str, Callable[[Path], dict[str, Any]]] = {"reach": reach, "change": change}

if __name__ == "__main__":
    print(json.dumps(SCENARIOS[sys.argv[2]](Path(sys.argv[1]))))
