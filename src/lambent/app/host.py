"""What a server has of its host, and what it gives up before it reads a byte of others.

``lambent serve`` prepares while it has the rights it was started with: it claims the data
directory, reads the certificate, binds the port, looks for runtimes, makes room for control groups
and starts the host agent.  Then it confines itself for good.  A server inside another program, as
in tests, prepares and stays what it is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import ssl
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import lambent
from lambent.app.tls import server_context
from lambent.config import Settings
from lambent.errors import StartError
from lambent.runtime.languages import Languages
from lambent.sandbox import cgroups
from lambent.sandbox.addresses import networks
from lambent.sandbox.base import SandboxError
from lambent.sandbox.host_agent import Grants, HostAgent
from lambent.sandbox.kernel import confinement, process_filter, resolver, syscalls

# Of the data directory: trees that sandboxes read under uids of their own, so their modes stay.
_TREES = ("code", "runtimes")
# The embedded services have a uid of their own, and the folder is theirs.
_SERVICES = "neighbours"
# Read by root at the next start, so it is never the server's.
_CONFIGURATION = "lambent.toml"
# What resolving names and checking certificates of others reads.
_FILES = ("/etc", "/proc", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates")


@dataclass
class Host:
    """See above; ``prepare`` makes one."""

    data: Path
    lock: int
    tls: ssl.SSLContext | None
    languages: Languages
    groups: cgroups.ControlGroupsV1 | cgroups.ControlGroupsV2 | None = None
    # None where functions are not isolated.
    agent: HostAgent | None = None
    listeners: list[socket.socket] = field(default_factory=list)

    @classmethod
    def prepare(cls, settings: Settings) -> Host:
        """Raises StartError."""
        private = _private_networks(settings)
        tls = server_context(settings)
        data = settings.data_path
        host = cls(data, _claim(data), tls, Languages(data / "runtimes"))
        try:
            if settings.isolation != "process":
                host._start_agent(settings, private)
            host.listeners = _bind(settings.host, settings.port)
        except StartError:
            host.close()
            raise
        return host

    def _start_agent(self, settings: Settings, private: list[str] | None) -> None:
        self.groups = groups = cgroups.detect(self.data)
        if groups is not None:
            groups.sweep()
        known = {name: self.languages.get(name) for name in self.languages.names()}
        grants = Grants(
            self.data,
            [self.data / each for each in _TREES],
            {name: each for name, each in known.items() if each is not None},
            private,
            _tmp_bytes(settings, self.data),
            groups.folders if groups is not None else (),
            groups.freezers if groups is not None else "",
            settings.region,
            settings.embedded_bytes,
        )
        for each in grants.folders:
            each.mkdir(mode=0o700, exist_ok=True)
        try:
            self.agent = HostAgent(grants)
            self.agent.wait_ready()
        except SandboxError as error:
            raise StartError(
                f"{error}\nRun `lambent doctor` to see why. Functions are never run without "
                "isolation unless you set isolation = process."
            ) from error

    def confine(self) -> None:
        """Give up every right that a server does not need; this process has one thread.

        Root becomes the uid of the data directory, in a root that has no other path than what the
        server reads.  No process gains privileges again, or makes a system call that servers do not
        make.  Raises StartError.
        """
        os.umask(0o077)
        try:
            if self.agent is None:
                _tidy(self.data, None)
                return
            confinement.limit({})
            if not confinement.is_real_root():
                _tidy(self.data, None)
                confinement.give_up(process_filter.SERVER)
                return
            uid = confinement.own_uid(str(self.data), confinement.SERVER)
            _tidy(self.data, uid)
            folders = self.groups.folders if self.groups is not None else []
            for each in folders:
                os.chown(each, uid, uid)
            syscalls.unshare(syscalls.CLONE_NEWNS)
            readable = confinement.python_paths(_modules(), sys.prefix, sys.base_prefix)
            readable += [*confinement.LIBRARIES, *_FILES, *_certificates(), *resolver.folders()]
            confinement.private_root(readable, {each: each for each in [str(self.data), *folders]})
            # SQLite makes its temporary files here.
            os.chdir(self.data)
            confinement.give_up(process_filter.SERVER, uid)
        except OSError as error:
            raise StartError(f"the server cannot give up its privileges: {error}") from error

    def close(self) -> None:
        """Give the data directory and the port back."""
        for each in self.listeners:
            each.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def _modules() -> list[str]:
    """Where modules are found, but not the folder that ``python -m`` was started in."""
    here, own = os.getcwd(), str(Path(lambent.__file__).parents[1])
    return [each for each in sys.path if each != here or each == own]


def _certificates() -> list[str]:
    """Where OpenSSL finds whom it trusts."""
    return [each for each in ssl.get_default_verify_paths() if os.path.isabs(each or "")]


def _claim(data: Path) -> int:
    """One server per data directory; the descriptor of its lock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        data.chmod(0o700)
        lock = os.open(data / "lock", flags, 0o600)
    except OSError as error:
        raise StartError(f"cannot use the data directory {data}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartError(f"another server is using the data directory {data}") from None
    for name in (*_TREES, _SERVICES):
        if (data / name).is_symlink():  # what ran here before does not choose where this one writes
            (data / name).unlink()
    return lock


def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on an address, which may need the rights of root."""
    bound: list[socket.socket] = []
    try:
        flags = socket.AI_PASSIVE
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                listener = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that this host has switched off
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.setblocking(False)
    except OSError as error:
        for listener in bound:
            listener.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    if not bound:
        raise StartError(f"cannot listen on {host}:{port}: no such address")
    return bound


def _private_networks(settings: Settings) -> list[str] | None:
    """Those that functions may reach beside the internet; None where they have no network."""
    if settings.function_network == "none":
        return None
    try:
        return networks(settings.function_network_allow)
    except SandboxError as error:
        raise StartError(f"function_network_allow: {error}") from error


def _tmp_bytes(settings: Settings, data: Path) -> int:
    """What all /tmp of functions may take of the disk; 0 where they are memory."""
    if settings.function_tmp == "memory":
        return 0
    free = shutil.disk_usage(data).free
    return min(settings.function_tmp_megabytes * 1024 * 1024, free // 2)


# -- the data directory -----------------------------------------------------------------------


def _tidy(data: Path, uid: int | None) -> None:
    """Make every file 0600 and every folder 0700, and all of it the uid's.

    What has it already is not looked into: it was done before, and what was made since is so.
    No link is followed.  uid: None to leave the owners.
    """
    top = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(top):
            status = os.lstat(name, dir_fd=top)
            if name == _SERVICES and uid is not None:
                os.chown(name, -1, uid, dir_fd=top, follow_symlinks=False)
                os.chmod(name, 0o770, dir_fd=top)  # noqa: S103 - these two uids, and no other
            elif stat.S_ISDIR(status.st_mode):
                if status.st_mode & 0o077 or (uid is not None and status.st_uid != uid):
                    _tidy_folder(top, name, uid, name not in _TREES)
            elif stat.S_ISREG(status.st_mode):
                _own(top, name, None if name == _CONFIGURATION else uid, 0o600)
        _own(top, ".", uid, 0o700)
    finally:
        os.close(top)


def _tidy_folder(top: int, folder: str, uid: int | None, modes: bool) -> None:
    """modes: whether they are set, too, below the folder itself."""
    for _, folders, files, place in os.fwalk(folder, dir_fd=top):
        for names, mode in ((folders, 0o700), (files, 0o600)):
            for name in names:
                _own(place, name, uid, mode if modes else None)
    # The last, so that what was interrupted is done again.
    _own(top, folder, uid, 0o700)


def _own(place: int, name: str, uid: int | None, mode: int | None) -> None:
    if uid is not None:
        os.chown(name, uid, uid, dir_fd=place, follow_symlinks=False)
    kind = os.lstat(name, dir_fd=place).st_mode
    if mode is not None and not stat.S_ISLNK(kind):
        os.chmod(name, mode, dir_fd=place)
