"""`rollbackd explain`: numbers first, then every gate, then what would have to happen."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, objects, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.model import Json, JsonObject


def explain(target: Target = None, *, json: AsJson = False) -> None:
    """Why (not) now."""
    with Daemon() as daemon:
        name = daemon.pick(target)
        answer = daemon.get(target_path(name, "/explain"))
    if json:
        show.as_json(answer)
        return
    _numbers(objects(answer.get("triggers")))
    _decision(name, answer.get("decision"))
    rows = [
        ("holds" if gate.get("holds") else "open", gate.get("reason"), gate.get("why"))
        for gate in objects(answer.get("gates"))
    ]
    show.line("")
    show.table(("gate", "reason", "why"), rows)
    _to_act(answer.get("to_act"))


def _numbers(triggers: list[JsonObject]) -> None:
    rows = [
        (
            each.get("name"),
            each.get("state"),
            each.get("value"),
            each.get("threshold"),
            each.get("samples"),
            each.get("why"),
        )
        for each in triggers
    ]
    show.table(("trigger", "state", "value", "limit", "samples", "why"), rows)


def _decision(name: str, decision: Json) -> None:
    show.line("")
    if not isinstance(decision, dict):
        show.line(f"{name}: nothing is decided yet")
        return
    why = decision.get("why")
    text = f"{name}: {decision.get('kind')} because of {decision.get('reason')}"
    show.line(f"{text}, {why}" if why else text, style="bold")


def _to_act(conditions: Json) -> None:
    lines = conditions if isinstance(conditions, list) else []
    show.line("")
    if not lines:
        show.line("Nothing holds it.")
        return
    show.line("For it to act:")
    for each in lines:
        show.line(f"  - {each}")
