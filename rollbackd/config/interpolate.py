"""Puts the environment and the target's own fields into strings. Never re-reads them as YAML.

Where a model wants a number, `shape.fit` takes a text that is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollbackd.config.diagnostics import Findings
from rollbackd.config.nodes import Entry, Items, Leaf, Node, Table, reach

_PLACEHOLDER = re.compile(r"\$(?:(\$)|\{([^}]*)(\})?)")
_VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)(?::-(.*))?", re.DOTALL)
_FIELD = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation:
    """`fields` is the target's table for `${fly.app}`; None outside of a target."""

    environ: Mapping[str, str]
    findings: Findings
    fields: Table | None = None

    def table(self, table: Table) -> Table:
        return replace(
            table,
            entries={
                key: Entry(mark=entry.mark, node=self.node(entry.node))
                for key, entry in table.entries.items()
            },
        )

    def node(self, node: Node) -> Node:
        match node:
            case Table():
                return self.table(node)
            case Items():
                return replace(node, values=tuple(self.node(value) for value in node.values))
            case Leaf():
                return self.leaf(node)

    def leaf(self, leaf: Leaf) -> Leaf:
        if not isinstance(leaf.value, str) or "$" not in leaf.value:
            return leaf
        secrets: list[tuple[str, str]] = []

        def put(found: re.Match[str]) -> str:
            if found[1]:
                return "$"
            if not found[3]:
                return self._refuse(leaf, "this ${ is never closed", "write $$ for a plain $")
            return self._resolve(found[2], leaf, secrets)

        value = _PLACEHOLDER.sub(put, leaf.value)
        return replace(leaf, value=value, secrets=tuple(secrets), filled=True)

    def _resolve(self, name: str, leaf: Leaf, secrets: list[tuple[str, str]]) -> str:
        if _FIELD.fullmatch(name):
            return self._field(name, leaf, secrets)
        found = _VARIABLE.fullmatch(name)
        if found is None:
            return self._refuse(
                leaf,
                "not a placeholder: ${…} takes NAME, NAME:-default or a field such as fly.app",
                "write $$ for a plain $",
            )
        value = self.environ.get(found[1])
        if value is None and found[2] is None:
            return self._refuse(
                leaf,
                f"environment variable {found[1]} is not set",
                f"set it, or write ${{{found[1]}:-default}}",
            )
        if value is None or (value == "" and found[2] is not None):
            return str(found[2])
        if not all(c.isprintable() or c in "\n\t" for c in value):
            return self._refuse(leaf, f"environment variable {found[1]} holds control characters")
        secrets.append((found[1], value))
        return value

    def _field(self, name: str, leaf: Leaf, secrets: list[tuple[str, str]]) -> str:
        if self.fields is None:
            return self._refuse(leaf, f"${{{name}}} works inside a target only")
        path = name.split(".")
        place = reach(self.fields, path)
        if len(place.path) < len(path) or not isinstance(place.node, Leaf):
            return self._refuse(leaf, f"this target has no field {name}")
        value = place.node.value
        if isinstance(value, str) and "${" in value.replace("$$", ""):
            if any(_FIELD.fullmatch(found[2] or "") for found in _PLACEHOLDER.finditer(value)):
                return self._refuse(leaf, f"${{{name}}} refers to another field itself")
            inner = replace(self, fields=None).leaf(place.node)
            secrets.extend(inner.secrets)
            return str(inner.value)
        return "" if value is None else str(value)

    def _refuse(self, leaf: Leaf, message: str, hint: str = "") -> str:
        self.findings.broken_scalar(leaf.mark, message, hint)
        return ""
