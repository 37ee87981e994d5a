"""Addresses of sandboxes, and the private networks that a setting may open."""

from __future__ import annotations

import pytest

from lambent.sandbox.addresses import Addresses, networks
from lambent.sandbox.base import SandboxError
from lambent.sandbox.kernel import firewall


def test_an_address_given_back_is_the_last_to_be_taken_again() -> None:
    addresses = Addresses(3)
    assert [addresses.take(), addresses.take()] == [0, 1]
    addresses.give_back(0)
    assert [addresses.take(), addresses.take()] == [2, 0]


def test_no_two_sandboxes_share_an_address() -> None:
    addresses = Addresses(2)
    addresses.take()
    addresses.take()
    with pytest.raises(SandboxError, match="all 2 addresses"):
        addresses.take()
    addresses.give_back(1)
    assert addresses.take() == 1


def test_networks_are_read_with_commas_or_spaces_between() -> None:
    assert networks("") == []
    assert networks("10.1.0.0/16, 192.168.7.4 172.16.0.0/12") == [
        "10.1.0.0/16",
        "192.168.7.4/32",
        "172.16.0.0/12",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0/0",
        "10.0.0.0/7",
        "8.8.8.8",
        "224.0.0.1",
        "10.1.2.3/16",
        "fd00::/8",
        "a host",
        "10.1.0.0/16; } flush ruleset",
    ],
)
def test_nothing_but_private_networks_can_be_opened(text: str) -> None:
    with pytest.raises(SandboxError):
        networks(text)


def test_the_rules_name_the_open_networks_and_the_hosts_addresses() -> None:
    assert "add element ip lambent allowed { 10.1.0.0/16 }" in firewall.router(["10.1.0.0/16"])
    assert "add element" not in firewall.router([])
    assert firewall.host_addresses(["192.0.2.1", "127.0.0.1"]).splitlines() == [
        "flush set ip lambent host",
        "add element ip lambent host { 192.0.2.1, 127.0.0.1 }",
    ]
