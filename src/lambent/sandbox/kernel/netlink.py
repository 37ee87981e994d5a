"""rtnetlink, as much of it as links, addresses and routes of sandboxes take.

A message is (type, flags, body); a batch of them costs one system call to send.  Layouts and
numbers: linux/rtnetlink.h, linux/if_link.h.  A netlink socket acts on the network namespace it was
made in, whoever holds it.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterator

_ACK = 0x4
_REQUEST = 0x1
_DUMP = 0x300
_CREATE = 0x400
_EXCLUSIVE = 0x200
_ERROR = 2
_DONE = 3
_NEWLINK = 16
_DELLINK = 17
_NEWADDR = 20
_GETADDR = 22
_NEWROUTE = 24
_NEWNEIGH = 28
_IFF_UP = 1
_PERMANENT = 0x80
# Attributes.
_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_NET_NS_PID = 19
_IFLA_NET_NS_FD = 28
_INFO_KIND = 1
_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_NDA_DST = 1
_NDA_LLADDR = 2
_TABLE_MAIN = 254
_PROTOCOL_BOOT = 3
_SCOPE_UNIVERSE = 0
_SCOPE_LINK = 253
_UNICAST = 1
_ONLINK = 4
_GROUP_IPV4_ADDRESSES = 0x10
_BUFFER = 65536


def open_socket(groups: int = 0) -> socket.socket:
    """A netlink socket of the caller's network namespace."""
    end = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    end.bind((0, groups))
    return end


def watch_addresses() -> socket.socket:
    """A socket that becomes readable when an IPv4 address of this namespace comes or goes."""
    return open_socket(_GROUP_IPV4_ADDRESSES)


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("HH", size, kind) + value + bytes(-size % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("I", value))


def _link(index: int, up: bool = False) -> bytes:
    return struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, int(up), int(up))


def _hardware(address: str) -> bytes:
    return _attribute(_IFLA_ADDRESS, bytes.fromhex(address.replace(":", "")))


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


class End:
    """One end of a virtual cable: its name, number and MAC address.

    A number of 0 is the kernel's choice; the far end's counts only if the near one has one too.
    """

    def __init__(self, name: str, index: int, hardware: str) -> None:
        self.name = name
        self.index = index
        self.hardware = hardware


def cable(here: End, there: End, pid: int = 0, namespace: int = -1) -> tuple[int, int, bytes]:
    """A veth pair: one end, up, in the socket's namespace, one in a process's or descriptor's."""
    if namespace >= 0:
        where = _number(_IFLA_NET_NS_FD, namespace)
    else:
        where = _number(_IFLA_NET_NS_PID, pid)
    peer = _link(there.index) + _name(there.name) + _hardware(there.hardware) + where
    kind = _attribute(_INFO_KIND, b"veth") + _attribute(
        _INFO_DATA, _attribute(_VETH_INFO_PEER, peer)
    )
    body = _link(here.index, up=True) + _name(here.name) + _hardware(here.hardware)
    return _NEWLINK, _CREATE | _EXCLUSIVE, body + _attribute(_IFLA_LINKINFO, kind)


def up(index: int) -> tuple[int, int, bytes]:
    """Bring a link up."""
    return _NEWLINK, 0, _link(index, up=True)


def remove(name: str) -> tuple[int, int, bytes]:
    """Take a link away, and with it its other end and its routes."""
    return _DELLINK, 0, _link(0) + _name(name)


def address(index: int, ip: str) -> tuple[int, int, bytes]:
    """Give a link an IPv4 address that stands alone (/32)."""
    packed = socket.inet_aton(ip)
    body = struct.pack("BBBBI", socket.AF_INET, 32, 0, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return _NEWADDR, _CREATE | _EXCLUSIVE, body


def _route(length: int, scope: int, flags: int) -> bytes:
    kinds = (_TABLE_MAIN, _PROTOCOL_BOOT, scope, _UNICAST)
    return struct.pack("BBBBBBBBI", socket.AF_INET, length, 0, 0, *kinds, flags)


def route(index: int, ip: str) -> tuple[int, int, bytes]:
    """The way to one address; fails with EEXIST where there is one to it already."""
    body = _route(32, _SCOPE_LINK, 0) + _attribute(_RTA_DST, socket.inet_aton(ip))
    return _NEWROUTE, _CREATE | _EXCLUSIVE, body + _number(_RTA_OIF, index)


def default_route(index: int, gateway: str) -> tuple[int, int, bytes]:
    """The way to everywhere else, over a gateway at the other end of this link."""
    body = _route(0, _SCOPE_UNIVERSE, _ONLINK) + _number(_RTA_OIF, index)
    body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    return _NEWROUTE, _CREATE | _EXCLUSIVE, body


def neighbour(index: int, ip: str, hardware: str) -> tuple[int, int, bytes]:
    """Who has an address on a link, for good: nobody need ask, nor is it counted or forgotten."""
    body = struct.pack("BxxxiHBB", socket.AF_INET, index, _PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, socket.inet_aton(ip))
    body += _attribute(_NDA_LLADDR, bytes.fromhex(hardware.replace(":", "")))
    return _NEWNEIGH, _CREATE, body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        size, kind = struct.unpack_from("IH", data)
        yield kind, data[16:size]
        data = data[(size + 3) & ~3 :]


def perform(end: socket.socket, messages: list[tuple[int, int, bytes]]) -> None:
    """Do all of it, in order; raises OSError with the first that failed."""
    data = b""
    for kind, flags, body in messages:
        padded = body + bytes(-len(body) % 4)
        data += struct.pack("IHHII", 16 + len(body), kind, flags | _REQUEST | _ACK, 0, 0) + padded
    end.send(data)
    failed = None
    answered = 0
    while answered < len(messages):
        for kind, body in _messages(end.recv(_BUFFER)):
            if kind != _ERROR:
                continue
            number = -struct.unpack_from("i", body)[0]
            if number and failed is None:
                asked = messages[answered][0]
                failed = OSError(number, "netlink request %d: %s" % (asked, os.strerror(number)))
            answered += 1
    if failed is not None:
        raise failed


def addresses(end: socket.socket) -> list[str]:
    """All IPv4 addresses of the socket's namespace."""
    body = struct.pack("BBBBI", socket.AF_INET, 0, 0, 0, 0)
    header = struct.pack("IHHII", 16 + len(body), _GETADDR, _REQUEST | _DUMP, 0, 0)
    end.send(header + body)
    found: list[str] = []
    while True:
        for kind, answer in _messages(end.recv(_BUFFER)):
            if kind == _DONE:
                return found
            if kind != _NEWADDR:
                continue
            attributes = answer[8:]
            while attributes:
                size, name = struct.unpack_from("HH", attributes)
                if name == _IFA_LOCAL:
                    found.append(socket.inet_ntoa(attributes[4:8]))
                attributes = attributes[(size + 3) & ~3 :]
