"""Cross-origin requests to function URLs, as their configuration has them.

Source: AWS Lambda API Reference, "Cors"; Fetch Standard, "CORS protocol".
"""

from __future__ import annotations

from typing import Any

Headers = list[tuple[str, str]]
_PREFIX = "access-control-"


def is_preflight(method: str, headers: dict[str, str]) -> bool:
    """Whether a browser asks what it may."""
    return method == "OPTIONS" and "origin" in headers and f"{_PREFIX}request-method" in headers


def preflight(cors: dict[str, Any], headers: dict[str, str]) -> Headers:
    """What it is answered; nothing for an origin that may not."""
    found = _origin(cors, headers)
    if not found:
        return []
    credentials = _credentials(cors)
    for name, member, asked in (
        ("allow-methods", "AllowMethods", "request-method"),
        ("allow-headers", "AllowHeaders", "request-headers"),
    ):
        allowed = ",".join(cors.get(member, ()))
        if allowed == "*" and credentials:
            # With credentials a star is a name and no star, so what was asked for is named.
            allowed = headers.get(_PREFIX + asked, "")
        if allowed:
            found.append((f"{_PREFIX}{name}", allowed))
    if cors.get("MaxAge"):
        found.append((f"{_PREFIX}max-age", str(cors["MaxAge"])))
    return found


def answered(cors: dict[str, Any] | None, headers: dict[str, str], own: Headers) -> Headers:
    """A response's headers: the configuration's word on origins goes before the function's own."""
    if not cors:
        return own
    found = [(name, value) for name, value in own if not name.lower().startswith(_PREFIX)]
    found += _origin(cors, headers)
    exposed = ",".join(cors.get("ExposeHeaders", ()))
    if exposed and "origin" in headers:
        found.append((f"{_PREFIX}expose-headers", exposed))
    return found


def _origin(cors: dict[str, Any], headers: dict[str, str]) -> Headers:
    origin = headers.get("origin")
    allowed = cors.get("AllowOrigins", ())
    if origin is None or not ("*" in allowed or origin in allowed):
        return []
    if "*" in allowed:
        return [(f"{_PREFIX}allow-origin", "*")]
    found = [(f"{_PREFIX}allow-origin", origin), ("Vary", "Origin")]
    if _credentials(cors):
        found.append((f"{_PREFIX}allow-credentials", "true"))
    return found


def _credentials(cors: dict[str, Any]) -> bool:
    """Whether cookies may be sent along; never where every origin may ask.

    Such a configuration is refused; one of an earlier version may still be there.
    """
    return bool(cors.get("AllowCredentials")) and "*" not in cors.get("AllowOrigins", ())
