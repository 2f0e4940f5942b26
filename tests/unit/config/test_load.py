"""Files and directories: what is there, what is not, and what must never happen."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollbackd.config.diagnostics import ConfigRefused, Diagnostic, Level
from rollbackd.config.files import LogFormat, LogLevel
from rollbackd.config.load import content_hash, load_directory
from rollbackd.core.errors import ConfigError
from tests.unit.config.fakes import ENVIRON, PLUGINS, load_text
from tests.unit.config.texts import HEAD, PROBES, signal


def load(directory: Path) -> object:
    return load_directory(directory, ENVIRON, plugins=PLUGINS)


def refusals(directory: Path) -> list[str]:
    with pytest.raises(ConfigRefused) as caught:
        load(directory)
    return [str(d) for d in caught.value.diagnostics if d.severity is Level.ERROR]


def test_a_directory_needs_the_monitoring_file_only(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").write_text(HEAD)

    loaded = load_directory(tmp_path, ENVIRON, plugins=PLUGINS)

    assert loaded.logging.level is LogLevel.INFO
    assert loaded.policy.hash == content_hash(tmp_path)


def test_all_files_are_judged_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").write_text(HEAD + "    mod: x\n")
    (tmp_path / "rollback-alerts.yml").write_text("notifiers: {slack: {}}\n")
    (tmp_path / "rollback-logging.yml").write_text("level: loud\nfromat: json\n")

    found = refusals(tmp_path)

    assert [line.removeprefix(f"{tmp_path}/").split(":")[:2] for line in found] == [
        ["rollback-alerts.yml", "1"],
        ["rollback-logging.yml", "1"],
        ["rollback-logging.yml", "2"],
        ["rollback-monitoring.yml", "5"],
    ]


def test_the_logging_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").write_text(HEAD)
    (tmp_path / "rollback-logging.yml").write_text("level: debug\nformat: console\n")

    logging = load_directory(tmp_path, ENVIRON, plugins=PLUGINS).logging

    assert (logging.level, logging.format) == (LogLevel.DEBUG, LogFormat.CONSOLE)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    assert ["no such file" in line for line in refusals(tmp_path)] == [True]


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        load(tmp_path / "none")


def test_a_file_for_a_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(HEAD)

    with pytest.raises(ConfigError, match="is a file"):
        load(tmp_path / "x.yml")


def test_a_directory_for_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").mkdir()

    assert ["is a directory, not a file" in line for line in refusals(tmp_path)] == [True]


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rollback-monitoring.yml")

    assert ["not a regular file" in line for line in refusals(tmp_path)] == [True]


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").symlink_to(tmp_path / "rollback-monitoring.yml")

    assert ["cannot be read" in line for line in refusals(tmp_path)] == [True]


def test_the_hash_follows_the_content_and_not_the_time(tmp_path: Path) -> None:
    file = tmp_path / "rollback-monitoring.yml"
    file.write_text(HEAD)
    before = content_hash(tmp_path)

    os.utime(file, (0, 0))
    touched = content_hash(tmp_path)
    file.write_text(HEAD + "\n")
    changed = content_hash(tmp_path)
    (tmp_path / "rollback-alerts.yml").write_text("")

    assert touched == before
    assert len({before, changed, content_hash(tmp_path), content_hash(tmp_path / "none")}) == 4


def test_the_refusal_names_the_first_error_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "rollback-monitoring.yml").write_text(HEAD + "    mod: x\n    mad: x\n")

    with pytest.raises(ConfigRefused) as caught:
        load(tmp_path)

    assert "rollback-monitoring.yml:5:5: error: unknown key 'mod'" in caught.value.message
    assert caught.value.message.endswith("(and 1 more)")


def test_a_diagnostic_is_one_plain_line() -> None:
    diagnostic = Diagnostic(
        path="a,b:c.yml",
        line=3,
        column=7,
        severity=Level.ERROR,
        message="50% of\n\x1b[31mthis",
        hint="do that",
    )

    assert str(diagnostic) == "a,b:c.yml:3:7: error: 50% of  [31mthis (do that)"
    assert diagnostic.github() == (
        "::error file=a%2Cb%3Ac.yml,line=3,col=7::50%25 of%0A\x1b[31mthis (do that)"
    )


SEED = signal("breach_when: {above: 5%}", "for: 60s", "unless: [{trigger: t}]")
WORDS = st.sampled_from(
    ["targets:", "shop:", "  ",  "\n", "{", "}", "[", "]", "- ", ": ", "&a ", "*a", "!!x ", "~",
     "no", "1:30", "010", '"', "'", "|", ">", "#", "---", "...", "%", "${X}", "${fly.app}", "like:",
     "probe:", "breach_when:", "above:", "5%", "p95:", "<<:", "?", "\t", "\x00", "\ud800", "é"],
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join)))
def test_no_text_ever_gives_a_traceback(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(ConfigRefused):
        load_text(tmp_path, text)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_slip_of_the_pen_ever_gives_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([SEED, PROBES]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 12)))
        text = text[:at] + data.draw(st.one_of(WORDS, st.text(max_size=3))) + text[until:]

    with contextlib.suppress(ConfigRefused):
        load_text(tmp_path, text)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200))
def test_no_bytes_ever_give_a_traceback(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(ConfigRefused):
        load_text(tmp_path, content)
