"""The router of a server's sandboxes: their way to the internet, and to nothing else.

A network namespace of its own with the rules of ``firewall``; each sandbox has a cable to it
(``links``), laid by its zygote through a netlink socket of the router's namespace.  The way on: as
root, a cable to the host (``host_uplink``); for an ordinary user slirp4netns, a TCP/IP stack in
user space.  Part of the host agent, which lives as long as the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
from typing import Callable

from . import confinement, firewall, links, netlink, process_filter
from .aside import aside, nft, program, run
from .host_uplink import HostUplink
from .syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    close_from,
    loopback_up,
    pidfd_open,
    prctl,
    setns,
    unshare,
)

_DNS = 53
# Of the name server; a question has a socket of its own.
_RESOLVER_LIMITS = {
    resource.RLIMIT_NPROC: 16,
    resource.RLIMIT_NOFILE: 4096,
    resource.RLIMIT_DATA: 256 << 20,
}
_SLIRP_CONFINEMENT = ["--enable-sandbox", "--enable-seccomp"]
_SLIRP_NETWORK = "169.254.2.0/24"
_MANY_RESTARTS = 100


def missing(root: bool) -> tuple[str, str]:
    """What this host lacks for a network of functions and what mends it; empty if nothing.

    root: whether the host agent is the host's root.
    """
    if program("nft") is None:
        return "nft is not installed", "sudo apt-get install nftables"
    if not root:
        if program("slirp4netns") is None:
            return "slirp4netns is not installed", "sudo apt-get install slirp4netns"
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return "/dev/net/tun is not open to this user", "sudo chmod 666 /dev/net/tun"
    return "", ""


def slirp_confinement(path: str) -> list[str]:
    """In a job: the flags with which this slirp4netns gives up files, capabilities and calls.

    Those that it knows; it parses packets that functions write.
    """
    offered = run(path, "--help")
    return [flag for flag in _SLIRP_CONFINEMENT if flag in offered]


def slirp_lacks() -> list[str]:
    """In a job: the flags that the installed slirp4netns does not know; none without one."""
    path = program("slirp4netns")
    known = slirp_confinement(path) if path is not None else _SLIRP_CONFINEMENT
    return [flag for flag in _SLIRP_CONFINEMENT if flag not in known]


def make_router(allowed: list[str]) -> list[int]:
    """In a job: enter the new namespace, set its rules; returns it and the resolver's sockets."""
    unshare(CLONE_NEWNET)
    nft(firewall.router(allowed))
    loopback_up()
    with netlink.open_socket() as end:
        netlink.perform(end, [netlink.address(1, firewall.GATEWAY)])
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")
    links.without_ipv6("all")
    links.without_ipv6("default")
    questions = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    questions.bind((firewall.GATEWAY, _DNS))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((firewall.GATEWAY, _DNS))
    listener.listen(64)
    return [os.open("/proc/self/ns/net", os.O_RDONLY), questions.detach(), listener.detach()]


class Network:
    """One router and what keeps it going; raises OSError where it cannot be.

    root: whether the way on is the host's own, else slirp4netns.  uid: what the name server
    becomes, None for an ordinary user's.
    """

    def __init__(self, allowed: list[str], root: bool, uid: int | None) -> None:
        # What to call when a descriptor is readable.
        self.watched: dict[int, Callable[[], None]] = {}
        self._restarts = 0
        self._uid = uid
        self._namespace, self._questions, self._listener = aside(lambda: make_router(allowed))
        self._uplink: HostUplink | None = None
        try:
            if root:
                self._uplink = HostUplink(self._namespace)
            else:
                self._addresses = netlink.watch_addresses()
                self._addresses.setblocking(False)
                self.watched[self._addresses.fileno()] = self._addresses_changed
                self._addresses_changed()
                self._start_slirp()
        except OSError:
            for each in (self._namespace, self._questions, self._listener):
                os.close(each)
            raise
        self._start_resolver()

    def socket(self) -> int:
        """A netlink socket of the router's namespace, for ``links.connect``."""
        return self._inside(lambda: [netlink.open_socket().detach()])[0]

    def close(self) -> None:
        """Take back what the host was given."""
        if self._uplink is not None:
            self._uplink.close()

    def _inside(self, job: Callable[[], list[int]]) -> list[int]:
        def entered() -> list[int]:
            setns(self._namespace, CLONE_NEWNET)
            return job()

        return aside(entered)

    def _addresses_changed(self) -> None:
        """The host's own addresses are not for functions."""
        with contextlib.suppress(BlockingIOError):
            while self._addresses.recv(65536):
                pass
        with netlink.open_socket() as end:
            rules = firewall.host_addresses(netlink.addresses(end))

        def job() -> list[int]:
            nft(rules)
            return []

        self._inside(job)

    # -- helpers --------------------------------------------------------------------------

    def _start_resolver(self) -> None:
        def run() -> None:
            import asyncio  # the agent itself never needs it

            from . import resolver

            sockets = [
                fcntl.fcntl(each, fcntl.F_DUPFD, 5) for each in (self._questions, self._listener)
            ]
            for target, source in enumerate(sockets, 3):
                os.dup2(source, target)
            close_from(5)
            unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
            readable = confinement.python_paths(sys.path, sys.prefix, sys.base_prefix)
            readable += [*confinement.LIBRARIES, *resolver.folders()]
            confinement.private_root(readable, {})
            confinement.limit(_RESOLVER_LIMITS)
            confinement.give_up(process_filter.RESOLVER, self._uid, dies_with_parent=True)
            questions, listener = socket.socket(fileno=3), socket.socket(fileno=4)
            asyncio.run(resolver.serve(questions, listener, resolver.Resolver()))

        self._keep(run, self._start_resolver)

    def _start_slirp(self) -> None:
        path = program("slirp4netns")
        if path is None:
            raise OSError("slirp4netns is not installed")
        ready, telling = os.pipe()
        namespace = "/proc/%d/fd/%d" % (os.getpid(), self._namespace)
        command = [path, "--configure", "--mtu=1500", "--disable-host-loopback", "--disable-dns"]
        command += ["--cidr=" + _SLIRP_NETWORK, "--netns-type=path", "--ready-fd=3"]

        def run() -> None:
            null = os.open("/dev/null", os.O_RDWR)
            moved = fcntl.fcntl(telling, fcntl.F_DUPFD, 4)
            for target, source in ((0, null), (1, null), (2, null), (3, moved)):
                os.dup2(source, target)
            close_from(4)
            confinement.limit({})
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            arguments = [*command, *slirp_confinement(path), namespace, "uplink"]
            os.execve(path, arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

        self._keep(run, self._start_slirp)
        os.close(telling)
        said = os.read(ready, 1)
        os.close(ready)
        if not said:
            raise OSError("slirp4netns did not start; is /dev/net/tun open to this user?")

    def _keep(self, run: Callable[[], None], again: Callable[[], None]) -> None:
        """Start a helper, and start it again whenever it ends."""
        agent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == agent:  # else it ended before that
                    run()
            except BaseException as error:
                sys.stderr.write("network of functions: %s\n" % error)
            finally:
                os._exit(70)
        descriptor = pidfd_open(pid)

        def ended() -> None:
            del self.watched[descriptor]
            os.close(descriptor)
            self._restarts += 1
            try:
                if self._restarts > _MANY_RESTARTS:
                    raise OSError("its helpers keep ending; given up")
                again()
            except OSError as error:
                sys.stderr.write("network of functions: %s\n" % error)

        self.watched[descriptor] = ended
