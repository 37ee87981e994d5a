"""With whose rights a CloudFormation stack acts."""

from __future__ import annotations

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
        """A session's keys by their names; role: an ARN, or ""; raises AccessDenied."""
        grant = self._of_role(principal.account, role) if role else _own(principal)
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
