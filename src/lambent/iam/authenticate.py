"""From a request's signature to its principal."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambent.aws import sigv4
from lambent.clock import Clock
from lambent.errors import MissingAuthentication, ServiceError, UnrecognizedClient
from lambent.iam.credentials import DEFAULT_ACCOUNT, AccessKey, CredentialStore
from lambent.iam.sessions import RoleSessions, Session

_ACCOUNT = re.compile(r"\d{12}")


class SignatureRefused(ServiceError):
    """A signature error with AWS's own code and status."""

    def __init__(self, error: sigv4.SignatureError) -> None:
        super().__init__(error.message)
        self.code = error.code  # type: ignore[misc]
        self.status = error.status  # type: ignore[misc]


@dataclass(slots=True)
class Principal:
    """A verified caller: whose account, which key, and the region and service it signed for."""

    account: str
    access_key_id: str
    region: str
    service: str
    # The session of an execution role; None for the account's owner.
    session: Session | None = None


class Authenticator:
    """Verifies signatures, or, if told to at start, believes whatever a request says of itself."""

    def __init__(
        self,
        keys: CredentialStore,
        sessions: RoleSessions,
        clock: Clock,
        strict: bool,
        region: str,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._clock = clock
        self._strict = strict
        self._region = region
        self._signing_keys = sigv4.SigningKeys()

    def authenticate(
        self,
        method: str,
        path: str,
        raw_query: str,
        query: dict[str, list[str]],
        headers: dict[str, str],
        body: bytes,
    ) -> Principal:
        """The principal of a request; raises one of three refusals."""
        try:
            claim = sigv4.read_claim(headers, query)
            if claim is None:
                if self._strict:
                    raise MissingAuthentication
                return Principal(DEFAULT_ACCOUNT, "", self._region, "lambda")
            scope = claim.scope
            if not self._strict:
                named = _ACCOUNT.fullmatch(scope.access_key)
                account = scope.access_key if named else DEFAULT_ACCOUNT
                if claim.token is not None:
                    session = self._sessions.read(scope.access_key, claim.token)
                    account = session.account if session is not None else account
                return Principal(account, scope.access_key, scope.region, scope.service)
            session = None
            key: AccessKey | Session | None
            if claim.token is not None:
                key = session = self._sessions.read(scope.access_key, claim.token)
            else:
                key = self._keys.get(scope.access_key)
            if key is None:
                raise UnrecognizedClient
            sigv4.check_time(claim, self._clock.time())
            hashed = sigv4.payload_hash(claim, headers, body)
            signing_key = self._signing_keys.derive(key.secret, scope)
            sigv4.verify(claim, signing_key, method, path, raw_query, headers, hashed)
        except sigv4.SignatureError as error:
            if not self._strict:
                return Principal(DEFAULT_ACCOUNT, "", self._region, "lambda")
            raise SignatureRefused(error) from None
        return Principal(key.account, scope.access_key, scope.region, scope.service, session)
