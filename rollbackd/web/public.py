"""The metrics listener: what a scraper and a health check may see without a token. No orders."""

from __future__ import annotations

import asyncio
import gzip
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbackd.web import asking
from rollbackd.web.frame import ROUTE, Count, Frame
from rollbackd.web.problems import HANDLERS
from rollbackd.web.surface import Vitals

_WORTH_PACKING = 1024


class Exposition(Protocol):
    """`telemetry.metrics.Metrics`, as far as a scrape needs it."""

    def take_snapshot(self) -> None: ...

    def render(self, accept: str) -> tuple[bytes, str]: ...

    def http_request(self, handler: str, method: str, code: int | str) -> None: ...


def metrics_app(metrics: Exposition, vitals: Vitals, *, count: Count | None = None) -> Frame:
    """`/metrics`, `/healthz`, `/readyz`, and nothing else."""
    one_at_a_time = asyncio.Lock()  # a crowd of scrapers must not fill the thread pool

    async def scrape(request: Request) -> Response:
        request.scope[ROUTE] = "/metrics"
        packed = "gzip" in request.headers.get("accept-encoding", "")
        async with one_at_a_time:
            metrics.take_snapshot()
            body, content_type, zipped = await asyncio.to_thread(
                _render, metrics, request.headers.get("accept", ""), packed
            )
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    async def healthz(request: Request) -> Response:
        request.scope[ROUTE] = "/healthz"
        turning, why = vitals.turning()
        return JSONResponse({"ok": turning, "why": why}, 200 if turning else 503)

    async def readyz(request: Request) -> Response:
        request.scope[ROUTE] = "/readyz"
        asking.query(request, frozenset({"verbose"}))
        ready, parts = vitals.ready()
        return JSONResponse({"ok": ready, **parts}, 200 if ready else 503)

    app = Starlette(
        routes=[
            Route("/metrics", scrape, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
        ],
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False  # a scraper that does not follow would lose its data
    return Frame(app, count=count or metrics.http_request)


def _render(metrics: Exposition, accept: str, packed: bool) -> tuple[bytes, str, bool]:
    body, content_type = metrics.render(accept)
    if not packed or len(body) < _WORTH_PACKING:
        return body, content_type, False
    return gzip.compress(body, compresslevel=5, mtime=0), content_type, True
