"""`rollbackd explain`: numbers first, then every gate, then what would have to happen."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.beside import beside
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
    show.line(str(answer.get("headline") or name), style="bold")
    show.line(_header(answer))
    for line in beside(answer):
        show.line(line)
    show.line("")
    _numbers(objects(answer.get("triggers")))
    _odd_looks(objects(answer.get("probes")))
    _decision(name, answer.get("decision"), answer.get("then"))
    rows = [
        ("holds" if gate.get("holds") else "open", gate.get("reason"), gate.get("why"))
        for gate in objects(answer.get("gates"))
    ]
    show.line("")
    show.table(("gate", "reason", "why"), rows)
    running = answer.get("rollback")
    _to_act(answer.get("to_act"), again=isinstance(running, dict))
    if not isinstance(running, dict):  # where that goes is said on top
        _goal(answer)


def _header(answer: JsonObject) -> str:
    release = answer.get("release")
    runs = f"release v{release.get('version')}" if isinstance(release, dict) else "no release yet"
    return f"mode {answer.get('mode')}, {runs}"


def _goal(answer: JsonObject) -> None:
    goal = answer.get("goal")
    show.line("")
    if isinstance(goal, dict):
        version, standing = goal.get("version"), goal.get("standing")
        show.line(f"It would go back to v{version}: {standing}, {goal.get('why')}")
    else:
        show.line("There is no release to go back to.")
    for each in objects(answer.get("passed_over")):
        show.line(f"  not to v{each.get('version')}: {each.get('passed_over')}")


def _numbers(triggers: list[JsonObject]) -> None:
    rows = [
        (
            each.get("name"),
            " ".join(filter(None, (str(each.get("state")), str(each.get("level") or "")))),
            each.get("value"),
            each.get("threshold"),
            each.get("samples"),
            each.get("why"),
        )
        for each in triggers
    ]
    show.table(("trigger", "state", "value", "limit", "samples", "why"), rows)


def _odd_looks(probes: list[JsonObject]) -> None:
    """The newest look of each probe that saw no good sample: what it met, in one line."""
    for each in probes:
        met = each.get("detail") or each.get("outcome")
        show.line(
            f"probe {each.get('name')}: {each.get('outcome')}, {met}, {show.ago(each.get('at'))}"
        )


def _decision(name: str, decision: Json, then: Json) -> None:
    show.line("")
    if not isinstance(decision, dict):
        show.line(f"{name}: nothing is decided yet")
        return
    text = f"{name}: {decision.get('kind')}: {decision.get('reason')}"
    show.line(f"{text}, {then}" if then else text)


def _to_act(conditions: Json, *, again: bool) -> None:
    lines = _list(conditions)
    show.line("")
    if not lines:
        show.line("Nothing holds it.")
        return
    show.line("For it to act again:" if again else "For it to act:")
    for each in lines:
        show.line(f"  - {each}")


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
