"""In which order, how many at once, and what a person reads of it."""

from dataclasses import replace

import pytest

from rollbackd.core.model import JsonObject, Release, ReleaseStatus, RollBack, TargetName
from rollbackd.core.policy import PlanPolicy, Strategy, Traffic
from rollbackd.core.runbook import Phase, Step
from rollbackd.executors.app_health import Standing, standing
from rollbackd.executors.app_plan import Candidate, jobs_in_order, parallel
from rollbackd.executors.app_steps import waves
from rollbackd.executors.app_traffic import serving
from rollbackd.executors.app_words import Job, job_of

NOW = 1_800_000_000.0
ROLLING = PlanPolicy(
    name="app",
    steps=("app",),
    traffic=Traffic.DRAIN,
    strategy=Strategy.ROLLING,
    max_unavailable=0.33,
    deadline_seconds=300,
    step_deadline_seconds=120,
)


def release(version: int) -> Release:
    return Release(
        version=version, image=f"shop:{version}", status=ReleaseStatus.COMPLETE, content="c"
    )


DECISION = RollBack(
    target=TargetName("shop"), at=NOW, trigger=None, bad=release(2), good=release(1), plan="app"
)


def machine(name: str, state: str = "started", **more: object) -> JsonObject:
    service: JsonObject = {"internal_port": 8080, "checks": [{"type": "http"}]}
    made: JsonObject = {
        "id": name,
        "state": state,
        "version": "01K",
        "config": {"services": [service], "metadata": {"fly_process_group": "app"}},
    }
    return made | more  # type: ignore[operator]  # JSON by construction


FAILING = [{"name": "a", "status": "critical"}]


def jobs(fleet: list[JsonObject], policy: PlanPolicy = ROLLING) -> list[Job]:
    candidates = [Candidate(machine=one, config={}) for one in fleet]
    return jobs_in_order(fleet, candidates, policy, DECISION)


def test_broken_machines_go_first_and_sleeping_ones_last() -> None:
    fleet = [machine("a"), machine("b", "stopped"), machine("c", checks=FAILING), machine("d")]

    made = jobs(fleet)

    assert [job.machine for job in made] == ["c", "a", "d", "b"]
    assert [job.resting for job in made] == [False, False, False, True]


def test_a_sleeping_sibling_is_woken_first_where_only_one_serves() -> None:
    made = jobs([machine("a"), machine("b", "stopped"), machine("c", "stopped")])

    assert [(job.machine, job.wake) for job in made] == [("b", True), ("a", False), ("c", False)]
    assert list(waves(made, ROLLING)) == [0, 1, 2]


@pytest.mark.parametrize(
    "sibling",
    [
        machine("b", "stopped", cordoned=True),
        machine("b", "stopped", config={"standbys": ["a"], "metadata": {}}),
        machine("b", "stopped", config={"metadata": {"fly_process_group": "worker"}}),
    ],
)
def test_a_sibling_that_could_not_serve_is_not_woken(sibling: JsonObject) -> None:
    assert not any(job.wake for job in jobs([machine("a"), sibling]))


def test_nobody_is_woken_where_traffic_is_left_alone() -> None:
    fleet = [machine("a"), machine("b", "stopped")]

    for policy in (
        replace(ROLLING, traffic=Traffic.KEEP),
        replace(ROLLING, strategy=Strategy.IMMEDIATE),
    ):
        assert not any(job.wake or job.drain for job in jobs(fleet, policy))


def test_the_first_machine_goes_alone_and_the_rest_together() -> None:
    made = jobs([machine(name) for name in "abcd"])

    assert list(waves(made, ROLLING)) == [0, 1, 1, 1]
    assert list(waves(made, replace(ROLLING, strategy=Strategy.IMMEDIATE))) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("machines", "unavailable", "expected"),
    [(3, 0.33, 1), (10, 0.33, 4), (10, 2, 2), (3, 9, 2), (2, 1, 1), (1, 0.33, 1), (4, 0.99, 3)],
)
def test_never_all_that_serve_are_away_at_once(
    machines: int, unavailable: float, expected: int
) -> None:
    fleet = [machine(str(number)) for number in range(machines)]
    policy = replace(ROLLING, max_unavailable=unavailable)

    assert parallel(policy, fleet, jobs(fleet)) == expected


def of_group(name: str, group: str, *, services: bool = True) -> JsonObject:
    offered: list[JsonObject] = [{"internal_port": 8080}] if services else []
    return machine(name, config={"services": offered, "metadata": {"fly_process_group": group}})


def test_no_process_group_loses_all_its_machines_at_once() -> None:
    fleet = [of_group(*pair) for pair in (("a", "web"), ("b", "api"), ("c", "api"), ("d", "web"))]
    policy = replace(ROLLING, max_unavailable=3)

    made = jobs(fleet, policy)

    assert parallel(policy, fleet, made) == 3
    together: dict[int, list[str]] = {}
    for job, wave in zip(made, waves(made, policy), strict=True):
        together.setdefault(wave, []).append(job.group)
    assert all(len(set(groups)) == len(groups) for groups in together.values())


def test_machines_without_services_need_not_wait_for_each_other() -> None:
    fleet = [of_group(name, "worker", services=False) for name in "abcd"]

    assert list(waves(jobs(fleet), ROLLING)) == [0, 1, 1, 1]


def test_immediate_takes_all_at_once() -> None:
    fleet = [machine(str(number)) for number in range(5)]

    assert parallel(replace(ROLLING, strategy=Strategy.IMMEDIATE), fleet, jobs(fleet)) == 5


def test_a_job_survives_the_journal() -> None:
    job = jobs([machine("a")])[0]
    step = Step(
        seq=1,
        phase=Phase.EXECUTE,
        kind="machine",
        name="x",
        params=job.params(),
        op_key="x:1",
        mutates=True,
    )

    assert job_of(step) == job


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (machine("a"), True),
        (machine("a", "starting"), False),
        (machine("a", cordoned=True), False),
        (machine("a", checks=FAILING), False),
        (machine("a", host_status="unreachable"), False),
        (machine("a", config={"services": []}), False),
    ],
)
def test_serving_means_users_reach_it(given: JsonObject, expected: bool) -> None:
    assert serving(given) is expected


def started(ago: float) -> JsonObject:
    return {"type": "start", "status": "started", "timestamp": int((NOW - ago) * 1000)}


PASSING = [{"name": "a", "status": "passing"}]
BARE: JsonObject = {"metadata": {}}
AUTOSTOP: JsonObject = {"services": [{"autostop": True}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (machine("a", checks=PASSING), Standing.HEALTHY),
        (machine("a", checks=[]), Standing.WAITING),
        (machine("a", checks=[*PASSING, *FAILING]), Standing.WAITING),
        (machine("a", "failed"), Standing.BROKEN),
        (machine("a", "replacing", checks=PASSING), Standing.WAITING),
        (machine("a", "stopped"), Standing.WAITING),
        (machine("a", "stopped", config=AUTOSTOP), Standing.HEALTHY),
        (machine("a", config=BARE, events=[started(1)]), Standing.WAITING),
        (machine("a", config=BARE, events=[started(9)]), Standing.HEALTHY),
    ],
)
def test_a_machine_is_well_only_when_it_shows_so(given: JsonObject, expected: Standing) -> None:
    assert standing(given, NOW)[0] is expected
