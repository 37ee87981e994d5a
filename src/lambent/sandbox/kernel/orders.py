"""The orders that a server may give to its host agent, and what the agent may do for it.

What may be done is fixed when the agent starts, before the server has read a byte of others:
``Grants``.  An order names one of these things; ``checked`` refuses every message that is not an
order to the letter, so that a server that was taken over has nothing but the orders.
"""

from __future__ import annotations

import os
import re
import signal
from typing import Any, Callable, NamedTuple

from . import view
from .syscalls import open_beneath

_MOST_TREES = 12
_MOST_TMP_BYTES = 1 << 40
_ENDPOINT = re.compile(r"https?://[0-9A-Za-z.:\[\]-]{1,255}")

Check = Callable[[Any], bool]


def _paths(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_TREES
        and all(isinstance(each, str) and "\0" not in each for each in value)
    )


def _size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TMP_BYTES


def _name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 64


def _deadly(value: Any) -> bool:
    return type(value) is int and value in (signal.SIGKILL, signal.SIGABRT)


def _url(value: Any) -> bool:
    return isinstance(value, str) and _ENDPOINT.fullmatch(value) is not None


class Order(NamedTuple):
    """What belongs to an order: its fields, and how many descriptors come along."""

    fields: dict[str, Check]
    descriptors: int = 0


ORDERS = {
    "trees": Order({"paths": _paths, "tmp_bytes": _size}),
    "zygote": Order({"language": _name}, 1),
    "network": Order({}),
    "disks": Order({}),
    "kill": Order({"signal": _deadly}, 1),
    "leave": Order({}),
    "services": Order({"endpoint": _url}, 2),
}


def checked(request: dict[str, Any], descriptors: list[int]) -> str:
    """The order that a message is; raises OSError for everything else."""
    name = request.get("op")
    order = ORDERS.get(name) if isinstance(name, str) else None
    if order is None or not isinstance(name, str):
        raise OSError("no such order")
    if set(request) != {"op", *order.fields} or len(descriptors) != order.descriptors:
        raise OSError("the order %s has other parts" % name)
    for field, check in order.fields.items():
        if not check(request[field]):
            raise OSError("%s of the order %s is not as it must be" % (field, name))
    return name


class Grants:
    """What the agent may do; made in its own mount namespace."""

    def __init__(self, given: dict[str, Any]) -> None:
        """given: see ``lambent.sandbox.host_agent.Grants.given``."""
        # The data directory; "" where there is none.
        self.data: str = given["data"]
        # A Python runtime's name → its prefix, its bootstrap, its interpreter's name.
        self.languages: dict[str, list[str]] = given["languages"]
        # Private networks that functions may reach; None where they have no network.
        self.network: list[str] | None = given["network"]
        # What all /tmp may take of the disk together.
        self.disk_bytes: int = given["disk_bytes"]
        # The folders that control groups lie in, and which of them freezes in version 1, or "".
        self.groups: list[str] = given["groups"]
        self.freezers: str = given["freezers"]
        # Host uids of sandboxes: the first, and how many.
        self.uids: tuple[int, int] = (given["uids"][0], given["uids"][1])
        # How the embedded services are started: arguments, and environment.
        self.services: list[str] = given["services"]
        self.environment: dict[str, str] = given["environment"]
        self._folders = {
            path.rstrip("/"): os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            for path in given["folders"]
            if os.path.isdir(path)
        }

    def tree(self, path: str) -> int:
        """A read-only mount of a folder that may be shown; raises OSError for any other.

        It lies beneath one of the folders given, reached through no link.
        """
        for folder, opened in self._folders.items():
            if path == folder or path.startswith(folder + "/"):
                found = open_beneath(opened, path[len(folder) + 1 :] or ".")
                try:
                    return view.detached_tree("/proc/self/fd/%d" % found)
                finally:
                    os.close(found)
        raise OSError("%s is no folder that sandboxes may see" % path)
