"""The managed Prometheus as Fly offers it, and `/metrics` for a real one to scrape."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rollbackd.sandbox.errors import FlyError, QueryError
from rollbackd.sandbox.objects import TokenKind
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.promql_eval import Evaluation
from rollbackd.sandbox.promql_parser import parse
from rollbackd.sandbox.scrape import gauge
from rollbackd.sandbox.tokens import Backend, authenticate

POINTS_MOST = 11_000
# Seconds, or whole numbers with units: 2.5s is what a real Prometheus refuses.
_DURATION = re.compile(r"\d+(\.\d*)?|(\d+(ms|[smhdwy]))+")


async def query(request: Request) -> Response:
    return await _answered(request, _instant)


async def query_range(request: Request) -> Response:
    return await _answered(request, _range)


async def _answered(request: Request, evaluate: Any) -> Response:
    platform: Platform = request.app.state.platform
    try:
        _may_read(platform, request)
        words = await _words(request)
        _refuse_odd_timeout(words.get("timeout", "0"))
        data = evaluate(platform, words)
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
        raise QueryError(f'invalid parameter "timeout": cannot parse "{text}" to a valid duration')


async def _words(request: Request) -> dict[str, str]:
    """From the address, or from the form of a POST."""
    words = dict(request.query_params)
    if request.method == "POST":
        words |= dict(parse_qsl((await request.body()).decode()))
    return words


def _instant(platform: Platform, words: dict[str, str]) -> dict[str, Any]:
    at = _number(words, "time", platform.world.now())
    found = _evaluate(platform, words, at)
    if isinstance(found, float):
        return {"resultType": "scalar", "result": [at, _shown(found)]}
    result = [{"metric": labels, "value": [at, _shown(value)]} for labels, value in found]
    return {"resultType": "vector", "result": result}


def _range(platform: Platform, words: dict[str, str]) -> dict[str, Any]:
    now = platform.world.now()
    start, end = _number(words, "start", now - 3600), _number(words, "end", now)
    step = _number(words, "step", 15.0)
    if step <= 0 or (end - start) / step > POINTS_MOST:
        raise QueryError("exceeded maximum resolution of 11,000 points per timeseries")
    series: dict[str, dict[str, Any]] = {}
    at = start
    while at <= end:
        found = _evaluate(platform, words, at)
        for labels, value in [({}, found)] if isinstance(found, float) else found:
            one = series.setdefault(str(sorted(labels.items())), {"metric": labels, "values": []})
            one["values"].append([at, _shown(value)])
        at += step
    return {"resultType": "matrix", "result": list(series.values())}


def _evaluate(
    platform: Platform, words: dict[str, str], at: float
) -> list[tuple[dict[str, str], float]] | float:
    visible = platform.world.now() - platform.world.settings.lag_seconds
    evaluation = Evaluation(counters=platform.counters, at=at, visible_until=visible)
    return evaluation.value(parse(words.get("query", "")))


def _number(words: dict[str, str], name: str, default: float) -> float:
    text = words.get(name)
    if not text:
        return default
    try:
        return float(text.removesuffix("s"))
    except ValueError as error:
        raise QueryError(f"invalid parameter {name!r}: cannot parse {text!r}") from error


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
