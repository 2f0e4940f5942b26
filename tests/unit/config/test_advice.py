"""Warnings, and whether a trigger keeps the runbook's five minutes."""

from pathlib import Path

import pytest

from rollbackd.config.promise import promises
from tests.unit.config.fakes import load_text, warnings
from tests.unit.config.texts import HEAD, TRIGGERS, signal


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (HEAD + "  two: {like: shop}\n", "targets 'shop' and 'two' watch the same app 'shop'"),
        (signal("breach_when: {above: 5%}", "window: 59s"), "the window 59 s holds less than two"),
        (
            signal("breach_when: {above: 5}", "window: 1m", probe="locks"),
            "the window never holds 50 samples",
        ),
        (
            signal("breach_when: {above: 5%}", "clear_when: {below: 0%}"),
            "this can never clear",
        ),
        (signal("breach_when: {above: 100%}"), "this can never be in breach"),
        (signal("breach_when: {above: 5%}", "max_age: 5s"), "max_age is shorter"),
        (HEAD + "    triggers: {}\n", "no triggers"),
        (HEAD.replace("app: shop", "app: shop, token: fo1"), "a token stands in the file"),
        ("targets: {s: {url: https://s.test, mode: auto}}", "mode auto without fly"),
        (
            "targets: {s: {fly: {app: s}, after: {smoke: [{path: /}]}}}",
            "smoke requests need the target's url",
        ),
        (
            signal("breach_when: {above: 5%}", "mode: auto") + "    mode: approve\n",
            "mode auto is more than the target's approve",
        ),
        (
            HEAD + '    safety: {windows: [{name: night, days: mon, from: "22:00", to: "06:00",'
            " mode: auto}]}\n",
            "the window night changes nothing",
        ),
    ],
)
def test_what_may_not_do_what_its_author_wants_is_warned_of(
    tmp_path: Path, text: str, warning: str
) -> None:
    found = warnings(load_text(tmp_path, text))

    assert any(message.startswith(warning) for message in found), found


def test_a_sound_configuration_has_no_warning(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}", "clear_when: {below: 2%}") + "    mode: auto\n"

    assert warnings(load_text(tmp_path, text)) == []


def test_too_many_series_are_warned_of(tmp_path: Path) -> None:
    targets = "".join(f"  t{n}: {{like: shop, fly: {{app: t{n}}}}}\n" for n in range(70))

    found = warnings(load_text(tmp_path, HEAD + targets))

    assert len(found) == 1
    assert "metric series, over 20000" in found[0]


def promised(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    policy = load_text(tmp_path, text, **environ).policy
    return {
        promise.trigger: str(promise)
        for target in policy.targets.values()
        for promise in promises(target, policy.mode_ceiling)
    }


AUTO = "    mode: auto\n"
DOWN = (
    "      down: {probe: health, breach_when: {failing: true}, "
    "breaches: {at_least: 4, of_last: 4}}\n"
)


def test_health_down_keeps_five_minutes(tmp_path: Path) -> None:
    found = promised(tmp_path, TRIGGERS + DOWN + AUTO)

    assert found["down"] == "shop: down: keeps 5 minutes, 4m at worst"


@pytest.mark.parametrize(
    ("text", "why_not"),
    [
        (signal("breach_when: {above: 5%}", "mode: approve") + AUTO, "approve waits for a person"),
        (signal("breach_when: {above: 5%}"), "mode observe never acts"),
        (signal("breach_when: {above: 5%}", "severity: warning") + AUTO, "warning never acts"),
        (
            signal("breach_when: {above: 5%}", "window: 4m", "for: 1m") + AUTO,
            "noticed after 6m at worst, and 1m to recover",
        ),
        (
            TRIGGERS
            + DOWN.replace("down:", "t:")
            + AUTO
            + "    safety: {settle: {at_most: 10m}}\n",
            "settle lasts 10m at most",
        ),
        (
            signal("breach_when: {above: 5%}", "window: 5m").replace("      t:", "      a:")
            + "      t: {all: [{trigger: a}, {probe: health, breach_when: {failing: true}}]}\n"
            + AUTO,
            "noticed after 6m at worst",
        ),
    ],
)
def test_a_trigger_that_cannot_keep_five_minutes_says_why(
    tmp_path: Path, text: str, why_not: str
) -> None:
    assert why_not in promised(tmp_path, text)["t"]


def test_a_ceiling_of_the_environment_is_a_reason(tmp_path: Path) -> None:
    found = promised(tmp_path, TRIGGERS + DOWN + AUTO, ROLLBACKD_MODE="observe")

    assert "ROLLBACKD_MODE caps it to observe" in found["down"]
