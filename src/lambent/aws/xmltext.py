"""XML from outside: one reading of it, in UTF-8 alone, without a document type, within bounds."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MOST_NODES, MOST_ATTRIBUTES, DEEPEST = 50_000, 32, 32
_DECLARATION = re.compile(
    rb"""\s*<\?xml\s+version\s*=\s*["']1\.[0-9]["']"""
    rb"""(?:\s+encoding\s*=\s*["'](?i:utf-8)["'])?"""
    rb"""(?:\s+standalone\s*=\s*["'](?:yes|no)["'])?\s*\?>"""
)
# Instructions, document types, entities; comments and CDATA sections declare nothing.
_DECLARING = re.compile(rb"<(?:\?|!(?!--|\[CDATA\[))")
_MARK = b"\xef\xbb\xbf"


class Refused(ValueError):
    """The text is not XML, or more or other than is taken."""


def parse(body: bytes, limit: int) -> Element:
    """The root element of an XML text; raises Refused.

    limit: bytes of the text.  It has no document type, no processing instruction, no encoding but
    UTF-8, MOST_NODES elements with MOST_ATTRIBUTES each at most, DEEPEST within one another.  Names
    are without their namespaces.
    """
    if len(body) > limit:
        raise Refused("the text is too long")
    text = body.removeprefix(_MARK)
    declared = _DECLARATION.match(text)
    text = text[declared.end() :] if declared is not None else text
    # What is left can declare nothing: an encoding, an entity, an instruction.
    if _DECLARING.search(text):
        raise Refused("declarations are not taken")
    if text.count(b"<") > 2 * MOST_NODES:
        raise Refused("there are too many elements")
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Refused("the text is not UTF-8") from None
    return _Reader().read(text)


class _Reader:
    """Builds the tree, as far as it goes."""

    def __init__(self) -> None:
        self._builder = TreeBuilder()
        self._depth = 0
        parser = self._parser = expat.ParserCreate("UTF-8", "}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._builder.data
        parser.StartDoctypeDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse

    def read(self, text: bytes) -> Element:
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise Refused(f"the text is not XML: {error}") from None
        return self._builder.close()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Refused("elements are nested too deeply")
        if len(attributes) > MOST_ATTRIBUTES:
            raise Refused("an element has too many attributes")
        plain = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        self._builder.start(name.rpartition("}")[2], plain)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(name.rpartition("}")[2])

    @staticmethod
    def _refuse(*_: Any) -> None:
        raise Refused("declarations are not taken")
