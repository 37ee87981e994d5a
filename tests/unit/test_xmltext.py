"""XML is read in one way, or refused."""

from __future__ import annotations

import time
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.aws import xmltext

LIMIT = 20 * 1024 * 1024
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def test_elements_attributes_and_text_are_read_without_namespaces() -> None:
    body = HEAD + '<a xmlns="http://s3"><b xmlns:x="u" x:type="t">1 &lt; 2</b><b>\u00e9</b></a>'
    root = xmltext.parse(body.encode(), LIMIT)
    assert root.tag == "a" and [each.text for each in root] == ["1 < 2", "\u00e9"]
    assert root[0].attrib == {"type": "t"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30))
def test_every_text_comes_back(text: str) -> None:
    body = f"<a>{escape(text)}</a>".encode()
    try:
        assert (xmltext.parse(body, LIMIT).text or "") == text
    except xmltext.Refused:
        assert any(ord(each) in (0xFFFE, 0xFFFF) for each in text)


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for each in (body, b"<a>" + body + b"</a>", HEAD.encode() + body):
        try:
            xmltext.parse(each, LIMIT)
        except xmltext.Refused:
            pass


ENTITIES = "<!DOCTYPE d [<!ENTITY a 'x'>]><a>&a;</a>"


@pytest.mark.parametrize(
    "body",
    [
        ENTITIES.encode(),
        (HEAD + ENTITIES).encode(),
        ENTITIES.encode("utf-16"),
        ENTITIES.encode("utf-16-le"),
        ENTITIES.encode("utf-32"),
        ENTITIES.encode("utf-7"),
        "<a>x</a>".encode("utf-16"),
        "<?xml version='1.0' encoding='utf-16'?><a>x</a>".encode("utf-16"),
        b"<?xml version='1.0' encoding='utf-16'?><a>x</a>",
        b"<?xml version='1.0' encoding='utf-7'?><a>x</a>",
        b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9</a>",
        b"<a>\xe9</a>",
        b"<a>&b;</a>",
        b"<?php x?><a/>",
        b"<a><?php x?></a>",
        b"<a/><b/>",
        b"",
        b"<a",
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 200_000 + b"</a>",
        b"<a " + b" ".join(b'b%d=""' % each for each in range(100)) + b"/>",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_nothing_but_plain_elements_in_utf_8_is_taken(body: bytes) -> None:
    with pytest.raises(xmltext.Refused):
        xmltext.parse(body, LIMIT)


def test_a_long_text_is_refused_unread() -> None:
    with pytest.raises(xmltext.Refused, match="too long"):
        xmltext.parse(b"<a>" + b"x" * 100 + b"</a>", 100)


def test_the_largest_text_takes_no_longer_than_it_may() -> None:
    body = b"<a>" + b"<b>x</b>" * 49_000 + b"x" * 1_000_000 + b"</a>"
    began = time.perf_counter()
    xmltext.parse(body, LIMIT)
    assert time.perf_counter() - began < 1
