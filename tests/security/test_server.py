"""What the server can reach once it has given up what it does not need.

The attempts run in a process that did what ``lambent serve`` does before it reads a byte of others;
each would be of use to an attacker who had taken the server over.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Functions, Server

_ATTEMPTS = """
import ctypes, json, os, signal, socket, subprocess, sys
from pathlib import Path
from lambent import config
from lambent.app import Host

data, outside, sleeper = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
host = Host.prepare(config.load({"data_dir": str(data), "port": 0}, {}))
host.confine()
found = {}

def attempt(name, action):
    try:
        action()
        found[name] = "done"
    except (OSError, subprocess.SubprocessError):
        found[name] = "refused"

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)

def child():
    if os.fork() == 0:
        os._exit(0)

for path in ("/root", "/home", "/var", "/opt", "/usr/bin/env", "/usr/local/bin", "/etc/shadow",
             "/proc/1/environ", "/dev/kmsg", str(outside), str(outside / "private")):
    attempt("read " + path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb"))
for path in ("/etc/new", str(outside / "new"), os.path.dirname(os.__file__) + "/new", "/new"):
    attempt("write " + path, lambda: open(path, "w"))
attempt("connect to a socket outside", lambda: connect(str(outside / "root.sock")))
attempt("signal a process", lambda: os.kill(sleeper, 0))
attempt("trace a process", lambda: call(101, 16, sleeper, 0, 0))
attempt("take a descriptor of a process", lambda: call(438, os.pidfd_open(sleeper), 0, 0))
attempt("fork", child)
attempt("execute", lambda: subprocess.run(["/bin/sh", "-c", "id"]))
attempt("execute its own interpreter", lambda: os.execv(sys.executable, ["python", "-c", ""]))
attempt("become root", lambda: os.setresuid(0, 0, 0))
attempt("make a user namespace", lambda: call(272, 0x10000000))
attempt("mount", lambda: call(165, b"t", str(data).encode(), b"tmpfs", 0, None))
attempt("open a file by its handle", lambda: call(304, -100, 0, 0))
attempt("io_uring", lambda: call(425, 8, ctypes.create_string_buffer(120)))
attempt("bpf", lambda: call(321, 5, ctypes.create_string_buffer(120), 120))
attempt("keys", lambda: call(250, 0, -3, 1))
attempt("a packet socket", lambda: socket.socket(17, 3))
attempt("nftables", lambda: socket.socket(16, 3, 12))
attempt("a vsock", lambda: socket.socket(40, 1))
attempt("a port of root's", lambda: socket.create_server(("127.0.0.1", 1)))
if host.groups is not None:
    folder = host.groups.folders[0]
    def take():
        with open(folder + "/taken/cgroup.procs", "w") as file:
            file.write(str(sleeper))
    attempt("make a control group", lambda: os.mkdir(folder + "/taken"))
    attempt("move a process into it", take)
    os.rmdir(folder + "/taken")
else:
    found["make a control group"] = "done"
attempt("keep a file", lambda: (data / "kept").write_text("x"))
attempt("use its port", lambda: host.listeners[0].listen())
attempt("import what it has not imported yet", lambda: __import__("xml.dom.minidom"))
attempt("resolve a name", lambda: socket.getaddrinfo("localhost", 80))
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({"found": found, "status": status, "kept": os.stat(data / "kept").st_mode}),
      flush=True)
sys.stdin.read()
"""
_NEEDED = {
    "make a control group",
    "keep a file",
    "use its port",
    "import what it has not imported yet",
    "resolve a name",
}
# What an ordinary user's server shares with him: his files, his processes, his groups.
_THE_USERS = {
    "read ",
    "write ",
    "connect to a socket outside",
    "signal a process",
    "move a process",
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    base = tmp_path_factory.mktemp("taken")
    outside = base / "outside"
    outside.mkdir()
    (outside / "private").write_text("private")
    with (
        socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", "60"]) as sleeper,
        subprocess.Popen(
            [sys.executable, "-c", _ATTEMPTS, str(base / "data"), str(outside), str(sleeper.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        named.bind(str(outside / "root.sock"))
        named.listen()
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate()
        sleeper.kill()


def test_the_server_does_what_it_needs_and_nothing_else(taken: dict[str, dict[str, str]]) -> None:
    done = {name for name, outcome in taken["found"].items() if outcome == "done"}
    if os.getuid() != 0:
        done = {name for name in done if not name.startswith(tuple(_THE_USERS))}
    assert done == _NEEDED


def test_the_server_has_no_privilege(taken: dict[str, dict[str, str]]) -> None:
    status = taken["status"]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    if os.getuid() == 0:
        assert int(status["CapBnd"], 16) == 0
        assert status["Groups"].strip() == ""
        uids = {int(each) for name in ("Uid", "Gid") for each in status[name].split()}
        assert len(uids) == 1
        assert 0x7F000000 <= min(uids) < 0x7F040000


# -- the data directory ---------------------------------------------------------------------------

_FOR_SANDBOXES = ("code", "runtimes")


def _modes(data: Path) -> dict[str, int]:
    """The mode of every file and folder that only this server uses, but sockets and links."""
    found = {"": stat.S_IMODE(data.stat().st_mode)}
    for path in data.rglob("*"):
        name = path.relative_to(data)
        kind = path.lstat().st_mode
        if (name.parts[0] in _FOR_SANDBOXES and len(name.parts) > 1) or stat.S_ISSOCK(kind):
            continue
        found[str(name)] = stat.S_IMODE(kind)
    return found


def _checked(data: Path) -> None:
    for name, mode in _modes(data).items():
        # The server's gid; the services' uid.
        allowed = 0o770 if name == "neighbours" else 0o700
        assert mode & ~allowed == 0, name
        if (data / name).is_file():
            assert mode == 0o600, name


def test_what_is_kept_is_for_the_server_alone(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    functions = Functions(server, "kept")
    name = functions.create(
        {"app.py": "def handler(event, context):\n    print('heard')\n    return 1\n", "a/b": "c"},
        Environment={"Variables": {"SECRET": "environment-4711"}},
    )
    assert functions.invoke(name).payload == 1
    key = server.client("iam")
    key.create_user(UserName="kept")
    secret = key.create_access_key(UserName="kept")["AccessKey"]["SecretAccessKey"]
    server.client("sqs").create_queue(QueueName="kept")
    server.client("s3").create_bucket(Bucket="kept")
    server.client("s3").put_object(Bucket="kept", Key="folder/k", Body=b"x")
    _checked(server.data)
    assert server.stop() == 0
    _checked(server.data)
    for path in server.data.rglob("*"):
        if path.is_file() and path.stat().st_size < 50 << 20:
            content = path.read_bytes()
            assert secret.encode() not in content, path
            assert b"environment-4711" not in content, path


def test_what_an_earlier_version_left_open_is_closed_and_still_read(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    functions = Functions(server, "earlier")
    name = functions.create("def handler(event, context):\n    return 1\n")
    assert functions.invoke(name).payload == 1
    server.client("s3").create_bucket(Bucket="earlier")
    server.client("s3").put_object(Bucket="earlier", Key="k", Body=b"x")
    assert server.stop() == 0
    for path in (server.data, *server.data.rglob("*")):
        os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    again = servers()
    assert Functions(again, "earlier").invoke(name).payload == 1
    assert again.client("s3").get_object(Bucket="earlier", Key="k")["Body"].read() == b"x"
    _checked(again.data)


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user trusts his own files")
def test_root_believes_no_configuration_that_the_server_could_have_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "lambent.toml").write_text('isolation = "process"\n')
    os.chown(data / "lambent.toml", 0x7F000000, 0x7F000000)
    command = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(data)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 1
    assert "lambent.toml must be a file that only root owns and can write" in capfd.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has one uid")
def test_links_in_a_data_directory_lead_root_nowhere(
    servers: Callable[..., Server], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (victim / "file").write_text("the host's")
    data = tmp_path / "data"
    data.mkdir()
    for name in ("neighbours", "code", "runtimes", "logs"):
        (data / name).symlink_to(victim)
    (data / "metadata.db-shm").symlink_to(victim / "file")
    before = {path: path.stat() for path in (victim, victim / "file")}
    try:
        servers()
    except RuntimeError:
        pass  # it may refuse such a folder
    for path, status in before.items():
        after = path.stat()
        assert (after.st_uid, after.st_mode) == (status.st_uid, status.st_mode)
    assert sorted(os.listdir(victim)) == ["file"]
