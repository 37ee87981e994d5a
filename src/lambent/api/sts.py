"""STS: who is asking."""

from __future__ import annotations

from typing import Any

from lambent.api.context import Context


class SecurityTokens:
    """Handlers of STS."""

    async def get_caller_identity(
        self, context: Context, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        session = context.principal.session
        if session is None:
            return {
                "UserId": context.account,
                "Account": context.account,
                "Arn": f"arn:aws:iam::{context.account}:root",
            }
        role = session.role.rpartition("/")[2]
        return {
            "UserId": f"{role}:{session.name}",
            "Account": context.account,
            "Arn": session.arn,
        }
