"""Ruby: how its interpreter is started wherever it lies."""

from __future__ import annotations

from pathlib import Path

RUBIES = ("ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0")
_LANG = "/var/lang"


def command(prefix: str) -> tuple[str, ...]:
    """prefix: where it is on the host; an interpreter shown elsewhere must be told its library."""
    return (f"{_LANG}/bin/ruby", *_library(Path(prefix)), "/var/runtime/bootstrap.rb")


def _library(prefix: Path) -> list[str]:
    """Flags that name its library; none for the system's own, which lies where it was built for."""
    if prefix == Path("/usr"):
        return []
    flags = []
    for configuration in sorted(prefix.glob("lib/ruby/[0-9]*/*/rbconfig.rb")):
        machine = configuration.parent
        flags += [f"-I{_LANG}/{each.relative_to(prefix)}" for each in (machine.parent, machine)]
    return flags
