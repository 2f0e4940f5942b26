"""What a person does in a browser: looks at a question or a rollback, and answers with a form.

The same orders as the API's, from the page itself only. After an order that began something the
browser is sent on, so that reloading repeats nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Json, JsonObject
from rollbackd.telemetry import shapes
from rollbackd.telemetry.redact import Scrubber
from rollbackd.web import asking, forms, page, problems
from rollbackd.web.auth import Door, Role, Who
from rollbackd.web.frame import ROUTE
from rollbackd.web.surface import Desk

_Answer: TypeAlias = Callable[[str, asking.Body, str], Awaitable[Response]]
_SCRUBBER = Scrubber()
_SHOWN = 20
_REASON = frozenset({"reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    desk: Desk
    door: Door

    def routes(self) -> list[Route]:
        return [
            self._look("/proposals/{id}", self._proposal),
            self._look("/rollbacks", self._rollbacks),
            self._look("/rollbacks/{id}", self._rollback),
            self._form("/proposals/{id}/approve", self._approve, _REASON | {"hash"}),
            self._form("/proposals/{id}/reject", self._reject, _REASON),
            self._form("/rollbacks/{id}/abort", self._abort, _REASON),
            self._form("/rollbacks/{id}/undo", self._undo, _REASON),
        ]

    def _look(self, path: str, answer: Callable[[str, Who], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope[ROUTE] = path
            who = self.door.admit(request, needs=Role.READER)
            return await _in_words(answer(request.path_params.get("id", ""), who))

        return Route(path, endpoint, methods=["GET"])

    def _form(self, path: str, answer: _Answer, known: frozenset[str]) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope[ROUTE] = path
            who = self.door.admit_form(request)
            what = request.path_params["id"]

            async def answered() -> Response:
                return await answer(what, await asking.form(request, known), who.name)

            return await _in_words(answered())

        return Route(path, endpoint, methods=["POST"])

    async def _proposal(self, what: str, who: Who) -> Response:
        for target in page.objects(self.desk.status().get("targets")):
            asked = target.get("proposal")
            if isinstance(asked, dict) and asked.get("id") == what:
                text = forms.proposal_page(target, asked, may_write=who.role is Role.WRITER)
                return _html(text)
        said = f"{what} is not asked any more: it was answered, done or withdrawn"
        return _html(forms.answer_page("rollbackd", said), 404)

    async def _rollbacks(self, _what: str, _who: Who) -> Response:
        past = page.objects((await self.desk.rollbacks(None, _SHOWN)).get("rollbacks"))
        return _html(forms.history_page([shapes.past(row) for row in past]))

    async def _rollback(self, what: str, who: Who) -> Response:
        past = shapes.past(await self.desk.rollback(what))
        return _html(forms.rollback_page(past, may_write=who.role is Role.WRITER))

    async def _approve(self, what: str, asked: asking.Body, by: str) -> Response:
        reason = asked.text("reason", "")
        answer = await self.desk.approve(what, seen=asked.text("hash"), reason=reason, by=by)
        if answer.get("result") != "held":
            return _to_rollback(answer.get("rollback"))
        said = f"{what} is approved and held: {answer.get('reason')}: {answer.get('why')}"
        stands = f"The approval stands until {page.moment(answer.get('stands_until'))}."
        return _html(forms.answer_page("Held", said, hint=stands))

    async def _reject(self, what: str, asked: asking.Body, by: str) -> Response:
        await self.desk.reject(what, reason=asked.text("reason"), by=by)
        said = f"{what} is rejected: it is not asked again for this release"
        return _html(forms.answer_page("Rejected", said))

    async def _abort(self, what: str, asked: asking.Body, by: str) -> Response:
        answer = await self.desk.abort(what, reason=asked.text("reason"), by=by)
        held = answer.get("held")
        rest = f"; still held: {held}" if held else ": what it held is let go"
        return _html(
            forms.answer_page("Aborted", f"{what} is {answer.get('state')}{rest}", bad=bool(held))
        )

    async def _undo(self, what: str, asked: asking.Body, by: str) -> Response:
        answer: JsonObject = await self.desk.undo(what, reason=asked.text("reason"), by=by)
        return _to_rollback(answer.get("rollback"))


async def _in_words(answer: Awaitable[Response]) -> Response:
    """A refusal as a page: who sent a form reads no JSON."""
    try:
        return await answer
    except RollbackdError as error:
        return _refused(problems.status_of(error), error.message, error.hint)
    except HTTPException as error:
        return _refused(error.status_code, error.detail, headers=error.headers or {})


def _refused(
    status: int, said: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    words, more = _SCRUBBER.text(said), _SCRUBBER.text(hint)
    return _html(forms.answer_page("Refused", words, hint=more, bad=True), status, headers)


def _to_rollback(rollback: Json) -> Response:
    return RedirectResponse(f"/rollbacks/{quote(str(rollback), safe='')}", 303)


def _html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(text, status, headers={**page.HEADERS, **(headers or {})})
