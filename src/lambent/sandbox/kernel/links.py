"""The virtual cables between sandboxes and their router (see ``network``).

One end of each lies in the router's namespace, the other, eth0, in a sandbox's.
"""

from __future__ import annotations

import contextlib
import socket

from . import firewall, netlink

# A sandbox's address is this plus its number; also the number of its link in the router.
_FIRST_ADDRESS = int.from_bytes(socket.inet_aton("169.254.128.0"), "big")
ADDRESSES = 32_000
_FIRST_LINK = 1_000
# Clear of the numbers of links that a kernel makes by itself.
_SANDBOX_LINK = 100
# Every cable has the same two ends: nobody but they two is ever on it.
ROUTER_MAC = "02:00:00:00:00:01"
SANDBOX_MAC = "02:00:00:00:00:02"


def address(number: int) -> str:
    """The address of a sandbox."""
    return socket.inet_ntoa((_FIRST_ADDRESS + number).to_bytes(4, "big"))


def connect(end: socket.socket, number: int, pid: int) -> None:
    """Connect a sandbox's namespace to the router, whose netlink socket this is."""
    index = _FIRST_LINK + number
    here = netlink.End("s%d" % number, index, ROUTER_MAC)
    there = netlink.End("eth0", _SANDBOX_LINK, SANDBOX_MAC)
    netlink.perform(
        end,
        [
            netlink.cable(here, there, pid),
            netlink.neighbour(index, address(number), SANDBOX_MAC),
            netlink.route(index, address(number)),
        ],
    )


def bring_up(number: int) -> None:
    """In a sandbox: its end of the cable."""
    without_ipv6("eth0")
    with netlink.open_socket() as end:
        netlink.perform(
            end,
            [
                netlink.address(_SANDBOX_LINK, address(number)),
                netlink.up(_SANDBOX_LINK),
                netlink.neighbour(_SANDBOX_LINK, firewall.GATEWAY, ROUTER_MAC),
                netlink.default_route(_SANDBOX_LINK, firewall.GATEWAY),
            ],
        )


def without_ipv6(name: str) -> None:
    """A link of this namespace ("default": those to come) has no IPv6, where the kernel does."""
    path = "/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name
    with contextlib.suppress(FileNotFoundError), open(path, "w") as file:
        file.write("1")
