"""Each mistake gives exactly one error, at its line, and never a traceback."""

from pathlib import Path

import pytest

from tests.unit.config.fakes import refusals
from tests.unit.config.texts import HEAD, PROBES, TRIGGERS, signal

WINDOW = "    safety:\n      windows: [{{name: n, days: {days}, from: '09:00', to: '24:00'}}]\n"
PLAN = "    plans:\n      p: {{steps: [app], max_unavailable: {0}}}\n"

FORM = [
    # what is not YAML, or not a YAML a person can read in one way
    ("empty", "", 1, "the file is empty"),
    ("only a comment", "# nothing\n", 1, "the file is empty"),
    ("only a document start", "---\n", 1, "the file is empty"),
    ("a list on top", "- a\n- b\n", 1, "the top must be a mapping"),
    ("text on top", "hello\n", 1, "the top must be a mapping"),
    ("two documents", "version: 1\n---\nversion: 1\n", 2, "more than one document"),
    ("a tab as indentation", "targets:\n\tshop: {}\n", 2, "a tab"),
    ("a tab after a colon", "targets:\n  shop:\t{}\n", 2, "a tab"),
    ("a duplicate key", HEAD + "    mode: auto\n    mode: observe\n", 6, "duplicate key 'mode'"),
    ("a duplicate target", HEAD + "  shop: {url: https://b.test}\n", 5, "duplicate key 'shop'"),
    ("an unclosed bracket", HEAD + "    control: [a, b\n", 5, "bracket is never closed"),
    ("an unclosed quote", HEAD + '    mode: "auto\n', 5, "quote is never closed"),
    ("bad indentation", "targets:\n  shop:\n    url: x\n   mode: auto\n", 4, "not YAML"),
    ("two colons", HEAD + "    mode: auto: x\n", 5, "not YAML"),
    ("a tag", HEAD + "    mode: !!str auto\n", 5, "tags are not allowed"),
    ("a python tag", HEAD + "    mode: !!python/object:os.system x\n", 5, "tags are not allowed"),
    ("a tag on a mapping", "targets: !x\n  shop: {url: https://b.test}\n", 1, "tags are not"),
    ("an unknown alias", HEAD + "    mode: *m\n", 5, "unknown alias *m"),
    ("an alias in itself", HEAD + "    control: &c [*c]\n", 5, "stands inside itself"),
    ("a complex key", "? [a, b]\n: 1\ntargets: {s: {url: https://s.test}}\n", 1, "a key must be"),
    ("an empty key", HEAD + '    "": 1\n', 5, "a key must be plain text"),
    ("a byte order mark", b"\xef\xbb\xbfversion: 1\n", 1, "byte order mark"),
    ("UTF-16", "version: 1\n".encode("utf-16"), 1, "byte order mark"),
    ("Latin-1", b"version: 1\n# caf\xe9\n", 2, "not UTF-8"),
    ("a NUL", b"version: 1\nx: a\x00b\n", 2, "control character (U+0000)"),
    ("an escape", b"version: 1\n\x1b[31m: 1\n", 2, "control character (U+001B)"),
    ("a quoted escape", HEAD + '    mode: "\\e[31m"\n', 5, "control character (U+001B)"),
    ("a lone surrogate", PROBES.replace("/up", '"/\\ud800"'), 6, "control character (U+D800)"),
    ("deep nesting", "a: " + "[" * 100 + "]" * 100, 1, "nested deeper"),
    ("a huge file", "#" * 300_000, 1, "larger than 256 KiB"),
    ("a merge of text", HEAD + "    <<: text\n", 5, "<< takes a mapping"),
    ("a YAML 2 directive", "%YAML 2.0\n---\na: 1\n", 1, "not YAML"),
]

SURPRISES = [
    ("an unquoted no", HEAD + "    mode: no\n", 5, "unquoted no"),
    ("an unquoted Yes", PROBES.replace("/up", "Yes"), 6, "unquoted Yes"),
    ("an unquoted off", HEAD + "    mode: off\n", 5, "unquoted off"),
    ("base 60", PROBES.replace("5s", "1:30"), 6, "unquoted 1:30"),
    ("an unquoted time of day", PROBES.replace("5s", "09:00"), 6, "unquoted 09:00"),
    ("octal", PROBES.replace("5s", "010"), 6, "unquoted 010"),
    ("hexadecimal", PROBES.replace("5s", "0x10"), 6, "another base"),
    ("underscores", PROBES.replace("5s", "1_000"), 6, "underscores"),
    ("an exponent", PROBES.replace("5s", "1e-3"), 6, "exponents"),
    ("a date", PROBES.replace("/up", "2026-01-01"), 6, "makes it a date"),
    ("NaN", signal("breach_when: {above: .nan}"), 14, "not a finite number"),
    ("infinity", signal("breach_when: {above: .inf}"), 14, "not a finite number"),
    ("minus infinity", signal("breach_when: {above: -.INF}"), 14, "not a finite number"),
    ("too many digits", signal("breach_when: {above: " + "9" * 30 + "}"), 14, "too many"),
]

VALUES = [
    ("an unknown key", HEAD + "    mod: auto\n", 5, "unknown key 'mod'"),
    ("an unknown key on top", "target: {}\n" + HEAD, 1, "unknown key 'target'"),
    ("an unknown probe option", PROBES.replace("{path:", "{pth:"), 6, "unknown key 'pth'"),
    ("an unknown kind", PROBES.replace("{http:", "{htpt:"), 6, "unknown probe or key 'htpt'"),
    ("an unknown time", PROBES.replace("interval:", "timout:"), 6, "unknown probe or key 'timout'"),
    ("two kinds", PROBES.replace("{fly: {}}", "{fly: {}, http: {}}"), 7, "has one kind"),
    ("no kind", PROBES.replace("{fly: {}}", "{}"), 7, "a probe needs a kind"),
    ("a probe of text", PROBES.replace("{fly: {}}", "fly"), 7, "a probe is a mapping"),
    ("an unknown preset", PROBES.replace("{fly_edge: errors}", "{fly_edge: oops}"), 8, "'errors'"),
    ("a wrong mode", HEAD + "    mode: automatic\n", 5, "expected 'observe'"),
    ("a key without a value", HEAD + "    mode:\n", 5, "this key has no value"),
    ("a list for text", HEAD + "    mode: [auto]\n", 5, "expected 'observe'"),
    ("a wrong version", "version: 2\n" + HEAD, 1, "expected 1"),
    ("a bare duration", PROBES.replace("5s", "5"), 6, "a duration needs a unit: 5"),
    ("a wrong unit", PROBES.replace("5s", "5sec"), 6, "not a duration: '5sec'"),
    ("a negative duration", PROBES.replace("5s", "-5s"), 6, "not a duration: '-5s'"),
    ("a long duration", PROBES.replace("5s", "9999999d"), 6, "more than ten years"),
    ("interval 0", PROBES.replace("5s", "0s"), 6, "interval is too short"),
    ("timeout 0", PROBES.replace("5s", "5s, timeout: 0s"), 6, "timeout is 0"),
    ("a long timeout", PROBES.replace("5s", "5s, timeout: 6s"), 6, "timeout is longer"),
    ("a bad status", PROBES.replace("/up", "/up, expect: {status: 600}"), 6, "impossible status"),
    ("a bad class", PROBES.replace("/up", "/up, expect: {status: 9xx}"), 6, "impossible status"),
    ("a bad regex", PROBES.replace("/up", '/up, expect: {body: "("}'), 6, "does not compile"),
    ("no scheme", HEAD.replace("https://", ""), 4, "not an http or https URL"),
    ("a password", HEAD.replace("https://", "https://a:b@"), 4, "a URL with a password"),
    ("a bad app name", HEAD.replace("app: shop", "app: Shop!"), 3, "match pattern"),
    ("no app", HEAD.replace("{app: shop}", "{}"), 3, "missing key 'app'"),
    ("no targets", "version: 1\n", 1, "missing key 'targets'"),
    ("no target", "targets: {}\n", 1, "no target"),
    ("targets as a list", "targets: [a]\n", 1, "expected a mapping"),
    ("a target of text", "targets:\n  shop: fly\n", 2, "expected a mapping"),
    ("neither fly nor url", "targets:\n  shop: {mode: auto}\n", 2, "needs fly: {app: …} or url"),
    ("a bad target name", "targets:\n  a b: {url: https://a.test}\n", 2, "not a usable name"),
    ("like nobody", HEAD + "  b: {like: shpo}\n", 5, "unknown target 'shpo'"),
    ("like itself", "targets:\n  a: {like: a}\n", 2, "in a circle: a -> a"),
    ("like a number", HEAD + "  b: {like: 5}\n", 5, "like takes the name"),
    ("an unset variable", HEAD.replace("shop.test", "${HOST}"), 4, "HOST is not set"),
    ("a lower-case variable", HEAD.replace("shop.test", "${host}"), 4, "not a placeholder"),
    ("an unknown field", HEAD.replace("shop.test", "${fly.name}"), 4, "has no field fly.name"),
    ("a field outside", HEAD + "tick: ${fly.app}\n", 5, "inside a target only"),
    (
        "bad days",
        HEAD + "    safety: {windows: [{name: n, days: someday, from: '09:00', to: '10:00'}]}\n",
        5,
        "not a day",
    ),
    (
        "a bad hour",
        HEAD + "    safety: {windows: [{name: n, days: mon, from: '25:00', to: '10:00'}]}\n",
        5,
        "not a time of day",
    ),
    (
        "a bad zone",
        HEAD
        + "    safety: {windows: [{name: n, days: mon, from: '09:00', to: '10:00', tz: Mars/X}]}\n",
        5,
        "unknown time zone",
    ),
    ("no days", HEAD + WINDOW.format(days="[]"), 6, "no day given"),
    ("a floor over the ceiling", HEAD + "    safety: {settle: {floor: 9m}}\n", 5, "the floor is"),
    ("no time to prove", HEAD + "    after: {prove_within: 3m}\n", 5, "prove_within is too short"),
    ("no number of machines", HEAD + PLAN.format("true"), 6, "a number of machines"),
    ("0 % of the machines", HEAD + PLAN.format("0%"), 6, "a number of machines"),
    ("digits after the point", HEAD + f"tick: {'9' * 400}.0\n", 5, "too many digits"),
    ("an unknown step", HEAD + "    plans:\n      p: {steps: [ap]}\n", 6, "unknown step 'ap'"),
    ("no step", HEAD + "    plans:\n      p: {steps: []}\n", 6, "at least 1 item"),
    (
        "100 % unavailable",
        HEAD + "    plans: {p: {steps: [app], max_unavailable: 100%}}\n",
        5,
        "a number of machines",
    ),
    ("a relative smoke path", HEAD + "    after: {smoke: [{path: up}]}\n", 5, "match pattern"),
    ("invariants", HEAD + "    after: {invariants: [DROP TABLE x]}\n", 5, "not a query"),
    ("a ratio over 100 %", HEAD + "safety: {mass: {or_share: 130%}}\n", 5, "a ratio over 100 %"),
]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [pytest.param(*case[1:], id=case[0]) for case in (*FORM, *SURPRISES, *VALUES)],
)
def test_a_mistake_gives_one_error_at_its_line(
    tmp_path: Path, text: str | bytes, line: int, message: str
) -> None:
    found = refusals(tmp_path, text)

    assert [(d.line, message in d.message) for d in found] == [(line, True)], found


def test_unquoted_promql_is_told_to_be_quoted(tmp_path: Path) -> None:
    found = refusals(tmp_path, PROBES.replace("value: locks", 'value: x{y="z"}'))

    assert "PromQL" in found[0].hint
    assert "must be quoted" in found[0].hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (HEAD + "    mod: auto\n", "did you mean 'mode'?"),
        (PROBES.replace("{path:", "{pth:"), "did you mean 'path'?"),
        (PROBES.replace("{http:", "{htpt:"), "did you mean 'http'?"),
        (PROBES.replace("interval:", "timout:"), "did you mean 'timeout'?"),
        (PROBES.replace("/up", "/up, expect: {stats: 2xx}"), "did you mean 'status'?"),
        (signal("breach_when: {abov: 5%}"), "did you mean 'above'?"),
        (signal("breach_when: {above: 5%}", probe="error"), "did you mean 'errors'?"),
        (HEAD + "    safety: {settle: {untl: x}}\n", "did you mean 'until'?"),
        (signal("breach_when: {above: 5}"), "write 5% (or 0.05)"),
        (PROBES.replace("5s", "5"), 'write "5s" if you mean 5 seconds'),
    ],
)
def test_the_hint_says_what_to_write(tmp_path: Path, text: str, hint: str) -> None:
    assert [d.hint for d in refusals(tmp_path, text)] == [hint]


def test_all_errors_come_in_one_run_sorted_by_line(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5}", "plan: none").replace("5s", "1:30")

    found = refusals(tmp_path, text.replace("url: https", "mode: x\n    url: https") + "tick: 5\n")

    assert [d.line for d in found] == [4, 7, 15, 16, 18]


def test_an_alias_bomb_is_refused_before_it_explodes(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]" for n in range(12)]

    found = refusals(tmp_path, "\n".join(lines))

    assert "counting what aliases repeat" in found[0].message


def test_a_long_chain_of_likes_is_refused_before_it_recurses(tmp_path: Path) -> None:
    chain = [f"  t{n}: {{like: t{n + 1}}}" for n in range(3000)]

    found = refusals(tmp_path, "\n".join(["targets:", *chain, "  t3000: {url: https://a.test}"]))

    assert any("in a row" in d.message for d in found)


def test_a_long_chain_of_triggers_is_refused_before_it_recurses(tmp_path: Path) -> None:
    chain = "".join(f"      t{n}: {{any: [{{trigger: t{n + 1}}}]}}\n" for n in range(1000))

    found = refusals(tmp_path, TRIGGERS + chain)

    assert ["more than 200 triggers" in d.message for d in found] == [True]
