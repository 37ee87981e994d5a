"""What a function is: versions and aliases, and how it is stored."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lambent.functions.types import (
    Alias,
    Configuration,
    EventInvokeConfig,
    Function,
    FunctionVersion,
    LayerUse,
    Policy,
    ProvisionedConcurrency,
    RuntimeManagement,
    UrlConfig,
)

CONFIGURATION = Configuration("python3.11", "app.handler", "role", "digest", "sha", 1, 2)
LATEST = FunctionVersion(
    "000000000000", "eu-west-1", "f", "$LATEST", CONFIGURATION, "revision", 1.8e9
)


def function(**changes: object) -> Function:
    versions = {number: replace(LATEST, version=number) for number in ("1", "2")}
    return replace(Function(LATEST, versions, 2), **changes)  # type: ignore[arg-type]


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_an_alias_chooses_by_weight(weight: float, chance: float) -> None:
    alias = Alias("live", "1", "revision", weights={"2": weight})
    assert alias.choose(chance) == ("2" if chance < weight else "1")


def test_a_qualifier_leads_to_one_version_or_to_none() -> None:
    live = Alias("live", "2", "revision", weights={"1": 0.5})
    lost = Alias("lost", "9", "revision")
    there = function(aliases={"live": live, "lost": lost})
    for qualifier, version in (
        (None, "$LATEST"),
        ("$LATEST", "$LATEST"),
        ("1", "1"),
        ("live", "2"),
    ):
        found = there.find(qualifier)
        assert found is not None and found.version == version
    assert there.find("live", 0.4) == there.versions["1"]
    assert there.find("lost") is None and there.find("3") is None and there.find("none") is None


def test_what_is_stored_is_read_back_as_it_was() -> None:
    layer = LayerUse("arn:layer:1", "digest2", 3, 4)
    full = replace(
        CONFIGURATION, layers=(layer,), environment={"A": "é"}, vpc={"SubnetIds": ["subnet-1"]},
        file_systems=({"Arn": "a"},), tenancy={"TenantIsolationMode": "PER_TENANT"},
    )  # fmt: skip
    there = function(
        latest=replace(LATEST, configuration=full),
        tags={"team": "a"},
        aliases={"live": Alias("live", "1", "r", weights={"2": 0.25})},
        policies={"$LATEST": Policy("r", ({"Sid": "one", "Principal": "*"},))},
        reserved_concurrency=3,
        provisioned={"1": ProvisionedConcurrency(2, 1.0)},
        event_invoke={"$LATEST": EventInvokeConfig(1.0, 0, None, "arn:a", None)},
        urls={"live": UrlConfig("id", "NONE", "BUFFERED", 1.0, 2.0, {"MaxAge": 3})},
        runtime_management={"1": RuntimeManagement("Manual", "arn")},
        code_signing_config="arn:csc",
    )
    body = msgspec.json.encode(there)
    assert msgspec.json.decode(body, type=Function) == there
    assert there.digests() == {"digest", "digest2"}


def test_what_an_older_version_stored_is_read_too() -> None:
    older = msgspec.json.encode(
        {
            "latest": {
                "account": "0", "region": "r", "name": "f", "version": "$LATEST",
                "configuration": {
                    "runtime": "python3.11", "handler": "a.b", "role": "r", "code_digest": "d",
                    "code_sha256": "s", "code_size": 1, "unpacked_size": 1,
                },
                "revision_id": "x", "last_modified": 1.0,
            },
            "versions": {}, "last_published": 0, "tags": {},
        }
    )  # fmt: skip
    read = msgspec.json.decode(older, type=Function)
    assert read.aliases == {} and read.latest.configuration.layers == ()


def test_the_digest_of_a_configuration_tells_configurations_apart() -> None:
    same = replace(CONFIGURATION, description="another word for it")
    other = replace(CONFIGURATION, timeout=4)
    assert CONFIGURATION.sha256() == same.sha256() != other.sha256()
