"""Temporary credentials of execution roles.

A session is not stored: its token says whose it is, and until when, under the server's own key.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from dataclasses import dataclass

from lambent.clock import Clock
from lambent.iam.keyring import KeyRing

# AWS gives a function's credentials up to twelve hours.
LIFETIME_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """Credentials of a role for a while; its secret is never logged (and kept out of repr)."""

    access_key_id: str
    secret: str
    token: str
    account: str
    role: str
    name: str
    # The role's unique identifier: another role of the same name is another role.
    role_id: str
    # When it ends, in POSIX time.
    until: int
    # What narrows it: a document or "", and ARNs of managed policies.
    policy: str = ""
    policies: tuple[str, ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether session policies have a say."""
        return bool(self.policy or self.policies)

    def __repr__(self) -> str:
        return f"Session({self.arn})"

    @property
    def arn(self) -> str:
        """The principal as policies and messages name it."""
        role = self.role.rpartition("/")[2]
        return f"arn:aws:sts::{self.account}:assumed-role/{role}/{self.name}"


class RoleSessions:
    """Gives sessions out and recognises them."""

    def __init__(self, clock: Clock, ring: KeyRing) -> None:
        self._clock = clock
        self._ring = ring

    def issue(
        self,
        account: str,
        role: str,
        name: str,
        role_id: str,
        seconds: int = LIFETIME_SECONDS,
        policy: str = "",
        policies: tuple[str, ...] = (),
    ) -> Session:
        """Credentials of a role (its ARN and identifier) in an account, under a session name."""
        until = int(self._clock.time()) + seconds
        told = [account, role, name, role_id, until, policy, policies, secrets.token_hex(8)]
        said = json.dumps(told).encode()
        token = base64.b64encode(said + self._mac(b"token", said)).decode()
        return self._session(token, account, role, name, role_id, until, policy, policies)

    def read(self, access_key_id: str, token: str) -> Session | None:
        """The session of a token; None if it is not one of ours, or over."""
        try:
            signed = base64.b64decode(token, validate=True)
        except ValueError:
            return None
        said, mac = signed[:-32], signed[-32:]
        if not hmac.compare_digest(mac, self._mac(b"token", said)):
            return None
        account, role, name, role_id, until, policy, policies, _ = json.loads(said)
        narrowing = (policy, tuple(policies))
        session = self._session(token, account, role, name, role_id, until, *narrowing)
        fresh = self._clock.time() < until
        return session if fresh and session.access_key_id == access_key_id else None

    def _session(
        self,
        token: str,
        account: str,
        role: str,
        name: str,
        role_id: str,
        until: int,
        policy: str,
        policies: tuple[str, ...],
    ) -> Session:
        identifier = base64.b32encode(self._mac(b"id", token.encode())).decode()[:16]
        secret = base64.b64encode(self._mac(b"secret", token.encode())).decode()[:40]
        identifier = "ASIA" + identifier
        who = (account, role, name, role_id)
        return Session(identifier, secret, token, *who, until, policy, policies)

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return self._ring.derive(b"session-" + purpose, data)
