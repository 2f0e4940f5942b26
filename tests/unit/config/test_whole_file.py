"""A file with every kind of probe and trigger loads, and becomes what it says."""

from pathlib import Path

from rollbackd.config.load import Loaded, load
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.rules import BurnRateBound, Regression, Rule, Signal
from rollbackd.plugins import probes

ENVIRON = {"ROLLBACKD_PROMETHEUS_URL": "https://api.fly.io/prometheus/hotdash"}


def whole() -> Loaded:
    return load(Path(__file__).with_name("whole.yml"), ENVIRON, plugins=probes())


def rules(loaded: Loaded, target: str = "staging") -> dict[str, Rule]:
    return {t.name: t.rule for t in loaded.policy.targets[TargetName(target)].triggers}


def test_only_what_cannot_be_proved_in_time_is_warned_of() -> None:
    (only,) = whole().diagnostics

    assert "it cannot clear: recovered_unproven" in only.message


def test_its_regression_looks_at_fly_s_numbers_every_fifteen_seconds() -> None:
    found = rules(whole())["release-regression"]

    assert isinstance(found, Regression)
    assert (found.errors, found.health, found.latency) == ("errors", "health", "latency")
    assert found.tick_seconds == 15


def test_its_burn_rate_looks_back_an_hour() -> None:
    found = rules(whole())["slo-burn"]

    assert isinstance(found, Signal)
    assert isinstance(found.breach, BurnRateBound)
    assert (found.breach.long_seconds, found.breach.short_seconds) == (3600, 300)


def test_its_database_vetoes_and_says_nothing_of_the_app() -> None:
    staging = whole().policy.targets[TargetName("staging")]

    dependent = {name for name, probe in staging.probes.items() if probe.dependency}
    assert dependent == {ProbeName("database")}
    (veto,) = staging.triggers[0].unless
    assert isinstance(veto, Signal)
    assert veto.probe == "database"


def test_a_burn_rate_does_not_make_its_probe_look_back_further() -> None:
    staging = whole().policy.targets[TargetName("staging")]

    # The five minutes of the short window; the hour is kept by the burn rate itself.
    assert staging.probes[ProbeName("errors")].window_seconds == 300


def test_an_heir_has_the_same_rules() -> None:
    loaded = whole()

    assert rules(loaded, "production") == rules(loaded)
