"""Each mistake in a trigger gives exactly one error, at its line."""

from pathlib import Path

import pytest

from tests.unit.config.fakes import refusals
from tests.unit.config.texts import PROBES, TRIGGERS, signal

RULES = [
    ("no kind of trigger", TRIGGERS + "      t: {mode: auto}\n", 12, "a trigger needs one of"),
    (
        "two kinds",
        TRIGGERS + "      t: {deploy_failed: true, all: [{trigger: t}]}\n",
        12,
        "has one of",
    ),
    ("text", TRIGGERS + "      t: deploy_failed\n", 12, "a trigger is a mapping"),
    (
        "a clear as a breach",
        signal("breach_when: {failing: false}", probe="health"),
        14,
        "failing: false is how it clears",
    ),
    ("a window of a quarter", signal("breach_when: {above: 5%}", "window: 90d"), 15, "than 1d"),
    (
        "a budget of none",
        TRIGGERS + "      t: {deploy_failed: true}\n    safety: {budget: {rollbacks: 0}}\n",
        13,
        "a budget of 0 rollbacks never acts",
    ),
    (
        "an unknown probe",
        signal("breach_when: {above: 5%}", probe="error"),
        13,
        "unknown probe 'error'",
    ),
    ("an unknown plan", signal("breach_when: {above: 5%}", "plan: ap"), 15, "unknown plan 'ap'"),
    (
        "an unknown trigger",
        TRIGGERS + "      t: {any: [{trigger: x}]}\n",
        12,
        "unknown trigger 'x'",
    ),
    (
        "an unknown key",
        signal("breach_when: {above: 5%}", "windows: 5m"),
        15,
        "unknown key 'windows'",
    ),
    ("no condition", signal("breach_when: {}"), 14, "no condition"),
    ("no breach_when", signal(), 12, "missing key 'breach_when'"),
    (
        "two comparisons",
        signal("breach_when: {above: 5%, below: 1%}"),
        14,
        "more than one comparison",
    ),
    (
        "two inner comparisons",
        signal("breach_when: {p95: {above: 2s, below: 1s}}", probe="latency"),
        14,
        "more than one comparison",
    ),
    ("no inner comparison", signal("breach_when: {p95: {}}", probe="latency"), 14, "no comparison"),
    (
        "two conditions",
        signal("breach_when: {p95: {above: 2s}, p50: {above: 1s}}", probe="latency"),
        14,
        "more than one condition",
    ),
    ("an ambiguous ratio", signal("breach_when: {above: 5}"), 14, "ambiguous ratio: 5"),
    ("a ratio over 100 %", signal("breach_when: {above: 500%}"), 14, "a ratio over 100 %"),
    ("a duration as ratio", signal("breach_when: {above: 5s}"), 14, "not a ratio"),
    (
        "a bare latency",
        signal("breach_when: {p95: {above: 2}}", probe="latency"),
        14,
        "a duration needs a unit",
    ),
    (
        "a unit on a value",
        signal("breach_when: {above: 5s}", probe="locks"),
        14,
        "expected a plain number",
    ),
    (
        "a ratio of checks",
        signal("breach_when: {above: 5%}", probe="health"),
        14,
        "above does not fit",
    ),
    (
        "a plain limit on buckets",
        signal("breach_when: {above: 2s}", probe="latency"),
        14,
        "above does not fit",
    ),
    (
        "a ratio of a value",
        signal("breach_when: {failing: true}", probe="locks"),
        14,
        "failing does not fit",
    ),
    ("failing errors", signal("breach_when: {failing: true}"), 14, "failing does not fit"),
    (
        "machines of http",
        signal("breach_when: {failing_machines: {above: 1}}", probe="health"),
        14,
        "failing_machines does not fit",
    ),
    ("a quantile of a ratio", signal("breach_when: {p95: {above: 2s}}"), 14, "p95 does not fit"),
    (
        "no min_samples",
        signal("breach_when: {above: 5%}", samples=""),
        12,
        "min_samples is required",
    ),
    (
        "clear on the wrong side",
        signal("breach_when: {above: 5%}", "clear_when: {above: 2%}"),
        15,
        "on the wrong side",
    ),
    (
        "clear above breach",
        signal("breach_when: {above: 5%}", "clear_when: {below: 7%}"),
        15,
        "on the wrong side",
    ),
    (
        "clear and breach touch",
        signal("breach_when: {at_least: 5%}", "clear_when: {at_most: 5%}"),
        15,
        "on the wrong side",
    ),
    (
        "clear of failing",
        signal("breach_when: {failing: true}", "clear_when: {failing: true}", probe="health"),
        15,
        "on the wrong side",
    ),
    (
        "clear of another quantile",
        signal(
            "breach_when: {p95: {above: 2s}}", "clear_when: {p50: {below: 1s}}", probe="latency"
        ),
        15,
        "something else",
    ),
    (
        "breaches and for",
        signal(
            "breach_when: {failing: true}",
            "for: 10s",
            "breaches: {at_least: 1, of_last: 2}",
            probe="health",
        ),
        16,
        "exclude each other",
    ),
    (
        "breaches of a ratio",
        signal("breach_when: {above: 5%}", "breaches: {at_least: 1, of_last: 2}"),
        15,
        "breaches counts looks",
    ),
    (
        "m over n",
        signal(
            "breach_when: {failing: true}", "breaches: {at_least: 3, of_last: 2}", probe="health"
        ),
        15,
        "can never be",
    ),
    ("a window of 0", signal("breach_when: {above: 5%}", "window: 0s"), 15, "window is 0"),
    (
        "a circle",
        TRIGGERS + "      a: {any: [{trigger: b}]}\n      b: {all: [{trigger: a}]}\n",
        12,
        "in a circle: a -> b -> a",
    ),
    (
        "a veto of itself",
        signal("breach_when: {above: 5%}", "unless: [{trigger: t}]"),
        15,
        "cannot veto itself",
    ),
    ("no parts", TRIGGERS + "      t: {all: []}\n", 12, "at least 1 item"),
    ("deploy_failed: false", TRIGGERS + "      t: {deploy_failed: false}\n", 12, "expected true"),
    (
        "a deploy without fly",
        "targets:\n  s:\n    url: https://s.test\n    triggers: {t: {deploy_failed: true}}\n",
        4,
        "deploy_failed needs",
    ),
    ("unquoted PromQL", PROBES.replace("value: locks", 'value: x{y="z"}'), 10, "not YAML"),
]


@pytest.mark.parametrize(
    ("text", "line", "message"), [pytest.param(*case[1:], id=case[0]) for case in RULES]
)
def test_a_mistake_in_a_trigger_gives_one_error_at_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    found = refusals(tmp_path, text)

    assert [(d.line, message in d.message) for d in found] == [(line, True)], found
