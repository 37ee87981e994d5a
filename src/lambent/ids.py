"""Randomness, owned in one place."""

from __future__ import annotations

import os
import secrets
import string

_KEY_ALPHABET = string.ascii_uppercase + "234567"
# The kernel's randomness, fetched a page at a time: one system call for 256 identifiers.
_pool = b""
_used = 0
_SECRET_ALPHABET = string.ascii_letters + string.digits + "+/"


def uuid() -> str:
    """A random UUID (version 4) in its text form; faster than the uuid module's."""
    global _pool, _used
    if _used + 16 > len(_pool):
        _pool, _used = os.urandom(4096), 0
    raw = bytearray(_pool[_used : _used + 16])
    _used += 16
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def hex32() -> str:
    """32 random hexadecimal digits, as log streams end with."""
    return os.urandom(16).hex()


def access_key_id() -> str:
    """A long-term access key id as AWS forms them."""
    return "AKIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16))


def secret_access_key() -> str:
    """A secret access key: 40 characters."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40))
