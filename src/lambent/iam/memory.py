"""What an authorizer keeps to answer sooner: policies that were read, and what follows from them.

Both are kept under texts that clients choose, so both are bounded by the bytes they take, roughly
weighed, and are dropped as a whole when they are over it.
"""

from __future__ import annotations

from collections.abc import Callable

from lambent.iam.policy.document import Policy
from lambent.iam.policy.evaluation import Decision, Policies

Key = tuple[str, str, str, str, str]
"""Who, action, resource, its owner, and the revision of its policy."""

DECISION_BYTES = 16 * 1024 * 1024
POLICY_BYTES = 32 * 1024 * 1024
# A longer text is no key: it is decided each time.  Source: the longest ARN that IAM takes.
LONGEST_NAME = 2048
# Measured: what a decision takes beside its key, and what a character of a document becomes, at
# most (lists of values of one letter).
_ENTRY_BYTES, _REFERENCE_BYTES = 1024, 32
_BYTES_PER_CHARACTER = 256


class Memory:
    """Decisions (or the policies they follow from) and policies by their documents."""

    def __init__(self) -> None:
        self.decisions: dict[Key, Policies | Decision] = {}
        self._decision_bytes = 0
        self._policies: dict[tuple[str, str], Policy] = {}
        self._policy_bytes = 0

    def forget_decisions(self) -> None:
        """Something changed that they follow from."""
        self.decisions.clear()
        self._decision_bytes = 0

    def keep(self, key: Key, found: Policies | Decision) -> None:
        """Keep a decision, unless its key is too long to be a name."""
        length = sum(len(each) for each in key)
        if length > 2 * LONGEST_NAME:
            return
        # Four bytes a character: that is what one outside the basic plane makes of a whole text.
        weight = 4 * length + _ENTRY_BYTES + _REFERENCE_BYTES * _statements(found)
        if self._decision_bytes + weight > DECISION_BYTES:
            self.forget_decisions()
        self._decision_bytes += weight
        self.decisions[key] = found

    def policy(self, kind: str, document: str, read: Callable[[str], Policy]) -> Policy:
        """A document as it is read; kind: of the reading, which differs between kinds."""
        found = self._policies.get((kind, document))
        if found is None:
            found = read(document)
            weight = _BYTES_PER_CHARACTER * len(document)
            if self._policy_bytes + weight > POLICY_BYTES:
                # Decisions hold on to what they follow from.
                self._policies.clear()
                self._policy_bytes = 0
                self.forget_decisions()
            self._policy_bytes += weight
            self._policies[kind, document] = found
        return found


def _statements(found: Policies | Decision) -> int:
    """How many statements a decision holds on to."""
    if isinstance(found, Decision):
        return len(found.statements)
    others = (found.boundary, found.session, found.resource)
    policies = [*found.identity, *(each for each in others if each is not None)]
    return sum(1 + len(each.statements) for each in policies)
