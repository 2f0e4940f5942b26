"""`regression:` finds its probes, takes its times, and says what cannot be."""

from pathlib import Path

import pytest

from rollbackd.config.promise import promises
from rollbackd.core.model import ProbeName, TargetName, TriggerName
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.rules import Composite, Regression, TriggerRef
from tests.unit.config.fakes import load_text, refusals, warnings
from tests.unit.config.texts import HEAD, PROBES, TRIGGERS

VETO = "unless: [{probe: health, breach_when: {failing: true}}]"


def target(tmp_path: Path, text: str, **environ: str) -> TargetPolicy:
    return load_text(tmp_path, text, **environ).policy.targets[TargetName("shop")]


def rule(tmp_path: Path, text: str, **environ: str) -> Regression:
    found = target(tmp_path, text, **environ).triggers[0].rule
    assert isinstance(found, Regression), found
    return found


def written(value: str) -> str:
    return TRIGGERS + f"      t: {{regression: {value}}}\n"


def with_probes(*lines: str) -> str:
    probes = "".join(f"      {line}\n" for line in lines)
    return HEAD + "    probes:\n" + probes + "    triggers:\n      t: {regression: auto}\n"


def roles(found: Regression) -> tuple[str | None, str | None, str | None]:
    return found.errors, found.health, found.latency


def test_the_probes_are_taken_as_they_are_named(tmp_path: Path) -> None:
    found = rule(tmp_path, written("{errors: errors, health: machines, latency: latency}"))

    assert found == Regression(
        errors=ProbeName("errors"),
        health=ProbeName("machines"),
        latency=ProbeName("latency"),
        tick_seconds=15,
        odds=2000,
        history_at_least_seconds=3600,
        history_at_most_seconds=86_400,
    )


def test_any_of_them_may_be_missing(tmp_path: Path) -> None:
    assert roles(rule(tmp_path, written("{health: health}"))) == (None, "health", None)


def test_auto_takes_the_probes_of_these_names(tmp_path: Path) -> None:
    assert roles(rule(tmp_path, written("auto"))) == ("errors", "health", "latency")


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        (("edge: {fly_edge: errors}",), ("edge", None, None)),
        (("site: {http: {path: /up}}", "times: {fly_edge: latency}"), (None, "site", "times")),
        (
            ("a: {fly_edge: errors}", "b: {fly_edge: errors}", "up: {http: {}}"),
            (None, "up", None),
        ),
        (("a: {http: {}}", "health: {http: {}}"), (None, "health", None)),
        # The states of machines are no look at the app, and a name alone makes no measure.
        (("machines: {fly: {}}", "e: {fly_edge: errors}"), ("e", None, None)),
        (("errors: {http: {}}", "e: {fly_edge: errors}"), ("e", "errors", None)),
    ],
)
def test_auto_takes_the_only_one_where_none_has_the_name(
    tmp_path: Path, probes: tuple[str, ...], expected: tuple[str | None, ...]
) -> None:
    assert roles(rule(tmp_path, with_probes(*probes))) == expected


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        (("machines: {fly: {}}",), "finds no probe that tells errors, health or latency"),
        (("a: {http: {}}", "b: {http: {}}"), "finds several probes for the same role"),
    ],
)
def test_auto_that_finds_nothing_says_what_to_do(
    tmp_path: Path, probes: tuple[str, ...], message: str
) -> None:
    found = refusals(tmp_path, with_probes(*probes))

    assert len(found) == 1
    assert message in found[0].message
    assert found[0].line == 7 + len(probes)
    assert "health:" in found[0].hint


def test_auto_beside_a_refused_probe_is_not_a_second_mistake(tmp_path: Path) -> None:
    found = refusals(tmp_path, with_probes("a: {fly_edge: eror}"))

    assert [d.line for d in found] == [6]


def test_the_knobs_are_taken(tmp_path: Path) -> None:
    knobs = "tick: 1s, odds: 500, history: {at_least: 15s, at_most: 1h}"

    found = rule(tmp_path, written(f"{{health: health, {knobs}}}"))

    times = (found.tick_seconds, found.history_at_least_seconds, found.history_at_most_seconds)
    assert times == (1, 15, 3600)
    assert found.odds == 500


@pytest.mark.parametrize(
    ("value", "environ", "tick"),
    [
        ("{health: health}", {}, 10),
        ("{errors: errors}", {}, 15),
        ("{latency: latency, health: health}", {}, 15),
        ("{errors: rate}", {}, 10),
        ("{errors: rate}", {"ROLLBACKD_PROMETHEUS_URL": "https://api.fly.io/prometheus/o"}, 15),
    ],
)
def test_a_tick_is_longer_where_fly_is_asked(
    tmp_path: Path, value: str, environ: dict[str, str], tick: float
) -> None:
    text = written(value).replace(
        "      locks:", "      rate: {prometheus: {bad: b}}\n      locks:"
    )

    assert rule(tmp_path, text, **environ).tick_seconds == tick


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{}", "regression needs one of errors, health, latency"),
        ("{tick: 10s}", "regression needs one of errors, health, latency"),
        ("{errors: erors}", "unknown probe 'erors'"),
        ("{errors: health}", "errors takes a probe that counts bad and total; 'health' gives"),
        ("{health: errors}", "health takes a probe that checks; 'errors' gives a ratio"),
        ("{latency: locks}", "latency takes a probe that gives buckets; 'locks' gives a plain"),
        ("{latency: errors, health: health}", "latency takes a probe that gives buckets"),
        ("{eror: errors}", "unknown key 'eror'"),
        ("{health: health, tick: 0s}", "tick is too short"),
        ("{health: health, history: {at_least: 2d}}", "history.at_least must be a tick or longer"),
        ("{health: health, history: {at_least: 5s}}", "history.at_least must be a tick or longer"),
        ("{health: health, history: {at_most: 8d}}", "history.at_most is longer than 7d"),
        ("{health: health, tick: 500ms, history: {at_most: 1d}}", "holds more than 100,000 ticks"),
        ("{health: health, odds: 1}", "expected greater than 1"),
        ("automatic", "expected 'auto'"),
    ],
)
def test_what_cannot_be_is_one_error_at_its_line(tmp_path: Path, value: str, message: str) -> None:
    found = refusals(tmp_path, written(value))

    assert [(d.line, message in d.message) for d in found] == [(12, True)], found


def test_a_misspelt_probe_is_guessed(tmp_path: Path) -> None:
    assert "did you mean 'errors'?" in refusals(tmp_path, written("{errors: erors}"))[0].hint


def test_the_wrong_measure_says_which_would_do(tmp_path: Path) -> None:
    assert refusals(tmp_path, written("{errors: health}"))[0].hint == "known: errors"
    assert (
        refusals(tmp_path, with_probes("a: {http: {}}").replace("auto", "{errors: a}"))[0].hint
        == "no probe of this target is a probe that counts bad and total"
    )


@pytest.mark.parametrize(
    "key",
    [
        "breach_when: {above: 5%}", "clear_when: {below: 5%}", "window: 2m", "for: 1m",
        "min_samples: 50", "breaches: {at_least: 1, of_last: 2}", "max_age: 1m", "no_data: ok",
    ],
)  # fmt: skip
def test_a_threshold_beside_it_is_refused(tmp_path: Path, key: str) -> None:
    found = refusals(tmp_path, TRIGGERS + f"      t: {{regression: auto, {key}}}\n")

    name = key.partition(":")[0]
    assert [d.message for d in found] == [f"{name} does not go with regression"]


def test_it_is_one_kind_of_trigger_among_others(tmp_path: Path) -> None:
    found = refusals(tmp_path, TRIGGERS + "      t: {regression: auto, deploy_failed: true}\n")

    assert "has one of deploy_failed and regression" in found[0].message


def test_it_may_be_a_part_and_a_veto_of_others(tmp_path: Path) -> None:
    text = written("auto") + (
        "      both: {all: [{trigger: t}, {probe: health, breach_when: {failing: true}}]}\n"
        "      down: {probe: health, breach_when: {failing: true}, unless: [{trigger: t}]}\n"
    )

    shop = target(tmp_path, text)

    ref = TriggerRef(trigger=TriggerName("t"))
    both = shop.triggers[1].rule
    assert isinstance(both, Composite)
    assert both.parts[0] == ref
    assert shop.triggers[2].unless == (ref,)


def test_its_fingerprint_changes_with_the_probes_it_looks_at(tmp_path: Path) -> None:
    one = target(tmp_path, written("auto")).fingerprints
    other = target(tmp_path, written("auto").replace("/up", "/down")).fingerprints
    same = target(tmp_path, written("auto").replace("value: locks", "value: cats")).fingerprints

    assert one["trigger:t"] != other["trigger:t"]
    assert one["trigger:t"] == same["trigger:t"]


def test_without_a_dependency_veto_it_is_warned_of_in_auto_only(tmp_path: Path) -> None:
    def said(text: str) -> list[str]:
        found = warnings(load_text(tmp_path, text))
        return [line for line in found if line.startswith("no dependency veto")]

    assert len(said(written("auto") + "    mode: auto\n")) == 1
    assert said(written("auto")) == []
    assert said(written("auto, mode: approve") + "    mode: auto\n") == []
    assert said(written(f"auto, {VETO}") + "    mode: auto\n") == []


def test_it_keeps_five_minutes(tmp_path: Path) -> None:
    def said(text: str) -> str:
        shop = target(tmp_path, text + "    mode: auto\n")
        return str(promises(shop, shop.mode)[0])

    assert said(written("{health: health}")) == "shop: t: keeps 5 minutes, 4m at worst"
    # 30 s until Fly's Prometheus is asked, ten whole ticks of 15 s, and a second.
    assert said(written("{errors: errors}")) == "shop: t: keeps 5 minutes, 4m1s at worst"
    assert "noticed after 5m9s" in said(written("{errors: errors, tick: 139s}"))


def test_the_short_file_has_it_first(tmp_path: Path) -> None:
    shop = target(tmp_path, HEAD)

    assert [one.name for one in shop.triggers] == [
        "release-regression", "health-down", "deploy-failed",
    ]  # fmt: skip
    found = shop.triggers[0].rule
    assert isinstance(found, Regression)
    assert roles(found) == ("errors", "health", "latency")


def test_the_short_file_has_it_where_a_probe_fits_only(tmp_path: Path) -> None:
    blind = HEAD.replace("    url: https://shop.test\n", "")

    shop = target(tmp_path, blind, ROLLBACKD_PROMETHEUS_URL="")

    assert [one.name for one in shop.triggers] == ["deploy-failed"]


def test_probes_without_triggers_get_those_that_fit(tmp_path: Path) -> None:
    shop = target(tmp_path, PROBES.replace("health: {http: {path: /up}", "health: {fly: {}"))

    assert [one.name for one in shop.triggers] == [
        "release-regression", "health-down", "deploy-failed",
    ]  # fmt: skip
    found = shop.triggers[0].rule
    assert isinstance(found, Regression)
    assert found.health is None
