"""`rollbackd replay` as a person and a script meet it: options, exit codes, what it prints."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rollbackd.cli.main import app
from rollbackd.core.facts import Fact
from rollbackd.stores.record import SqliteRecord
from tests.unit.core.world import release
from tests.unit.replay.stories import look, seen

CONFIG = """
targets:
  shop:
    fly: {app: shop}
    url: https://shop.example
    mode: MODE
    probes:
      health: {http: {path: /health}, interval: 10s}
      errors: {fly_edge: errors}
    triggers:
      down: {probe: health, breach_when: {failing: true}, breaches: {at_least: 4, of_last: 4}}
    safety: {settle: {until: first_success, at_most: 15s}}
"""

Run = Callable[..., Result]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("ROLLBACKD_PROMETHEUS_URL", "ROLLBACKD_FLY_TOKEN", "ROLLBACKD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*words: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(
            app, ["replay", *map(str, words)], input=stdin, catch_exceptions=False
        )

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configured(tmp_path / "config", "auto")


def configured(directory: Path, mode: str) -> Path:
    directory.mkdir()
    (directory / "rollback-monitoring.yml").write_text(CONFIG.replace("MODE", mode))
    return directory


def outage() -> list[dict[str, object]]:
    """v42 at 100 answers once and then no more; a person brings v41 back at 400."""
    rows: list[dict[str, object]] = [{"at": 0, "fact": "release", "version": 41, "image": "a"}]
    for at in range(5, 400, 10):
        if at == 105:
            rows.append({"at": 100, "fact": "release", "version": 42, "image": "b"})
        ill = at > 110
        rows.append({"at": at, "fact": "sample", "probe": "health", "ok": not ill})
        rows.append({"at": at, "fact": "sample", "probe": "errors", "bad": 9 * ill, "total": 10})
    rows.append({"at": 400, "fact": "release", "version": 43, "image": "a"})
    return [
        {"target": "shop", **({"status": "complete"} if "version" in r else {}), **r} for r in rows
    ]


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in outage()))
    return path


def rows_of(told: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_one_line_a_change(replay: Run, config: Path, facts: Path) -> None:
    told = replay("--facts", facts, "--config", config, "--json")

    rows = rows_of(told)
    assert told.exit_code == 0
    assert told.stderr == ""
    keys = {"at", "target", "decision", "reason", "trigger", "from", "to", "evidence"}
    assert all(list(row) == sorted(keys) for row in rows)
    back = [row for row in rows if row["decision"] == "roll_back"]
    assert [(r["at"], r["trigger"], r["from"], r["to"]) for r in back] == [(145, "down", 42, 41)]
    changed = ("decision", "reason", "trigger", "from", "to")
    changes = [[row[key] for key in changed] for row in rows]
    assert all(a != b for a, b in pairwise(changes))


def test_stdin_is_a_dash(replay: Run, config: Path, facts: Path) -> None:
    by_name = replay("--facts", facts, "--config", config, "--json")

    piped = replay("--facts", "-", "--config", config, "--json", stdin=facts.read_bytes())

    assert piped.stdout == by_name.stdout


def test_the_story_says_what_became_of_every_release(
    replay: Run, config: Path, facts: Path
) -> None:
    told = replay("--facts", facts, "--config", config)

    lines = told.stdout.splitlines()
    assert lines[0] == "shop"
    assert lines[1].startswith("  v42  100 s  would have gone back to v41 after 45 s: ")
    assert lines[1].endswith("; v43 came after 5 min")
    assert "█" in lines[2]
    assert lines[2].endswith("up to 90 %")
    assert lines[3].split() == ["^", "v42", "^", "decided"]
    assert lines[4].startswith("  v43  400 s  left alone")
    assert lines[5] == "    brings back v41"
    assert lines[6] == (
        "2 releases: 1 left alone, v42 would have gone back after 45 s; it took 5 min"
    )
    assert "\x1b" not in told.stdout


@pytest.mark.parametrize("text", ["", "garbage\n"])
@pytest.mark.parametrize("more", [(), ("--json",), ("--compare",)])
def test_where_nothing_was_told_it_says_so(
    replay: Run, config: Path, tmp_path: Path, text: str, more: tuple[str, ...]
) -> None:
    path = tmp_path / "nothing.jsonl"
    path.write_text(text)
    more = (*more, str(config)) if more == ("--compare",) else more

    told = replay("--facts", path, "--config", config, *more)

    assert told.stderr.endswith("no fact was told: there is nothing to judge\n")
    assert (told.stdout == "") == (more == ("--json",))
    assert told.exit_code == 0


def test_a_directory_that_cannot_be_looked_for_is_a_bad_line(
    replay: Run, config: Path, facts: Path
) -> None:
    row = {"at": 0, "fact": "config", "directory": "x" * 5000}
    facts.write_text(json.dumps(row) + "\n" + facts.read_text())

    told = replay("--facts", facts, "--config", config)

    assert told.stderr.endswith(":1: error: directory: File name too long\n")
    assert "v42 would have gone back" in told.stdout


def test_a_time_that_is_too_long_is_not_called_no_time(replay: Run, config: Path) -> None:
    told = replay("--from", "1000000d", "--config", config)

    assert told.exit_code == 2
    assert "--from: a duration of more than ten years" in told.stderr


@pytest.mark.parametrize(
    ("automatic", "who"), [(True, "rollbackd"), (False, "a person with rollbackd")]
)
def test_a_rollback_that_was_ours_is_no_release_of_a_person(
    replay: Run, config: Path, tmp_path: Path, automatic: bool, who: str
) -> None:
    told = {"at": 396, "fact": "rollback_started", "target": "shop", "from": 42, "to": 41}
    rows = outage()
    rows.insert(-1, {**told, "automatic": automatic})
    path = tmp_path / "ours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    lines = replay("--facts", path, "--config", config).stdout.splitlines()

    assert lines[1].endswith(f"; {who} went back after 5 min")
    assert lines[4:] == [
        f"  v43  400 s  put back by {who}: the content of v41",
        f"1 release: v42 would have gone back after 45 s; {who} did after 5 min",
    ]


def test_in_observe_mode_it_says_what_would_have_been(
    replay: Run, tmp_path: Path, facts: Path
) -> None:
    told = replay("--facts", facts, "--config", configured(tmp_path / "c", "observe"))

    assert "v42 would have gone back after 45 s; it took 5 min" in told.stdout


def test_in_approve_mode_it_says_when_it_would_have_asked(
    replay: Run, tmp_path: Path, facts: Path
) -> None:
    told = replay("--facts", facts, "--config", configured(tmp_path / "c", "approve"))

    assert "would have asked to go back to v41 after 45 s" in told.stdout


def test_a_bad_line_is_named_and_skipped(replay: Run, config: Path, facts: Path) -> None:
    good = replay("--facts", facts, "--config", config, "--json")
    facts.write_text("nonsense\n" + facts.read_text())

    told = replay("--facts", facts, "--config", config, "--json")

    assert told.stdout == good.stdout
    assert told.stderr == f"{facts}:1: error: not JSON (column 1)\n"
    assert told.exit_code == 0


def test_strict_makes_a_bad_line_an_exit_code(replay: Run, config: Path, facts: Path) -> None:
    assert replay("--facts", facts, "--config", config, "--strict").exit_code == 0
    facts.write_text(facts.read_text() + "nonsense\n")

    told = replay("--facts", facts, "--config", config, "--strict", "--json")

    assert told.exit_code == 1
    assert rows_of(told)


def test_a_refused_configuration_is_78(replay: Run, config: Path, facts: Path) -> None:
    (config / "rollback-monitoring.yml").write_text("targets: {}\n")

    told = replay("--facts", facts, "--config", config)

    assert told.exit_code == 78
    assert "rollback-monitoring.yml:1:" in told.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("--facts", "a", "--from", "1h"), ("--facts", "a", "--until", "1h"), ("--app", "x"),
     ("--from", "soon"), ("--facts", "no-such-file")],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_usage_error(
    replay: Run, config: Path, words: tuple[str, ...]
) -> None:
    assert replay(*words, "--config", config).exit_code == 2


def test_a_record_that_is_not_there_is_said(replay: Run, config: Path) -> None:
    told = replay("--from", "24h", "--config", config)

    assert told.exit_code == 69
    assert "holds no record of the last 24h" in told.stderr


def test_a_file_that_cannot_be_read_to_its_end_is_one_line(replay: Run, config: Path) -> None:
    told = replay("--facts", "/proc/self/mem", "--config", config, "--strict")

    assert told.exit_code == 69
    assert told.stderr == "error: cannot read /proc/self/mem: Input/output error\n"


def test_a_directory_to_compare_with_that_is_not_there_is_told_by_its_option(
    replay: Run, config: Path, facts: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"

    told = replay("--facts", facts, "--config", config, "--compare", gone)

    assert told.exit_code == 78
    assert told.stderr == f"error: --compare: no directory {gone}\n"


def test_the_help_lists_every_exit_code(replay: Run) -> None:
    text = replay("--help").stdout

    assert {code for code in ("0", "1", "2", "69", "78") if f" {code}" in text} == {
        "0", "1", "2", "69", "78",
    }  # fmt: skip


def test_a_comparison_tells_the_differences_only(
    replay: Run, config: Path, tmp_path: Path, facts: Path
) -> None:
    other = configured(tmp_path / "other", "observe")
    words = ("--facts", facts, "--config", config, "--compare")

    same = replay(*words, config)
    story = replay(*words, other)
    rows = rows_of(replay(*words, other, "--json"))

    assert same.stdout == "2 releases: 0 would have fared otherwise\n"
    assert rows_of(replay(*words, config, "--json")) == []
    assert f"    {config}: would have gone back" in story.stdout
    assert {row["config"] for row in rows} == {str(config), str(other)}
    assert next(r["reason"] for r in rows if r["config"] == str(other)) == "observe_mode"


def test_facts_of_a_file_need_neither_net_nor_web_nor_daemon(
    config: Path, facts: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from rollbackd.cli.main import app\n"
        f"words = ['replay', '--facts', {str(facts)!r}, '--config', {str(config)!r}, '--json']\n"
        "try: app(words)\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx', 'starlette', 'uvicorn', 'apscheduler', 'rollbackd.daemon', 'sqlite3',"
        " 'rollbackd.fly.client', 'rollbackd.stores.sqlite'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stderr.strip() == "[]"
    assert '"roll_back"' in told.stdout


def test_two_processes_write_the_same_bytes(config: Path, facts: Path) -> None:
    command = [sys.executable, "-m", "rollbackd", "replay", "--facts", str(facts), "--config",
               str(config), "--json"]  # fmt: skip

    first, second = (
        subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    )

    assert first.stdout == second.stdout != b""


def test_the_short_file_judges_what_prometheus_would_have_told(
    replay: Run, config: Path, facts: Path
) -> None:
    (config / "rollback-monitoring.yml").write_text(
        "targets: {shop: {fly: {app: shop}, url: https://shop.example}}"
    )

    told = replay("--facts", facts, "--config", config, "--strict")

    assert told.stderr == ""
    assert "held (learning): shop v42 is not blamed" in told.stdout


def test_our_own_record_is_judged_as_the_daemon_did(
    replay: Run, config: Path, tmp_path: Path
) -> None:
    began = time.time() // 1 - 900
    state = tmp_path / "state"
    state.mkdir()
    heard: list[tuple[float, Fact]] = []
    for at in range(0, 400, 5):
        listed = (release(42), release(41)) if at >= 100 else (release(41),)
        heard.append((began + at + 0.3, seen(began + at + 0.2, *listed)))
        heard.append((began + at + 0.6, look(began + at + 0.4, ok=at <= 105)))
    record = SqliteRecord(state)
    asyncio.run(record.append(heard))
    asyncio.run(record.close())

    rows = rows_of(replay("--from", "1h", "--config", config, "--json"))

    back = [row for row in rows if row["decision"] == "roll_back"]
    assert [(row["at"] - began, row["from"], row["to"]) for row in back] == [(126, 42, 41)]
