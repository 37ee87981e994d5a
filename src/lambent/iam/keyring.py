"""The server's own key, in a file beside the database, and what follows from it.

Nothing secret of anybody is stored: the secret of an access key and the seal of a session follow
from this key and are worked out anew.  Whoever has a copy of the database alone has neither.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lambent.errors import StartError

_BYTES = 32


class KeyRing:
    """Derives secrets; its own key is never logged nor handed out."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, path: Path) -> KeyRing:
        """Read the key file, or create it with mode 0600; raises StartError."""
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".new")
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
                with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(path)
            key = path.read_bytes()
        except OSError as error:
            raise StartError(f"cannot use the key file {path}: {error.strerror}") from error
        if len(key) != _BYTES:
            raise StartError(f"the key file {path} is not {_BYTES} bytes long; restore it")
        return cls(key)

    def derive(self, purpose: bytes, data: bytes) -> bytes:
        """32 bytes that nobody without the key can tell."""
        return hmac.digest(self._key, purpose + b":" + data, hashlib.sha256)

    def secret_of(self, access_key_id: str) -> str:
        """The secret of an access key: 40 characters."""
        return base64.b64encode(self.derive(b"access-key", access_key_id.encode())).decode()[:40]
