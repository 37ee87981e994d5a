"""Every process of a running server: who it is, what it may do, what it was given.

A server with everything is started in a world of its own (``staged``), as root and as an ordinary
user; what /proc says of each process is compared with what is listed here, and with SECURITY.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODES = ["root", "user"] if os.getuid() == 0 else ["user"]
Seen = list[dict[str, Any]]

_DATABASES = {
    f"file {name}.db{suffix}" for name in ("metadata", "queue") for suffix in ("", "-wal", "-shm")
}
# What each kind of process may have open.  "log": standard output and error, the server's own.
DESCRIPTORS = {
    "server": _DATABASES
    | {"TCP socket", "Unix socket", "control group", "eventfd", "eventpoll", "folder", "log"}
    | {"file lock", "file uids", "pidfd", "pipe"},
    "host agent": {"Unix socket", "folder", "log", "network namespace", "pidfd"}
    | {"socket of the router", "netlink socket"},
    "name server": {"Unix socket", "UDP socket", "eventpoll", "log", "socket of the router"},
    "slirp4netns": {"Unix socket", "UDP socket", "TCP socket", "file tun"},
    "services": {"Unix socket", "eventpoll", "file lock", "log", "pipe"},
    "zygote": {"Unix socket", "control group", "log", "socket of the router"},
    "init, prepared": {"Unix socket", "pipe"},
    "init, with a function": {"Unix socket", "pipe"},
    "runtime": {"Unix socket", "log", "TCP socket"},
    "extension": {"TCP socket", "log"},
}
_OF_ZYGOTES = {"LANG", "LD_LIBRARY_PATH", "PATH"}
# What each kind of process may have in its environment; the server's own is its administrator's.
ENVIRONMENT = {
    "host agent": {"LANG", "PATH"},
    "name server": {"LANG", "PATH"},
    "slirp4netns": {"PATH"},
    "services": {"LAMBENT_ENDPOINT", "LAMBENT_LISTENER", "LAMBENT_MEMORY_BYTES", "PYTHONUNBUFFERED"}
    | {"PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TZ"},
    "zygote": _OF_ZYGOTES,
    "init, prepared": _OF_ZYGOTES,
    "init, with a function": _OF_ZYGOTES,
    "runtime": _OF_ZYGOTES,
    # As on AWS, and what its shell adds.
    "extension": {
        f"AWS_{name}"
        for name in (
            "ACCESS_KEY_ID", "DEFAULT_REGION", "ENDPOINT_URL", "LAMBDA_FUNCTION_MEMORY_SIZE",
            "LAMBDA_FUNCTION_NAME", "LAMBDA_FUNCTION_VERSION", "LAMBDA_INITIALIZATION_TYPE",
            "LAMBDA_RUNTIME_API", "REGION", "SECRET_ACCESS_KEY", "SESSION_TOKEN",
        )
    } | {"LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PWD", "SHLVL", "TZ"},
}  # fmt: skip
# Those that read nothing of others; everyone else has a filter and no capability.
TRUSTED = {"host agent", "zygote", "init, prepared"}


@pytest.fixture(scope="module")
def see(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What is running, by mode; each is staged once."""
    subprocess.run([str(ROOT / "scripts/setup-network")], check=True)

    @cache
    def stage(mode: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(mode) / "data"
        command = [sys.executable, "-m", "tests.network.world", mode, sys.executable]
        done = subprocess.run(
            [*command, "-m", "tests.security.staged", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return stage


def _expected(mode: str) -> set[str]:
    return set(DESCRIPTORS) - ({"slirp4netns"} if mode == "root" else set())


@pytest.mark.parametrize("mode", MODES)
def test_no_process_has_a_descriptor_that_it_does_not_need(
    see: Callable[[str], dict[str, Any]], mode: str
) -> None:
    seen: Seen = see(mode)["processes"]
    assert {each["kind"] for each in seen} == _expected(mode)
    for each in seen:
        # A server's range of uids has a number.
        found = {"file uids" if n.startswith("file uids-") else n for n in each["descriptors"]}
        assert found <= DESCRIPTORS[each["kind"]], each["kind"]


@pytest.mark.parametrize("mode", MODES)
def test_no_process_is_given_a_variable_that_it_does_not_need(
    see: Callable[[str], dict[str, Any]], mode: str
) -> None:
    for each in see(mode)["processes"]:
        if each["kind"] != "server":
            assert set(each["environment"]) <= ENVIRONMENT[each["kind"]], each["kind"]


@pytest.mark.parametrize("mode", MODES)
def test_what_reads_of_others_has_no_capability_and_a_filter(
    see: Callable[[str], dict[str, Any]], mode: str
) -> None:
    for each in see(mode)["processes"]:
        kind, held = each["kind"], each["capabilities"]
        assert each["no_new_privs"] == "1", kind
        if kind in TRUSTED:
            continue
        assert each["seccomp"] == "2", kind
        if kind == "slirp4netns":  # it drops all but this one, of its own user namespace
            assert held["CapEff"] == 1 << 10
            continue
        assert held["CapEff"] == held["CapPrm"] == held["CapInh"] == held["CapAmb"] == 0, kind
        if mode == "root":
            assert held["CapBnd"] == 0, kind


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has one uid")
def test_as_root_every_process_that_reads_of_others_has_a_uid_of_its_own(
    see: Callable[[str], dict[str, Any]],
) -> None:
    seen: Seen = see("root")["processes"]
    uids = {each["kind"]: each["uid"] for each in seen}
    assert {kind for kind, uid in uids.items() if uid == 0} == {"host agent", "zygote"}
    alone = [uids[kind] for kind in ("server", "services", "name server")]
    assert len(set(alone)) == 3
    assert all(each["groups"] == [] for each in seen if each["kind"] in ("server", "services"))
    everything = max(each["capabilities"]["CapEff"] for each in seen if each["kind"] == "zygote")
    # CAP_SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_BOOT, SYS_TIME, MKNOD, BPF, PERFMON.
    for capability in (16, 17, 19, 22, 25, 27, 39, 38):
        for each in seen:
            if "user" not in each["namespaces"]:
                assert not each["capabilities"]["CapBnd"] >> capability & 1, each["kind"]
    assert not everything >> 5 & 1  # CAP_KILL


@pytest.mark.parametrize("mode", MODES)
def test_the_table_in_security_md_is_what_runs(
    see: Callable[[str], dict[str, Any]], mode: str
) -> None:
    text = (ROOT / "SECURITY.md").read_text()
    marked = text.partition(f"<!-- processes: {mode} -->\n")[2].partition("<!-- end -->")[0]
    told = {cells[1]: cells for cells in map(_cells, marked.splitlines()[2:])}
    runs = {cells[1]: cells for cells in map(_cells, see(mode)["table"].splitlines()[2:])}
    assert set(told) == set(runs)
    for kind, cells in runs.items():
        assert cells[2:7] == told[kind][2:7], kind
        # A socket or a file may be open at one time and not at another.
        assert _listed(cells[7]) <= _listed(told[kind][7]), kind
        assert _listed(cells[8]) <= _listed(told[kind][8]), kind


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def _listed(cell: str) -> set[str]:
    return {"file uids" if each.startswith("file uids-") else each for each in cell.split(", ")}


@pytest.mark.parametrize("mode", MODES)
def test_the_server_stops_in_order(see: Callable[[str], dict[str, Any]], mode: str) -> None:
    assert see(mode)["stopped"] == 0
