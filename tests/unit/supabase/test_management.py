"""The fake answers as the document says, and our calls say what its answers mean."""

import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr

from rollbackd.core.errors import (
    Ambiguous,
    NotFound,
    RateLimited,
    RollbackdError,
    TemporaryError,
    Unauthorized,
)
from rollbackd.supabase import management
from rollbackd.supabase.client import SupabaseClient
from rollbackd.supabase.management import ProjectStatus
from tests.support_management import EARLIEST, LATEST, ManagementFake
from tests.support_supabase import PROJECT, TOKEN
from tests.unit.probes.loopback import Behaviour, Loopback

SPEC = json.loads(
    (Path(__file__).parent / "spec/management-openapi-extract.json").read_text(encoding="utf-8")
)
OURS = {"authorization": f"Bearer {TOKEN}"}
HERE = f"/v1/projects/{PROJECT}"
LOOKS = ("", "/database/backups", "/database/migrations", "/readonly")
RESTORE = "/database/backups/restore-pitr"


def conforms(value: Any, schema: Any) -> bool:
    whole = {**schema, "components": SPEC["components"]}
    return not list(jsonschema.Draft202012Validator(whole).iter_errors(value))


@pytest.mark.parametrize("tail", LOOKS)
def test_what_the_fake_answers_is_documented(tail: str) -> None:
    operation = SPEC["paths"]["/v1/projects/{ref}" + tail]["get"]

    code, body = ManagementFake().answer("GET", HERE + tail, OURS)

    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert code == 200
    assert conforms(body, schema)
    needed = [p for s in operation["security"] for p in s.get("fga_permissions", [])]
    fake = ManagementFake()
    fake.permissions = set()
    assert fake.answer("GET", HERE + tail, OURS) == (
        403,
        {"message": "Forbidden", "missing_permissions": needed},
    )


@pytest.mark.parametrize("body", [{"recovery_time_target_unix": 1_799_999_940}])
def test_the_restore_takes_what_the_document_takes(body: dict[str, Any]) -> None:
    operation = SPEC["paths"]["/v1/projects/{ref}" + RESTORE]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    fake = ManagementFake()
    for asked in (body, {"recovery_time_target_unix": "1740787200"}, {}, {"to": 1}):
        code, answer = fake.answer("POST", HERE + RESTORE, OURS, json.dumps(asked).encode())
        assert (code == 201) == conforms(asked, schema)
        assert (answer is None) == (code == 201)
    assert len(fake.restores) == 1


def test_the_fake_goes_through_statuses_of_the_document() -> None:
    fake = ManagementFake("RESTORING", "RESTORE_FAILED")
    fake.answer("POST", HERE + RESTORE, OURS, b'{"recovery_time_target_unix": 1}')

    seen = [fake.answer("GET", HERE, OURS)[1]["status"] for _ in range(3)]

    assert seen == ["RESTORING", "RESTORE_FAILED", "RESTORE_FAILED"]
    project = SPEC["components"]["schemas"]["V1ProjectWithDatabaseResponse"]
    assert [one.value for one in ProjectStatus] == project["properties"]["status"]["enum"]


async def ask(
    fake: Behaviour, call: Callable[[SupabaseClient], Awaitable[Any]], token: str = TOKEN
) -> Any:
    async with Loopback(fake) as server:
        client = SupabaseClient(
            server.url,
            SecretStr(token),
            user_agent="rollbackd-test",
            ssl_context=ssl.create_default_context(),
        )
        try:
            return await call(client)
        finally:
            await client.close()


async def test_what_is_asked_is_told() -> None:
    fake = ManagementFake()
    fake.disabled_writes = True

    assert await ask(fake, lambda c: management.status(c, PROJECT)) is ProjectStatus.ACTIVE_HEALTHY
    found = await ask(fake, lambda c: management.backups(c, PROJECT))
    assert (found.pitr, found.earliest, found.latest) == (True, EARLIEST, LATEST)
    assert await ask(fake, lambda c: management.migrations(c, PROJECT)) == ("20260101000000",)
    assert await ask(fake, lambda c: management.read_only(c, PROJECT)) is True
    await ask(fake, lambda c: management.restore_to(c, PROJECT, 1_799_999_940))
    assert fake.restores == [1_799_999_940]


async def test_a_status_nobody_knows_is_unknown() -> None:
    fake = ManagementFake()
    fake.status = "SLEEPWALKING"

    assert await ask(fake, lambda c: management.status(c, PROJECT)) is ProjectStatus.UNKNOWN


async def test_the_history_is_for_partners_and_a_403_says_ask_the_table() -> None:
    fake = ManagementFake()
    fake.permissions = {"project_admin_read"}

    assert await ask(fake, lambda c: management.migrations(c, PROJECT)) is None


REFUSALS: list[tuple[dict[str, Any], type[RollbackdError], str]] = [
    ({"permissions": set()}, Unauthorized, "the token needs backups_write"),
    ({"requests_left": 0}, RateLimited, ""),
    ({"broken": 404}, NotFound, "ref"),
    ({"broken": 500}, Ambiguous, ""),
    ({"broken": 502, "html": True}, Ambiguous, ""),
    ({"hangs": True}, Ambiguous, ""),
]


@pytest.mark.parametrize(("change", "kind", "hint"), REFUSALS)
async def test_a_write_that_may_have_been_taken_is_told_from_one_that_was_not(
    change: dict[str, Any], kind: type[RollbackdError], hint: str
) -> None:
    fake = ManagementFake()
    for name, value in change.items():
        setattr(fake, name, value)

    with pytest.raises(RollbackdError) as caught:
        await ask(fake, lambda c: management.restore_to(c, PROJECT, 1))

    assert type(caught.value) is kind
    assert hint in caught.value.hint
    assert TOKEN not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after_seconds == 42


async def test_a_wrong_token_and_a_page_where_json_was_asked_for() -> None:
    with pytest.raises(Unauthorized):
        await ask(ManagementFake(), lambda c: management.status(c, PROJECT), token="sbp_other")
    html = ManagementFake()
    html.html = True
    with pytest.raises(TemporaryError, match="not JSON"):
        await ask(html, lambda c: management.status(c, PROJECT))
