"""The network of functions, in a small world of namespaces: see ``world`` and ``scenario``."""

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

from tests.network import world

ROOT = Path(__file__).resolve().parents[2]
# Root's own way, and an ordinary user's, which root tries too.
MODES = ["root", "user"] if os.getuid() == 0 else ["user"]
REFUSED = "OSError 113"
Seen = dict[str, Any]


@pytest.fixture(scope="session")
def see(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Seen]:
    """What a scenario's functions saw; each is played once."""
    subprocess.run([str(ROOT / "scripts/setup-network")], check=True)

    @cache
    def play(mode: str, scenario: str) -> Seen:
        folder = tmp_path_factory.mktemp(f"{mode}-{scenario}") / "data"
        command = [sys.executable, "-m", "tests.network.world", mode, sys.executable]
        command += ["-m", "tests.network.scenario", str(folder), scenario]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=120
        )
        seen: Seen = json.loads(done.stdout)
        return seen

    return play


@pytest.mark.parametrize("mode", MODES)
def test_functions_reach_the_internet_and_are_seen_as_this_host(
    see: Callable[[str, str], Seen], mode: str
) -> None:
    seen = see(mode, "reach")
    assert seen["the web"] == f"{world.WEB} sees {world.HOST}"
    assert seen["three megabytes"] == 3_000_000
    assert seen["node"] == f"{world.WEB} sees {world.HOST}"


@pytest.mark.parametrize("mode", MODES)
def test_names_are_resolved_by_the_hosts_name_servers(
    see: Callable[[str, str], Seen], mode: str
) -> None:
    seen = see(mode, "reach")
    assert seen["resolv.conf"] == "nameserver 169.254.100.1\n"
    assert seen["a name"] == world.WEB
    assert seen["no such name"] == "gaierror -2"
    assert seen["a name over TCP"] == seen["a name server of one's own"] == "cb00710a"


@pytest.mark.parametrize("mode", MODES)
def test_the_servers_endpoint_is_always_there(see: Callable[[str, str], Seen], mode: str) -> None:
    seen = see(mode, "reach")
    assert seen["the endpoint"] == seen["itself"] == "connected"


@pytest.mark.parametrize(
    "target",
    [
        "metadata",
        "a private network",
        "another private network",
        "the host",
        "the host's other address",
        "the gateway",
        "the way on",
        "slirp's gateway",
        "another function",
        "mail",
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_theirs_is_refused_at_once(
    see: Callable[[str, str], Seen], mode: str, target: str
) -> None:
    assert see(mode, "reach")[target] == REFUSED


@pytest.mark.parametrize("mode", MODES)
def test_the_hosts_loopback_is_not_the_sandboxs(see: Callable[[str, str], Seen], mode: str) -> None:
    seen = see(mode, "reach")
    assert seen["the host's loopback"] == "ConnectionRefusedError 111"
    assert seen["everybody"] == "PermissionError 13"


@pytest.mark.parametrize("mode", MODES)
def test_every_probe_is_contained_where_there_is_a_network(
    see: Callable[[str, str], Seen], mode: str
) -> None:
    assert see(mode, "reach")["probes"] == {}


@pytest.mark.parametrize("mode", MODES)
def test_a_function_that_floods_the_network_harms_itself_alone(
    see: Callable[[str, str], Seen], mode: str
) -> None:
    seen = see(mode, "reach")
    assert seen["the web after a flood"] == REFUSED
    assert seen["the web of another"] == seen["the web"]
    assert seen["a name of another"] == world.WEB


@pytest.mark.parametrize("mode", MODES)
def test_a_private_network_is_opened_by_its_setting_without_the_hosts_addresses_in_it(
    see: Callable[[str, str], Seen], mode: str
) -> None:
    seen = see(mode, "change")
    assert seen["an allowed network"] == f"{world.PRIVATE} sees {world.HOST}"
    assert seen["another private network"] == REFUSED
    assert seen["the host in the allowed network"] == REFUSED
    assert seen["the host's new address"] is True


@pytest.mark.parametrize("mode", MODES)
def test_helpers_that_die_are_started_again(see: Callable[[str, str], Seen], mode: str) -> None:
    seen = see(mode, "change")
    assert len(seen["helpers"]) == (2 if mode == "root" else 3)
    assert seen["a name after the helpers' death"] is True
    assert seen["the web after the helpers' death"] is True


@pytest.mark.skipif("root" not in MODES, reason="an ordinary user changes nothing on the host")
def test_root_passes_a_closed_host_firewall_and_leaves_the_host_as_it_was(
    see: Callable[[str, str], Seen],
) -> None:
    seen = see("root", "change")
    assert seen["the web"] == f"{world.WEB} sees {world.HOST}"
    assert seen["stopped"] == 0
    assert seen["links"] == ["lo", "eth0"]
    assert seen["left"] is False
    assert seen["forwarding"] == "0"
