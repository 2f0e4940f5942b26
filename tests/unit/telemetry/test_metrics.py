import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from rollbackd.core.facts import CheckOutcome, MissReason
from rollbackd.core.model import HoldReason, RollBack, RollbackId, TargetName, TriggerState
from rollbackd.core.snapshot import RollbackView, Snapshot
from rollbackd.telemetry.catalogue import ALWAYS, GAUGES, INSTRUMENTS
from rollbackd.telemetry.metrics import Metrics
from rollbackd.telemetry.reference import page
from tests import support_views as views

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy/prometheus/rules.yml"
SHOP = TargetName("shop")
FLY_OVERWRITES = {"app", "region", "host", "instance"}


def made(snapshot: Snapshot | None = None) -> Metrics:
    return Metrics(CollectorRegistry(), lambda: snapshot, version="1.2.3")


def samples(metrics: Metrics) -> Iterator[Sample]:
    text, _ = metrics.render("text/plain")
    for family in text_string_to_metric_families(text.decode()):
        yield from family.samples


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    found = [s.value for s in samples(metrics) if s.name == name and s.labels == labels]
    assert len(found) <= 1, "one series per label set"
    return found[0] if found else None


def series(metrics: Metrics, name: str) -> list[dict[str, str]]:
    return [s.labels for s in samples(metrics) if s.name == name]


def test_counters_the_configuration_implies_are_born_at_zero() -> None:
    metrics = made()
    metrics.adopt(views.policy(shop=(("health",), ("errors",))))

    failed = {"target": "shop", "trigger": "errors", "result": "failed"}
    assert value(metrics, "rollbackd_rollbacks_total", **failed) == 0
    assert value(metrics, "rollbackd_rollbacks_total", **{**failed, "trigger": "manual"}) == 0
    taken = {"target": "shop", "probe": "health", "result": "dns_failed"}
    assert value(metrics, "rollbackd_probe_results_total", **taken) == 0
    held = {"target": "shop", "decision": "hold", "reason": "budget_spent"}
    assert value(metrics, "rollbackd_decisions_total", **held) == 0


def test_every_label_set_of_the_engine_is_born_before_it_is_used() -> None:
    metrics = made()
    metrics.adopt(views.policy(shop=(("health",), ("errors",))))
    before = {(s.name, tuple(sorted(s.labels.items()))) for s in samples(metrics)}

    for result in (*CheckOutcome, "asleep", *MissReason):
        metrics.probe_taken("shop", "health", result, 0.1)
    for reason in HoldReason:
        metrics.decided(views.hold(reason))
    for state in TriggerState:
        metrics.transition("shop", "errors", state)
    metrics.evaluated("shop", 0.001)
    metrics.rollback_started("shop")
    metrics.rollback_ended("shop", None, "recovered", 40)
    metrics.step_done("execute", 3)
    metrics.scheduler_lag(0.01)
    metrics.scheduler_skipped("overrun")
    metrics.reloaded("failed", "sighup")
    metrics.releases_observed("shop", "deploy")
    metrics.store_error("note")
    metrics.log_message("error")
    metrics.api_retry("machines")
    metrics.api_rate_limited("graphql")

    after = {(s.name, tuple(sorted(s.labels.items()))) for s in samples(metrics)}
    assert after == before


def test_a_reload_buries_what_it_takes_away_and_keeps_the_rest() -> None:
    metrics = made()
    metrics.adopt(views.policy(shop=(("health", "old"), ("errors", "gone")), other=((), ())))
    metrics.probe_taken("shop", "health", "ok", 0.1)
    metrics.probe_taken("shop", "old", "ok", 0.1)

    metrics.adopt(views.policy(shop=(("health",), ("errors",))))

    probes = series(metrics, "rollbackd_probe_results_total")
    assert {labels["probe"] for labels in probes} == {"health"}
    triggers = series(metrics, "rollbackd_trigger_transitions_total")
    assert {labels["trigger"] for labels in triggers} == {"errors"}
    assert not [s for s in samples(metrics) if s.labels.get("target") == "other"]
    kept = {"target": "shop", "probe": "health", "result": "ok"}
    assert value(metrics, "rollbackd_probe_results_total", **kept) == 1


def test_a_late_look_of_a_deleted_probe_is_not_born_again() -> None:
    metrics = made()
    metrics.adopt(views.policy(shop=(("health",), ())))

    metrics.probe_taken("shop", "deleted", "ok", 0.1)
    metrics.transition("shop", "deleted", "breached")

    assert "deleted" not in metrics.render("text/plain")[0].decode()


def test_an_unknown_result_of_a_plugin_does_not_open_the_label_space() -> None:
    metrics = made()
    metrics.adopt(views.policy(shop=(("health",), ())))

    metrics.probe_taken("shop", "health", "GET http://10.0.0.1/ failed", 0.1)

    labels = {"target": "shop", "probe": "health", "result": "probe_error"}
    assert value(metrics, "rollbackd_probe_results_total", **labels) == 1
    assert "10.0.0.1" not in metrics.render("text/plain")[0].decode()


def test_decisions_are_counted_by_gate_and_detection_is_timed() -> None:
    metrics = made()
    decision = RollBack(
        target=SHOP,
        at=views.T0,
        trigger=views.TriggerName("errors"),
        bad=views.release(42),
        good=views.release(41),
        plan="app",
        onset_at=views.T0 - 17,
    )

    metrics.decided(decision)
    metrics.decided(replace(decision, trigger=None))
    metrics.decided(views.hold(HoldReason.SETTLING))

    counted = {"target": "shop", "decision": "roll_back"}
    assert value(metrics, "rollbackd_decisions_total", **counted, reason="auto") == 1
    assert value(metrics, "rollbackd_decisions_total", **counted, reason="manual") == 1
    held = {"target": "shop", "decision": "hold", "reason": "settling"}
    assert value(metrics, "rollbackd_decisions_total", **held) == 1
    assert value(metrics, "rollbackd_detection_seconds_sum", target="shop") == 34


def test_a_refused_token_is_counted_apart() -> None:
    metrics = made()

    metrics.api_call("machines", "/v1/apps/{app}/machines", "GET", "401", 0.2)
    metrics.api_call("machines", "/v1/apps/{app}/machines", "GET", "200", 0.2)

    assert value(metrics, "rollbackd_api_unauthorized_total", api="machines") == 1
    assert value(metrics, "rollbackd_api_unauthorized_total", api="graphql") == 0


def test_a_refused_reload_shows_until_the_next_accepted_one() -> None:
    metrics = made()
    name = "rollbackd_config_last_reload_successful"
    assert value(metrics, name) == 1

    metrics.reloaded("failed", "watch")
    metrics.reloaded("unchanged", "watch")
    assert value(metrics, name) == 0

    metrics.reloaded("success", "sighup", at=views.T0)
    metrics.reloaded("unchanged", "watch", at=views.T0 + 30)
    assert value(metrics, name) == 1
    assert value(metrics, f"{name[:-3]}_timestamp_seconds") == views.T0


def test_the_loop_lag_is_the_worst_of_the_last_ten() -> None:
    metrics = made()

    for lag in (0.9, *([0.1] * 9)):
        metrics.loop_lag(lag)
    assert value(metrics, "rollbackd_event_loop_lag_seconds") == 0.9

    metrics.loop_lag(0.1)
    assert value(metrics, "rollbackd_event_loop_lag_seconds") == 0.1


def test_gauges_are_drawn_from_the_snapshot() -> None:
    metrics = made(views.snapshot())

    assert value(metrics, "rollbackd_target_healthy", target="shop") == 1
    assert value(metrics, "rollbackd_target_mode", target="shop", mode="auto") == 1
    assert value(metrics, "rollbackd_target_mode", target="shop", mode="observe") == 0
    trigger = {"target": "shop", "trigger": "errors"}
    assert value(metrics, "rollbackd_trigger_value", **trigger) == 0.021
    assert value(metrics, "rollbackd_trigger_state", **trigger, state="ok") == 1
    assert value(metrics, "rollbackd_trigger_state", **trigger, state="breached") == 0
    info = {"target": "shop", "release": "v42", "image_tag": "deployment-42"}
    assert value(metrics, "rollbackd_target_release_info", **info) == 1
    assert value(metrics, "rollbackd_release_candidates", target="shop") == 1
    ran = {"target": "shop", "state": "started"}
    assert value(metrics, "rollbackd_target_machines", **ran, release="current") == 1
    assert value(metrics, "rollbackd_target_machines", **ran, release="goal") == 1
    assert value(metrics, "rollbackd_control_ok") == 1


def test_exactly_one_state_and_one_mode_are_set() -> None:
    for state in TriggerState:
        metrics = made(views.snapshot(views.target(verdicts=(views.verdict(state),))))
        states = [s for s in samples(metrics) if s.name == "rollbackd_trigger_state"]
        assert [s.labels["state"] for s in states if s.value == 1] == [str(state)]
        assert len(states) == len(TriggerState)

    paused = made(views.snapshot(views.target(paused_until=views.T0 + 60)))
    modes = [s for s in samples(paused) if s.name == "rollbackd_target_mode"]
    assert [s.labels["mode"] for s in modes if s.value == 1] == ["paused"]


def test_what_is_unknown_is_absent_rather_than_zero() -> None:
    probe = replace(views.target().probes[0], outcome="", at=None, ok_at=None)
    blank = views.target(healthy=None, evaluated_at=None, probes=(probe,), releases=())

    metrics = made(views.snapshot(blank))

    assert value(metrics, "rollbackd_target_healthy", target="shop") is None
    assert series(metrics, "rollbackd_probe_success") == []
    assert series(metrics, "rollbackd_probe_last_run_timestamp_seconds") == []
    assert series(metrics, "rollbackd_target_release_info") == []
    assert value(metrics, "rollbackd_release_candidates", target="shop") == 0


def test_a_miss_is_neither_good_nor_bad() -> None:
    outcomes = {"ok": 1.0, "failed": 0.0, "refused": 0.0, "miss": None, "asleep": None}
    for outcome, expected in outcomes.items():
        probe = replace(views.target().probes[0], outcome=outcome)
        metrics = made(views.snapshot(views.target(probes=(probe,))))
        labels = {"target": "shop", "probe": "health", "kind": "http"}
        assert value(metrics, "rollbackd_probe_success", **labels) == expected, outcome


def test_a_running_rollback_shows_with_its_start() -> None:
    running = RollbackView(
        rollback=RollbackId("r1"), bad_version=42, good_version=41, started_at=views.T0 - 5
    )
    metrics = made(views.snapshot(views.target(rollback=running)))

    assert value(metrics, "rollbackd_rollback_in_progress", target="shop") == 1
    started = "rollbackd_rollback_started_timestamp_seconds"
    assert value(metrics, started, target="shop") == views.T0 - 5


def test_a_target_that_is_gone_leaves_no_gauge_behind() -> None:
    shown: list[Snapshot] = [views.snapshot()]
    metrics = Metrics(CollectorRegistry(), lambda: shown[-1])
    assert series(metrics, "rollbackd_target_healthy")

    shown.append(replace(shown[0], targets=()))

    assert series(metrics, "rollbackd_target_healthy") == []


def test_the_snapshot_may_be_shown_later() -> None:
    metrics = made(None)
    assert series(metrics, "rollbackd_target_healthy") == []

    metrics.show(views.snapshot)

    assert series(metrics, "rollbackd_target_healthy") == [{"target": "shop"}]


def test_no_series_says_when_it_was_created() -> None:
    metrics = made(views.snapshot())
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        assert b"_created" not in metrics.render(accept)[0]


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    body, content_type = made().render("application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_no_metric_has_a_label_that_fly_overwrites() -> None:
    labels = {name for i in INSTRUMENTS for name in i.labels}
    labels |= {name for _, _, names in (*GAUGES, *ALWAYS) for name in names}

    assert not labels & FLY_OVERWRITES


def test_every_help_ends_with_a_full_stop() -> None:
    for text in (*(i.help for i in INSTRUMENTS), *(text for _, text, _ in (*GAUGES, *ALWAYS))):
        assert text.endswith("."), text


def test_the_page_of_metrics_is_current() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page(), (
        "python -m rollbackd.telemetry.reference > docs/metrics.md"
    )


def test_the_page_names_what_the_registry_holds() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", page(), re.MULTILINE))
    registry = CollectorRegistry()
    Metrics(registry)
    held = {
        family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        for family in registry.collect()
    }

    assert listed == {name for name in held if not name.startswith("process_")}


def names_and_labels() -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for instrument in INSTRUMENTS:
        labels = set(instrument.labels)
        known[instrument.name] = labels
        known |= {f"{instrument.name}_{end}": labels | {"le"} for end in ("bucket", "sum", "count")}
    for name, _, labels in (*GAUGES, *ALWAYS):
        known[f"rollbackd_{name}"] = set(labels)
    return known


def expressions() -> list[tuple[str, str]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [(r["alert"], r["expr"]) for g in groups for r in g["rules"]]


@pytest.mark.parametrize(("alert", "expression"), expressions())
def test_rules_use_metrics_and_labels_that_exist(alert: str, expression: str) -> None:
    known = names_and_labels()

    for name, matchers in re.findall(r"\b(rollbackd_\w+)(\{[^}]*\})?", expression):
        assert name in known, f"{alert}: {name}"
        used = set(re.findall(r"(\w+)\s*(?:=|!)", matchers or ""))
        assert used <= known[name] | {"job"}, f"{alert}: {used}"


def test_every_rule_says_what_how_bad_and_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"none", "info", "warning", "critical"}
            notes = rule["annotations"]
            assert {"summary", "description", "runbook_url"} <= notes.keys(), rule["alert"]
            assert notes["runbook_url"].endswith(f"#{rule['alert'].lower()}")


@pytest.mark.integration
def test_promtool_has_no_complaint_about_the_exposition() -> None:
    metrics = made(views.snapshot())
    metrics.adopt(views.policy(shop=(("health",), ("errors",))))
    metrics.api_call("machines", "/v1/apps/{app}/machines", "GET", "200", 0.2)
    promtool = shutil.which("promtool")
    assert promtool is not None, "apt-get install prometheus"

    told = subprocess.run(
        [promtool, "check", "metrics"],
        input=metrics.render("text/plain")[0],
        capture_output=True,
        check=False,
    )

    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


@pytest.mark.integration
@pytest.mark.parametrize(
    "order", [("check", "rules", "--lint=all", "rules.yml"), ("test", "rules", "rules_test.yml")]
)
def test_promtool_passes_the_rules(order: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "apt-get install prometheus"

    told = subprocess.run(
        [promtool, *order], cwd=RULES.parent, capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told.stdout + told.stderr
