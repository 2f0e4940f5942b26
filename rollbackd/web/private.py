"""The private listener: the page, the API, and orders. Each route is one line of a table.

It judges nothing and touches nothing: it asks the desk, and says who asked.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from rollbackd import __version__
from rollbackd.core.model import Json, JsonObject, Restore
from rollbackd.telemetry import shapes
from rollbackd.web import asking, page
from rollbackd.web.answering import Answering
from rollbackd.web.auth import Door, Role, Tokens
from rollbackd.web.frame import ROUTE, Count, Frame
from rollbackd.web.problems import HANDLERS
from rollbackd.web.surface import About, Desk, Saying

_Answer: TypeAlias = Callable[[Request], Awaitable[Response]]
_TARGET = "/api/v1/targets/{target}"
_MOST_ROLLBACKS = 1000
_LIMIT = re.compile(r"[1-9][0-9]{0,3}")
_RESTORE = frozenset({"snapshot", "tables", "missing", "common"})
_ORDER = _RESTORE | {"to", "plan", "reason", "class", "dry_run", "plan_hash", "to_migration"}


def private_app(desk: Desk, *, tokens: Tokens, count: Count, trusted: bool = False) -> Frame:
    """The app of the private listener; `trusted` for the one behind the Unix socket."""
    rooms = _Rooms(desk=desk, door=Door(tokens, trusted=trusted))
    app = Starlette(
        routes=rooms.routes(),
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False
    return Frame(app, count=count, policy=page.POLICY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rooms:
    desk: Desk
    door: Door

    def routes(self) -> list[Route]:
        return [
            self._look("/", self._page),
            self._look("/api/v1/version", self._version),
            self._look("/api/v1/status", self._status),
            self._look(_TARGET, self._target),
            self._look(f"{_TARGET}/releases", self._releases),
            self._look(f"{_TARGET}/explain", self._explain),
            self._look(f"{_TARGET}/database", self._database),
            self._look(f"{_TARGET}/gate", self._gate, frozenset({"sha"})),
            self._look("/api/v1/rollbacks", self._rollbacks, frozenset({"target", "limit"})),
            self._look("/api/v1/rollbacks/{id}", self._rollback),
            self._order(f"{_TARGET}/rollback", self._order_rollback),
            self._order(f"{_TARGET}/pause", self._pause),
            self._order(f"{_TARGET}/resume", self._resume),
            self._order(f"{_TARGET}/unlock", self._unlock),
            self._order(f"{_TARGET}/set", self._set),
            self._order("/api/v1/proposals/{id}/approve", self._approve),
            self._order("/api/v1/proposals/{id}/reject", self._about(self.desk.reject)),
            self._order("/api/v1/rollbacks/{id}/abort", self._about(self.desk.abort)),
            self._order("/api/v1/rollbacks/{id}/undo", self._about(self.desk.undo)),
            self._order(f"{_TARGET}/announce", self._announce),
            self._order(f"{_TARGET}/bless", self._saying(self.desk.bless)),
            self._order(f"{_TARGET}/quarantine", self._saying(self.desk.quarantine)),
            self._order(f"{_TARGET}/unquarantine", self._saying(self.desk.unquarantine)),
            self._order("/-/reload", self._reload),
            *Answering(desk=self.desk, door=self.door).routes(),
        ]

    def _look(self, path: str, answer: _Answer, known: frozenset[str] = frozenset()) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope[ROUTE] = path
            self.door.admit(request, needs=Role.READER)
            asking.query(request, known)
            return await answer(request)

        return Route(path, endpoint, methods=["GET"])

    def _order(self, path: str, answer: Callable[[Request, str], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            request.scope[ROUTE] = path
            who = self.door.admit(request, needs=Role.WRITER)
            asking.query(request, frozenset())
            return await answer(request, who.name)

        return Route(path, endpoint, methods=["POST"])

    # Looks ---------------------------------------------------------------------------------------

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(page.render(self.desk.status()), headers=page.HEADERS)

    async def _version(self, _request: Request) -> Response:
        return JSONResponse({"version": __version__})

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(self.desk.status())

    async def _target(self, request: Request) -> Response:
        return JSONResponse(self.desk.target(request.path_params["target"]))

    async def _releases(self, request: Request) -> Response:
        return JSONResponse(self.desk.releases(request.path_params["target"]))

    async def _explain(self, request: Request) -> Response:
        return JSONResponse(self.desk.explain(request.path_params["target"]))

    async def _database(self, request: Request) -> Response:
        return JSONResponse(await self.desk.database(request.path_params["target"]))

    async def _gate(self, request: Request) -> Response:
        sha = request.query_params.get("sha", "")
        return JSONResponse(self.desk.gate(request.path_params["target"], sha))

    async def _rollbacks(self, request: Request) -> Response:
        limit = request.query_params.get("limit", "20")
        if not _LIMIT.fullmatch(limit) or int(limit) > _MOST_ROLLBACKS:
            asking.refuse(f"'limit' must be a whole number from 1 to {_MOST_ROLLBACKS}")
        target = request.query_params.get("target")
        answer = await self.desk.rollbacks(target, int(limit))
        rows = answer.get("rollbacks")
        past = [shapes.past(row) for row in _objects(rows)]
        return JSONResponse({**answer, "rollbacks": past})

    async def _rollback(self, request: Request) -> Response:
        return JSONResponse(shapes.past(await self.desk.rollback(request.path_params["id"])))

    # Orders --------------------------------------------------------------------------------------

    async def _order_rollback(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, _ORDER)
        dry_run = asked.flag("dry_run")
        answer = await self.desk.order_rollback(
            request.path_params["target"],
            to=asked.whole("to"),
            plan=asked.text("plan", "") or None,
            reason=asked.text("reason"),
            kind=asked.text("class", ""),
            dry_run=dry_run,
            by=by,
            plan_hash=asked.text("plan_hash", ""),
            to_migration=asked.text("to_migration", ""),
            restore=_restore(asked) if _RESTORE & asked.fields.keys() else None,
        )
        if dry_run:
            return JSONResponse(answer)
        return JSONResponse(answer, 202, headers=_location(answer))

    async def _pause(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"seconds", "reason"}))
        seconds = asked.number("seconds")
        if seconds <= 0:
            asking.refuse("'seconds' must be more than 0: a pause has an end")
        return JSONResponse(
            await self.desk.pause(
                request.path_params["target"], seconds=seconds, reason=asked.text("reason"), by=by
            )
        )

    async def _resume(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"reason"}))
        target = request.path_params["target"]
        return JSONResponse(await self.desk.resume(target, reason=asked.text("reason"), by=by))

    async def _unlock(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"reason"}))
        target = request.path_params["target"]
        return JSONResponse(await self.desk.unlock(target, reason=asked.text("reason"), by=by))

    async def _set(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"mode", "seconds", "reason"}))
        return JSONResponse(
            await self.desk.set_mode(
                request.path_params["target"],
                mode=asked.text("mode"),
                seconds=asked.number("seconds") if "seconds" in asked.fields else None,
                reason=asked.text("reason"),
                by=by,
            )
        )

    async def _approve(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"hash", "reason"}))
        answer = await self.desk.approve(
            request.path_params["id"],
            seen=asked.text("hash", ""),
            reason=asked.text("reason", ""),
            by=by,
        )
        return JSONResponse(answer, headers=_location(answer))

    def _about(self, order: About) -> Callable[[Request, str], Awaitable[Response]]:
        """What a person orders about one proposal or rollback, and why."""

        async def answer(request: Request, by: str) -> Response:
            asked = await asking.body(request, frozenset({"reason"}))
            given = await order(request.path_params["id"], reason=asked.text("reason"), by=by)
            return JSONResponse(given, headers=_location(given))

        return answer

    async def _announce(self, request: Request, by: str) -> Response:
        asked = await asking.body(request, frozenset({"sha", "actor", "url"}))
        return JSONResponse(
            await self.desk.announce(
                request.path_params["target"],
                sha=asked.text("sha"),
                actor=asked.text("actor", ""),
                url=asked.text("url", ""),
                by=by,
            )
        )

    def _saying(self, say: Saying) -> Callable[[Request, str], Awaitable[Response]]:
        """What a person says of one release."""

        async def answer(request: Request, by: str) -> Response:
            asked = await asking.body(request, frozenset({"version", "reason"}))
            version = asked.whole("version")
            if version is None:
                asking.refuse("'version' says which release")
            target, reason = request.path_params["target"], asked.text("reason")
            return JSONResponse(await say(target, version=version, reason=reason, by=by))

        return answer

    async def _reload(self, request: Request, _by: str) -> Response:
        await asking.body(request, frozenset())
        answer = await self.desk.reload("api")
        return JSONResponse(answer, 422 if answer.get("result") == "failed" else 200)


def _restore(asked: asking.Body) -> Restore:
    return Restore(
        snapshot=asked.text("snapshot", ""),
        tables=asked.texts("tables"),
        missing=asked.flag("missing"),
        common=asked.flag("common"),
    )


def _location(answer: JsonObject) -> dict[str, str]:
    rollback = answer.get("rollback")
    return {"Location": f"/api/v1/rollbacks/{rollback}"} if isinstance(rollback, str) else {}


def _objects(value: Json) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
