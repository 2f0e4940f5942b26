"""Reads back what `catalogue` wrote of a column. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`default` and `generated` are the expressions, empty for none."""

    type: str
    not_null: bool = False
    identity: str = ""
    default: str = ""
    generated: str = ""

    @property
    def filled(self) -> bool:
        """Whether an INSERT may leave it out."""
        return not self.not_null or bool(self.default or self.generated or self.identity)

    @classmethod
    def read(cls, definition: str) -> Self:
        kind, _, rest = definition.partition("; ")
        null, _, rest = rest.partition("; ")
        identity = default = generated = ""
        while rest:
            if rest.startswith("default "):
                default, rest = rest.removeprefix("default "), ""
            elif rest.startswith("generated "):
                generated, rest = rest.removeprefix("generated "), ""
            else:
                part, _, rest = rest.partition("; ")
                if part.startswith("identity "):
                    identity = part.removeprefix("identity ")
        return cls(
            type=kind,
            not_null=null == "not null",
            identity=identity,
            default=default,
            generated=generated,
        )
