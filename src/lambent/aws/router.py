"""From a request line to the operation it asks for.

Matches the raw path, segment by segment, before anything is percent-decoded: labels may carry
ARNs whose encoded slashes must not split them.
"""

from __future__ import annotations

from urllib.parse import unquote

from lambent.aws.model import Operation, ServiceModel

_LABEL = "{}"
_KNOWN, _KNOWN_LENGTH = 4096, 300


class _Node:
    __slots__ = ("children", "operations")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        # method → operations, those that demand a query parameter first
        self.operations: dict[str, list[Operation]] = {}


class Router:
    """All paths of one REST service."""

    def __init__(self, model: ServiceModel) -> None:
        self._root = _Node()
        # Where paths lead that were asked for lately; bounded, because clients choose them.
        self._known: dict[tuple[str, str], list[tuple[Operation, dict[str, str]]]] = {}
        for operation in model.operations.values():
            node = self._root
            for segment in operation.path:
                name = _LABEL if segment.startswith("{") else segment
                node = node.children.setdefault(name, _Node())
            entries = node.operations.setdefault(operation.method, [])
            entries.append(operation)
            entries.sort(key=lambda each: -len(each.query))

    def match(
        self, method: str, path: str, query: dict[str, list[str]]
    ) -> tuple[Operation, dict[str, str]] | None:
        """The operation and its decoded labels; None if there is none."""
        for found in self._known.get((method, path)) or self._find(method, path):
            operation = found[0]
            if not operation.query or all(
                value in query.get(key, ()) for key, value in operation.query
            ):
                return found
        return None

    def _find(self, method: str, path: str) -> list[tuple[Operation, dict[str, str]]]:
        segments = path.split("/")[1:]
        if segments and segments[-1] == "":
            segments.pop()
        values: list[str] = []
        node = self._walk(self._root, segments, 0, values, method)
        if node is None:
            return []
        found = [(each, _labels(each, values)) for each in node.operations[method]]
        if len(path) <= _KNOWN_LENGTH:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[method, path] = found
        return found

    def _walk(
        self, node: _Node, segments: list[str], index: int, values: list[str], method: str
    ) -> _Node | None:
        if index == len(segments):
            return node if method in node.operations else None
        segment = segments[index]
        child = node.children.get(segment)
        if child is not None:
            found = self._walk(child, segments, index + 1, values, method)
            if found is not None:
                return found
        child = node.children.get(_LABEL)
        if child is None or not segment:
            return None
        values.append(segment)
        found = self._walk(child, segments, index + 1, values, method)
        if found is None:
            values.pop()
        return found


def _labels(operation: Operation, values: list[str]) -> dict[str, str]:
    names = [segment[1:-1] for segment in operation.path if segment.startswith("{")]
    return {
        name: unquote(value) if "%" in value else value
        for name, value in zip(names, values, strict=True)
    }
