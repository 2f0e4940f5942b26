"""Where a person answers in a browser: one page for a question, one for a rollback, their forms.

Plain HTML forms, no scripts. Every word from outside is escaped; what a form sends goes the same
way as an order through the API. It judges nothing.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import quote

from rollbackd.core.model import Json, JsonObject
from rollbackd.web.page import head, moment, objects, rows

_OVER: Final = frozenset({"succeeded", "compensated", "failed", "cancelled", "superseded"})
_UNDOABLE: Final = frozenset({"recovered", "recovered_unproven", "not_recovered"})


def proposal_page(target: JsonObject, asked: JsonObject, *, may_write: bool) -> str:
    """What is asked, the plan step by step, and the two answers; bound to the hash shown."""
    plan = asked.get("plan")
    steps = objects(plan.get("steps")) if isinstance(plan, dict) else []
    notes = plan.get("notes") if isinstance(plan, dict) else []
    both = f"v{_e(asked.get('from_version'))} would go back to v{_e(asked.get('to_version'))}"
    shown = f"plan <code>{_e(asked.get('hash'))}</code>"
    lines = [
        f"<p><strong>{_e(asked.get('why'))}</strong></p>",
        f"<p>{both}. Asked {moment(asked.get('asked_at'))}, {shown}.</p>",
    ]
    if asked.get("overdue"):
        lines.append('<p class="bad">Nobody has answered in time.</p>')
    if asked.get("approved_by"):
        lines.append(f"<p>Approved by {_e(asked.get('approved_by'))}; another gate holds it.</p>")
    lines += [f"<p>{_e(note)}</p>" for note in notes] if isinstance(notes, list) else []
    lines.append(
        rows(
            ("phase", "step", "changes"),
            [
                f"<tr><td>{_e(s.get('phase'))}</td><td>{_e(s.get('name'))}</td>"
                f"<td>{'yes' if s.get('mutates') else ''}</td></tr>"
                for s in steps
            ],
        )
    )
    place = f"/proposals/{quote(str(asked.get('id')), safe='')}"
    hidden = f'<input type="hidden" name="hash" value="{_e(asked.get("hash"))}">'
    forms = _form(f"{place}/approve", "Approve this plan", hidden, needs_reason=False) + _form(
        f"{place}/reject", "Reject it", "", needs_reason=True
    )
    title = f"{_e(target.get('name'))}: {_e(asked.get('id'))}"
    return _whole(title, "".join(lines), forms, may_write=may_write)


def rollback_page(past: JsonObject, *, may_write: bool) -> str:
    """How one rollback stands, step by step, with the one order that is possible."""
    state, outcome = str(past.get("state")), past.get("outcome")
    both = f"v{_e(past.get('from_version'))} to v{_e(past.get('to_version'))}"
    lines = [
        f"<p>{both}: <strong>{_e(state)}</strong> {_e(outcome)}</p>",
        f"<p>{_e(past.get('reason'))}</p><p>{_e(past.get('detail'))}</p>",
        rows(
            ("phase", "step", "state", "from", "to", "said"),
            [
                f"<tr><td>{_e(s.get('phase'))}</td><td>{_e(s.get('name'))}</td>"
                f"<td>{_e(s.get('state'))}</td><td>{moment(s.get('started_at'))}</td>"
                f"<td>{moment(s.get('finished_at'))}</td><td>{_e(s.get('error'))}</td></tr>"
                for s in objects(past.get("steps"))
            ],
        ),
    ]
    place, forms = f"/rollbacks/{quote(str(past.get('id')), safe='')}", ""
    if state not in _OVER:
        forms = _form(f"{place}/abort", "Abort it", "", needs_reason=True)
    elif outcome in _UNDOABLE and not past.get("undoes"):
        forms = _form(f"{place}/undo", "Undo it: a false alarm", "", needs_reason=True)
    title = f"{_e(past.get('target'))}: {_e(past.get('id'))}"
    return _whole(title, "".join(lines), forms, may_write=may_write)


def history_page(rollbacks: list[JsonObject]) -> str:
    """The newest rollbacks, each with its page: one that holds waits for a person there."""
    lines = [
        f'<tr><td><a href="/rollbacks/{quote(str(each.get("id")), safe="")}">'
        f"{_e(each.get('id'))}</a></td><td>{_e(each.get('state'))}</td>"
        f"<td>{_e(each.get('outcome'))}</td><td>{moment(each.get('started_at'))}</td>"
        f"<td>{_e(each.get('reason'))}</td></tr>"
        for each in rollbacks
    ]
    table = rows(("rollback", "state", "outcome", "begun", "why"), lines)
    return f"{head('Rollbacks')}{table or '<p>There was none yet.</p>'}{_BACK}</html>"


def answer_page(title: str, said: str, *, hint: str = "", bad: bool = False) -> str:
    """One sentence on what became of an order."""
    style = ' class="bad"' if bad else ""
    more = f"<p>{_e(hint)}</p>" if hint else ""
    return f"{head(_e(title))}<p{style}>{_e(said)}</p>{more}{_BACK}</html>"


_BACK: Final = '<p><a href="/">Back to all targets</a></p>'


def _whole(title: str, lines: str, forms: str, *, may_write: bool) -> str:
    if forms and not may_write:
        forms = "<p>Your token may only look.</p>"
    return f"{head(title)}{lines}{forms}{_BACK}</html>"


def _form(action: str, word: str, hidden: str, *, needs_reason: bool) -> str:
    must = " required" if needs_reason else ""
    return (
        f'<form method="post" action="{_e(action)}">{hidden}'
        f'<p><label>Why <input name="reason" maxlength="1000" size="50"{must}></label> '
        f"<button>{_e(word)}</button></p></form>"
    )


def _e(value: Json) -> str:
    return "" if value is None else escape(str(value), quote=True)
