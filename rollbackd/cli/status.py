"""`rollbackd status`: what is, at a glance. `--quiet` is a health check: exit code only."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import offline, show
from rollbackd.cli.beside import STOPPED, beside
from rollbackd.cli.client import Daemon, DaemonGone, objects, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.errors import UsageError
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.regression_words import odds


def status(
    target: Target = None,
    *,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Exit 0 when it answers.")] = False,
) -> None:
    """What is: of all targets, or everything about one."""
    answer = _ask(target, quiet=quiet)
    if quiet:
        return
    if json:
        show.as_json(answer)
        return
    if target is not None and "targets" not in answer:
        _one(answer)
        return
    _daemon(answer)
    targets = objects(answer.get("targets"))
    if answer.get("daemon") == "down":
        _last_known(targets)
    elif len(targets) == 1:
        _one(targets[0])
    else:
        _all(targets)


def _ask(target: str | None, *, quiet: bool) -> JsonObject:
    try:
        with Daemon() as daemon:
            return daemon.get(target_path(target) if target else "/api/v1/status")
    except DaemonGone as gone:
        if quiet:
            raise
        answer = offline.read(gone, offline.status)
        show.note(f"{gone.message}: as the journal has it")
        if target is None:
            return answer
        found = [t for t in objects(answer.get("targets")) if t.get("name") == target]
        if not found:
            raise UsageError(f"the journal knows no target {target!r}") from gone
        return {**answer, "targets": list[Json](found)}


def _daemon(answer: JsonObject) -> None:
    config = answer.get("config")
    if isinstance(config, dict) and config.get("error"):
        show.line(f"configuration refused, the last good one runs: {config['error']}", style="red")
    if answer.get("control_ok") is False:
        show.line("our own connectivity is broken: nothing is done", style="red")
    if answer.get("stopped"):
        show.line(STOPPED, style="red")


def _all(targets: list[JsonObject]) -> None:
    rows = [
        (
            each.get("name"),
            _health(each),
            _mode(each),
            _release(each.get("release")),
            _decision(each),
        )
        for each in targets
    ]
    show.table(("target", "health", "mode", "release", "decision"), rows)


def _last_known(targets: list[JsonObject]) -> None:
    rows = [
        (
            each.get("name"),
            _decision(each),
            _at(each.get("decision")),
            show.ago(each.get("paused_until")) if each.get("paused_until") else "no",
            _running(each.get("rollback")),
        )
        for each in targets
    ]
    show.table(("target", "last decision", "when", "paused", "rollback"), rows)


def _one(target: JsonObject) -> None:
    # While a rollback runs nothing would be gone back to: it goes.
    goal = "" if target.get("rollback") else f"  would go back to {_release(target.get('goal'))}"
    show.line(
        f"{target.get('name')}  {_health(target)}  mode {_mode(target)}"
        f"  release {_release(target.get('release'))}{goal}",
        style="bold",
    )
    if target.get("headline"):
        show.line(str(target["headline"]))
    show.line(_sentence(target.get("decision"), target.get("then")))
    for line in _notes(target):
        show.line(line)
    triggers = [
        (t.get("name"), t.get("state"), t.get("value"), t.get("threshold"), t.get("why"))
        for t in objects(target.get("triggers"))
    ]
    show.line("")
    show.table(("trigger", "state", "value", "limit", "why"), triggers)
    probes = [
        (p.get("name"), p.get("outcome"), p.get("value"), show.ago(p.get("at")), p.get("detail"))
        for p in objects(target.get("probes"))
    ]
    show.line("")
    show.table(("probe", "outcome", "value", "looked", "detail"), probes)
    _machines(objects(target.get("machines")))


def _notes(target: JsonObject) -> list[str]:
    """What stands beside the decision, where there is anything."""
    asked = target.get("proposal")
    lines = _asked(asked) if isinstance(asked, dict) else []
    lines += beside(target)
    for each in objects(target["triggers"]):
        name, number, level = (each.get(key) for key in ("name", "odds", "level"))
        if level and isinstance(number, int | float):
            lines.append(f"evidence of {name} {odds(number)}, {level}")
    return lines


def _asked(proposal: JsonObject) -> list[str]:
    """What a person is asked, and how to answer."""
    name, digest = proposal.get("id"), proposal.get("hash")
    since = show.ago(proposal.get("asked_at"))
    late = ", longer than it should" if proposal.get("overdue") else ""
    by = proposal.get("approved_by")
    stand = f"approved by {by}, held by another gate" if by else f"asked {since}{late}"
    return [
        f"proposed: v{proposal.get('from_version')} -> v{proposal.get('to_version')}, {stand}",
        f"  rollbackd approve {name} --hash {digest}",
        f'  rollbackd reject {name} --reason "…"',
    ]


def _machines(machines: list[JsonObject]) -> None:
    if not machines:
        return
    rows = [
        (m.get("id"), m.get("state"), m.get("region"), m.get("release"), m.get("critical_checks"))
        for m in machines
    ]
    show.line("")
    show.table(("machine", "state", "region", "release", "critical"), rows)


def _health(target: JsonObject) -> str:
    match target.get("healthy"):
        case True:
            return "healthy"
        case False:
            return "unhealthy"
        case _:
            return "unknown"


def _mode(target: JsonObject) -> str:
    if target.get("rollback"):
        return "rolling back"
    if target.get("paused_until"):
        return "paused"
    return "locked out" if target.get("locked_out") else str(target.get("mode"))


def _release(release: Json) -> str:
    return f"v{release.get('version')}" if isinstance(release, dict) else "-"


def _decision(target: JsonObject) -> str:
    decision = target.get("decision")
    if not isinstance(decision, dict):
        return "-"
    return f"{decision.get('kind')}: {decision.get('reason')}"


def _sentence(decision: Json, then: Json) -> str:
    if not isinstance(decision, dict):
        return "nothing is decided yet"
    why = f", {then}" if then else ""
    return f"{decision.get('kind')}: {decision.get('reason')}{why} ({_at(decision)})"


def _at(decision: Json) -> str:
    return show.ago(decision.get("at")) if isinstance(decision, dict) else "-"


def _running(rollback: Json) -> str:
    return f"{rollback.get('id')} {rollback.get('state')}" if isinstance(rollback, dict) else "-"
