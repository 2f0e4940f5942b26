"""A YAML document as values that remember where they were written. Knows nothing of any schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rollbackd.config.diagnostics import Mark
from rollbackd.core.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One scalar. `secrets` are the environment's values in it: never to be shown.

    `filled`: placeholders stood in it, so it is text even where its value is a number.
    """

    value: bool | int | float | str | None
    mark: Mark
    secrets: tuple[tuple[str, str], ...] = ()  # (variable, its value)
    filled: bool = False

    @property
    def size(self) -> int:
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    values: tuple[Node, ...]
    mark: Mark
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    mark: Mark  # of the key
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    entries: Mapping[str, Entry]
    mark: Mark
    size: int = 1

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return entry.node if entry else None

    def without(self, *keys: str) -> Table:
        rest = {k: e for k, e in self.entries.items() if k not in keys}
        return Table(entries=rest, mark=self.mark, size=self.size)

    def extended(self, key: str, node: Node) -> Table:
        """With one more key, which stands where the table does."""
        entries = {**self.entries, key: Entry(mark=self.mark, node=node)}
        return Table(entries=entries, mark=self.mark, size=self.size)


Node: TypeAlias = Leaf | Items | Table


def plain(node: Node) -> Json:
    match node:
        case Leaf():
            return node.value
        case Items():
            return [plain(value) for value in node.values]
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a path leads: the deepest node reached, and the mark of its key where it has one."""

    node: Node
    key: Mark | None
    path: tuple[str | int, ...] = field(default=())


def reach(root: Node, path: Sequence[str | int]) -> Place:
    """Follow `path` as far as it goes; steps that are not in the document are skipped.

    Pydantic puts union tags and validator names between the keys of its error paths.
    """
    place = Place(node=root, key=None)
    for step in path:
        match place.node:
            case Table() if step in place.node.entries:
                entry = place.node.entries[str(step)]
                place = Place(node=entry.node, key=entry.mark, path=(*place.path, step))
            case Items() if isinstance(step, int) and step < len(place.node.values):
                place = Place(node=place.node.values[step], key=None, path=(*place.path, step))
            case _:
                continue
    return place


def leaves(node: Node) -> Iterator[Leaf]:
    match node:
        case Leaf():
            yield node
        case Items():
            for value in node.values:
                yield from leaves(value)
        case Table():
            for entry in node.entries.values():
                yield from leaves(entry.node)


_SECRET_KEY = re.compile(
    r"authorization|token|secret|password|passwd|cookie|api[-_]?key", re.IGNORECASE
)
_HIDDEN = "**********"


def shown(node: Node) -> Json:
    """Plain values for journals and pages: what came from the environment goes by its name."""
    match node:
        case Leaf(value=value, secrets=secrets):
            for name, secret in secrets:
                value = str(value).replace(secret, f"${{{name}}}") if secret else value
            return value
        case Items():
            return [shown(value) for value in node.values]
        case Table():
            return {
                key: _HIDDEN if _SECRET_KEY.search(key) else shown(entry.node)
                for key, entry in node.entries.items()
            }
