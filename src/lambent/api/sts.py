"""STS: who is asking, and whose a key is."""

from __future__ import annotations

from typing import Any

from lambent.api.context import Context
from lambent.errors import ValidationError
from lambent.iam.credentials import CredentialStore
from lambent.iam.directory import Directory

Parameters = dict[str, Any]


class SecurityTokens:
    """Handlers of STS."""

    def __init__(self, directory: Directory, keys: CredentialStore) -> None:
        self._directory = directory
        self._keys = keys

    async def get_caller_identity(self, context: Context, parameters: Parameters) -> Parameters:
        principal = context.principal
        holder = principal.holder(self._directory)
        return {
            "UserId": principal.user_id(holder) if holder is not None else context.account,
            "Account": context.account,
            "Arn": principal.requester.arn,
        }

    async def get_access_key_info(self, context: Context, parameters: Parameters) -> Parameters:
        account = self._keys.account_of(parameters["AccessKeyId"])
        if account is None:
            raise ValidationError("Request is missing or has invalid AccessKeyId")
        return {"Account": account}
