"""The users, groups, roles and managed policies of all accounts, durable and at hand.

Everything is kept in memory as well, so that who may do what is told without the Store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lambent.errors import EntityAlreadyExists, NoSuchEntity
from lambent.iam import managed
from lambent.iam.entities import Holder, Kind, ManagedPolicy
from lambent.store.base import Store
from lambent.store.repository import Missing, Repository, Taken


class Directory:
    """Names are told apart without regard to case, as in IAM."""

    def __init__(self, store: Store) -> None:
        self._by_key: dict[str, Holder] = {}
        self._policies_by_arn: dict[str, ManagedPolicy] = dict(managed.POLICIES)
        self._holders = Repository(store, "iam/holder/", Holder, self._holder_changed)
        self._policies = Repository(store, "iam/policy/", ManagedPolicy, self._policy_changed)
        self._policy_arns: dict[str, str] = {}
        self._key_owners: dict[str, Holder] = {}
        # Grows with every change of anything.
        self.generation = 0

    async def open(self) -> None:
        """Read everything."""
        for holder in await self._holders.everything():
            self._holder_changed(_key(holder.account, holder.kind, holder.name), holder)
        for policy in await self._policies.everything():
            self._policy_changed(f"{policy.account}/{policy.name.lower()}", policy)

    def close(self) -> None:
        """Listen to the Store no more."""
        self._holders.close()
        self._policies.close()

    def _holder_changed(self, key: str, holder: Holder | None) -> None:
        self.generation += 1
        before = self._by_key.pop(key, None)
        for each in before.keys if before is not None else ():
            self._key_owners.pop(each.identifier, None)
        if holder is not None:
            self._by_key[key] = holder
            self._key_owners.update((each.identifier, holder) for each in holder.keys)

    def _policy_changed(self, key: str, policy: ManagedPolicy | None) -> None:
        self.generation += 1
        if policy is None:
            self._policies_by_arn.pop(self._policy_arns.pop(key, ""), None)
        else:
            self._policy_arns[key] = policy.arn
            self._policies_by_arn[policy.arn] = policy

    def key_owner(self, access_key_id: str) -> Holder | None:
        """The user an access key belongs to, active or not."""
        return self._key_owners.get(access_key_id)

    def document(self, account: str, arn: str) -> str | None:
        """What a managed policy says now; None if there is none."""
        policy = self._policies_by_arn.get(arn)
        fits = policy is not None and policy.account in (account, managed.OWNER)
        return policy.document if policy is not None and fits else None

    # -- users, groups, roles -------------------------------------------------------------

    def find(self, account: str, kind: Kind, name: str) -> Holder | None:
        """One by its name."""
        return self._by_key.get(_key(account, kind, name))

    def of_arn(self, arn: str, identifier: str) -> Holder | None:
        """The user or role of an ARN, if it is the one of that identifier and not a successor."""
        account, _, rest = arn.removeprefix("arn:aws:iam::").partition(":")
        kind: Kind = "role" if rest.startswith("role/") else "user"
        found = self.find(account, kind, rest.rpartition("/")[2])
        same = found is not None and (found.arn, found.identifier) == (arn, identifier)
        return found if same else None

    def get(self, account: str, kind: Kind, name: str) -> Holder:
        """One by its name; raises NoSuchEntity."""
        holder = self.find(account, kind, name)
        if holder is None:
            raise NoSuchEntity(f"The {kind} with name {name} cannot be found.")
        return holder

    def all(self, account: str, kind: Kind) -> Iterator[Holder]:
        """Those of an account."""
        prefix = f"{account}/{kind}/"
        return (each for key, each in list(self._by_key.items()) if key.startswith(prefix))

    async def create(self, holder: Holder) -> Holder:
        """Add one; raises EntityAlreadyExists."""
        try:
            return await self._holders.create(
                _key(holder.account, holder.kind, holder.name), holder
            )
        except Taken:
            title = holder.kind.capitalize()
            raise EntityAlreadyExists(f"{title} with name {holder.name} already exists.") from None

    async def change(
        self, account: str, kind: Kind, name: str, change: Callable[[Holder], Holder]
    ) -> Holder:
        """Apply a change to the newest state; raises NoSuchEntity and what the change raises."""
        try:
            return await self._holders.change(_key(account, kind, name), change)
        except Missing:
            raise NoSuchEntity(f"The {kind} with name {name} cannot be found.") from None

    async def delete(
        self, account: str, kind: Kind, name: str, check: Callable[[Holder], None]
    ) -> None:
        """Remove one that passes the check; raises NoSuchEntity and what the check raises."""
        try:
            await self._holders.delete(_key(account, kind, name), check)
        except Missing:
            raise NoSuchEntity(f"The {kind} with name {name} cannot be found.") from None

    # -- managed policies -----------------------------------------------------------------

    def policy(self, account: str, arn: str) -> ManagedPolicy:
        """An account's policy or one of AWS's; raises NoSuchEntity."""
        policy = self._policies_by_arn.get(arn)
        if policy is None or policy.account not in (account, managed.OWNER):
            raise NoSuchEntity(f"Policy {arn} was not found.")
        return policy

    def policies(self, account: str) -> Iterator[ManagedPolicy]:
        """Those of an account, and AWS's."""
        owners = (account, managed.OWNER)
        return (each for each in list(self._policies_by_arn.values()) if each.account in owners)

    def attached_to(self, account: str, arn: str) -> Iterator[Holder]:
        """Who holds a managed policy."""
        return (
            each
            for each in list(self._by_key.values())
            if each.account == account and arn in each.attached
        )

    def bounded_by(self, account: str, arn: str) -> Iterator[Holder]:
        """Whose boundary a managed policy is."""
        return (
            each
            for each in list(self._by_key.values())
            if each.account == account and each.boundary == arn
        )

    async def create_policy(self, policy: ManagedPolicy) -> ManagedPolicy:
        """Add one; raises EntityAlreadyExists."""
        try:
            return await self._policies.create(f"{policy.account}/{policy.name.lower()}", policy)
        except Taken:
            raise EntityAlreadyExists(
                f"A policy called {policy.name} already exists. Duplicate names are not allowed."
            ) from None

    async def change_policy(
        self, account: str, arn: str, change: Callable[[ManagedPolicy], ManagedPolicy]
    ) -> ManagedPolicy:
        """Apply a change to the newest state; raises NoSuchEntity and what the change raises."""
        name = self.policy(account, arn).name
        try:
            return await self._policies.change(f"{account}/{name.lower()}", change)
        except Missing:
            raise NoSuchEntity(f"Policy {arn} was not found.") from None

    async def delete_policy(
        self, account: str, arn: str, check: Callable[[ManagedPolicy], None]
    ) -> None:
        """Remove one that passes the check; raises NoSuchEntity and what the check raises."""
        name = self.policy(account, arn).name
        try:
            await self._policies.delete(f"{account}/{name.lower()}", check)
        except Missing:
            raise NoSuchEntity(f"Policy {arn} was not found.") from None


def _key(account: str, kind: Kind, name: str) -> str:
    return f"{account}/{kind}/{name.lower()}"
