"""From a request's signature to its principal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lambent.aws import signed_body, sigv2, sigv4
from lambent.clock import Clock
from lambent.errors import MissingAuthentication, ServiceError, UnrecognizedClient
from lambent.iam.credentials import DEFAULT_ACCOUNT, CredentialStore
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder
from lambent.iam.key_use import KeyUse
from lambent.iam.policy.evaluation import Requester
from lambent.iam.sessions import Session, Sessions

_ACCOUNT = re.compile(r"\d{12}")


class SignatureRefused(ServiceError):
    """A signature error with AWS's own code and status."""

    def __init__(self, error: sigv4.SignatureError) -> None:
        super().__init__(error.message)
        self.code = error.code  # type: ignore[misc]
        self.status = error.status  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Asking:
    """A service of AWS that asks in its own name, and the resource that makes it ask."""

    service: str
    source_arn: str


@dataclass(slots=True)
class Principal:
    """A verified caller: whose account, which key, and the region and service it signed for.

    session: that of a role; user; asking: a service, on whose account's behalf.  None of them is
    there for the account's owner.  temporary: a user's or an owner's credentials for a while.
    anonymous: it is nobody's, nor is its account.
    """

    account: str
    access_key_id: str
    region: str
    service: str
    session: Session | None = None
    user: Holder | None = None
    asking: Asking | None = None
    temporary: bool = False
    anonymous: bool = False

    @property
    def requester(self) -> Requester:
        """As policies know it."""
        if self.anonymous:
            return Requester("", "")
        if self.asking is not None:
            return Requester("", "", service=self.asking.service)
        if self.session is not None:
            return Requester(self.account, self.session.arn, self.session.role)
        if self.user is not None:
            return Requester(self.account, self.user.arn)
        return Requester(self.account, f"arn:aws:iam::{self.account}:root")

    @property
    def is_root(self) -> bool:
        """Whether it is the account's owner."""
        return not (self.session or self.user or self.asking or self.anonymous)

    @property
    def kind(self) -> str:
        """As the context key aws:PrincipalType has it."""
        if self.anonymous:
            return "Anonymous"
        if self.session is not None:
            return "AssumedRole"
        return "User" if self.user is not None else "Account"

    @property
    def held(self) -> bool:
        """Whether its rights are those of a user or a role, and end when that is deleted."""
        return self.session is not None or self.user is not None

    def holder(self, directory: Directory) -> Holder | None:
        """The user or the role as it is now; None if it was deleted, whatever has its name now."""
        if self.session is not None:
            grant = self.session.grant
            return directory.of_arn(grant.holder, grant.identifier)
        if self.user is not None:
            return directory.of_arn(self.user.arn, self.user.identifier)
        return None

    def user_id(self, holder: Holder) -> str:
        """The unique identifier that goes with it."""
        name = self.session.grant.name if self.session is not None else ""
        return f"{holder.identifier}:{name}" if name else holder.identifier


class Authenticator:
    """Verifies signatures, or, if told to at start, believes whatever a request says of itself."""

    def __init__(
        self,
        keys: CredentialStore,
        sessions: Sessions,
        clock: Clock,
        strict: bool,
        region: str,
        used: KeyUse,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._clock = clock
        self._strict = strict
        self._region = region
        self._used = used
        self._signing_keys = sigv4.SigningKeys()

    def claim(self, headers: dict[str, str], query: dict[str, list[str]]) -> sigv4.Claim | None:
        """What a request says of its signature; raises SignatureRefused if that cannot be read."""
        try:
            if "AWSAccessKeyId" in query:
                return sigv2.read_claim(query, self._region)
            return sigv4.read_claim(headers, query)
        except sigv4.SignatureError as error:
            if self._strict:
                raise SignatureRefused(error) from None
            return None

    def authenticate(
        self,
        claim: sigv4.Claim | None,
        method: str,
        path: str,
        raw_query: str,
        headers: dict[str, str],
        body: bytes,
    ) -> Principal:
        """The principal of a request; raises one of three refusals."""
        if claim is None or not self._strict:
            return self._believed(claim)
        digest = sigv4.sha256(body)
        try:
            principal, key, declared = self._head(claim, headers)
            hashed = digest if declared is None else declared
            sigv4.verify(claim, key, method, path, raw_query, headers, hashed)
            if declared is not None:
                sigv4.check_hash(declared, digest)
            self._note(principal)
        except sigv4.SignatureError as error:
            raise SignatureRefused(error) from None
        return principal

    def authenticate_head(
        self,
        claim: sigv4.Claim | None,
        method: str,
        path: str,
        raw_query: str,
        headers: dict[str, str],
    ) -> Callable[[str], Principal]:
        """What tells the principal of a request once the digest of its body is known.

        Raises what ``authenticate`` does, and as much of it as can be decided without the body: the
        whole signature where a header says the body's digest (x-amz-content-sha256), else whether
        there is such a key, in its time.  So may what is returned, which takes the SHA-256 of the
        body in hexadecimal digits.
        """
        if claim is None or not self._strict:
            believed = self._believed(claim)
            return lambda digest: believed
        signed = claim
        try:
            principal, key, declared = self._head(claim, headers)
            if declared is not None:
                sigv4.verify(claim, key, method, path, raw_query, headers, declared)
        except sigv4.SignatureError as error:
            raise SignatureRefused(error) from None

        def settle(digest: str) -> Principal:
            try:
                if declared is None:
                    sigv4.verify(signed, key, method, path, raw_query, headers, digest)
                else:
                    sigv4.check_hash(declared, digest)
                self._note(principal)
            except sigv4.SignatureError as error:
                raise SignatureRefused(error) from None
            return principal

        return settle

    def _head(
        self, claim: sigv4.Claim, headers: dict[str, str]
    ) -> tuple[Principal, sigv4.SigningKey, str | None]:
        """The principal that a head names, its key, and the digest it declares of the body."""
        if claim.legacy:
            raise sigv4.SignatureError(
                "IncompleteSignatureException", "Unsupported signing algorithm."
            )
        principal, secret = self._claimed(claim)
        sigv4.check_signed(claim, headers)
        key = self._signing_keys.derive(secret, claim.scope)
        return principal, key, sigv4.declared_hash(claim, headers)

    def authenticate_ahead(
        self,
        claim: sigv4.Claim | None,
        method: str,
        path: str,
        raw_query: str,
        headers: dict[str, str],
        bucket_path: str,
    ) -> tuple[Principal, signed_body.BodyCheck]:
        """The principal of a request whose body is still to come, and what holds it to its word.

        For services whose clients say in a header what the body will be (S3).  bucket_path: the
        path with the bucket that the host named, as older signatures have it.
        """
        declared = headers.get("x-amz-content-sha256", sigv4.UNSIGNED)
        try:
            if claim is None or not self._strict:
                principal = self._believed(claim)
                nothing = sigv4.scope_of("", "", "", "")
                unsigned = sigv4.Claim(nothing, "", (), "", None)
                key = sigv4.SigningKey("", nothing)
                return principal, signed_body.BodyCheck(unsigned, key, declared, believe=True)
            if "x-amz-content-sha256" not in headers and not claim.presigned:
                missing = "Missing required header for this request: x-amz-content-sha256"
                raise sigv4.SignatureError("InvalidRequest", missing, 400)
            principal, secret = self._claimed(claim)
            key = self._signing_keys.derive(secret, claim.scope)
            if claim.legacy:
                now = self._clock.time()
                sigv2.verify(claim, secret, method, bucket_path, raw_query, headers, now)
                self._note(principal)
                return principal, signed_body.BodyCheck(claim, key, sigv4.UNSIGNED)
            check = signed_body.BodyCheck(claim, key, declared)
            sigv4.check_signed(claim, headers)
            sigv4.verify(claim, key, method, path, raw_query, headers, declared)
            self._note(principal)
        except sigv4.SignatureError as error:
            raise SignatureRefused(error) from None
        return principal, check

    def _note(self, principal: Principal) -> None:
        """A user's key has been used, and proved."""
        if principal.user is not None and not principal.temporary:
            at, place = self._clock.time(), (principal.service, principal.region)
            self._used.note(principal.access_key_id, at, *place)

    def _claimed(self, claim: sigv4.Claim) -> tuple[Principal, str]:
        """Whom a claim names, and the secret that would prove it; raises what refuses it."""
        scope = claim.scope
        place = (scope.access_key, scope.region, scope.service)
        if not claim.legacy:
            sigv4.check_time(claim, self._clock.time())
        if claim.token is None:
            key = self._keys.get(scope.access_key)
            if key is None:
                raise UnrecognizedClient
            return Principal(key.account, *place, user=key.user), key.secret
        session = self._sessions.read(scope.access_key, claim.token)
        if session is None:
            raise UnrecognizedClient
        return self._of_session(session, place), session.secret

    def of_token(self, access_key_id: str, token: str, region: str, service: str) -> Principal:
        """The principal of a session that is vouched for; raises UnrecognizedClient."""
        session = self._sessions.read(access_key_id, token)
        if session is None:
            raise UnrecognizedClient
        return self._of_session(session, (access_key_id, region, service))

    def _of_session(self, session: Session, place: tuple[str, str, str]) -> Principal:
        """The principal of a session; raises UnrecognizedClient if its holder was deleted."""
        grant = session.grant
        # A session without an identifier is an owner's, or of a role that never existed: the
        # execution role of a function where roles are not enforced.
        user = self._keys.holder(grant.holder, grant.identifier)
        if user is None and grant.identifier:
            raise UnrecognizedClient
        if grant.is_role:
            return Principal(grant.account, *place, session)
        if place[-1] == "iam" and not grant.forwarded:
            raise UnrecognizedClient  # AWS: not without MFA
        return Principal(grant.account, *place, user=user, temporary=True)

    def _believed(self, claim: sigv4.Claim | None) -> Principal:
        """Whom an unverified request is from; raises MissingAuthentication where that is wrong."""
        if claim is None:
            if self._strict:
                raise MissingAuthentication
            return Principal(DEFAULT_ACCOUNT, "", self._region, "lambda")
        scope = claim.scope
        named = _ACCOUNT.fullmatch(scope.access_key)
        account = scope.access_key if named else DEFAULT_ACCOUNT
        place = (scope.access_key, scope.region, scope.service)
        if claim.token is not None:
            session = self._sessions.read(scope.access_key, claim.token)
            if session is not None:
                return self._of_session(session, place)
        return Principal(account, *place)
