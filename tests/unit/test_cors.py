"""What function URLs tell browsers of other origins."""

from __future__ import annotations

import pytest

from lambent.gateway.cors import answered, is_preflight, preflight

CORS = {
    "AllowOrigins": ["https://a.example", "https://b.example"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["x-one"],
    "ExposeHeaders": ["x-two", "x-three"],
    "MaxAge": 600,
    "AllowCredentials": True,
}
ASKS = {
    "origin": "https://b.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "x-one, x-four",
}


def test_only_a_browser_that_asks_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", ASKS)
    assert not is_preflight("GET", ASKS)
    assert not is_preflight("OPTIONS", {"origin": "https://b.example"})
    assert not is_preflight("OPTIONS", {"access-control-request-method": "GET"})


def test_a_preflight_is_told_what_is_configured() -> None:
    assert dict(preflight(CORS, ASKS)) == {
        "access-control-allow-origin": "https://b.example",
        "Vary": "Origin",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "x-one",
        "access-control-max-age": "600",
    }


def test_an_origin_that_may_not_is_told_nothing() -> None:
    assert preflight(CORS, {**ASKS, "origin": "https://c.example"}) == []
    assert preflight(CORS, {**ASKS, "origin": "https://a.example.evil"}) == []
    for origin in (
        "null", "", "*", "http://a.example", "https://A.example", "https://a.example\t",
        "https://a.example:443", "https://a.example/", "https://x.a.example",
    ):  # fmt: skip
        assert preflight(CORS, {**ASKS, "origin": origin}) == []
        assert answered(CORS, {"origin": origin}, []) in (
            [], [("access-control-expose-headers", "x-two,x-three")]
        )  # fmt: skip


@pytest.mark.parametrize(("origin", "methods"), [("*", "*"), (ASKS["origin"], "POST")])
def test_a_star_with_credentials_is_written_out(origin: str, methods: str) -> None:
    stars = {"AllowOrigins": [origin], "AllowMethods": ["*"], "AllowCredentials": True}
    found = dict(preflight(stars, ASKS))
    assert found["access-control-allow-methods"] == methods
    assert found["access-control-allow-origin"] == origin


@pytest.mark.parametrize("origins", [["*"], ["https://a.example", "*"]])
def test_no_origin_is_let_in_with_credentials_because_every_one_is(origins: list[str]) -> None:
    every = {"AllowOrigins": origins, "AllowCredentials": True}
    for headers in (dict(preflight(every, ASKS)), dict(answered(every, ASKS, []))):
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers


def test_the_configuration_goes_before_the_function() -> None:
    own = [("Access-Control-Allow-Origin", "*"), ("X-Own", "1")]
    found = answered(CORS, {"origin": "https://a.example"}, own)
    assert found == [
        ("X-Own", "1"),
        ("access-control-allow-origin", "https://a.example"),
        ("Vary", "Origin"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-two,x-three"),
    ]
    assert answered(CORS, {}, own) == [("X-Own", "1")]
    assert answered(None, {"origin": "https://a.example"}, own) == own
