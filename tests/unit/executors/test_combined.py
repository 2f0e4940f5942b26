"""Two executors, one plan: the order of their steps, what is fenced, and who takes which step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.policy import Traffic
from rollbackd.core.ports import Executor, Observation, Seen
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app_words import Kind
from rollbackd.executors.combined import Combined
from tests.integration_fly.walking import in_order, target_policy
from tests.support_rollback import decision, plan, step


class Part:
    """Plans steps of its own kinds; keeps which it was given."""

    step_kinds: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, shape: Sequence[tuple[Phase, str, bool]], **settings: Any) -> None:
        self.shape = shape
        self.settings: JsonObject = settings
        self.asks = ""
        self.took: list[str] = []
        self.lines: list[str] = []

    async def plan(self, decision: RollBack) -> Plan:
        steps = [
            replace(step(decision.id, n, phase, kind, mutates=changes), name=kind)
            for n, (phase, kind, changes) in enumerate(self.shape, start=1)
        ]
        made = plan(decision)
        return replace(made, steps=tuple(steps), settings=self.settings, asks=self.asks)

    async def still_applies(self, plan: Plan) -> None:
        self.took.append("still_applies")

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        return Observation(seen=Seen.DONE)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        self.took.append(step.kind)
        return {}

    async def let_go(self, plan: Plan) -> Sequence[str]:
        self.took.append("let_go")
        return self.lines


class Database(Part):
    step_kinds = frozenset({"database_snapshot", "database_reverse", "database_verify"})

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        await note({"xid": "7"})
        return await self.apply(plan, step, results)


APP = [
    (Phase.CHECKLIST, Kind.SAY, False),
    (Phase.STOP_TRAFFIC, Kind.CORDON, True),
    (Phase.STOP_TRAFFIC, Kind.STOP, True),
    (Phase.EXECUTE, Kind.MACHINE, True),
    (Phase.VERIFY, Kind.VERIFY, False),
    (Phase.POST_VERIFICATION, Kind.PROVE, False),
]
DATABASE = [
    (Phase.CHECKLIST, Kind.SAY, False),
    (Phase.EXECUTE, "database_snapshot", False),
    (Phase.EXECUTE, "database_reverse", True),
    (Phase.VERIFY, "database_verify", False),
    (Phase.POST_VERIFICATION, Kind.PROVE, False),
]


def combined(
    *names: str,
    traffic: Traffic = Traffic.STOP,
    app: Part | None = None,
    database: Part | None = None,
) -> tuple[Combined, Part, Part]:
    first = app or Part(APP, app="shop")
    second = database or Database(DATABASE, database={"harm": "safe"})
    policy = target_policy()
    chosen = replace(policy.plans["app"], steps=names, traffic=traffic)
    parts: dict[str, Executor] = {"app": first, "database": second}
    return Combined(parts, replace(policy, plans={"app": chosen})), first, second


async def test_the_database_goes_behind_the_fence_and_before_the_old_image() -> None:
    executor, _, _ = combined("database", "app")

    made = await executor.plan(decision())

    kinds = [s.kind for s in in_order(made)]
    assert kinds == [
        Kind.SAY, Kind.CORDON, Kind.STOP, "database_snapshot", "database_reverse", Kind.MACHINE,
        "database_verify", Kind.VERIFY, Kind.PROVE,
    ]  # fmt: skip
    assert [s.seq for s in in_order(made)] == list(range(1, len(kinds) + 1))
    assert len({s.op_key for s in made.steps}) == len(kinds)
    assert made.settings["parts"] == ["database", "app"]


async def test_the_app_goes_first_where_the_plan_says_so() -> None:
    executor, _, _ = combined("app", "database", traffic=Traffic.DRAIN)

    made = await executor.plan(decision())

    executed = [s.kind for s in in_order(made) if s.phase is Phase.EXECUTE]
    assert executed == [Kind.MACHINE, "database_snapshot", "database_reverse"]


async def test_a_plan_of_the_app_alone_is_the_apps_own() -> None:
    executor, app, database = combined("app")

    assert await executor.plan(decision()) == await app.plan(decision())
    assert database.took == []


async def test_where_nothing_is_to_be_reversed_nothing_is_stopped_for_it() -> None:
    executor, _, _ = combined("database", "app", database=Database(DATABASE[:1], database={}))

    made = await executor.plan(decision())

    assert Kind.STOP not in {s.kind for s in made.steps}
    assert Kind.MACHINE in {s.kind for s in made.steps}


async def test_a_request_to_put_the_data_back_is_fenced_too() -> None:
    pitr = Part([(Phase.EXECUTE, "pitr_request", True)])
    policy = target_policy()
    chosen = replace(policy.plans["app"], steps=("pitr", "app"), traffic=Traffic.STOP)
    parts: dict[str, Executor] = {"app": Part(APP, app="shop"), "pitr": pitr}
    executor = Combined(parts, replace(policy, plans={"app": chosen}))

    made = await executor.plan(decision())

    kinds = [s.kind for s in in_order(made)]
    assert kinds.index(Kind.STOP) < kinds.index("pitr_request")


async def test_a_plan_that_would_do_nothing_is_none() -> None:
    executor, _, _ = combined("database", database=Database(DATABASE[:1], database={}))

    with pytest.raises(PlanRefused, match="m9 is unreachable"):  # its notes say why
        await executor.plan(decision())


async def test_the_database_is_not_taken_from_under_a_release_that_runs() -> None:
    executor, _, _ = combined("database", "app", traffic=Traffic.DRAIN)

    with pytest.raises(PlanRefused, match="still running on it"):
        await executor.plan(decision())


async def test_a_machine_that_nobody_can_stop_is_no_fence() -> None:
    app = Part(APP, app="shop", unreachable=["m9"])
    executor, _, _ = combined("database", "app", app=app)

    with pytest.raises(PlanRefused, match="does not write"):
        await executor.plan(decision())


async def test_each_step_is_taken_by_whose_kind_it_is_and_noted_where_it_notes() -> None:
    executor, app, database = combined("database", "app")
    made = await executor.plan(decision())
    noted: list[JsonObject] = []

    async def note(word: JsonObject) -> None:
        noted.append(word)

    for one in in_order(made):
        await executor.apply_noting(made, one, {}, note)
    await executor.still_applies(made)
    await executor.let_go(made)

    assert [k for k in database.took if k.startswith("database")] == [
        "database_snapshot", "database_reverse", "database_verify",
    ]  # fmt: skip
    assert Kind.MACHINE in app.took
    assert len(noted) == 3
    assert (app.took[-2:], database.took[-2:]) == (["still_applies", "let_go"],) * 2


async def test_the_hash_is_over_both_and_over_the_fact_that_somebody_is_asked() -> None:
    executor, _, database = combined("database", "app")
    first = await executor.plan(decision())
    later = await executor.plan(decision(at=999))
    database.settings = {"database": {"harm": "lossy"}}
    other = await executor.plan(decision())
    database.settings, database.asks = {"database": {"harm": "safe"}}, "rows are lost"
    asking = await executor.plan(decision())

    assert first.hash == later.hash
    assert len({first.hash, other.hash, asking.hash}) == 3
    assert asking.asks == "rows are lost"
