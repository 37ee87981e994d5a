"""Addresses: which sandbox has which of the router's network, and which private ones are open."""

from __future__ import annotations

import ipaddress

from lambent.sandbox.base import SandboxError
from lambent.sandbox.kernel.firewall import PRIVATE
from lambent.sandbox.kernel.links import ADDRESSES


def networks(text: str) -> list[str]:
    """Networks or addresses with commas between; raises SandboxError for what is not private."""
    private = [ipaddress.IPv4Network(each) for each in PRIVATE]
    found: list[str] = []
    for word in text.replace(",", " ").split():
        try:
            network = ipaddress.IPv4Network(word)
        except ValueError as error:
            raise SandboxError(f"{word!r} is not an IPv4 network: {error}") from error
        if not any(network.subnet_of(each) for each in private):
            raise SandboxError(f"{word} is not within a private network ({', '.join(PRIVATE)})")
        found.append(str(network))
    return found


class Addresses:
    """Numbers of addresses.

    One given back is the last to be taken again: packets on their way to its last owner are gone.
    """

    def __init__(self, count: int = ADDRESSES) -> None:
        self._count = count
        self._last = -1
        self._taken: set[int] = set()

    def take(self) -> int:
        """A number nobody has; raises SandboxError if there is none."""
        if len(self._taken) >= self._count:
            raise SandboxError(f"all {self._count} addresses of sandboxes are taken")
        while True:
            self._last = (self._last + 1) % self._count
            if self._last not in self._taken:
                self._taken.add(self._last)
                return self._last

    def give_back(self, number: int) -> None:
        """Its sandbox is gone."""
        self._taken.discard(number)
