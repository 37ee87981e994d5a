"""The router's way on as root: a cable to the host, which forwards and translates what comes."""

from __future__ import annotations

import contextlib
import os
import socket

from . import firewall, netlink
from .aside import aside, nft, program, run
from .links import ROUTER_MAC, SANDBOX_MAC, without_ipv6
from .syscalls import CLONE_NEWNET, setns

_UPLINK = "uplink"
# One address a server on this host, claimed by its route.
_NETWORK = "169.254.2.0/23"
_FIRST = int.from_bytes(socket.inet_aton("169.254.2.1"), "big")
_COUNT = 510
# Nobody has this address: the cable's other end takes all there is to forward.
_GATEWAY = "169.254.1.1"
_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_PREFIX = "lambent"
_IPTABLES = (
    "-i lambent+ -j ACCEPT",
    "-o lambent+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
)


class HostUplink:
    """One cable, and what the host needs for all of them; raises OSError."""

    def __init__(self, namespace: int) -> None:
        self._name = _PREFIX + str(os.getpid())
        # Whether this host forwarded before.
        self._forwarded = True
        aside(_prepare_host)
        try:
            self._connect(namespace)
        except OSError:
            self.close()
            raise

    def _connect(self, namespace: int) -> None:
        here = netlink.End(self._name, 0, ROUTER_MAC)
        there = netlink.End(_UPLINK, 0, SANDBOX_MAC)
        with netlink.open_socket() as end:
            netlink.perform(end, [netlink.cable(here, there, namespace=namespace)])
            without_ipv6(self._name)
            own = self._claim(end)
        aside(lambda: _configure(namespace, own))
        with open(_FORWARD) as file:
            self._forwarded = file.read().strip() != "0"
        if not self._forwarded:
            _forward("1")

    def _claim(self, end: socket.socket) -> str:
        """An address no other server on this host has."""
        index = socket.if_nametoindex(self._name)
        for number in range(_FIRST, _FIRST + _COUNT):
            own = socket.inet_ntoa(number.to_bytes(4, "big"))
            try:
                netlink.perform(end, [netlink.route(index, own)])
            except FileExistsError:
                continue
            netlink.perform(end, [netlink.neighbour(index, own, SANDBOX_MAC)])
            return own
        raise OSError("%d servers have a network on this host already" % _COUNT)

    def close(self) -> None:
        """Remove the cable; with the last one of this host, everything else."""
        with netlink.open_socket() as end, contextlib.suppress(OSError):
            netlink.perform(end, [netlink.remove(self._name)])
        if any(name.startswith(_PREFIX) for _, name in socket.if_nameindex()):
            return
        with contextlib.suppress(OSError):
            aside(_leave_host)
            if not self._forwarded:
                _forward("0")


def _forward(text: str) -> None:
    with open(_FORWARD, "w") as file:
        file.write(text)


def _prepare_host() -> list[int]:
    nft(firewall.HOST % _NETWORK)
    _pass_host_firewall(True)
    return []


def _leave_host() -> list[int]:
    nft(firewall.HOST_GONE)
    _pass_host_firewall(False)
    return []


def _configure(namespace: int, own: str) -> list[int]:
    """The router's end."""
    setns(namespace, CLONE_NEWNET)
    index = socket.if_nametoindex(_UPLINK)
    with netlink.open_socket() as end:
        netlink.perform(
            end,
            [
                netlink.address(index, own),
                netlink.up(index),
                netlink.neighbour(index, _GATEWAY, ROUTER_MAC),
                netlink.default_route(index, _GATEWAY),
            ],
        )
    return []


def _pass_host_firewall(wanted: bool) -> None:
    """Pass a firewall that forwards nothing by itself (Docker's, ufw's), or take that back."""
    iptables = program("iptables")
    if iptables is None:
        return
    command = [iptables, "-w", "5"]
    try:
        closed = "-P FORWARD ACCEPT" not in run(*command, "-S", "FORWARD")
    except OSError:
        return  # not in use here
    for rule in _IPTABLES:
        words = rule.split()
        try:
            run(*command, "-C", "FORWARD", *words)
        except OSError:
            if wanted and closed:
                run(*command, "-I", "FORWARD", *words)
        else:
            if not wanted:
                run(*command, "-D", "FORWARD", *words)
