"""`rollbackd check` as a person and as a pipeline see it."""

import io
import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rollbackd.cli.check import check
from tests.unit.config.texts import HEAD

app = typer.Typer()
app.command()(check)

WRONG = HEAD + "    mod: auto\n"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ROLLBACKD_CONFIG", "ROLLBACKD_MODE", "ROLLBACKD_PROMETHEUS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output.splitlines()


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


def test_the_default_is_the_directory_config() -> None:
    write("config/rollback-monitoring.yml", WRONG)

    code, lines = run()

    assert code == 1
    assert lines == [
        "config/rollback-monitoring.yml:5:5: error: unknown key 'mod' (did you mean 'mode'?)",
        "1 error, 0 warnings",
    ]


def test_the_environment_may_name_another_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    write("other/rollback-monitoring.yml", HEAD)
    monkeypatch.setenv("ROLLBACKD_CONFIG", "other")

    assert run()[0] == 0


def test_warnings_and_promises_do_not_fail_it() -> None:
    write("config/rollback-monitoring.yml", HEAD + "    mode: auto\n")

    code, lines = run("config")

    assert code == 0
    assert ": warning: no Prometheus address" in lines[0]
    assert ": warning: no dependency veto" in lines[1]
    assert lines[2:] == [
        "shop: release-regression: keeps 5 minutes, 4m at worst",
        "shop: health-down: keeps 5 minutes, 4m at worst",
        "shop: deploy-failed: keeps 5 minutes, 4m at worst",
        "0 errors, 2 warnings",
    ]


def test_several_files_are_judged_together_by_their_names() -> None:
    write("a/rollback-alerts.yml", "notifier: {}\n")
    write("a/rollback-logging.yml", "level: info\n")
    write("b/any-other.yml", WRONG)

    code, lines = run("a/rollback-alerts.yml", "a/rollback-logging.yml", "b/any-other.yml")

    assert code == 1
    assert [line.partition(": error: ")[0] for line in lines[:-1]] == [
        "a/rollback-alerts.yml:1:1",
        "b/any-other.yml:5:5",
    ]


def test_lines_are_not_wrapped_however_long() -> None:
    write("config/rollback-monitoring.yml", HEAD + f"    {'x' * 300}: 1\n")

    code, lines = run()

    assert code == 1
    assert len(lines) == 2


def test_a_terminal_gets_the_same_line_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    write("config/rollback-monitoring.yml", HEAD + f"    {'x' * 300}: 1\n")

    with pytest.raises(typer.Exit):
        check()

    said = terminal.getvalue()
    assert "\x1b[31merror:" in said
    assert len(said.splitlines()) == 2


def test_a_missing_path_is_an_error_with_its_name() -> None:
    code, lines = run("nowhere")

    assert code == 1
    assert lines[0].startswith("nowhere:1:1: error: no such file")


def test_a_wrong_environment_is_an_error_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("config/rollback-monitoring.yml", HEAD)
    monkeypatch.setenv("ROLLBACKD_MODE", "loud")

    code, lines = run()

    assert code == 1
    assert lines[0].startswith("environment:1:1: error: ROLLBACKD_MODE: expected 'observe'")


def test_json_is_for_scripts() -> None:
    write("config/rollback-monitoring.yml", HEAD)

    code, lines = run("--format", "json")

    answer = json.loads("\n".join(lines))
    assert code == 0
    assert answer["ok"] is True
    assert answer["diagnostics"][0]["severity"] == "warning"
    assert answer["diagnostics"][0]["line"] == 2
    assert answer["triggers"][0] == {
        "target": "shop",
        "trigger": "release-regression",
        "keeps_five_minutes": False,
        "seconds": 240.0,
        "why_not": "mode observe never acts (auto: 4m at worst)",
    }


def test_github_gets_annotations() -> None:
    write("config/rollback-monitoring.yml", WRONG)

    code, lines = run("--format", "github")

    assert code == 1
    assert lines == [
        (
            "::error file=config/rollback-monitoring.yml,line=5,col=5::unknown key 'mod'"
            " (did you mean 'mode'?)"
        )
    ]


def test_an_unknown_format_is_a_usage_error() -> None:
    assert run("--format", "xml")[0] == 2
