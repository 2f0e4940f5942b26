"""Reads GraphQL documents: operations, selections, aliases, arguments, variables, fragments.

It refuses subscriptions and schema definitions; it executes nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from rollbackd.sandbox.errors import GraphqlError

_TOKEN = re.compile(
    r"""[\s,\ufeff]+|\#[^\n]*
    |(?P<word>\.\.\.|[!$():=@\[\]{|}&]|[_A-Za-z]\w*|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?
    |\"\"\"(?:[^\"]|\"(?!\"\"))*\"\"\"|"(?:[^"\\\n]|\\.)*")""",
    re.VERBOSE,
)
DEPTH_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    name: str
    alias: str
    arguments: dict[str, Any]
    directives: list[Directive]
    selections: list[Selection] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """`...Name` or `... on Type {…}`."""

    name: str
    on: str
    directives: list[Directive]
    selections: list[Selection]


Selection = Field | Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableDefinition:
    name: str
    required: bool
    has_default: bool
    default: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    kind: str
    name: str
    variables: list[VariableDefinition]
    selections: list[Selection]


@dataclass(slots=True)
class Document:
    operations: list[Operation] = field(default_factory=list)
    fragments: dict[str, list[Selection]] = field(default_factory=dict)

    def operation(self, name: str | None) -> Operation:
        if name:
            found = [one for one in self.operations if one.name == name]
            if not found:
                raise syntax(f"No operation named {name!r}")
            return found[0]
        if len(self.operations) != 1:
            raise syntax("An operation name is required")
        return self.operations[0]


def syntax(message: str) -> GraphqlError:
    return GraphqlError(message, code="parseError")


def parse(text: str) -> Document:
    return _Parser(_tokens(text)).document()


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise syntax(f"Parse error on {text[at]!r} at character {at}")
        if match["word"]:
            found.append(match["word"])
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens; an error names the word it stopped at."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        word = self.peek()
        if not word or (wanted is not None and word != wanted):
            raise syntax(f"Parse error on {word or 'the end'!r}, expecting {wanted or 'more'!r}")
        self.at += 1
        return word

    def took(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.at += 1
        return True

    def name(self) -> str:
        word = self.take()
        if not re.fullmatch(r"[_A-Za-z]\w*", word):
            raise syntax(f"Parse error on {word!r}, expecting a name")
        return word

    def document(self) -> Document:
        document = Document()
        while self.peek():
            if self.took("fragment"):
                name = self.name()
                self.take("on")
                self.name()
                document.fragments[name] = self.selection_set()
            else:
                document.operations.append(self.operation())
        return document

    def operation(self) -> Operation:
        if self.peek() == "{":
            return Operation(kind="query", name="", variables=[], selections=self.selection_set())
        kind = self.name()
        if kind not in {"query", "mutation"}:
            raise syntax(f"Parse error on {kind!r}, expecting query or mutation")
        name = "" if self.peek() in {"(", "{", "@"} else self.name()
        variables = []
        if self.took("("):
            while not self.took(")"):
                variables.append(self.variable_definition())
        self.directives()
        selections = self.selection_set()
        return Operation(kind=kind, name=name, variables=variables, selections=selections)

    def variable_definition(self) -> VariableDefinition:
        self.take("$")
        name = self.name()
        self.take(":")
        required = self.type_is_required()
        has_default = self.took("=")
        default = self.value() if has_default else None
        return VariableDefinition(
            name=name, required=required, has_default=has_default, default=default
        )

    def type_is_required(self) -> bool:
        if self.took("["):
            self.type_is_required()
            self.take("]")
        else:
            self.name()
        return self.took("!")

    def selection_set(self) -> list[Selection]:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise syntax("Query is nested too deeply")
        self.take("{")
        found: list[Selection] = []
        while not self.took("}"):
            found.append(self.spread() if self.took("...") else self.field())
        self.depth -= 1
        if not found:
            raise syntax("Parse error on '}', expecting a selection")
        return found

    def spread(self) -> Spread:
        name = on = ""
        if self.took("on"):
            on = self.name()
        elif self.peek() not in {"{", "@"}:
            name = self.name()
        directives = self.directives()
        inner = [] if name else self.selection_set()
        return Spread(name=name, on=on, directives=directives, selections=inner)

    def field(self) -> Field:
        first = self.name()
        name = self.name() if self.took(":") else first
        arguments = self.arguments()
        directives = self.directives()
        selections = self.selection_set() if self.peek() == "{" else None
        return Field(
            name=name,
            alias=first,
            arguments=arguments,
            directives=directives,
            selections=selections,
        )

    def arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.took("("):
            while not self.took(")"):
                name = self.name()
                self.take(":")
                found[name] = self.value()
        return found

    def directives(self) -> list[Directive]:
        found = []
        while self.took("@"):
            found.append(Directive(name=self.name(), arguments=self.arguments()))
        return found

    def value(self) -> Any:
        word = self.take()
        if word == "$":
            return Variable(name=self.name())
        if word == "[":
            items = []
            while not self.took("]"):
                items.append(self.value())
            return items
        if word == "{":
            return self.object()
        return _scalar(word)

    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.took("}"):
            name = self.name()
            self.take(":")
            found[name] = self.value()
        return found


WORDS = {"true": True, "false": False, "null": None}


def _scalar(word: str) -> Any:
    if word.startswith('"""'):
        return word[3:-3]
    if word.startswith('"'):
        return json.loads(word)
    if word in WORDS:
        return WORDS[word]
    if word[0].isdigit() or word[0] == "-":
        return float(word) if set(word) & set(".eE") else int(word)
    if re.fullmatch(r"[_A-Za-z]\w*", word):
        return word  # an enum value
    raise syntax(f"Parse error on {word!r}, expecting a value")
