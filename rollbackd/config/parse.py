"""YAML text to nodes with marks: refuses tags, duplicate keys, bombs and YAML 1.1's surprises.

Built from PyYAML's events, so that what `safe_load` loses (marks, tags, first of two keys) is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml
from pydantic_core import PydanticCustomError

from rollbackd.config.diagnostics import Findings, Mark
from rollbackd.config.nodes import Entry, Items, Leaf, Node, Table
from rollbackd.config.scalars import resolve
from rollbackd.config.syntax import Position, explain

MOST_NODES = 20_000  # after aliases: a file of ours has some hundred
DEEPEST = 40


class _Stop(Exception):
    """Nothing after this can be read; the finding is made."""


def parse(text: str, path: str, findings: Findings) -> Table | None:
    """The document's top mapping; None when there is none (the findings say why)."""
    parser = _Parser(path=path, findings=findings, events=yaml.parse(text, Loader=yaml.SafeLoader))
    try:
        return parser.document()
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark, message, hint = explain(error, text)
        findings.error(parser.mark(mark), message, hint)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Mark(
            path=path,
            line=before.count("\n") + 1,
            column=error.position - before.rfind("\n"),
        )
        findings.error(place, f"a control character (U+{ord(text[error.position]):04X})")
    return None


@dataclass(slots=True)
class _Parser:
    path: str
    findings: Findings
    events: Iterator[yaml.Event]
    anchors: dict[str, Node | None] = field(default_factory=dict)  # None: still open

    def mark(self, mark: Position | None) -> Mark:
        if mark is None:
            return Mark(path=self.path, line=1, column=1)
        return Mark(path=self.path, line=mark.line + 1, column=mark.column + 1)

    def document(self) -> Table | None:
        next(self.events)  # StreamStart
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            self._refuse(Mark(path=self.path, line=1, column=1), "the file is empty")
        top = self._node(next(self.events), depth=0)
        next(self.events)  # DocumentEnd
        event = next(self.events)
        if isinstance(event, yaml.DocumentStartEvent):
            self._refuse(self.mark(event.start_mark), "more than one document", "remove the ---")
        if isinstance(top, Leaf) and top.value is None:
            self._refuse(Mark(path=self.path, line=1, column=1), "the file is empty")
        if not isinstance(top, Table):
            self._refuse(top.mark, "the top must be a mapping (key: value)")
        return top

    def _refuse(self, mark: Mark, message: str, hint: str = "") -> NoReturn:
        self.findings.error(mark, message, hint)
        raise _Stop

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = self.mark(event.start_mark)
        if depth > DEEPEST:
            self._refuse(mark, f"nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), mark)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.tag is not None:
            self.findings.broken_scalar(mark, f"tags are not allowed: {event.tag}", "remove it")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self._value(event, mark, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        if node.size > MOST_NODES:
            self._refuse(mark, f"more than {MOST_NODES} values, counting what aliases repeat")
        return node

    def _value(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, mark: Mark, depth: int
    ) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Leaf(value=self._scalar(event, mark), mark=mark)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(mark, depth)
        return self._table(mark, depth)

    def _alias(self, name: str, mark: Mark) -> Node:
        if name not in self.anchors:
            self._refuse(mark, f"unknown alias *{name[:40]}")
        node = self.anchors[name]
        if node is None:
            self._refuse(mark, f"alias *{name[:40]} stands inside itself")
        return node

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> bool | float | str | None:
        bad = next((c for c in event.value if not (c.isprintable() or c in "\n\t")), None)
        if bad is not None:
            self.findings.broken_scalar(mark, f"a control character (U+{ord(bad):04X}) in a value")
            return "".join(c for c in event.value if c.isprintable())
        if event.style is not None:
            return str(event.value)
        try:
            return resolve(event.value)
        except PydanticCustomError as error:
            context = error.context or {}
            self.findings.broken_scalar(mark, context["text"], context["hint"])
            return str(event.value)

    def _items(self, mark: Mark, depth: int) -> Items:
        values: list[Node] = []
        size = 1
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self._node(event, depth + 1))
            size += values[-1].size
        return Items(values=tuple(values), mark=mark, size=size)

    def _table(self, mark: Mark, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            at = self.mark(event.start_mark)
            key = self._key(event, at, depth)
            node = self._node(next(self.events), depth + 1)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.style is None:
                merged.extend(node.values if isinstance(node, Items) else (node,))
            elif key in entries:
                first = entries[key].mark.line
                self.findings.error(at, f"duplicate key {key!r}", f"first on line {first}")
            elif key is not None:
                entries[key] = Entry(mark=at, node=node)
        self._merge(entries, merged)
        size = 1 + sum(1 + entry.node.size for entry in entries.values())
        return Table(entries=entries, mark=mark, size=size)

    def _key(self, event: yaml.Event, mark: Mark, depth: int) -> str | None:
        """The key as written: `on:` is the text "on". None when it is not text."""
        if isinstance(event, yaml.ScalarEvent) and event.tag is None and event.value:
            odd = next((c for c in event.value if not c.isprintable()), None)
            if odd is None:
                return str(event.value)
            self.findings.error(mark, f"a key cannot hold U+{ord(odd):04X}", "type the key again")
            return None
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, depth + 1)
        self.findings.error(mark, "a key must be plain text on one line")
        return None

    def _merge(self, entries: dict[str, Entry], merged: list[Node]) -> None:
        for node in merged:
            if not isinstance(node, Table):
                self.findings.error(node.mark, "<< takes a mapping, or a list of them")
                continue
            for key, entry in node.entries.items():
                entries.setdefault(key, entry)
