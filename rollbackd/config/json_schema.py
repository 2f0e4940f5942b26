"""JSON Schemas of the three files, for editors: made from the models and the plugins' Configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from rollbackd.config.files import ALERTS, LOGGING, MONITORING, AlertsSpec, LoggingSpec
from rollbackd.config.schema import MonitoringSpec, PlanSpec, TargetSpec, TimingSpec
from rollbackd.config.schema_triggers import TriggerSpec
from rollbackd.plugins import ProbePlugin, probes

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REFS = "#/$defs/{model}"


class _Schema(GenerateJsonSchema):
    """Shows defaults as they are written: "10s", not 10.0."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if "default" in made and isinstance(schema.get("default"), (int, float)):
            written = _written(schema["schema"], schema["default"])
            if written is not None:
                made["default"] = written
        return made


def _written(schema: CoreSchema, value: float) -> str | None:
    """The value as its own serializer writes it, looked for in the branches of a union."""
    serialization = schema.get("serialization")
    if serialization and serialization["type"] == "function-plain":
        return str(serialization["function"](value))
    return None


def json_schema(plugins: Mapping[str, type[ProbePlugin]] | None = None) -> dict[str, Any]:
    """Of rollback-monitoring.yml."""
    found = probes() if plugins is None else plugins
    root = _of(MonitoringSpec)
    definitions: dict[str, Any] = root.pop("$defs", {})
    target = _moved(_of(TargetSpec), definitions)
    properties = target["properties"]
    properties["probes"] = _named(_probe(found, definitions), properties["probes"])
    properties["triggers"] = _named(_moved(_of(TriggerSpec), definitions), properties["triggers"])
    properties["plans"] = _named(_moved(_of(PlanSpec), definitions), properties["plans"])
    _relax_for_heirs(target)
    definitions["Target"] = target
    root["properties"]["targets"] |= {"additionalProperties": {"$ref": "#/$defs/Target"}}
    return {"$schema": _DRAFT, **root, "$defs": dict(sorted(definitions.items()))}


def schemas(plugins: Mapping[str, type[ProbePlugin]] | None = None) -> dict[str, dict[str, Any]]:
    """By the name of the file to write."""
    return {
        _name(MONITORING): json_schema(plugins),
        _name(ALERTS): {"$schema": _DRAFT, **_of(AlertsSpec)},
        _name(LOGGING): {"$schema": _DRAFT, **_of(LoggingSpec)},
    }


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _name(file: str) -> str:
    return file.replace(".yml", ".schema.json")


def _of(model: Any) -> dict[str, Any]:
    adapter: TypeAdapter[BaseModel] = TypeAdapter(model)
    return adapter.json_schema(ref_template=_REFS, schema_generator=_Schema)


def _moved(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The schema with its definitions put beside all others; `prefix` keeps plugins apart."""
    inner = schema.pop("$defs", {})
    renamed = {f"#/$defs/{name}": f"#/$defs/{prefix}{name}" for name in inner}
    for name, definition in inner.items():
        definitions[f"{prefix}{name}"] = _renamed(definition, renamed)
    made = _renamed(schema, renamed)
    assert isinstance(made, dict)
    return made


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(one, names) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: names.get(value, value) if key == "$ref" else _renamed(value, names)
        for key, value in schema.items()
    }


def _relax_for_heirs(target: dict[str, Any]) -> None:
    """With `like:` a trigger or plan may say only what differs: no key is required there."""
    properties = target["properties"]
    strict = {key: properties[key] for key in ("triggers", "plans")}
    loose = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    for key, named in strict.items():
        properties[key] = {"type": "object", "description": named["description"]}
    target["if"] = {"required": ["like"]}
    target["then"] = {"properties": dict.fromkeys(strict, loose)}
    target["else"] = {"properties": strict}


def _named(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": field.get("description", ""),
        "additionalProperties": {"anyOf": [schema, {"type": "null"}]},
    }


def _probe(found: Mapping[str, type[ProbePlugin]], definitions: dict[str, Any]) -> dict[str, Any]:
    timing = _of(TimingSpec)
    kinds = {}
    for kind, plugin in found.items():
        kinds[kind] = _moved(_of(plugin.Config), definitions, prefix=f"{kind}.")
    return {
        "type": "object",
        "description": "One kind of probe, and its times.",
        "properties": {**kinds, **timing["properties"]},
        "additionalProperties": False,  # no kind is required: with `like:` it may be inherited
    }
