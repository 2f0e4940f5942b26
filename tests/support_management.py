"""A project's database calls of Supabase's Management API, by its OpenAPI, with a clock of its own.

Beside what `SupabaseFake` answers: status, backups, restore to a moment, migrations, read-only.
`tests/unit/supabase/test_faithful_management.py` holds it against the extract of the document.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from tests.support_supabase import PROJECT, TOKEN, SupabaseFake
from tests.unit.probes.loopback import Request, answer

_PROJECT = re.compile(r"/v1/projects/([a-z]{20})(/[a-z/-]*)?(?:/([0-9]+))?")
_NEEDS = {
    ("GET", ""): "project_admin_read",
    ("GET", "/database/backups"): "backups_read",
    ("POST", "/database/backups/restore-pitr"): "backups_write",
    ("GET", "/database/migrations"): "database_migrations_read",
    ("GET", "/readonly"): "database_readonly_config_read",
}
EARLIEST, LATEST = 1_799_000_000, 1_800_000_100


class ManagementFake(SupabaseFake):
    """`then`: the statuses a restore goes through, one a look, the last one for good. `hangs`: the
    call takes effect and is not answered. `html`: a proxy's page in place of an answer.
    """

    def __init__(self, *then: str) -> None:
        super().__init__()
        self.permissions = {*_NEEDS.values()}
        self.then = list(then or ("RESTORING", "ACTIVE_HEALTHY"))
        self.status = "ACTIVE_HEALTHY"
        self.pitr = True
        self.earliest: int | None = EARLIEST
        self.migrations = [{"version": "20260101000000", "name": "init"}]
        self.restores: list[Any] = []
        self.disabled_writes = False
        self.hangs = False
        self.takes = True
        self.html = False

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        method = request.line.split(" ")[0]
        status, said = self.answer(method, request.path, request.headers, request.body)
        if self.hangs and method == "POST":
            writer.close()
            return
        headers = {
            "X_RateLimit_Limit": "120",
            "X_RateLimit_Remaining": str(self.requests_left),
            "X_RateLimit_Reset": "42",
        }
        text = b"" if said is None else json.dumps(said).encode()
        if self.html:
            text = b"<html><title>502</title></html>"
        writer.write(answer(text, status=status, **headers))

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, Any]:
        """(status, JSON body; None: an empty one)."""
        found = _PROJECT.fullmatch(path.partition("?")[0])
        tail = (found[2] or "") if found else "?"
        need = _NEEDS.get((method, tail))
        if need is None:
            return self.respond(method, path, headers)
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if self.requests_left < 1:
            return 429, {"message": "ThrottlerException: Too Many Requests"}
        self.requests_left -= 1
        if self.broken is not None:
            return self.broken, {"message": "Failed"}
        assert found is not None
        if need not in self.permissions or found[1] != PROJECT:
            return 403, {"message": "Forbidden", "missing_permissions": [need]}
        match tail:
            case "":
                return 200, self._project()
            case "/database/backups":
                return 200, self._backups()
            case "/database/migrations":
                return 200, self.migrations
            case "/readonly":
                return 200, {
                    "enabled": self.disabled_writes,
                    "override_enabled": False,
                    "override_active_until": "",
                }
            case _:
                return self._restore(body)

    def _restore(self, body: bytes) -> tuple[int, Any]:
        asked = json.loads(body or b"{}")
        at = asked.get("recovery_time_target_unix")
        if set(asked) != {"recovery_time_target_unix"} or isinstance(at, bool):
            return 400, {"message": "recovery_time_target_unix: Required"}
        if not isinstance(at, int) or at < 0:
            return 400, {"message": "recovery_time_target_unix: Expected number"}
        self.restores.append(at)
        if self.takes:
            self.status = self.then[0]
        return 201, None

    def _project(self) -> dict[str, Any]:
        status = self.status
        if self.restores and self.takes and len(self.then) > 1:
            self.then.pop(0)
            self.status = self.then[0]
        return {
            "id": PROJECT, "ref": PROJECT, "organization_id": "o1", "organization_slug": "o1",
            "name": "shop", "region": "us-east-1", "created_at": "2026-01-01T00:00:00Z",
            "status": status,
            "database": {"host": f"db.{PROJECT}.supabase.co", "version": "17.4",
                         "postgres_engine": "17", "release_channel": "ga"},
        }  # fmt: skip

    def _backups(self) -> dict[str, Any]:
        physical = {"latest_physical_backup_date_unix": LATEST}
        if self.earliest is not None:
            physical["earliest_physical_backup_date_unix"] = self.earliest
        return {
            "region": "us-east-1", "walg_enabled": True, "pitr_enabled": self.pitr,
            "backups": [], "physical_backup_data": physical,
        }  # fmt: skip
