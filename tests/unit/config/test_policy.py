"""What the YAML means: defaults, inheritance, the short file, references, fingerprints."""

from pathlib import Path

from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import ProbeName, TargetName, TriggerName
from rollbackd.core.policy import Strategy, TargetPolicy, TimeWindow, Traffic
from rollbackd.core.rules import (
    Bound,
    Breaches,
    Comparison,
    Composite,
    DeployFailed,
    Failing,
    FailingMachines,
    Mode,
    NoData,
    QuantileBound,
    RatioBound,
    Severity,
    Signal,
    Trigger,
    TriggerRef,
    ValueBound,
)
from tests.unit.config.fakes import load_text, warnings
from tests.unit.config.texts import HEAD, PROBES, TRIGGERS, signal

SHORT = "targets: {hotdash: {fly: {app: hotdash}, url: https://hotdash.test}}\n"


def target(tmp_path: Path, text: str, name: str = "shop", **environ: str) -> TargetPolicy:
    return load_text(tmp_path, text, **environ).policy.targets[TargetName(name)]


def trigger(tmp_path: Path, text: str, name: str = "t") -> Trigger:
    found = {one.name: one for one in target(tmp_path, text).triggers}
    return found[TriggerName(name)]


def rule(tmp_path: Path, *keys: str, probe: str = "errors") -> Signal:
    found = trigger(tmp_path, signal(*keys, probe=probe)).rule
    assert isinstance(found, Signal)
    return found


def test_the_short_file_watches_and_observes(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, SHORT)

    shop = loaded.policy.targets[TargetName("hotdash")]
    assert shop.mode is Mode.OBSERVE
    assert list(shop.probes) == ["health", "machines", "errors", "latency"]
    names = ["release-regression", "health-down", "deploy-failed"]
    assert [one.name for one in shop.triggers] == names
    assert list(shop.plans) == ["app"]
    assert loaded.diagnostics == ()
    health = shop.triggers[1].rule
    assert isinstance(health, Signal)
    assert health.breach == Failing()
    assert health.breaches == Breaches(at_least=4, of_last=4)
    assert shop.triggers[2].rule == DeployFailed()


def test_without_a_prometheus_the_short_file_leaves_the_edge_out(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, SHORT, ROLLBACKD_PROMETHEUS_URL="")

    shop = loaded.policy.targets[TargetName("hotdash")]
    assert list(shop.probes) == ["health", "machines"]
    assert warnings(loaded) == [
        "no Prometheus address: errors and latency at Fly's edge are not watched"
    ]


def test_an_organisation_is_an_address_of_fly_s_prometheus(tmp_path: Path) -> None:
    text = SHORT.replace("app: hotdash", "app: hotdash, org: acme")

    loaded = load_text(tmp_path, text, ROLLBACKD_PROMETHEUS_URL="")

    settings = loaded.targets[TargetName("hotdash")]
    assert settings.prometheus_url == "https://api.fly.io/prometheus/acme"
    assert ("hotdash", "errors") in loaded.probe_configs


def test_a_probe_without_its_prometheus_stays_visible_and_is_not_built(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}")

    loaded = load_text(tmp_path, text, ROLLBACKD_PROMETHEUS_URL="")

    assert ProbeName("errors") in loaded.policy.targets[TargetName("shop")].probes
    assert ("shop", "errors") not in loaded.probe_configs
    assert ("shop", "health") in loaded.probe_configs
    assert warnings(loaded) == ["no Prometheus address: errors, latency, locks have no data"]


def test_a_target_without_fly_is_watched_by_health_alone(tmp_path: Path) -> None:
    shop = target(tmp_path, "targets: {shop: {url: https://shop.test}}")

    assert list(shop.probes) == ["health"]
    assert [one.name for one in shop.triggers] == ["release-regression", "health-down"]


def test_the_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    shop = target(tmp_path, TRIGGERS + "      t: {probe: health, breach_when: {failing: true}}\n")

    found = shop.triggers[0].rule
    assert isinstance(found, Signal)
    assert found == Signal(
        probe=ProbeName("health"),
        breach=Failing(failing=True),
        clear=None,
        window_seconds=120,
        for_seconds=0,
        breaches=None,
        min_samples=1,
        max_age_seconds=12.5,
        interval_seconds=5,
        no_data=NoData.HOLD,
    )
    assert shop.triggers[0].severity is Severity.CRITICAL
    assert shop.triggers[0].mode is None
    assert shop.triggers[0].plan == "app"
    assert shop.probes[ProbeName("machines")].interval_seconds == 10
    assert shop.probes[ProbeName("errors")].interval_seconds == 30
    safety = shop.safety
    assert safety.settle_until_first_success
    assert safety.settle_at_most_seconds is None
    assert (safety.settle_floor_seconds, safety.settle_ceiling_seconds) == (60, 180)
    assert (safety.watch_seconds, safety.cooldown_seconds) == (3600, 300)
    assert (safety.budget_rollbacks, safety.budget_per_seconds) == (2, 86_400)
    assert (safety.approval_seconds, safety.interrupted_after_seconds) == (600, 900)
    assert shop.after.clear_for_seconds == 180
    assert shop.after.monitor_seconds == 15
    plan = shop.plans["app"]
    assert (plan.traffic, plan.strategy) == (Traffic.DRAIN, Strategy.ROLLING)
    assert (plan.deadline_seconds, plan.max_unavailable) == (300, 1)


def test_a_timeout_is_three_seconds_or_the_interval(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, PROBES.replace("5s", "2s"))

    assert loaded.probe_configs["shop", "health"].timeout_seconds == 2
    assert loaded.probe_configs["shop", "machines"].timeout_seconds == 3


def test_conditions_are_in_the_unit_of_the_measure(tmp_path: Path) -> None:
    above = Comparison.ABOVE

    assert rule(tmp_path, "breach_when: {above: 5%}").breach == RatioBound(
        bound=Bound(comparison=above, limit=0.05)
    )
    assert rule(
        tmp_path, "breach_when: {p95: {above: 2s}}", probe="latency"
    ).breach == QuantileBound(quantile=0.95, bound=Bound(comparison=above, limit=2.0))
    assert rule(tmp_path, "breach_when: {above: 100}", probe="locks").breach == ValueBound(
        bound=Bound(comparison=above, limit=100.0)
    )
    assert rule(
        tmp_path, "breach_when: {failing_machines: {at_least: 2}}", probe="machines"
    ).breach == FailingMachines(bound=Bound(comparison=Comparison.AT_LEAST, limit=2.0))


def test_clear_when_is_read_like_breach_when(tmp_path: Path) -> None:
    found = rule(tmp_path, "breach_when: {above: 5%}", "clear_when: {below: 2%}")

    assert found.clear == RatioBound(bound=Bound(comparison=Comparison.BELOW, limit=0.02))


def test_a_breach_downwards_clears_upwards(tmp_path: Path) -> None:
    found = rule(tmp_path, "breach_when: {below: 10}", "clear_when: {at_least: 10}", probe="locks")

    assert found.clear == ValueBound(bound=Bound(comparison=Comparison.AT_LEAST, limit=10.0))


def test_parts_and_vetoes_are_signals_or_other_triggers(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}") + (
        "      both:\n"
        "        all: [{trigger: t}, {probe: locks, breach_when: {above: 3}}]\n"
        "        unless: [{probe: machines, breach_when: {failing: true}}, {trigger: t}]\n"
    )

    both = trigger(tmp_path, text, "both")

    assert isinstance(both.rule, Composite)
    assert both.rule.every
    assert both.rule.parts[0] == TriggerRef(trigger=TriggerName("t"))
    assert isinstance(both.rule.parts[1], Signal)
    assert [type(veto) for veto in both.unless] == [Signal, TriggerRef]


def test_a_window_holds_the_longest_look_back(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}", "window: 7m")
    text += "      m: {probe: health, breach_when: {failing: true}, "
    text += "breaches: {at_least: 1, of_last: 100}}\n"

    probes = target(tmp_path, text).probes

    assert probes[ProbeName("errors")].window_seconds == 420
    assert probes[ProbeName("health")].window_seconds == 750
    assert probes[ProbeName("machines")].window_seconds == 20
    assert probes[ProbeName("errors")].measure is MeasureKind.RATIO


def test_windows_plans_and_smoke_are_compiled(tmp_path: Path) -> None:
    text = HEAD + (
        "    safety:\n"
        "      settle: {at_most: 90s}\n"
        "      windows:\n"
        '        - {name: night, days: [fri-mon, wed], from: "22:00", to: "06:30", tz: UTC,'
        " mode: observe}\n"
        "    plans: {fast: {steps: [app], strategy: immediate, max_unavailable: 34%}}\n"
        "    after: {smoke: [{path: /x, expect: {status: [2xx, 301], contains: ok}}]}\n"
    )

    shop = target(tmp_path, text)

    assert shop.safety.settle_at_most_seconds == 90
    assert shop.safety.windows == (
        TimeWindow(
            name="night",
            days=frozenset({4, 5, 6, 0, 2}),
            from_minute=1320,
            to_minute=390,
            tz="UTC",
            mode=Mode.OBSERVE,
        ),
    )
    assert shop.plans["fast"].max_unavailable == 0.34
    assert shop.plans["fast"].strategy is Strategy.IMMEDIATE
    assert list(shop.plans) == ["app", "fast"]
    assert shop.after.smoke[0].status == ("2xx", "301")
    assert shop.after.smoke[0].contains == "ok"


def test_the_ceiling_of_the_environment_is_in_the_policy(tmp_path: Path) -> None:
    policy = load_text(tmp_path, SHORT, ROLLBACKD_MODE="observe").policy

    assert policy.mode_ceiling is Mode.OBSERVE


def test_fingerprints_change_with_what_they_stand_for(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}") + "      d: {deploy_failed: true}\n"
    before = target(tmp_path, text).fingerprints

    probe = target(tmp_path, text.replace("{fly_edge: errors}", "{fly_edge: errors, interval: 9s}"))
    limit = target(tmp_path, text.replace("above: 5%", "above: 6%"))
    other = target(tmp_path, text.replace("/up", "/upper") + "    mode: auto\n")

    def changed(now: TargetPolicy) -> set[str]:
        return {key for key, mark in now.fingerprints.items() if before[key] != mark}

    assert changed(probe) == {"probe:errors", "trigger:t"}
    assert changed(limit) == {"trigger:t"}
    assert changed(other) == {"probe:health"}


def test_the_opaque_settings_say_what_the_target_is(tmp_path: Path) -> None:
    settings = target(tmp_path, PROBES).settings

    assert settings["fly"] == {"app": "shop", "org": None}
    assert settings["url"] == "https://shop.test"
    probes = settings["probes"]
    assert isinstance(probes, dict)
    assert probes["locks"] == {
        "kind": "prometheus",
        "config": {"value": "locks"},
        "interval_seconds": 10.0,
        "timeout_seconds": 3.0,
        "delay_seconds": 30.0,
    }
