"""IAM's access keys of users.  A secret is told once, when its key is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lambent import ids
from lambent.api import iam_forms as forms
from lambent.api.context import Context
from lambent.clock import Clock
from lambent.errors import NoSuchEntity, QuotaExceeded
from lambent.iam.directory import Directory
from lambent.iam.entities import Holder, Key
from lambent.iam.key_use import KeyUse
from lambent.iam.keyring import KeyRing

# Source: "IAM and STS quotas".
_MOST = 2

Parameters = dict[str, Any]


class AccessKeys:
    """Handlers of the operations on access keys."""

    def __init__(self, directory: Directory, clock: Clock, ring: KeyRing, used: KeyUse) -> None:
        self._directory = directory
        self._clock = clock
        self._ring = ring
        self._used = used

    async def create_access_key(self, context: Context, parameters: Parameters) -> Parameters:
        name = parameters.get("UserName") or forms.own_name(context)
        key = Key(ids.access_key_id(), True, self._clock.time())

        def change(user: Holder) -> Holder:
            if len(user.keys) >= _MOST:
                raise QuotaExceeded(f"Cannot exceed quota for AccessKeysPerUser: {_MOST}")
            return replace(user, keys=(*user.keys, key))

        user = await self._directory.change(context.account, "user", name, change)
        secret = self._ring.secret_of(key.identifier)
        return {"AccessKey": {**_described(user, key), "SecretAccessKey": secret}}

    async def list_access_keys(self, context: Context, parameters: Parameters) -> Parameters:
        name = parameters.get("UserName") or forms.own_name(context)
        user = self._directory.get(context.account, "user", name)
        found, more = forms.page(user.keys, lambda each: each.identifier, parameters)
        return {"AccessKeyMetadata": [_described(user, each) for each in found], **more}

    async def update_access_key(self, context: Context, parameters: Parameters) -> Parameters:
        active = parameters["Status"] == "Active"
        await self._change(context, parameters, lambda key: replace(key, active=active))
        return {}

    async def delete_access_key(self, context: Context, parameters: Parameters) -> Parameters:
        await self._change(context, parameters, lambda key: None)
        self._used.forget(parameters["AccessKeyId"])
        return {}

    async def get_access_key_last_used(
        self, context: Context, parameters: Parameters
    ) -> Parameters:
        user = self._directory.key_owner(parameters["AccessKeyId"])
        if user is None or user.account != context.account:
            raise _no_key(parameters["AccessKeyId"])
        use = self._used.last(parameters["AccessKeyId"])
        told: Parameters = {"ServiceName": "N/A", "Region": "N/A"}
        if use is not None:
            told = {
                "LastUsedDate": float(use.at),
                "ServiceName": use.service,
                "Region": use.region,
            }
        return {"UserName": user.name, "AccessKeyLastUsed": told}

    async def _change(
        self, context: Context, parameters: Parameters, change: Callable[[Key], Key | None]
    ) -> None:
        """Put another key in the place of one, or none."""
        identifier = parameters["AccessKeyId"]
        name = parameters.get("UserName")
        if name is None:
            owner = self._directory.key_owner(identifier)
            if owner is None or owner.account != context.account:
                raise _no_key(identifier)
            name = owner.name

        def apply(user: Holder) -> Holder:
            if all(each.identifier != identifier for each in user.keys):
                raise _no_key(identifier)
            changed = (change(k) if k.identifier == identifier else k for k in user.keys)
            return replace(user, keys=tuple(each for each in changed if each is not None))

        await self._directory.change(context.account, "user", name, apply)


def _no_key(identifier: str) -> NoSuchEntity:
    return NoSuchEntity(f"The Access Key with id {identifier} cannot be found.")


def _described(user: Holder, key: Key) -> Parameters:
    return {
        "UserName": user.name,
        "AccessKeyId": key.identifier,
        "Status": "Active" if key.active else "Inactive",
        "CreateDate": key.created,
    }
