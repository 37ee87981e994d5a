"""When each access key was last used, for what and where; kept on disk by the minute."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Use:
    """at: POSIX time."""

    at: int
    service: str
    region: str


class KeyUse:
    """The last use of each key; what cannot be read begins anew, for nothing depends on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._uses: dict[str, tuple[int, str, str]] = {}
        self._saved: dict[str, tuple[int, str, str]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            for key, (at, service, region) in json.loads(path.read_text()).items():
                self._uses[str(key)] = (int(at), str(service), str(region))

    def note(self, access_key_id: str, at: float, service: str, region: str) -> None:
        """A key has been used."""
        self._uses[access_key_id] = (int(at), service, region)

    def last(self, access_key_id: str) -> Use | None:
        """Its last use; None if it was never used."""
        found = self._uses.get(access_key_id)
        return Use(*found) if found is not None else None

    def forget(self, access_key_id: str) -> None:
        """The key is gone."""
        self._uses.pop(access_key_id, None)

    def save(self) -> None:
        """Write what is not on disk yet; what cannot be is tried again the next time."""
        uses = dict(self._uses)  # as it is now: it goes on changing while this thread writes
        if uses == self._saved:
            return
        new = self._path.with_suffix(".new")
        try:
            new.write_text(json.dumps(uses))
            new.replace(self._path)
        except OSError as error:
            _log.warning("when keys were used cannot be written: %s", error)
            return
        self._saved = uses
