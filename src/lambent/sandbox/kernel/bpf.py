"""System-call filters in classic BPF: what they are made of, and a search for the call's number.

A verdict is what a call is answered: a value to return, or instructions that find it from the
arguments of the call and return it.  Every call takes some ten steps, and from Linux 5.11 on none
where its arguments do not matter: the kernel remembers those that are always allowed.
"""

from __future__ import annotations

import errno
import struct
from typing import Union

ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FARTHEST = 255

# What a call is answered: a value to return, or what finds it.
Verdict = Union[int, "list[bytes]"]


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def returning(value: int) -> list[bytes]:
    """Answer with a value."""
    return [_instruction(_RETURN, 0, 0, value)]


def refuse(error: int) -> list[bytes]:
    """Answer with an error number."""
    return returning(ERRNO | error)


def load(index: int) -> list[bytes]:
    """Load the lower half of an argument; all that are judged are of 32 bits."""
    return [_instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * index)]


def when(values: tuple[int, ...], body: list[bytes]) -> list[bytes]:
    """Go through body if what is loaded is one of the values, else past it."""
    tests = []
    for position, value in enumerate(values):
        last = position == len(values) - 1
        to_body = len(values) - position - 1
        tests.append(_instruction(_EQUAL, to_body, len(body) if last else 0, value))
    return tests + body


def if_any_bit(bits: int, body: list[bytes]) -> list[bytes]:
    """Go through body if what is loaded has one of the bits, else past it."""
    return [_instruction(_ANY_BIT, 0, len(body), bits), *body]


def unless_any_bit(bits: int, body: list[bytes]) -> list[bytes]:
    """Go through body if what is loaded has none of the bits, else past it."""
    return [_instruction(_ANY_BIT, len(body), 0, bits), *body]


def only(argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    """Allow where an argument has one of these values."""
    return load(argument) + when(values, returning(ALLOW)) + refuse(error)


def none_of(argument: int, values: tuple[int, ...], error: int = errno.EPERM) -> list[bytes]:
    """Allow where an argument has none of these values."""
    return load(argument) + when(values, refuse(error)) + returning(ALLOW)


def all_bits(argument: int, bits: tuple[int, ...], error: int) -> list[bytes]:
    """Refuse where each of these has a bit of the argument."""
    code = load(argument)
    for position, each in enumerate(bits):
        # Past the remaining tests and the refusal.
        code.append(_instruction(_ANY_BIT, 0, len(bits) - position, each))
    return code + refuse(error) + returning(ALLOW)


def _ranges(
    verdicts: dict[int, Verdict], unknown: Verdict, machine: str
) -> list[tuple[int, Verdict]]:
    """Where each run of numbers with one answer begins."""
    ranges: list[tuple[int, Verdict]] = []
    for number in range(max(verdicts) + 2):
        verdict = verdicts.get(number, unknown)
        if not ranges or ranges[-1][1] != verdict:
            ranges.append((number, verdict))
    if machine == "x86_64":
        ranges.append((_X32, KILL))
    return ranges


def _search(ranges: list[tuple[int, Verdict]]) -> list[bytes]:
    """Find the range of the number that is loaded."""
    if len(ranges) == 1:
        verdict = ranges[0][1]
        return returning(verdict) if isinstance(verdict, int) else verdict
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(low) <= _FARTHEST:
        return [_instruction(_AT_LEAST, len(low), 0, first), *low, *high]
    far = _instruction(_JUMP, 0, 0, len(low))
    return [_instruction(_AT_LEAST, 0, 1, first), far, *low, *high]


def program(verdicts: dict[int, Verdict], unknown: int, machine: str) -> bytes:
    """The filter that answers calls by their numbers, and all others with unknown.

    machine: "x86_64" or "aarch64"; programs of another are killed.
    """
    code = [
        _instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, _AUDIT[machine]),
        *returning(KILL),
        _instruction(_LOAD, 0, 0, _NUMBER),
        *_search(_ranges(verdicts, unknown, machine)),
    ]
    return b"".join(code)
