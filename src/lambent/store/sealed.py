"""A Store whose documents are encrypted before they reach the one beneath.

AES-256-GCM under a key kept outside the database; a document is bound to its key, so that none can
be put in another's place.  Keys (names of functions, users) stay readable, because they are listed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lambent.errors import StartError
from lambent.store.base import ABSENT, Change, Conflict, Document, Store

# Of this form; then the nonce.
_MARK = b"\x01"
_NONCE = 12
# Tells at once whether the key is the one everything was sealed with.
_CHECK = "sealed"


class Unreadable(StartError):
    """A document was sealed with another key, or has been changed."""


class SealedStore:
    """See ``lambent.store.base.Store``."""

    def __init__(self, store: Store, key: bytes) -> None:
        """key: 32 bytes."""
        self._store = store
        self._cipher = AESGCM(key)
        # What is being written, so that nobody need open it to hear of it.
        self._writing: dict[bytes, bytes] = {}

    def _seal(self, key: str, body: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return _MARK + nonce + self._cipher.encrypt(nonce, body, key.encode())

    def _open(self, document: Document) -> Document:
        body = document.body
        known = self._writing.get(body)
        if known is not None:
            return replace(document, body=known)
        nonce, sealed = body[1 : 1 + _NONCE], body[1 + _NONCE :]
        try:
            if not body.startswith(_MARK):
                raise InvalidTag
            opened = self._cipher.decrypt(nonce, sealed, document.key.encode())
        except (InvalidTag, ValueError):
            raise Unreadable(
                f"the database cannot be read ({document.key}): it has been changed, or secret.key "
                "is not the key it was written with; restore both together"
            ) from None
        return replace(document, body=opened)

    async def open(self) -> None:
        """Get ready; raises Unreadable if the key is not the one."""
        await self._store.open()
        if await self.get(_CHECK) is None:
            with contextlib.suppress(Conflict):
                await self.put(_CHECK, b"", ABSENT)

    async def get(self, key: str) -> Document | None:
        document = await self._store.get(key)
        return None if document is None else self._open(document)

    async def put(self, key: str, body: bytes, expected: int) -> Document:
        sealed = self._seal(key, body)
        self._writing[sealed] = body
        try:
            return replace(await self._store.put(key, sealed, expected), body=body)
        finally:
            del self._writing[sealed]

    async def delete(self, key: str, expected: int) -> None:
        await self._store.delete(key, expected)

    async def scan(self, prefix: str, after: str = "", limit: int = 1000) -> list[Document]:
        found = await self._store.scan(prefix, after, limit)
        return [self._open(each) for each in found if each.key != _CHECK]

    def watch(self, prefix: str, notify: Callable[[Change], None]) -> Callable[[], None]:
        def opened(change: Change) -> None:
            if change.document is None:
                notify(change)
            else:
                notify(Change(change.key, self._open(change.document)))

        return self._store.watch(prefix, opened)

    async def close(self) -> None:
        await self._store.close()
