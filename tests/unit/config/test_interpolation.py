from pathlib import Path

import pytest

from rollbackd.core.model import TargetName
from rollbackd.core.rules import Signal
from tests.unit.config.fakes import load_text, refusals
from tests.unit.config.texts import HEAD, PROBES, signal

HEADER = PROBES.replace("{path: /up}", '{path: /up, headers: {X: "@@"}}')


def with_header(written: str) -> str:
    return HEADER.replace("@@", written)


def header(tmp_path: Path, written: str, **environ: str) -> str:
    loaded = load_text(tmp_path, with_header(written), **environ)
    config = loaded.probe_configs["shop", "health"].config
    return str(config.model_dump()["headers"]["X"])


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${WORD}", "value"),
        ("a ${WORD} b ${WORD}", "a value b value"),
        ("${NONE:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${WORD:-other}", "value"),
        ("${NONE:-}", ""),
        ("$${WORD}", "${WORD}"),
        ("$$", "$"),
        ("cost $5", "cost $5"),
        ("${fly.app}.internal", "shop.internal"),
        ("${PLACEHOLDER}", "${WORD}"),
        ("${YAML}", "{a: [1, 2]}"),
    ],
)
def test_a_placeholder_becomes_text(tmp_path: Path, written: str, becomes: str) -> None:
    environ = {"WORD": "value", "EMPTY": "", "PLACEHOLDER": "${WORD}", "YAML": "{a: [1, 2]}"}

    assert header(tmp_path, written, **environ) == becomes


def test_a_field_may_itself_come_from_the_environment(tmp_path: Path) -> None:
    text = with_header("${fly.app}").replace("{app: shop}", '{app: "${APP}"}')

    loaded = load_text(tmp_path, text, APP="shop-7")

    config = loaded.probe_configs["shop", "health"].config
    assert config.model_dump()["headers"]["X"] == "shop-7"


def test_an_inherited_placeholder_means_the_field_of_the_heir(tmp_path: Path) -> None:
    text = with_header("${fly.app}") + "  two: {like: shop, fly: {app: shop-two}}\n"

    loaded = load_text(tmp_path, text)

    config = loaded.probe_configs["two", "health"].config
    assert config.model_dump()["headers"]["X"] == "shop-two"


def test_a_field_that_refers_to_another_field_is_refused(tmp_path: Path) -> None:
    text = with_header("${after.x}") + '    after: {x: "${fly.app}"}\n'

    assert any("refers to another field" in d.message for d in refusals(tmp_path, text))


def test_control_characters_in_a_variable_are_refused(tmp_path: Path) -> None:
    found = refusals(tmp_path, with_header("${WORD}"), WORD="a\x1b[31m")

    assert [d.message for d in found] == ["environment variable WORD holds control characters"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("https://shop.test", "${SECRET}"),
        PROBES.replace("5s", '"${SECRET}"'),
        PROBES.replace("5s", '"1${SECRET}"'),
        HEAD + '    mode: "${SECRET}"\n',
        HEAD.replace("{app: shop}", '{app: "${SECRET}"}'),
        HEAD + '    plans: {p: {steps: ["${SECRET}"]}}\n',
        PROBES + '    triggers: {t: {probe: "${SECRET}", breach_when: {above: 5%}}}\n',
        PROBES + '    triggers: {t: {probe: locks, breach_when: {above: "${SECRET}"}}}\n',
        HEAD + '    safety: {windows: [{name: n, days: "${SECRET}", from: "${SECRET}", to: x}]}\n',
    ],
)
def test_what_came_from_the_environment_is_never_shown(tmp_path: Path, text: str) -> None:
    found = refusals(tmp_path, text, SECRET="Hush_hush!")

    shown = " ".join(f"{d} {d.github()} {d.json()}" for d in found)
    assert "Hush_hush!" not in shown


def test_secrets_are_not_in_what_the_core_keeps(tmp_path: Path) -> None:
    text = PROBES.replace(
        "{path: /up}",
        '{path: /up, headers: {X: "${SECRET}", Authorization: Bearer Hush_inline}}',
    ).replace("{app: shop}", '{app: shop, token: "${SECRET}"}')

    loaded = load_text(tmp_path, text, SECRET="Hush_hush!")

    kept = str(loaded.policy)
    assert "${SECRET}" in kept
    assert "Hush" not in kept
    assert "Hush" not in repr(loaded.targets)
    fly = loaded.targets[next(iter(loaded.targets))].fly
    assert fly is not None
    assert fly.token is not None
    assert fly.token.get_secret_value() == "Hush_hush!"


COUNTED = signal("breach_when: {above: 5%}", samples='min_samples: "${LEAST}"')


def test_a_placeholder_may_be_a_number_where_one_is_wanted(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, COUNTED, LEAST="70")

    found = loaded.policy.targets[TargetName("shop")].triggers[0].rule
    assert isinstance(found, Signal)
    assert found.min_samples == 70


@pytest.mark.parametrize("least", ["many", "010", "1e3", "7.5", "true", "", "0"])
def test_a_placeholder_that_is_no_such_number_is_refused_unseen(tmp_path: Path, least: str) -> None:
    (found,) = refusals(tmp_path, COUNTED, LEAST=least)

    assert found.line == 14 + 1
    assert found.message in {"expected a whole number", "expected greater than or equal to 1"}


def test_a_number_in_quotes_that_no_placeholder_stood_in_is_text(tmp_path: Path) -> None:
    (found,) = refusals(tmp_path, COUNTED.replace("${LEAST}", "70"))

    assert found.message == "expected a whole number"
