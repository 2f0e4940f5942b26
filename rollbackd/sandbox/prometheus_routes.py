"""The managed Prometheus as Fly offers it, and `/metrics` for a real one to scrape."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rollbackd.sandbox.durations import seconds_of
from rollbackd.sandbox.errors import FlyError, QueryError
from rollbackd.sandbox.objects import TokenKind
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.promql_eval import Evaluation, Vector
from rollbackd.sandbox.promql_parser import names_in, parse
from rollbackd.sandbox.scrape import gauge
from rollbackd.sandbox.tokens import Backend, authenticate

At: TypeAlias = Callable[[float], Vector | float]
Evaluate: TypeAlias = Callable[[Platform, dict[str, str]], Awaitable[dict[str, Any]]]

POINTS_MOST = 11_000
# Seconds, or whole numbers with units: 2.5s is what a real Prometheus refuses.
_DURATION = re.compile(r"\d+(\.\d*)?|(\d+(ms|[smhdwy]))+")


async def query(request: Request) -> Response:
    return await _answered(request, _instant)


async def query_range(request: Request) -> Response:
    return await _answered(request, _range)


async def _answered(request: Request, evaluate: Evaluate) -> Response:
    platform: Platform = request.app.state.platform
    try:
        _may_read(platform, request)
        words = await _words(request)
        _refuse_odd_timeout(words.get("timeout", "0"))
        data = await evaluate(platform, words)
    except FlyError as refusal:
        return PlainTextResponse(refusal.text, status_code=refusal.status)
    except QueryError as error:
        return _bad_data(str(error))
    return JSONResponse({"status": "success", "data": data})


def _may_read(platform: Platform, request: Request) -> None:
    """An org token, also a read-only one; that a deploy token works is nowhere documented."""
    header = request.headers.get("authorization")
    token = authenticate(platform.world, header, Backend.PROMETHEUS)
    wrong_org = request.path_params["org"] != platform.world.org
    if wrong_org or token.kind is TokenKind.DEPLOY:
        raise FlyError(403, "token does not cover this organization")


def _refuse_odd_timeout(text: str) -> None:
    if not _DURATION.fullmatch(text):
        raise QueryError(_unread("timeout", text, "duration"))


async def _words(request: Request) -> dict[str, str]:
    """From the address, or from the form of a POST."""
    words = dict(request.query_params)
    if request.method == "POST":
        words |= dict(parse_qsl((await request.body()).decode()))
    return words


async def _instant(platform: Platform, words: dict[str, str]) -> dict[str, Any]:
    at = _time(words, "time", platform.world.now())
    found = _evaluator(platform, words)(at)
    if isinstance(found, float):
        return {"resultType": "scalar", "result": [at, _shown(found)]}
    result = [{"metric": labels, "value": [at, _shown(value)]} for labels, value in found]
    return {"resultType": "vector", "result": result}


async def _range(platform: Platform, words: dict[str, str]) -> dict[str, Any]:
    start, end, step = _time(words, "start"), _time(words, "end"), _step(words)
    if end < start:
        raise QueryError('invalid parameter "end": end timestamp must not be before start time')
    if (end - start) / step > POINTS_MOST:
        raise QueryError("exceeded maximum resolution of 11,000 points per timeseries")
    at = [start + step * number for number in range(math.floor((end - start) / step + 1e-9) + 1)]
    # Elsewhere than on the loop, on which the proxy serves the apps' users.
    return await asyncio.to_thread(_matrix, _evaluator(platform, words), at)


def _matrix(evaluate: At, times: list[float]) -> dict[str, Any]:
    """A series for each set of labels; where it had no value, it has no point."""
    series: dict[str, dict[str, Any]] = {}
    for at in times:
        found = evaluate(at)
        for labels, value in [({}, found)] if isinstance(found, float) else found:
            one = series.setdefault(str(sorted(labels.items())), {"metric": labels, "values": []})
            one["values"].append([at, _shown(value)])
    return {"resultType": "matrix", "result": list(series.values())}


def _evaluator(platform: Platform, words: dict[str, str]) -> At:
    """The query at any moment, as far as is known now."""
    expression = parse(words.get("query", ""))
    kept = platform.counters.kept(names_in(expression))
    visible = platform.world.now() - platform.world.settings.lag_seconds

    def at(moment: float) -> Vector | float:
        return Evaluation(counters=kept, at=moment, visible_until=visible).value(expression)

    return at


def _time(words: dict[str, str], name: str, default: float | None = None) -> float:
    """Epoch seconds or RFC 3339."""
    text = words.get(name)
    if not text and default is not None:
        return default
    try:
        return float(text or "")
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError as error:
        raise QueryError(_unread(name, text, "timestamp")) from error


def _step(words: dict[str, str]) -> float:
    """Seconds, or whole numbers with units."""
    text = words.get("step", "")
    if not _DURATION.fullmatch(text.removeprefix("-")):
        raise QueryError(_unread("step", text, "duration"))
    try:
        seconds = float(text)
    except ValueError:
        seconds = seconds_of(text, default=0.0)
    if seconds <= 0:
        raise QueryError(
            'invalid parameter "step": zero or negative query resolution step widths '
            "are not accepted. Try a positive integer"
        )
    return seconds


def _unread(name: str, text: str | None, kind: str) -> str:
    return f'invalid parameter "{name}": cannot parse "{text or ""}" to a valid {kind}'


def _shown(value: float) -> str:
    if value != value:  # noqa: PLR0124  # the plain test for NaN
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.12g}"


def _bad_data(text: str) -> Response:
    return JSONResponse(
        {"status": "error", "errorType": "bad_data", "error": text}, status_code=422
    )


async def expose(request: Request) -> Response:
    platform: Platform = request.app.state.platform
    gauge(platform)
    return PlainTextResponse(
        platform.counters.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


BASE = "/prometheus/{org}/api/v1"
ROUTES: list[BaseRoute] = [
    Route("/metrics", expose, methods=["GET"]),
    Route(f"{BASE}/query", query, methods=["GET", "POST"]),
    Route(f"{BASE}/query_range", query_range, methods=["GET", "POST"]),
]
