"""The managed Prometheus as Fly offers it, and `/metrics` for a real one to scrape."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.scrape import gauge


async def expose(request: Request) -> Response:
    platform: Platform = request.app.state.platform
    gauge(platform)
    return PlainTextResponse(
        platform.counters.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


ROUTES: list[BaseRoute] = [Route("/metrics", expose, methods=["GET"])]
