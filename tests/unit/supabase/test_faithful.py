"""The fake of the Management API answers as its OpenAPI says, and our request is one it knows."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest

from tests.support_supabase import PROJECT, SERVICES, TOKEN, SupabaseFake

SPEC = json.loads(
    (Path(__file__).parent / "spec/management-openapi-extract.json").read_text(encoding="utf-8")
)
OPERATION = SPEC["paths"]["/v1/projects/{ref}/health"]["get"]
PARAMETERS = {one["name"]: one["schema"] for one in OPERATION["parameters"]}
PATH = f"/v1/projects/{PROJECT}/health"
OURS = {"authorization": f"Bearer {TOKEN}"}


def ask(fake: SupabaseFake, **query: Any) -> tuple[int, Any]:
    return fake.respond("GET", f"{PATH}?{urlencode(query, doseq=True)}", OURS)


def conforms(value: Any, schema: Any) -> bool:
    whole = {**schema, "components": SPEC["components"]}
    return not list(jsonschema.Draft202012Validator(whole).iter_errors(value))


def test_it_knows_the_services_of_the_document() -> None:
    assert list(SERVICES) == PARAMETERS["services"]["items"]["enum"]


@pytest.mark.parametrize("status", ["COMING_UP", "ACTIVE_HEALTHY", "UNHEALTHY"])
def test_its_answer_is_the_documented_one(status: str) -> None:
    fake = SupabaseFake()
    fake.statuses = dict.fromkeys(SERVICES, status)

    code, body = ask(fake, services=SERVICES)

    schema = OPERATION["responses"]["200"]["content"]["application/json"]["schema"]
    assert code == 200
    assert conforms(body, schema)
    assert [each["name"] for each in body] == list(SERVICES)


@pytest.mark.parametrize(
    ("change", "headers", "code"),
    [
        ({}, {}, 401),
        ({}, {"authorization": "Bearer other"}, 401),
        ({"permissions": set()}, OURS, 403),
        ({"requests_left": 0}, OURS, 429),
        ({"broken": 500}, OURS, 500),
    ],
)
def test_it_refuses_with_the_documented_statuses(
    change: dict[str, Any], headers: dict[str, str], code: int
) -> None:
    fake = SupabaseFake()
    for name, value in change.items():
        setattr(fake, name, value)

    got, _ = fake.respond("GET", f"{PATH}?services=db", headers)

    assert got == code
    assert str(code) in OPERATION["responses"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"services": ["database"]},
        {"services": ["db,rest"]},
        {"services": ["db"], "timeout_ms": 10_001},
        {"services": ["db"], "timeout_ms": "soon"},
        {"services": ["db"], "timeout": 5},
    ],
)
def test_it_takes_what_the_document_takes_only(query: dict[str, Any]) -> None:
    assert ask(SupabaseFake(), **query)[0] == 400
    known = all(conforms(value, PARAMETERS.get(name, {"not": {}})) for name, value in query.items())
    assert not known or "services" not in query


def test_what_is_no_project_is_not_there() -> None:
    assert SupabaseFake().respond("GET", "/v1/projects/short/health", OURS)[0] == 404
    assert SupabaseFake().respond("POST", PATH, OURS)[0] == 404
