"""Checks one request against the published OpenAPI of the Machines API."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema

_SPEC = json.loads((Path(__file__).parent / "spec/machines-openapi-extract.json").read_text())


def complaints(request: httpx.Request) -> list[str]:
    """What the specification has against a request; empty when it conforms."""
    found = _operation(request)
    if found is None:
        return [f"no operation {request.method} {request.url.path}"]
    lines = [
        f"query parameter {name} is not in the specification"
        for name in request.url.params
        if name not in found["query"]
    ]
    lines += [
        f"header {name} is missing"
        for name in found["required_headers"]
        if name not in request.headers
    ]
    return lines + _body_complaints(request, found)


def _operation(request: httpx.Request) -> dict[str, Any] | None:
    for template, methods in _SPEC["paths"].items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in methods:
            operation: dict[str, Any] = methods[request.method.lower()]
            return operation
    return None


def _body_complaints(request: httpx.Request, operation: dict[str, Any]) -> list[str]:
    if "body" not in operation:
        return [] if not request.content else ["a body where none is expected"]
    if not request.content:
        return ["the body is missing"]
    schema = _strict({**operation["body"], "components": _SPEC["components"]})
    validator = jsonschema.Draft202012Validator(schema)
    return [
        f"{request.method} {request.url.path} {error.json_path}: {error.message}"
        for error in validator.iter_errors(json.loads(request.content))
    ]


def _strict(schema: Any) -> Any:
    """The specification with two of its own contradictions mended.

    `autostop` is written as a word and answered as a boolean, by its own description; an action is
    an object made of an integer, and its description says it is letters.
    """
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {key: _strict(value) for key, value in schema.items()}
    if mended.get("enum") == ["off", "stop", "suspend"]:
        return {"enum": ["off", "stop", "suspend", True, False]}
    if mended.get("allOf") == [{"$ref": "#/components/schemas/resset.Action"}]:
        return {"type": "string"}
    if isinstance(mended.get("type"), str) and "enum" not in mended:
        mended["type"] = [mended["type"], "null"]  # Go writes an absent value as null
    return mended
