"""With whose rights a CloudFormation stack acts."""

from __future__ import annotations

import hmac
from dataclasses import replace

from lambent.errors import AccessDenied
from lambent.iam.authenticate import Principal
from lambent.iam.authorizer import Authorizer
from lambent.iam.directory import Directory
from lambent.iam.sessions import Grant, Sessions

_SERVICE = "cloudformation.amazonaws.com"
_SECONDS = 12 * 3600


class Stacks:
    """Gives sessions to stacks: of who asks, or of the role that he passes."""

    def __init__(self, sessions: Sessions, directory: Directory, authorizer: Authorizer) -> None:
        self._sessions = sessions
        self._directory = directory
        self._authorizer = authorizer

    def credentials(self, principal: Principal, role: str) -> dict[str, str]:
        """A session's keys by their names; role: an ARN, or ""; raises AccessDenied.

        Those of a role come with a proof that it was passed, with which ``assume`` gives more.
        """
        if not role:
            return self._issue(_own(principal))
        account = principal.account
        return {**self._issue(self._of_role(account, role)), "proof": self._proof(account, role)}

    def assume(self, account: str, role: str, proof: str) -> dict[str, str]:
        """A session of a role that was passed to a stack before; raises AccessDenied."""
        if not hmac.compare_digest(proof.encode(), self._proof(account, role).encode()):
            raise AccessDenied(f"{_SERVICE} was not given the role {role}")
        return self._issue(self._of_role(account, role))

    def _proof(self, account: str, role: str) -> str:
        return self._sessions.proof("role of a stack", account, role)

    def _issue(self, grant: Grant) -> dict[str, str]:
        session = self._sessions.issue(grant, _SECONDS)
        return {
            "access_key_id": session.access_key_id,
            "secret": session.secret,
            "token": session.token,
        }

    def _of_role(self, account: str, arn: str) -> Grant:
        role = self._directory.find(account, "role", arn.rpartition("/")[2])
        if role is None or role.arn != arn or not self._authorizer.trusts(arn, _SERVICE):
            raise AccessDenied(f"{_SERVICE} is not authorized to assume the role {arn}")
        return Grant(account, arn, "AWSCloudFormation", role.identifier, forwarded=True)


def _own(principal: Principal) -> Grant:
    if principal.session is not None:
        return replace(principal.session.grant, forwarded=True)
    identifier = principal.user.identifier if principal.user is not None else ""
    arn = principal.requester.arn
    return Grant(principal.account, arn, identifier=identifier, forwarded=True)
