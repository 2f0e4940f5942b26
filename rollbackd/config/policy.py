"""The document of rollback-monitoring.yml -> the core's `Policy`, target by target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from rollbackd.config.compiled import mass
from rollbackd.config.diagnostics import Findings
from rollbackd.config.inherit import inherit
from rollbackd.config.interpolate import Interpolation
from rollbackd.config.nodes import Table
from rollbackd.config.schema import MassSpec, MonitoringSpec, TargetSpec
from rollbackd.config.scope import Scope
from rollbackd.config.shape import fit
from rollbackd.config.targets import Around, Compiled, check_name, compile_target
from rollbackd.core.model import TargetName
from rollbackd.core.policy import MassSafety, Policy

MOST_VALUES = 200_000  # of all targets together, after `like:`

_TOP: TypeAdapter[MonitoringSpec] = TypeAdapter(MonitoringSpec)
_TARGET: TypeAdapter[TargetSpec] = TypeAdapter(TargetSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """The compiled file; `policy` holds only the targets that could be made."""

    policy: Policy
    targets: Mapping[TargetName, Compiled]


def compile_monitoring(
    document: Table, *, around: Around, environ: Mapping[str, str], digest: str, findings: Findings
) -> Monitoring:
    outside = Interpolation(environ=environ, findings=findings).table(document.without("targets"))
    entries = dict(outside.entries)
    if "targets" in document.entries:
        entries["targets"] = document.entries["targets"]
    spec = fit(_TOP, Table(entries=entries, mark=document.mark), findings)
    targets = _targets(document, around, environ, findings)
    tick = spec.tick if spec else 1.0
    policy = Policy(
        targets={name: compiled.policy for name, compiled in targets.items()},
        mass=mass(spec.safety.mass) if spec else _usual_mass(),
        mode_ceiling=around.settings.mode,
        tick_seconds=tick,
        hash=digest,
    )
    return Monitoring(policy=policy, targets=targets)


def _targets(
    document: Table, around: Around, environ: Mapping[str, str], findings: Findings
) -> dict[TargetName, Compiled]:
    node = document.get("targets")
    if not isinstance(node, Table):
        return {}  # missing or no mapping: the schema has said so
    scope = Scope(root=document, findings=findings, path=("targets",))
    if not node.entries:
        scope.key_error("no target", "write targets: {NAME: {fly: {app: NAME}, url: https://…}}")
    tables = inherit(dict(node.entries), findings)
    if sum(table.size for table in tables.values()) > MOST_VALUES:
        scope.key_error(f"the targets add up to more than {MOST_VALUES} values")
        return {}
    made: dict[TargetName, Compiled] = {}
    for name, entry in node.entries.items():
        check_name(name, entry, findings)
        if not isinstance(entry.node, Table):
            fit(_TARGET, entry.node, findings)
        if name not in tables:
            continue
        table = Interpolation(environ=environ, findings=findings, fields=tables[name]).table(
            tables[name]
        )
        compiled = compile_target(name, table, around, scope.into(name))
        if compiled is not None:
            made[TargetName(name)] = compiled
    return made


def _usual_mass() -> MassSafety:
    return mass(MassSpec())
