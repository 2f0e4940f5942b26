"""`POST /graphql`: always HTTP 200, with `errors` where something is wrong."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rollbackd.sandbox.calls import read_body
from rollbackd.sandbox.errors import FlyError, GraphqlError
from rollbackd.sandbox.graphql_parser import parse
from rollbackd.sandbox.graphql_run import run
from rollbackd.sandbox.graphql_schema import Schema
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.tokens import Backend, authenticate
from rollbackd.sandbox.world import request_id


async def answer(request: Request) -> Response:
    platform: Platform = request.app.state.platform
    headers = {"fly-request-id": request_id.get()}
    try:
        data = _execute(platform, request, await read_body(request))
    except GraphqlError as error:
        return JSONResponse({"data": None, "errors": [error.body()]}, headers=headers)
    except FlyError as refusal:
        denied = GraphqlError(refusal.text, code="UNAUTHORIZED")
        return JSONResponse({"data": None, "errors": [denied.body()]}, headers=headers)
    return JSONResponse({"data": data}, headers=headers)


def _execute(platform: Platform, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    header = request.headers.get("authorization")
    token = authenticate(platform.world, header, Backend.GRAPHQL)
    schema = Schema(platform.world, token)
    return run(
        parse(str(body.get("query") or "")),
        types=schema.types,
        roots=schema.roots,
        operation_name=body.get("operationName"),
        variables=body.get("variables"),
    )


ROUTES: list[BaseRoute] = [Route("/graphql", answer, methods=["POST"])]
