"""Event stream messages (application/vnd.amazon.eventstream): what AWS streams events in.

A message is a prelude (its length, its headers' length, a checksum), headers, a payload and a
checksum.  All headers written here are strings.
"""

from __future__ import annotations

import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7


def encode(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    checked = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return checked + struct.pack(">I", zlib.crc32(checked))


def _header(name: str, value: str) -> bytes:
    key, data = name.encode(), value.encode()
    return bytes((len(key),)) + key + struct.pack(">BH", _STRING, len(data)) + data


def event(kind: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """An event of a kind the model names."""
    headers = {":message-type": "event", ":event-type": kind, ":content-type": content_type}
    return encode(headers, payload)
