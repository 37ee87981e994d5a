"""What the command line prints of others' texts cannot steer a terminal."""

from __future__ import annotations

import argparse
import ast
import io
import logging
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.cli import functions, serve, table
from lambent.cli.client import Client

STEERING = [
    *"\x00\x07\x08\r\n\x0b\x1b\x7f\x80\x85\x9b\x9d", *"\u200b\u200e\u200f\u061c\u00ad\ufeff",
    *"\u202a\u202b\u202c\u202d\u202e", *"\u2066\u2067\u2068\u2069", *"\u2028\u2029",
    "\ud800", "\U000e0041",
]  # fmt: skip


@pytest.mark.parametrize("character", STEERING, ids=lambda each: f"{ord(each):x}")
def test_what_steers_is_shown_and_not_sent(character: str) -> None:
    shown = table.clean(f"a{character}b")
    assert shown.isprintable() and character not in shown
    assert f"{ord(character):x}" in shown


@pytest.mark.parametrize(
    "text", ["", "plain", "a\tb", "naïve 日本語　שלום", "👩\u200d💻", "می\u200cشود"]
)
def test_what_is_written_in_any_language_is_printed_as_it_is(text: str) -> None:
    assert table.clean(text) == text


@given(st.text())
def test_nothing_that_is_not_seen_gets_through(text: str) -> None:
    shown = table.clean(text)
    for each in shown:
        steering = unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        assert not steering or each in "\t\u200c\u200d"
    shown.encode()


def test_the_cells_of_a_table_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([{"name": "a\x1b[2Jb\u202e", "size": 1}], ("name", "size"), False)
    assert capsys.readouterr().out == "NAME             SIZE\na\\x1b[2Jb\\u202e  1\n"


class _Answer:
    status = 200

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.body, self.headers = body, headers


class _Server:
    """Answers an invocation with whatever is hostile."""

    def request(self, *asked: Any) -> _Answer:
        error = {"x-amz-function-error": "Un\x1bhandled"}
        return _Answer("\x1b]0;owned\x07\u202e\nsecond".encode(), error)


@pytest.mark.parametrize("terminal", [True, False])
def test_an_answer_is_clean_on_a_terminal_and_as_it_is_for_a_program(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    class Out(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    out, err = Out(), Out()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    arguments = argparse.Namespace(
        payload="{}", name="f", qualifier="", logs=False, json=False, tenant="", event=False
    )  # fmt: skip
    assert functions.invoke(arguments, cast(Client, _Server())) == 1
    as_it_is = "\x1b]0;owned\x07\u202e\nsecond\n"
    clean = "\\x1b]0;owned\\x07\\u202e\nsecond\n"
    assert out.getvalue() == (clean if terminal else as_it_is)
    assert "\x1b" not in err.getvalue()


def test_a_message_is_one_line_of_the_servers_log() -> None:
    formatter = serve.CleanFormatter("%(levelname)s %(message)s")
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError:
        failed = sys.exc_info()
    record = logging.LogRecord("n", 30, "p", 1, "denied: %s", ("x\n2026 ERROR forged",), failed)
    first, *rest = formatter.format(record).split("\n")
    assert first == "WARNING denied: x\\x0a2026 ERROR forged"
    assert rest[0].startswith("Traceback") and rest[-1] == "ValueError: \\x1b[2J\\u202e"


def test_texts_are_printed_by_the_table_alone() -> None:
    """Elsewhere only JSON, which is ASCII, and words of our own are."""
    folder = Path(table.__file__).parent
    for path in folder.glob("*.py"):
        if path.name == "table.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                said = ast.unparse(node.args[0]) if node.args else "''"
                begins = re.sub("^f?['\"]+", "", said)
                own = begins.startswith(OWN) or isinstance(node.args[0], ast.Constant)
                assert own or "json.dumps(" in said, f"{path.name}: {said}"


# The key's own secret, sums of numbers, and what the server says of itself at its start.
OWN = ("found.secret", "Total: ", "WARNING: {warning}", "Lambent is ready", "stamp")
