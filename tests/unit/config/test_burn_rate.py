"""`burn_rate:` as a condition: what it becomes, and what it refuses."""

from pathlib import Path

import pytest

from rollbackd.core.model import TargetName
from rollbackd.core.rules import Bound, BurnRateBound, Comparison, Signal
from tests.unit.config.fakes import load_text, refusals, warnings
from tests.unit.config.texts import signal

FAST = "breach_when: {burn_rate: {slo: 99.9%, above: 14.4, windows: {long: 1h, short: 5m}}}"


def bound(comparison: Comparison, limit: float) -> BurnRateBound:
    return BurnRateBound(
        slo=0.999,
        bound=Bound(comparison=comparison, limit=limit),
        long_seconds=3600,
        short_seconds=300,
    )


def rule(tmp_path: Path, *keys: str) -> Signal:
    loaded = load_text(tmp_path, signal(*keys))
    found = loaded.policy.targets[TargetName("shop")].triggers[0].rule
    assert isinstance(found, Signal)
    return found


def test_it_is_compiled_as_it_is_written(tmp_path: Path) -> None:
    found = rule(tmp_path, FAST, "for: 1m")

    assert found.breach == bound(Comparison.ABOVE, 14.4)
    assert (found.window_seconds, found.for_seconds, found.min_samples) == (3600, 60, 50)


def test_an_hour_and_five_minutes_are_usual(tmp_path: Path) -> None:
    found = rule(tmp_path, "breach_when: {burn_rate: {slo: 0.999, at_least: 6}}")

    assert found.breach == bound(Comparison.AT_LEAST, 6)


def test_it_clears_at_a_lower_rate(tmp_path: Path) -> None:
    found = rule(tmp_path, FAST, "clear_when: {burn_rate: {slo: 99.9%, below: 3}}")

    assert found.clear == bound(Comparison.BELOW, 3)


@pytest.mark.parametrize(
    ("keys", "line", "message"),
    [
        ("{slo: 100%, above: 1}", 14, "an slo of 100% leaves no budget to burn"),
        ("{slo: 0%, above: 1}", 14, "an slo of 0% leaves nothing but budget"),
        ("{slo: 99.9, above: 1}", 14, "ambiguous ratio: 99.9"),
        ("{above: 14.4}", 14, "missing key 'slo'"),
        ("{slo: 99.9%}", 14, "no comparison"),
        ("{slo: 99.9%, above: 1, at_least: 1}", 14, "more than one comparison"),
        ("{slo: 99.9%, above: 5%}", 14, "expected a plain number"),
        ("{slo: 99.9%, above: 0}", 14, "a burn rate is greater than 0"),
        ("{slo: 99.9%, below: 3}", 14, "a slow burn is no breach"),
        ("{slo: 99.9%, above: 3, windows: {long: 5m, short: 5m}}", 14, "must be shorter"),
        ("{slo: 99.9%, above: 3, windows: {short: 0s}}", 14, "must be shorter"),
        ("{slo: 99.9%, above: 3, windows: {long: 73h}}", 14, "longer than 3d"),
        ("{slo: 99.9%, above: 3, windows: {lang: 1h}}", 14, "unknown key 'lang'"),
    ],
)
def test_what_cannot_be_is_one_error_at_its_line(
    tmp_path: Path, keys: str, line: int, message: str
) -> None:
    found = refusals(tmp_path, signal(f"breach_when: {{burn_rate: {keys}}}"))

    assert [(d.line, message in d.message) for d in found] == [(line, True)], found


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("clear_when: {burn_rate: {slo: 99.9%, below: 20}}",), "on the wrong side"),
        (("clear_when: {burn_rate: {slo: 99%, below: 3}}",), "judges something else"),
        (
            ("clear_when: {burn_rate: {slo: 99.9%, below: 3, windows: {long: 2h}}}",),
            "judges something else",
        ),
        (("clear_when: {below: 2%}",), "judges something else"),
        (("window: 5m",), "window does not go with burn_rate"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    tmp_path: Path, keys: tuple[str, ...], message: str
) -> None:
    found = refusals(tmp_path, signal(FAST, *keys))

    assert [(d.line, message in d.message) for d in found] == [(15, True)], found


@pytest.mark.parametrize("probe", ["health", "latency", "locks"])
def test_it_needs_a_probe_that_counts(tmp_path: Path, probe: str) -> None:
    found = refusals(tmp_path, signal(FAST, probe=probe))

    assert "burn_rate does not fit" in found[0].message


def test_it_needs_to_know_how_much_is_enough(tmp_path: Path) -> None:
    assert "min_samples is required" in refusals(tmp_path, signal(FAST, samples=""))[0].message


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        (FAST.replace("short: 5m", "short: 50s"), "the window 50 s holds less than two samples"),
        (FAST.replace("14.4", "1001"), "this can never be in breach"),
    ],
)
def test_what_may_not_do_what_its_author_wants_is_warned_of(
    tmp_path: Path, keys: str, warning: str
) -> None:
    assert any(line.startswith(warning) for line in warnings(load_text(tmp_path, signal(keys))))


def test_windows_that_cannot_clear_in_time_are_warned_of(tmp_path: Path) -> None:
    acting = "    mode: approve\n"

    def said(text: str) -> list[str]:
        return [w for w in warnings(load_text(tmp_path, text)) if "cannot clear" in w]

    assert len(said(signal(FAST) + acting)) == 1
    assert said(signal(FAST)) == []
    assert said(signal(FAST) + acting + "    after: {prove_within: 34m}\n") == []
