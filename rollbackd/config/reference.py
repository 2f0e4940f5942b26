"""Writes docs/thresholds.md from the models: every key with its type, default and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rollbackd.config.json_schema import json_schema, schemas
from rollbackd.plugins import ProbePlugin

_INTRO = """# Thresholds: every key of the configuration

<!-- Generated from the models (rollbackd/config/schema*.py and the probes). Do not edit. -->

The directory (`ROLLBACKD_CONFIG`, by default `config`) holds `rollback-monitoring.yml`, and beside
it, if wanted, `rollback-alerts.yml` and `rollback-logging.yml`. `rollbackd check` judges them.

The shortest file watches an app and acts on nothing:

```yaml
targets:
  hotdash: {fly: {app: hotdash-staging}, url: https://hotdash-staging.fly.dev}
```

## How values are written

| type | written | not |
|---|---|---|
| duration | `500ms`, `15s`, `2m`, `1h30m`, `1d` | `15`: a unit is needed |
| ratio | `5%` or `0.05`; at most `100%` | `5`: could be 5 or 500 % |
| size | `512B`, `64KiB`, `1MiB` (1024), `1MB` (1000) | `64`: a unit is needed |
| status | `2xx` or `204` | `9xx`, `600` |
| time of day | `"09:00"`, quoted | `09:00` |

What YAML 1.1 reads in a surprising way (`no`, `on`, `1:30`, `010`, `1e3`, dates) must be quoted. In
`{…}` PromQL and `${NAME}` must be quoted too. `${NAME}` and `${NAME:-default}` are the environment,
`${fly.app}` is a field of the same target, `$$` is a plain `$`; all inside text only, and where a
whole or plain number is wanted the text may be one (`port: "${PORT}"`).

`like: other` takes over what another target says: mappings merge key by key, everything else is
replaced (`breach_when`, `clear_when`, `breaches` and `expect` whole), and `key: null` takes a key
away.

## Conditions

A condition has to fit what the probe gives; `check` refuses it otherwise.

| the probe gives | condition | limit |
|---|---|---|
| checks (`http`, `tcp`, `command`, `fly`) | `{failing: true}` | |
| checks of machines (`fly`) | `{failing_machines: {at_least: 2}}` | machines |
| bad and total (`fly_edge: errors`, `prometheus`, `scrape`) | `{above: 5%}` | ratio |
| bad and total | `{burn_rate: {slo: 99.9%, above: 14.4}}` | times the budget's rate |
| buckets (`fly_edge: latency`, `prometheus`, `scrape`) | `{p95: {above: 2s}}` | duration |
| a value (`value:` of a probe) | `{above: 100}` | plain number |

Exactly one of `above`, `at_least`, `below`, `at_most`. `clear_when` is the same measure from the
other side; without it a breach is over when it is not in breach any more.

A burn rate holds where it holds over its long window and over its short one; half of each must have
been seen, and `min_samples` counts on the long one. A deploy does not empty its windows, a rollback
does.

`regression` has no condition: it compares the app with itself before the release. With `auto` it
takes the probes named `errors`, `health` and `latency`, or the only one of the target that gives
such numbers; any of the three may be missing. What something else breaks after a deploy looks like
the release's fault: name what the app depends on in `unless`.

```yaml
targets:
  hotdash:
    fly: {app: hotdash-staging, org: hotdash}
    url: https://hotdash-staging.fly.dev
    mode: approve
    probes:
      health: {http: {path: /health}, interval: 5s, timeout: 2s}
      machines: {fly: {}}
      errors: {fly_edge: errors}
      database: {supabase: {project: abcdefghijklmnopqrst}}
    triggers:
      release-regression:
        regression: {errors: errors, health: health}      # or: regression: auto
        unless: [{probe: database, breach_when: {failing: true}}]
      slo-burn:
        probe: errors
        breach_when: {burn_rate: {slo: 99.9%, above: 14.4, windows: {long: 1h, short: 5m}}}
        min_samples: 500
      health-down:
        probe: health
        breach_when: {failing: true}
        breaches: {at_least: 4, of_last: 4}
      error-rate:
        probe: errors
        window: 2m
        breach_when: {above: 5%}
        clear_when: {below: 2%}
        for: 60s
        min_samples: 50
        unless: [{probe: machines, breach_when: {failing_machines: {at_least: 3}}}]
      both: {all: [{trigger: error-rate}, {trigger: health-down}]}
```
"""

_TITLES = {
    "SignalTriggerSpec": "A trigger on one probe",
    "RegressionTriggerSpec": "A trigger on a release that made it worse",
    "RegressionSpec": "regression",
    "HistorySpec": "regression.history",
    "DeployFailedSpec": "A trigger on a failed deploy",
    "AllSpec": "A trigger on all of its parts",
    "AnySpec": "A trigger on any of its parts",
    "SignalSpec": "A signal (part or veto)",
    "RefSpec": "Another trigger (part or veto)",
    "ConditionSpec": "breach_when, clear_when",
    "BoundSpec": "A comparison",
    "BurnRateSpec": "burn_rate",
    "BurnWindowsSpec": "burn_rate.windows",
    "BreachesSpec": "breaches",
    "SafetySpec": "safety",
    "SettleSpec": "safety.settle",
    "BudgetSpec": "safety.budget",
    "WindowSpec": "safety.windows[]",
    "AfterSpec": "after",
    "SmokeSpec": "after.smoke[]",
    "ExpectSpec": "after.smoke[].expect",
    "SuccessSpec": "after.success_when",
    "DatabaseSpec": "database",
    "MigrationsSpec": "database.migrations[]",
    "CriticalTableSpec": "database.critical_tables[]",
    "InvariantSpec": "database.invariants[], after.invariants[]",
    "SnapshotsSpec": "database.snapshot",
    "DatabaseTimeoutsSpec": "database.timeouts",
    "SupabaseSpec": "database.supabase",
    "FlySpec": "fly",
    "TogetherSpec": "safety (of the file)",
    "MassSpec": "safety.mass (of the file)",
}


def reference(plugins: Mapping[str, type[ProbePlugin]] | None = None) -> str:
    """The whole page, the same text for the same models."""
    schema = json_schema(plugins)
    definitions = schema["$defs"]
    target = definitions["Target"]["properties"]
    parts = [_INTRO, "## rollback-monitoring.yml\n"]
    parts += _section("The file", schema, definitions)
    parts += _section("A target", definitions["Target"], definitions)
    plans = definitions["Target"]["else"]["properties"]["plans"]
    parts += _section("A plan", _entry(plans), definitions)
    for name, title in _TITLES.items():
        parts += _section(title, definitions[name], definitions)
    parts.append("## Probes\n")
    parts += _probes(_entry(target["probes"]), definitions)
    for file, side in schemas(plugins).items():
        if "monitoring" not in file:
            name = file.replace(".schema.json", ".yml")
            parts += [f"## {name}\n", *_table(side, side.get("$defs", {}))]
    return "\n".join(parts)


def _entry(named: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = named["additionalProperties"]["anyOf"][0]
    return entry


def _probes(entry: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    times = {key: entry["properties"][key] for key in ("interval", "timeout")}
    yield from _section("Every probe", {"properties": times}, definitions)
    for kind, schema in entry["properties"].items():
        if kind not in times:
            yield from _section(f"`{kind}`", schema, definitions)
    for name, schema in definitions.items():
        if "." in name:
            yield from _section(f"`{name}`", schema, definitions)


def _section(title: str, schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    return [f"### {title}\n", *_table(schema, definitions)]


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    lines = []
    if schema.get("description"):
        lines.append(f"{schema['description']}\n")
    for branch in schema.get("anyOf", ()):
        lines += _table(branch, definitions)
    properties = schema.get("properties", {})
    if not properties:
        if "enum" in schema:
            lines.append(f"One of {_type(schema, definitions)}.\n")
        return lines
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in properties.items():
        default = _default(field, required=key in schema.get("required", ()))
        meaning = _cell(field.get("description", ""))
        lines.append(f"| `{key}` | {_type(field, definitions)} | {default} | {meaning} |")
    return [*lines, ""]


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "x-type" in field:
        return str(field["x-type"])
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _type(definitions[name], definitions)
    for word in ("anyOf", "oneOf"):
        if word in field:
            kinds = [_type(one, definitions) for one in field[word] if one != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in field or "const" in field:
        values = field.get("enum", [field.get("const")])
        return " \\| ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in values)
    return _plain_type(field, definitions)


def _plain_type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    match field.get("type"):
        case "array":
            return f"list of {_type(field.get('items', {}), definitions)}"
        case "object" | None:
            return "mapping"
        case str(kind):
            return words.get(kind, kind)
        case kinds:
            return " or ".join(words.get(kind, kind) for kind in kinds)


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    if value is None or isinstance(value, dict):
        return ""
    return _cell(f"`{value if isinstance(value, str) else json.dumps(value)}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
