"""The status page: plain HTML without scripts, every word from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from rollbackd.core.model import Json, JsonObject
from rollbackd.core.wording import figure

_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "td,th{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884;"
    "vertical-align:top}"
    ".bad{color:#b00020}.good{color:#0a7d33}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}"
    ".bad{color:#ff6b7d}.good{color:#5bd68b}}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
# A browser names the origin of a form only where its page has a referrer: the forms need it.
HEADERS = {"referrer-policy": "same-origin"}


_ALL = '<a href="/rollbacks">all rollbacks</a>'


def render(status: JsonObject) -> str:
    """The whole page from the status JSON."""
    targets = [t for t in _list(status.get("targets")) if isinstance(t, dict)]
    body = "".join(_target(t) for t in targets) or "<p>No target has been looked at yet.</p>"
    config = status.get("config")
    refused = config.get("error") if isinstance(config, dict) else None
    notes = ""
    if refused:
        notes += f'<p class="bad">Configuration refused, the last good one runs: {_e(refused)}</p>'
    if status.get("control_ok") is False:
        notes += '<p class="bad">Our own connectivity is broken: nothing is done.</p>'
    if status.get("stopped"):
        notes += '<p class="bad">A STOP file is in the state directory: nothing is sent.</p>'
    again = '<meta http-equiv="refresh" content="10">'
    version = _e(status.get("version"))
    return f"{head('rollbackd', again)}<p>Version {version} · {_ALL}</p>{notes}{body}</html>"


def head(title: str, more: str = "") -> str:
    """The beginning of a page up to its heading. Both are HTML; a page with a form must not begin
    anew while somebody types.
    """
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{more}'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
    )


def _target(target: JsonObject) -> str:
    healthy = target.get("healthy")
    word = {True: "healthy", False: "unhealthy"}.get(healthy, "unknown")  # type: ignore[call-overload]  # None and odd values fall through
    style = {"healthy": "good", "unhealthy": "bad"}.get(word, "")
    decision = target.get("decision")
    release = target.get("release")
    lines = f"<p>Mode {_e(target.get('mode'))}"
    if isinstance(release, dict):
        lines += f" · release v{_e(release.get('version'))}"
    if isinstance(decision, dict):
        then = f", {_e(target.get('then'))}" if target.get("then") else ""
        lines += f" · {_e(decision.get('kind'))}: {_e(decision.get('reason'))}{then}"
    if target.get("headline"):
        lines += f"</p><p><strong>{_e(target.get('headline'))}</strong>"
    if target.get("relapse"):
        lines += f'</p><p class="bad">The current release {_e(target.get("relapse"))}'
    for each in (*_set_by_people(target), *_list(target.get("learning"))):
        lines += f"</p><p>{_e(each)}"
    return (
        f'<h2>{_e(target.get("name"))} <span class="{style}">{word}</span></h2>{lines}</p>'
        + _asked(target)
        + _table(
            ("trigger", "state", "level", "value", "threshold", "why"), "name", target, "triggers"
        )
        + _table(("probe", "outcome", "value", "at", "detail"), "name", target, "probes")
        + _releases(target)
        + _trial(target)
    )


def _set_by_people(target: JsonObject) -> list[Json]:
    lines: list[Json] = [target["paused"]] if target.get("paused") else []
    if target.get("locked_out"):
        lines.append(f"locked out: {target.get('locked_why')}; look at it, then unlock")
    if target.get("mode_set"):
        lines.append(f"mode {target['mode_set']}")
    return lines


def _asked(target: JsonObject) -> str:
    """What waits for a person, and what runs: each has a page of its own."""
    found = ""
    proposal, rollback = target.get("proposal"), target.get("rollback")
    if isinstance(proposal, dict):
        place = f"/proposals/{quote(str(proposal.get('id')), safe='')}"
        found += (
            f'<p class="bad">A person is asked: back to v{_e(proposal.get("to_version"))}? '
            f'<a href="{_e(place)}">Look at the plan and answer</a></p>'
        )
    if isinstance(rollback, dict):
        place = f"/rollbacks/{quote(str(rollback.get('id')), safe='')}"
        found += f'<p><a href="{_e(place)}">Rollback {_e(rollback.get("id"))}</a></p>'
    return found


def _releases(target: JsonObject) -> str:
    """What could be gone back to, and why not the others."""
    lines = []
    for row in _list(target.get("releases")):
        if isinstance(row, dict):
            mark = "runs" if row.get("current") else "goal" if row.get("goal") else ""
            style = "bad" if row.get("standing") in {"bad", "quarantined"} else ""
            lines.append(
                f"<tr><td>v{_e(row.get('version'))}</td><td>{mark}</td>"
                f'<td class="{style}">{_e(row.get("standing"))}</td>'
                f"<td>{_e(row.get('why'))}</td>"
                f"<td><code>{_e(str(row.get('commit') or '')[:10])}</code></td>"
                f"<td>{_e(row.get('author'))}</td></tr>"
            )
    return rows(("release", "", "standing", "why", "commit", "by"), lines)


def _trial(target: JsonObject) -> str:
    """What only the mode kept from being done, so that a person can judge whether it was right."""
    if not target.get("trial"):
        return ""
    lines = [
        f"<tr><td>v{_e(row.get('version'))}</td><td>v{_e(row.get('to_version'))}</td>"
        f"<td>{moment(row.get('at'))}</td><td>{_e(row.get('why'))}</td></tr>"
        for row in _list(target.get("would_have"))
        if isinstance(row, dict)
    ]
    table = rows(("release", "back to", "when", "why"), lines)
    return f"<p>rollbackd {_e(target.get('trial'))}</p>{table}"


def rows(heads: tuple[str, ...], lines: list[str]) -> str:
    """A table of such lines; nothing without any."""
    top = "".join(f"<th>{_e(h)}</th>" for h in heads)
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>" if lines else ""


def moment(at: Json) -> str:
    """Epoch seconds for people; nothing where there are none."""
    if not isinstance(at, int | float):
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _table(heads: tuple[str, ...], first: str, target: JsonObject, rows: str) -> str:
    names = (first, *heads[1:])
    top = "".join(f"<th>{_e(h)}</th>" for h in heads)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_cell(name, row.get(name))}</td>" for name in names) + "</tr>"
        for row in _list(target.get(rows))
        if isinstance(row, dict)
    )
    return f"<table><tr>{top}</tr>{lines}</table>"


def _cell(name: str, value: Json) -> str:
    if name == "at" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%H:%M:%S UTC")
    return _e(figure(value) if isinstance(value, float) else value)


def _e(value: Json) -> str:
    return "" if value is None else escape(str(value), quote=True)


def objects(value: Json) -> list[JsonObject]:
    """The objects of a list; none where it is none."""
    return [each for each in _list(value) if isinstance(each, dict)]


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
