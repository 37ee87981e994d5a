"""What IAM keeps: users, groups and roles, which hold policies, and managed policies.

Source: IAM User Guide, "IAM identifiers" and "IAM and STS quotas".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["user", "group", "role"]
# The beginning of a unique identifier.
PREFIXES: dict[Kind, str] = {"user": "AIDA", "group": "AGPA", "role": "AROA"}
POLICY_PREFIX = "ANPA"


@dataclass(frozen=True, slots=True)
class Key:
    """A user's access key; its secret follows from the server's own key."""

    identifier: str
    active: bool
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A user, a group or a role: something that holds policies.

    inline: name → document.  attached: ARNs of managed policies.  boundary: the ARN of one, or "".
    trust, description, max_session (seconds): a role's.  groups, keys: a user's.
    """

    kind: Kind
    account: str
    name: str
    path: str
    identifier: str
    created: float
    inline: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    boundary: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    trust: str = ""
    description: str = ""
    max_session: int = 3600
    groups: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()

    @property
    def arn(self) -> str:
        """Its ARN, with its path."""
        return f"arn:aws:iam::{self.account}:{self.kind}{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of a managed policy: its identifier is v and a number."""

    identifier: str
    document: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPolicy:
    """A policy of its own that holders attach; account "aws" for AWS's."""

    account: str
    name: str
    path: str
    identifier: str
    created: float
    updated: float
    description: str
    versions: tuple[PolicyVersion, ...]
    default: str
    # The number of the newest version there ever was.
    newest: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN, with its path."""
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    def version(self, identifier: str) -> PolicyVersion | None:
        """One of its versions."""
        return next((each for each in self.versions if each.identifier == identifier), None)

    @property
    def document(self) -> str:
        """What is in force."""
        version = self.version(self.default)
        assert version is not None
        return version.document
