"""The router of a server's sandboxes: their way to the internet, and to nothing else.

A network namespace of its own with the rules of ``firewall``; each sandbox has a cable to it
(``links``), laid by its zygote through a netlink socket of the router's namespace.  The way on: as
root, a cable to the host (``host_uplink``); for an ordinary user slirp4netns, a TCP/IP stack in
user space.  Part of the host agent, which lives as long as the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from typing import Callable

from . import firewall, links, netlink
from .aside import aside, nft, program
from .host_uplink import HostUplink
from .syscalls import (
    CLONE_NEWNET,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    loopback_up,
    pidfd_open,
    prctl,
    setns,
    unshare,
)

_DNS = 53
_NOBODY = 65534
_SLIRP_NETWORK = "169.254.2.0/24"
_MANY_RESTARTS = 100


def missing() -> tuple[str, str]:
    """What this host lacks for a network of functions and what mends it; empty if nothing."""
    if program("nft") is None:
        return "nft is not installed", "sudo apt-get install nftables"
    if os.getuid() != 0:
        if program("slirp4netns") is None:
            return "slirp4netns is not installed", "sudo apt-get install slirp4netns"
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            return "/dev/net/tun is not open to this user", "sudo chmod 666 /dev/net/tun"
    return "", ""


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

    root: whether the way on is the host's own, else slirp4netns.
    """

    def __init__(self, allowed: list[str], root: bool) -> None:
        # What to call when a descriptor is readable.
        self.watched: dict[int, Callable[[], None]] = {}
        self._restarts = 0
        self._root = root
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

            questions = socket.socket(fileno=self._questions)
            listener = socket.socket(fileno=self._listener)
            if self._root:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            drop_capabilities()
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # changing credentials cleared it
            asyncio.run(resolver.serve(questions, listener, resolver.Resolver()))

        self._keep(run, self._start_resolver)

    def _start_slirp(self) -> None:
        path = program("slirp4netns")
        if path is None:
            raise OSError("slirp4netns is not installed")
        ready, telling = os.pipe()
        namespace = "/proc/%d/fd/%d" % (os.getpid(), self._namespace)
        command = [path, "--configure", "--mtu=1500", "--disable-host-loopback", "--disable-dns"]
        command += ["--cidr=" + _SLIRP_NETWORK, "--netns-type=path", "--ready-fd=%d" % telling]
        command += [namespace, "uplink"]

        def run() -> None:
            os.set_inheritable(telling, True)
            null = os.open("/dev/null", os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.execv(path, command)

        self._keep(run, self._start_slirp)
        os.close(telling)
        said = os.read(ready, 1)
        os.close(ready)
        if not said:
            raise OSError("slirp4netns did not start; is /dev/net/tun open to this user?")

    def _keep(self, run: Callable[[], None], again: Callable[[], None]) -> None:
        """Start a helper, and start it again whenever it ends."""
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
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
