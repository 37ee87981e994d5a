"""Temporary credentials: of roles, and of users who ask for some of their own.

A session is not stored: its token says whose it is, and until when, under the server's own key.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from dataclasses import asdict, dataclass, field

from lambent.clock import Clock
from lambent.errors import ExpiredToken
from lambent.iam.keyring import KeyRing

# AWS gives a function's credentials up to twelve hours.
LIFETIME_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose a session is and what it may be, as its token says it.

    holder: the ARN of a role, of a user or of an account's root; identifier: the role's or the
    user's own, because another of the same name is another one.  name: of a role's session.  policy
    and policies narrow it: a document or "", and ARNs of managed policies.  tags: the session's;
    transitive: names of those that go on to the next role.  forwarded: a service acts with it in
    its holder's stead (AWS: forward access sessions).
    """

    account: str
    holder: str
    name: str = ""
    identifier: str = ""
    policy: str = ""
    policies: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive: tuple[str, ...] = ()
    source_identity: str = ""
    forwarded: bool = False

    @property
    def is_role(self) -> bool:
        """Whether it is a role's; else a user's or the root's."""
        # The path of a user's ARN may contain anything, ":role/" too.
        return self.holder.split(":", 5)[-1].startswith("role/")


@dataclass(frozen=True, slots=True)
class Session:
    """Credentials for a while; their secret is never logged (and kept out of repr).

    until: when they end, in POSIX time.
    """

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    grant: Grant
    until: int

    @property
    def account(self) -> str:
        """Whose account they are of."""
        return self.grant.account

    @property
    def role(self) -> str:
        """The ARN of a role's; of a user's, his own."""
        return self.grant.holder

    @property
    def narrowed(self) -> bool:
        """Whether session policies have a say."""
        return bool(self.grant.policy or self.grant.policies)

    @property
    def arn(self) -> str:
        """The principal as policies and messages name it."""
        grant = self.grant
        if not grant.is_role:
            return grant.holder
        role = grant.holder.rpartition("/")[2]
        return f"arn:aws:sts::{grant.account}:assumed-role/{role}/{grant.name}"


class Sessions:
    """Gives sessions out and recognises them."""

    def __init__(self, clock: Clock, ring: KeyRing) -> None:
        self._clock = clock
        self._ring = ring

    def issue(self, grant: Grant, seconds: int = LIFETIME_SECONDS) -> Session:
        """Credentials for what is granted."""
        until = int(self._clock.time()) + seconds
        said = json.dumps([asdict(grant), until, secrets.token_hex(8)]).encode()
        token = base64.b64encode(said + self._mac(b"token", said)).decode()
        return self._session(token, grant, until)

    def read(self, access_key_id: str, token: str) -> Session | None:
        """The session of a token; None if it is not one of ours; raises ExpiredToken."""
        try:
            signed = base64.b64decode(token, validate=True)
        except ValueError:
            return None
        said, mac = signed[:-32], signed[-32:]
        if not hmac.compare_digest(mac, self._mac(b"token", said)):
            return None
        try:
            document, until, _ = json.loads(said)
            for name in ("policies", "transitive"):
                document[name] = tuple(document[name])
            document["tags"] = tuple((key, value) for key, value in document["tags"])
            session = self._session(token, Grant(**document), until)
        except (ValueError, TypeError, KeyError):
            return None  # of a version that wrote them otherwise
        if session.access_key_id != access_key_id:
            return None
        if self._clock.time() >= until:
            raise ExpiredToken
        return session

    def proof(self, purpose: str, *facts: str) -> str:
        """What only this server can say of facts; it is the same for the same ones, for ever."""
        said = json.dumps([purpose, *facts]).encode()
        return base64.b64encode(self._mac(b"proof", said)).decode()

    def _session(self, token: str, grant: Grant, until: int) -> Session:
        identifier = base64.b32encode(self._mac(b"id", token.encode())).decode()[:16]
        secret = base64.b64encode(self._mac(b"secret", token.encode())).decode()[:40]
        return Session("ASIA" + identifier, secret, token, grant, until)

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return self._ring.derive(b"session-" + purpose, data)
