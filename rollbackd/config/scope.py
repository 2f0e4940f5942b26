"""One part of the document with the findings about it: says errors at the right place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollbackd.config.diagnostics import Findings, Mark
from rollbackd.config.nodes import Node, Place, reach
from rollbackd.config.shape import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`root` is the node, `path` where in it we are."""

    root: Node
    findings: Findings
    path: tuple[str | int, ...] = ()

    def into(self, *steps: str | int) -> Scope:
        return replace(self, path=(*self.path, *steps))

    def error(self, message: str, hint: str = "") -> None:
        """At the value; what came from the environment is not shown."""
        place = self._place()
        self.findings.error(place.node.mark, redact(message, place.node), redact(hint, place.node))

    def key_error(self, message: str, hint: str = "") -> None:
        self.findings.error(self.key_mark(), message, hint)

    def warn(self, message: str, hint: str = "") -> None:
        self.findings.warn(self.key_mark(), message, hint)

    def key_mark(self) -> Mark:
        place = self._place()
        return place.key or place.node.mark

    def value_mark(self) -> Mark:
        return self._place().node.mark

    def _place(self) -> Place:
        return reach(self.root, self.path)
