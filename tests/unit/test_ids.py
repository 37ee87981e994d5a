"""Identifiers have the forms clients expect."""

from __future__ import annotations

import re

from lambent import ids

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_request_ids_are_random_uuids() -> None:
    made = [ids.uuid() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert all(UUID.fullmatch(each) for each in made)
    assert {each[19] for each in made} == set("89ab")


def test_access_keys_look_like_awss() -> None:
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", ids.access_key_id())
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", ids.secret_access_key())
