"""Executes a parsed document over a table of types; it knows nothing of Fly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollbackd.sandbox.errors import GraphqlError
from rollbackd.sandbox.graphql_parser import (
    Directive,
    Document,
    Field,
    Operation,
    Selection,
    Variable,
)

Resolver = Callable[[Any, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """`type` names the table for nested selections; empty for a scalar."""

    resolve: Resolver
    type: str = ""
    arguments: frozenset[str] = field(default_factory=frozenset)
    required: frozenset[str] = field(default_factory=frozenset)


Types = dict[str, dict[str, FieldType]]


def run(
    document: Document,
    *,
    types: Types,
    roots: dict[str, Any],
    operation_name: str | None,
    variables: dict[str, Any] | None,
) -> dict[str, Any]:
    """`data` of the answer; raises GraphqlError, which Fly reports with HTTP 200."""
    operation = document.operation(operation_name)
    execution = _Execution(document, types, _variables(operation, variables or {}))
    root = "Query" if operation.kind == "query" else "Mutation"
    return execution.object(root, roots[root], operation.selections, [])


def _variables(operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for wanted in operation.variables:
        if given.get(wanted.name) is not None:
            known[wanted.name] = given[wanted.name]
        elif wanted.has_default:
            known[wanted.name] = wanted.default
        elif wanted.required:
            text = f"Variable ${wanted.name} of required type was provided invalid value"
            raise GraphqlError(text, code="argumentLiteralsIncompatible")
        else:
            known[wanted.name] = None
    return known


class _Execution:
    def __init__(self, document: Document, types: Types, variables: dict[str, Any]) -> None:
        self.document = document
        self.types = types
        self.variables = variables

    def object(
        self, type_name: str, source: Any, selections: list[Selection], path: list[str | int]
    ) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for one in self._flat(type_name, selections, depth=0):
            answer = self._field(type_name, source, one, [*path, one.alias])
            if isinstance(answer, dict) and isinstance(shown.get(one.alias), dict):
                shown[one.alias] |= answer  # the same object selected twice
            else:
                shown[one.alias] = answer
        return shown

    def _flat(self, type_name: str, selections: list[Selection], *, depth: int) -> list[Field]:
        """Fields in order, with the fragments opened that apply to this type."""
        if depth > len(self.document.fragments) + 20:
            raise GraphqlError("Fragment cycle", code="infiniteLoop")
        found: list[Field] = []
        for one in selections:
            if not self._included(one.directives):
                continue
            if isinstance(one, Field):
                found.append(one)
                continue
            inner = one.selections
            if one.name:
                if one.name not in self.document.fragments:
                    raise GraphqlError(f"Fragment {one.name} was used, but not defined", code="x")
                inner = self.document.fragments[one.name]
            if one.on in {"", type_name}:
                found += self._flat(type_name, inner, depth=depth + 1)
        return found

    def _included(self, directives: list[Directive]) -> bool:
        for directive in directives:
            wanted = bool(self._value(directive.arguments.get("if")))
            if (directive.name == "skip" and wanted) or (
                directive.name == "include" and not wanted
            ):
                return False
        return True

    def _field(self, type_name: str, source: Any, one: Field, path: list[str | int]) -> Any:
        if one.name == "__typename":
            return type_name
        kind = self.types[type_name].get(one.name)
        if kind is None:
            text = f"Field '{one.name}' doesn't exist on type '{type_name}'"
            raise GraphqlError(text, code="undefinedField", path=path)
        if bool(kind.type) != (one.selections is not None):
            text = f"Selections of field '{one.name}' do not fit its type"
            raise GraphqlError(text, code="selectionMismatch", path=path)
        answer = kind.resolve(source, self._arguments(kind, one, path))
        return self._nested(kind, answer, one, path)

    def _arguments(self, kind: FieldType, one: Field, path: list[str | int]) -> dict[str, Any]:
        for name in one.arguments:
            if name not in kind.arguments | kind.required:
                text = f"Field '{one.name}' doesn't accept argument '{name}'"
                raise GraphqlError(text, code="argumentNotAccepted", path=path)
        given = {name: self._value(value) for name, value in one.arguments.items()}
        for name in kind.required:
            if given.get(name) is None:
                text = f"Field '{one.name}' is missing required arguments: {name}"
                raise GraphqlError(text, code="missingRequiredArguments", path=path)
        return given

    def _value(self, value: Any) -> Any:
        match value:
            case Variable(name=name):
                if name not in self.variables:
                    text = f"Variable ${name} is used but not declared"
                    raise GraphqlError(text, code="variableNotDefined")
                return self.variables[name]
            case list():
                return [self._value(item) for item in value]
            case dict():
                return {key: self._value(item) for key, item in value.items()}
            case _:
                return value

    def _nested(self, kind: FieldType, answer: Any, one: Field, path: list[str | int]) -> Any:
        if answer is None or one.selections is None:
            return answer
        if isinstance(answer, list):
            return [
                self.object(kind.type, item, one.selections, [*path, at])
                for at, item in enumerate(answer)
            ]
        return self.object(kind.type, answer, one.selections, path)
