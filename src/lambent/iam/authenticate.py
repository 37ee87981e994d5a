"""From a request's signature to its principal."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambent.aws import sigv4
from lambent.clock import Clock
from lambent.errors import MissingAuthentication, ServiceError, UnrecognizedClient
from lambent.iam.credentials import DEFAULT_ACCOUNT, AccessKey, CredentialStore
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.iam.policy.evaluation import Requester
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
    """A verified caller: whose account, which key, and the region and service it signed for.

    session: that of a role; user: neither of both is there for the account's owner.
    """

    account: str
    access_key_id: str
    region: str
    service: str
    session: Session | None = None
    user: Holder | None = None

    @property
    def requester(self) -> Requester:
        """As policies know it."""
        if self.session is not None:
            return Requester(self.account, self.session.arn, self.session.role)
        if self.user is not None:
            return Requester(self.account, self.user.arn)
        return Requester(self.account, f"arn:aws:iam::{self.account}:root")

    @property
    def is_root(self) -> bool:
        """Whether it is the account's owner."""
        return self.session is None and self.user is None

    @property
    def kind(self) -> str:
        """As the context key aws:PrincipalType has it."""
        if self.session is not None:
            return "AssumedRole"
        return "User" if self.user is not None else "Account"

    def holder(self, directory: Directory) -> Holder | None:
        """The user or the role as it is now, if it is there."""
        if self.session is not None:
            name = self.session.role.rpartition("/")[2]
            found = directory.find(self.account, "role", name)
            if found is None or found.arn != self.session.role:
                return None
            return found if found.identifier == self.session.role_id else None
        return directory.find(self.account, "user", self.user.name) if self.user else None

    def user_id(self, holder: Holder) -> str:
        """The unique identifier that goes with it."""
        return holder.identifier + (f":{self.session.name}" if self.session is not None else "")


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
                session = None
                if claim.token is not None:
                    session = self._sessions.read(scope.access_key, claim.token)
                    account = session.account if session is not None else account
                place = (scope.region, scope.service)
                return Principal(account, scope.access_key, *place, session)
            session = user = None
            key: AccessKey | Session | None
            if claim.token is not None:
                key = session = self._sessions.read(scope.access_key, claim.token)
            else:
                key = self._keys.get(scope.access_key)
                user = key.user if key is not None else None
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
        return Principal(key.account, scope.access_key, scope.region, scope.service, session, user)
