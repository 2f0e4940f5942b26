"""Holds a node against a pydantic model, says what is wrong at which line. Form, not meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from rollbackd.config.diagnostics import Findings, Mark
from rollbackd.config.nodes import Leaf, Node, Place, Table, leaves, plain, reach
from rollbackd.config.scalars import resolve

T = TypeVar("T")

_NUMBERS = frozenset({"int_type", "float_type"})

_WORDS = {
    "string_type": ("expected text", "quote it"),
    "int_type": ("expected a whole number", ""),
    "float_type": ("expected a number", ""),
    "bool_type": ("expected true or false", ""),
    "tuple_type": ("expected a list", "write [a, b] or one - line each"),
    "list_type": ("expected a list", "write [a, b] or one - line each"),
    "dict_type": ("expected a mapping (key: value)", ""),
    "model_type": ("expected a mapping (key: value)", ""),
    "model_attributes_type": ("expected a mapping (key: value)", ""),
}


def fit(
    adapter: TypeAdapter[T], node: Node, findings: Findings, *, key: Mark | None = None
) -> T | None:
    """The value, or None when the findings say what is wrong with it. `key`: the node's own."""
    value = plain(node)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
    if _put_numbers(value, node, details):
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
    for detail in (d for d in details if not _follows(d, details)):
        _report(adapter, Place(node=node, key=key), detail, findings)
    return None


def _put_numbers(value: Any, node: Node, details: Sequence[ErrorDetails]) -> bool:
    """Turn texts from placeholders into numbers where numbers are wanted; whether any was."""
    put = False
    for detail in details:
        place = reach(node, detail["loc"])
        number = _number(place.node)
        if detail["type"] not in _NUMBERS or number is None:
            continue
        parent = value
        for step in place.path[:-1]:
            parent = parent[step]
        parent[place.path[-1]] = number
        put = True
    return put


def _number(node: Node) -> int | float | None:
    if not isinstance(node, Leaf) or not node.filled:
        return None
    try:
        number = resolve(str(node.value))
    except PydanticCustomError:
        return None  # 010, 1e3: what a reader could take for another number is none
    return number if isinstance(number, int | float) and not isinstance(number, bool) else None


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether it is only what another mistake leads to: one error a mistake is enough."""
    loc = detail["loc"]
    match detail["type"]:
        case "too_short":
            return any(d["loc"][: len(loc)] == loc and d is not detail for d in details)
        case "missing":
            misspelt = [
                str(d["loc"][-1])
                for d in details
                if d["type"] == "extra_forbidden" and d["loc"][:-1] == loc[:-1]
            ]
            return bool(difflib.get_close_matches(str(loc[-1]), misspelt, n=1, cutoff=0.75))
        case _:
            return False


def _report(
    adapter: TypeAdapter[Any], root: Place, detail: ErrorDetails, findings: Findings
) -> None:
    loc = detail["loc"]
    place = reach(root.node, loc)
    place = place if place.path else root
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            keys = known_keys(adapter, place.path[:-1])
            message, hint = f"unknown key {loc[-1]!r}", closest(str(loc[-1]), keys)
        case "missing":
            message, hint = f"missing key {loc[-1]!r}", ""
        case "refused":
            message, hint = context["text"], context["hint"]
        case kind:
            message, hint = _WORDS.get(kind, (_sentence(detail["msg"]), ""))
            if isinstance(place.node, Leaf) and place.node.value is None:
                message = "this key has no value"
    mark = _where(place, detail["type"])
    findings.error(mark, redact(message, place.node), redact(hint, place.node))


def _where(place: Place, kind: str) -> Mark:
    """Keys are blamed at the key; a missing one at its parent; a value at the value."""
    if kind == "extra_forbidden" and place.key:
        return place.key
    if kind == "missing" and isinstance(place.node, Table):
        return place.key or place.node.mark
    return place.node.mark


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be", "expected")
    text = text.replace("expected True", "expected true")
    return text[:1].lower() + text[1:]


def redact(text: str, node: Node) -> str:
    """The text without what came from the environment."""
    for leaf in leaves(node):
        for name, value in leaf.secrets:
            for shown in {value, str(leaf.value)}:
                text = text.replace(shown, f"${{{name}}}") if shown else text
    return text


def closest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names[:16])}" if names else ""


def known_keys(adapter: TypeAdapter[Any], path: Sequence[str | int]) -> set[str]:
    """The keys a model takes at `path`, over all branches of its unions."""
    schema = adapter.json_schema()
    here = [schema]
    for step in path:
        here = [
            child
            for one in here
            for branch in _branches(one, schema)
            if (child := _child(branch, step)) is not None
        ]
    return {
        key
        for one in here
        for branch in _branches(one, schema)
        for key in branch.get("properties", {})
    }


def _child(schema: Mapping[str, Any], step: str | int) -> dict[str, Any] | None:
    found = (
        schema.get("items")
        if isinstance(step, int)
        else schema.get("properties", {}).get(step, schema.get("additionalProperties"))
    )
    return found if isinstance(found, dict) else None


def _branches(schema: dict[str, Any], root: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _branches(root["$defs"][name], root)
        return
    unions = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if not unions:
        yield schema
    for one in unions:
        yield from _branches(one, root)
