"""Randomness, owned in one place."""

from __future__ import annotations

import os
import random
import secrets
import string

_KEY_ALPHABET = string.ascii_uppercase + "234567"
# The kernel's randomness, fetched a page at a time: one system call for 256 identifiers.
_pool = ""
_used = 0
# A variant digit must be 8, 9, a or b.
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+/"


def _digits(count: int) -> str:
    """Random hexadecimal digits, at most a few thousand."""
    global _pool, _used
    if _used + count > len(_pool):
        _pool, _used = os.urandom(4096).hex(), 0
    _used += count
    return _pool[_used - count : _used]


def uuid() -> str:
    """A random UUID (version 4) in its text form; faster than the uuid module's."""
    text = _digits(32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:]}"


def hex32() -> str:
    """32 random hexadecimal digits, as log streams end with."""
    return os.urandom(16).hex()


def trace_id(now: float, sampled: bool) -> str:
    """A tracing header that begins a trace, as X-Ray forms them; now is POSIX time."""
    text = _digits(40)
    return f"Root=1-{int(now):08x}-{text[:24]};Parent={text[24:]};Sampled={int(sampled)}"


def span_id() -> str:
    """The identifier of a span within a trace."""
    return _digits(16)


def access_key_id() -> str:
    """A long-term access key id as AWS forms them."""
    return "AKIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16))


def secret_access_key() -> str:
    """A secret access key: 40 characters."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40))


def entity_id(prefix: str) -> str:
    """The unique identifier of something in IAM: a prefix such as AROA and 17 characters."""
    return prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(17))


def chance() -> float:
    """A number from 0 to 1, 1 excluded, for weighing one way against another."""
    return random.random()


def url_id() -> str:
    """What a function URL's host begins with: 32 lower-case letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + "234567") for _ in range(32))


def code_signing_config_id() -> str:
    """The identifier of a code signing configuration."""
    return "csc-" + "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(17)
    )
