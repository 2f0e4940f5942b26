"""Supabase's Management API as far as we ask it: one project's health, by its OpenAPI.

`tests/unit/supabase/test_faithful.py` holds it against an extract of the published document. What
that does not say (error bodies, the headers of the limit) is as the API's guide describes it.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.probes.loopback import Request, answer

PROJECT = "abcdefghijklmnopqrst"
TOKEN = "sbp_fc_planted_secret"
SERVICES = (
    "auth", "db", "db_postgres_user", "pooler", "realtime", "rest", "storage", "pg_bouncer",
)  # fmt: skip
_PATH = re.compile(r"/v1/projects/([a-z]{20})/health")
_MOST_MS = 10_000
_INFO: dict[str, Any] = {
    "auth": {"name": "GoTrue", "version": "v2.170.0", "description": "GoTrue is a user registry"},
    "realtime": {
        "healthy": True, "db_connected": True, "replication_connected": True,
        "connected_cluster": 1,
    },
    "rest": {"db_schema": "public"},
}  # fmt: skip


class SupabaseFake:
    """Serve it with `Loopback(fake)`. `statuses` are what tests set; ACTIVE_HEALTHY otherwise."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.permissions = {"project_admin_read"}
        self.requests_left = 120  # a minute, per user
        self.broken: int | None = None  # answers this status to everybody

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        status, body = self.respond(request.line.split(" ")[0], request.path, request.headers)
        headers = {
            "Content_Type": "application/json; charset=utf-8",
            "X_RateLimit_Limit": "120",
            "X_RateLimit_Remaining": str(self.requests_left),
            "X_RateLimit_Reset": "42",
        }
        writer.write(answer(json.dumps(body).encode(), status=status, **headers))

    def respond(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, Any]:
        """(status, JSON body)."""
        url = urlsplit(target)
        found = _PATH.fullmatch(url.path)
        if method != "GET" or found is None:
            return 404, {"message": f"Cannot {method} {url.path}"}
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if self.requests_left < 1:
            return 429, {"message": "ThrottlerException: Too Many Requests"}
        self.requests_left -= 1
        if self.broken is not None:
            return self.broken, {"message": "Failed to retrieve project's service health status"}
        if "project_admin_read" not in self.permissions or found[1] != PROJECT:
            return 403, {"message": "Forbidden", "missing_permissions": ["project_admin_read"]}
        return self._health(parse_qs(url.query, keep_blank_values=True))

    def _health(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        services = query.pop("services", [])
        milliseconds = query.pop("timeout_ms", ["2000"])
        sound = len(milliseconds) == 1 and milliseconds[0].isdecimal()
        if not services or query or not set(services) <= set(SERVICES):
            return 400, {"message": "services must be a list of services"}
        if not sound or int(milliseconds[0]) > _MOST_MS:
            return 400, {"message": "timeout_ms: Number must be less than or equal to 10000"}
        return 200, [self._service(name) for name in services]

    def _service(self, name: str) -> dict[str, Any]:
        status = self.statuses.get(name, "ACTIVE_HEALTHY")
        told: dict[str, Any] = {
            "name": name, "healthy": status == "ACTIVE_HEALTHY", "status": status
        }  # fmt: skip
        if status != "ACTIVE_HEALTHY":
            return told | {"error": "connect ETIMEDOUT postgresql://planted@db"}
        return told | ({"info": _INFO[name]} if name in _INFO else {})
