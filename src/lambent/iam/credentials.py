"""Access keys: the owner's, which a first start creates, and those of users.

The owner's key lies in ``credentials.json`` in the data directory, mode 0600, written once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lambent import ids
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.iam.keyring import KeyRing

DEFAULT_ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key; its secret is never logged (and kept out of repr)."""

    access_key_id: str
    secret: str
    account: str
    # Whose it is; None for the account's owner.
    user: Holder | None = None

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id}, account={self.account})"


class CredentialStore:
    """The access keys of this server."""

    def __init__(self, folder: Path, ring: KeyRing, directory: Directory) -> None:
        self._path = folder / "credentials.json"
        self._ring = ring
        self._directory = directory
        self._owner: AccessKey

    @property
    def there(self) -> bool:
        """Whether an owner's key has been created."""
        return self._path.exists()

    def open(self) -> AccessKey:
        """Read the owner's key, or create it; returns it."""
        if not self._path.exists():
            self._create()
        raw = json.loads(self._path.read_text())
        self._owner = AccessKey(raw["access_key_id"], raw["secret_access_key"], raw["account"])
        return self._owner

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
        """The key of this id; None if there is none, or none that is active."""
        if access_key_id == self._owner.access_key_id:
            return self._owner
        user = self._directory.key_owner(access_key_id)
        if user is None:
            return None
        active = any(each.identifier == access_key_id and each.active for each in user.keys)
        secret = self._ring.secret_of(access_key_id)
        return AccessKey(access_key_id, secret, user.account, user) if active else None

    def holder(self, arn: str, identifier: str) -> Holder | None:
        """The user or role of an ARN as it is now, if it is still the one of that identifier."""
        return self._directory.of_arn(arn, identifier)

    def account_of(self, access_key_id: str) -> str | None:
        """Whose account a key belongs to, active or not."""
        if access_key_id == self._owner.access_key_id:
            return self._owner.account
        user = self._directory.key_owner(access_key_id)
        return user.account if user is not None else None
