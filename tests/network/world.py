"""A small world of network namespaces, so that nothing the tests send leaves this machine.

``python -m tests.network.world root|user COMMAND...`` makes two namespaces, a host (192.0.2.2) and
an internet behind it, and runs the command on the host: as root there, or as an ordinary user who
has no power over it.  The internet has a web server, a name server, a metadata service, a mail
server, and machines with private addresses; the host has services of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable

from lambent.sandbox.kernel import netlink
from lambent.sandbox.kernel.syscalls import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    PR_SET_PDEATHSIG,
    loopback_up,
    mount,
    prctl,
    unshare,
)

WEB = "203.0.113.10"
NAMES = "203.0.113.53"
HOST = "192.0.2.2"
# The host's other address lies in a private network.
HOST_PRIVATE = "10.1.2.99"
METADATA = "169.254.169.254"
PRIVATE = "10.1.2.3"
OTHER_PRIVATE = "192.168.7.7"
INTERNET = (WEB, NAMES, METADATA, PRIVATE, OTHER_PRIVATE)
_GATEWAY = "192.0.2.1"
_MACS = ("02:00:00:00:01:01", "02:00:00:00:01:02")
_LINK = 50
_ADDRESSES = 8082


def _serve(address: str, port: int, says: Callable[[str], bytes]) -> None:
    listener = socket.create_server((address, port))

    def loop() -> None:
        while True:
            stream, (peer, _) = listener.accept()
            with stream, contextlib.suppress(OSError):
                stream.sendall(says(peer))

    threading.Thread(target=loop, daemon=True).start()


def _answer(question: bytes) -> bytes:
    """An A record of the web server for every name but those that begin with "no"."""
    asked = question[12 : question.index(b"\0", 12) + 5]
    fits = asked[-4:] == b"\0\1\0\1" and not asked[1:].startswith(b"no")
    header = question[:2] + struct.pack("!HHHHH", 0x8180 if fits else 0x8183, 1, int(fits), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(WEB)
    return header + asked + (record if fits else b"")


def _serve_names() -> None:
    questions = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    questions.bind((NAMES, 53))
    listener = socket.create_server((NAMES, 53))

    def datagrams() -> None:
        while True:
            question, source = questions.recvfrom(4096)
            with contextlib.suppress(ValueError):
                questions.sendto(_answer(question), source)

    def streams() -> None:
        while True:
            stream, _ = listener.accept()
            with stream, contextlib.suppress(OSError):
                size = int.from_bytes(stream.recv(2), "big")
                answer = _answer(stream.recv(size))
                stream.sendall(len(answer).to_bytes(2, "big") + answer)

    for each in (datagrams, streams):
        threading.Thread(target=each, daemon=True).start()


def _internet(there: int, ready: int) -> None:
    """In a child: the other namespace and everybody in it."""
    unshare(CLONE_NEWNET)
    loopback_up()
    os.write(there, b"n")
    os.read(ready, 1)
    with netlink.open_socket() as end:
        netlink.perform(end, [netlink.address(_LINK, _GATEWAY), netlink.up(_LINK)])
        netlink.perform(end, [netlink.neighbour(_LINK, HOST, _MACS[0])])
        netlink.perform(end, [netlink.route(_LINK, HOST), netlink.route(_LINK, HOST_PRIVATE)])
        netlink.perform(end, [netlink.neighbour(_LINK, HOST_PRIVATE, _MACS[0])])
        netlink.perform(end, [netlink.address(1, each) for each in INTERNET])
    for each in INTERNET:
        _serve(each, 80, lambda peer, name=each: f"{name} sees {peer}".encode())  # type: ignore[misc]
    _serve(WEB, 25, lambda peer: b"220 mail")
    _serve(WEB, 81, lambda peer: b"x" * 3_000_000)
    _serve_names()
    os.write(there, b"r")
    signal.pause()


def _host() -> None:
    """This namespace becomes the host."""
    loopback_up()
    to_me, there = os.pipe()
    ready, to_it = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _internet(there, ready)
        finally:
            os._exit(1)
    assert os.read(to_me, 1) == b"n"
    with netlink.open_socket() as end:
        here = netlink.End("eth0", _LINK, _MACS[0])
        netlink.perform(end, [netlink.cable(here, netlink.End("eth0", _LINK, _MACS[1]), pid)])
        netlink.perform(end, [netlink.address(_LINK, HOST), netlink.address(_LINK, HOST_PRIVATE)])
        netlink.perform(end, [netlink.neighbour(_LINK, _GATEWAY, _MACS[1])])
        netlink.perform(end, [netlink.default_route(_LINK, _GATEWAY)])
    os.write(to_it, b"r")
    assert os.read(to_me, 1) == b"r"
    _serve("0.0.0.0", 8080, lambda peer: b"host, every address")
    _serve("127.0.0.1", 8081, lambda peer: b"host, loopback")
    _serve_addresses()


def new_address(address: str) -> None:
    """The host gets one more address; asked by whoever runs there."""
    with socket.create_connection(("127.0.0.1", _ADDRESSES)) as stream:
        stream.sendall(address.encode())
        stream.shutdown(socket.SHUT_WR)
        assert stream.recv(1) == b"!"


def _serve_addresses() -> None:
    """Power over the host, for those who run there and have none."""
    listener = socket.create_server(("127.0.0.1", _ADDRESSES))

    def loop() -> None:
        while True:
            stream, _ = listener.accept()
            with stream, netlink.open_socket() as end:
                netlink.perform(end, [netlink.address(_LINK, stream.recv(64).decode())])
                stream.sendall(b"!")

    threading.Thread(target=loop, daemon=True).start()


def _become(user: int) -> None:
    """Enter a user namespace as this user; without power over what is outside."""
    outside = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{user} {outside[1]} 1"),
        ("uid_map", f"{user} {outside[0]} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def main() -> None:
    """See the module's docstring."""
    user, *command = sys.argv[1:]
    if os.getuid() != 0:
        _become(0)
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # A file for the host's resolver configuration that only this world sees.
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"nameserver {NAMES}\n")
        file.flush()
        os.chmod(file.name, 0o644)
        mount(file.name, os.path.realpath("/etc/resolv.conf"), None, MS_BIND)
    _host()
    pid = os.fork()
    if pid == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if user == "user":
                _become(1001)
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
