"""What every fuzzer shares: its seed, its count, how to repeat a case, and mutations.

``LAMBENT_FUZZ_SEED`` (default 1) and ``LAMBENT_FUZZ_COUNT`` (default: a small number of each
fuzzer's own) come from the environment.  A case depends on the seed, the fuzzer's name and the
case's number alone, so a failure is repeated by the command that its report prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

SEED = os.environ.get("LAMBENT_FUZZ_SEED", "1")
COUNT = int(os.environ.get("LAMBENT_FUZZ_COUNT", "0"))


def source(name: str, number: int) -> Random:
    """The source of randomness of one case of a fuzzer."""
    return Random(f"{SEED} {name} {number}")


class Cases:
    """The cases of one test; ``number`` is that of the case at hand, for the report."""

    def __init__(self, name: str, node: str) -> None:
        self.name = name
        self.node = node
        self.number = -1

    def __call__(self, default: int) -> Iterator[Random]:
        """One source of randomness for each case; default: how many where no count is set."""
        for self.number in range(COUNT or default):
            yield source(self.name, self.number)

    def repeat(self) -> str:
        """The command that runs up to the case at hand again."""
        return (
            f"LAMBENT_FUZZ_SEED={SEED} LAMBENT_FUZZ_COUNT={self.number + 1} "
            f".venv/bin/python -m pytest '{self.node}'"
        )


# -- texts --------------------------------------------------------------------------------

# What ends, splits, hides or doubles something for one reader or another.
BREAKS = (
    "\r\n", "\n", "\r", "\0", "..", "../..", "/", "//", "\\", "%2e%2e", "%2f", "%00", "%0d%0a",
    "%", "&", "=", "?", "#", ";", ":", ",", "|", "*", "+", " ", "\t", '"', "'", "<", ">", "&amp;",
    "]]>", "{", "}", "[", "]", "$", "`", "--", "/*", "\x7f", "\u202e", "\ufeff", "\u0130",
    "\uff0e\uff0e", "\u2028", "\ud800", "é", "e\u0301", "\U0001d49c", "٣", "\x85",
)  # fmt: skip
WORDS = (
    "", "0", "-1", "1e309", "NaN", "null", "true", "None", "undefined", "aws", "arn:aws:", "AKIA",
    "us-east-1", "000000000000", "222222222222", "999999999999999999999", "2026-11-25T00:00:00Z",
)  # fmt: skip


def _inserted(dice: Random, text: str) -> str:
    place = dice.randint(0, len(text))
    return text[:place] + dice.choice(BREAKS) + text[place:]


def _cut(dice: Random, text: str) -> str:
    first, last = sorted(dice.randint(0, len(text)) for _ in range(2))
    return text[:first] + text[last:]


def _repeated(dice: Random, text: str) -> str:
    return text * dice.choice((2, 3, 100))


def _encoded(dice: Random, text: str) -> str:
    if not text:
        return "%"
    place = dice.randrange(len(text))
    coded = "".join(f"%{byte:02x}" for byte in text[place].encode("utf-8", "surrogatepass"))
    return text[:place] + coded + text[place + 1 :]


_TEXTS: tuple[Callable[[Random, str], str], ...] = (
    _inserted,
    _inserted,
    _inserted,
    _cut,
    _repeated,
    _encoded,
    lambda dice, text: dice.choice((text.upper(), text.lower(), text.swapcase())),
    lambda dice, text: dice.choice(BREAKS) + text,
    lambda dice, text: text + dice.choice(BREAKS),
    lambda dice, text: dice.choice(WORDS),
    lambda dice, text: text + "a" * dice.choice((100, 5_000)),
)


def text(dice: Random, given: str) -> str:
    """A text, changed once or more."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        given = dice.choice(_TEXTS)(dice, given)
    return given


# -- bytes --------------------------------------------------------------------------------

_BYTES = (
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc0\xae", b"\xed\xa0\x80", b"..", b"%", b"\x80",
    b" ", b"\t", b":", b"{", b"[" * 500, b'"', b"<!", b"<![CDATA[", b"&#0;", b"\xef\xbb\xbf",
)  # fmt: skip


def octets(dice: Random, given: bytes) -> bytes:
    """Bytes, changed once or more: turned, inserted, cut out, doubled, in another encoding."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        kind, place = dice.randrange(6), dice.randint(0, len(given))
        if kind == 0 and place < len(given):
            given = given[:place] + bytes([dice.randrange(256)]) + given[place + 1 :]
        elif kind in (1, 2):
            given = given[:place] + dice.choice(_BYTES) + given[place:]
        elif kind == 3:
            given = given[:place] + given[place + dice.choice((1, 2, 10, 100)) :]
        elif kind == 4:
            piece = given[place : place + dice.choice((1, 8, 60))]
            given = given[:place] + piece * dice.choice((1, 2, 50)) + given[place:]
        else:
            given = given.decode("latin-1").encode(dice.choice(("utf-16", "utf-8", "utf-16-le")))
    return given


# -- documents ----------------------------------------------------------------------------

_VALUES: tuple[object, ...]
_VALUES = (None, True, False, 0, -1, 1 << 70, 1.5, "", "x", [], {}, [[]], {"": {}}, [None])


def document(dice: Random, given: object) -> object:
    """A document of JSON, one of its places changed."""
    if isinstance(given, dict) and given and dice.random() < 0.85:
        name = dice.choice(list(given))
        changed = dict(given)
        kind = dice.random()
        if kind < 0.15:
            del changed[name]
        elif kind < 0.25:
            changed[text(dice, str(name))] = changed.pop(name)
        elif kind < 0.3:
            changed[text(dice, str(name))] = changed[name]
        else:
            changed[name] = document(dice, changed[name])
        return changed
    if isinstance(given, list) and given and dice.random() < 0.8:
        items: list[object] = list(given)
        place = dice.randrange(len(items))
        kind = dice.random()
        if kind < 0.2:
            items *= dice.choice((2, 200))
        elif kind < 0.3:
            del items[place]
        else:
            items[place] = document(dice, items[place])
        return items
    if isinstance(given, str) and dice.random() < 0.8:
        return text(dice, given)
    return dice.choice(_VALUES)
