"""Access keys, and the one a first start creates.

The owner's key lies in ``credentials.json`` in the data directory, mode 0600, written once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lambent import ids

DEFAULT_ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key; its secret is never logged (and kept out of repr)."""

    access_key_id: str
    secret: str
    account: str

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id}, account={self.account})"


class CredentialStore:
    """The access keys of this server."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "credentials.json"
        self._keys: dict[str, AccessKey] = {}

    def open(self) -> AccessKey:
        """Read the owner's key, or create it; returns it."""
        if not self._path.exists():
            self._create()
        raw = json.loads(self._path.read_text())
        key = AccessKey(raw["access_key_id"], raw["secret_access_key"], raw["account"])
        self._keys[key.access_key_id] = key
        return key

    def _create(self) -> None:
        document = {
            "access_key_id": ids.access_key_id(),
            "secret_access_key": ids.secret_access_key(),
            "account": DEFAULT_ACCOUNT,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path)

    def get(self, access_key_id: str) -> AccessKey | None:
        """The key of this id."""
        return self._keys.get(access_key_id)
