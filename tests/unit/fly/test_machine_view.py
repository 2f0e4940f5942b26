"""What a machine's JSON means."""

import pytest

from rollbackd.core.model import JsonObject
from rollbackd.fly.machine_view import (
    crash_looping,
    health_paths_of,
    leftover,
    managed,
    meant_to_run,
    view,
)

NOW = 1_800_000_000.0


def machine(**more: object) -> JsonObject:
    made: JsonObject = {
        "id": "148e1",
        "state": "started",
        "version": "01K",
        "region": "ord",
        "host_status": "ok",
        "config": config(),
        "events": [],
    }
    return made | more  # type: ignore[operator]  # JSON by construction


def config(metadata: JsonObject | None = None, **more: object) -> JsonObject:
    marks: JsonObject = {
        "fly_platform_version": "v2",
        "fly_process_group": "app",
        "fly_release_version": "42",
    }
    return {"image": "shop:42", "metadata": marks | (metadata or {})} | more  # type: ignore[return-value]


def event(kind: str, status: str, ago: float, **request: object) -> JsonObject:
    at = int((NOW - ago) * 1000)
    return {"type": kind, "status": status, "timestamp": at, "request": request}  # type: ignore[dict-item]


def exit_(ago: float, *, code: int = 1, restarts: int = 3, requested: bool = False) -> JsonObject:
    exited = {"exit_code": code, "requested_stop": requested, "restarting": True}
    return event("exit", "stopped", ago, exit_event=exited, restart_count=restarts)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (machine(), True),
        (machine(state="destroyed"), False),
        (machine(state="replaced"), False),
        (machine(config=config({"fly_platform_version": ""})), False),
        (machine(config=config({"fly_process_group": "fly_app_console"})), False),
        (machine(config=config({"fly_process_group": "fly_app_release_command"})), False),
        (machine(config=None, host_status="unreachable"), True),
        (machine(config=None, incomplete_config=config(), host_status="unknown"), True),
    ],
)
def test_deploys_look_after_some_machines_only(given: JsonObject, expected: bool) -> None:
    assert managed(given) is expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([exit_(1)], True),
        ([exit_(1, code=0)], False),
        ([exit_(1, restarts=1)], False),
        ([exit_(1, requested=True)], False),
        ([event("start", "started", 0.5), exit_(1)], True),
        ([event("start", "started", 90), exit_(91)], False),
        ([event("update", "replaced", 0.5), exit_(1)], False),
        ([event("launch", "created", 0.5), exit_(1)], False),
        ([exit_(1, code=0), exit_(5)], False),
        ([], False),
    ],
)
def test_a_crash_loop_is_told_from_an_exit(events: list[JsonObject], expected: bool) -> None:
    assert crash_looping(machine(events=events), NOW) is expected
    assert crash_looping(machine(events=events[::-1]), NOW) is expected


@pytest.mark.parametrize(
    ("state", "events", "expected"),
    [
        ("started", [], True),
        ("failed", [], True),
        ("replacing", [], True),
        ("stopped", [], False),
        ("created", [], False),
        ("suspended", [], False),
        ("stopped", [exit_(1)], True),
        ("stopped", [exit_(1, requested=True)], False),
        ("stopped", [exit_(1, code=0)], False),
    ],
)
def test_a_machine_that_stopped_by_crashing_is_meant_to_run(
    state: str, events: list[JsonObject], expected: bool
) -> None:
    assert meant_to_run(machine(state=state, events=events)) is expected


def test_a_standby_is_never_meant_to_run() -> None:
    assert not meant_to_run(machine(config=config(standbys=["148e2"])))


def test_the_boot_lasts_from_the_update_to_the_last_check_that_passed() -> None:
    checks = [
        {"name": "a", "status": "passing", "updated_at": "2027-01-15T07:59:58Z"},
        {"name": "bg_deployments_compat-1", "status": "critical"},
    ]
    events = [
        event("start", "started", 5),
        event("update", "replaced", 9),
        event("start", "started", 100),
    ]

    seen = view(machine(events=events, checks=checks), content="c", now=NOW)

    assert seen.started_at == NOW - 5
    assert seen.boot_seconds == pytest.approx(7)
    assert seen.critical_checks == 0


def test_a_lease_is_shown_while_it_lasts_and_told_as_ours_by_its_words() -> None:
    def lease(expires_at: float, words: str) -> JsonObject:
        return {"owner": "a@b", "expires_at": int(expires_at), "description": words}

    ours = view(machine(lease=lease(NOW + 9, "rollbackd shop-v2-1")), content="", now=NOW)
    theirs = view(machine(lease=lease(NOW + 9, "")), content="", now=NOW)
    over = view(machine(lease=lease(NOW - 1, "")), content="", now=NOW)

    assert (ours.lease_owner, ours.lease_ours) == ("a@b", True)
    assert (theirs.lease_owner, theirs.lease_ours) == ("a@b", False)
    assert over.lease_owner is None


def test_an_unreachable_machine_is_shown_as_such() -> None:
    assert not view(machine(host_status="unreachable", config=None), content="", now=NOW).reachable


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({"rollbackd_op": "x:1", "rollbackd_release": "42"}, "x:1"),
        ({"rollbackd_op": "x:1", "rollbackd_release": "41"}, None),
        ({"rollbackd_op": "x:1"}, "x:1"),
        ({}, None),
    ],
)
def test_our_mark_counts_for_the_release_it_was_made_for(
    marks: JsonObject, expected: str | None
) -> None:
    assert view(machine(config=config(marks)), content="", now=NOW).op_id == expected


@pytest.mark.parametrize(
    ("marks", "word"),
    [
        ({"fly_canary": "true"}, "canary"),
        ({"fly_bluegreen_deployment_tag": "safe_to_destroy"}, "blue-green"),
        ({"fly_bluegreen_deployment_tag": "1795352838"}, ""),
    ],
)
def test_leftovers_of_a_deploy_are_named(marks: JsonObject, word: str) -> None:
    found = leftover(machine(config=config(marks)))

    assert word in found
    assert bool(found) is bool(word)


def test_the_health_paths_are_those_of_get_checks_services_first() -> None:
    made = config(
        services=[
            {
                "checks": [
                    {"type": "http", "path": "/healthz", "method": "GET"},
                    {"type": "http", "path": "/post", "method": "POST"},
                    {"type": "tcp"},
                ]
            }
        ],
        checks={"top": {"type": "http", "path": "/top"}, "bare": {"type": "http"}},
    )

    assert health_paths_of(made) == ["/healthz", "/top"]


def test_its_address_in_the_private_network_is_known_where_it_has_one() -> None:
    there = view(machine(private_ip="fdaa:0:3ec2:a7b::2"), content="", now=NOW)
    assert there.private_ip == "fdaa:0:3ec2:a7b::2"
    assert view(machine(), content="", now=NOW).private_ip == ""
