import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from rollbackd import __version__
from rollbackd.cli import show
from rollbackd.cli.client import target_path
from rollbackd.cli.main import COMMANDS, exit_code
from rollbackd.cli.pause import duration
from rollbackd.cli.rollback import version
from rollbackd.core import errors
from rollbackd.core.model import RollbackId
from rollbackd.core.snapshot import RollbackView
from tests import support_views as views
from tests.support_desk import PLAN, past
from tests.unit.cli.conftest import RW, Served

Run = Callable[..., Result]
OURS = set(COMMANDS) - {"check", "demo", "sandbox"}
CLI = Path(show.__file__).parent


def test_the_version_is_printed(rollbackd: Run) -> None:
    assert rollbackd("version").stdout == f"rollbackd {__version__}\n"
    assert rollbackd("--version").stdout == f"rollbackd {__version__}\n"
    assert json.loads(rollbackd("version", "--json").stdout) == {"version": __version__}


def test_version_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from rollbackd.cli.main import app\n"
        "for words in (['version'], ['--help']):\n"
        "    try: app(words)\n"
        "    except SystemExit: pass\n"
        "heavy = {'httpx', 'starlette', 'uvicorn', 'structlog', 'apscheduler', 'yaml',"
        " 'rollbackd.daemon', 'rollbackd.cli.check', 'rollbackd.cli.demo'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stderr.strip() == "[]"


def test_help_lists_every_command_with_one_line(rollbackd: Run) -> None:
    told = rollbackd("--help")

    assert told.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in told.stdout


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_explains_itself(rollbackd: Run, name: str) -> None:
    told = rollbackd(name, "--help")

    assert told.exit_code == 0
    assert f"Usage: rollbackd {name}" in told.stdout or f" {name} [OPTIONS]" in told.stdout


@pytest.mark.parametrize(
    "words", [("nope",), ("pause",), ("status", "--nope"), ("history", "--limit", "0")]
)
def test_a_wrong_word_is_a_usage_error(rollbackd: Run, words: tuple[str, ...]) -> None:
    told = rollbackd(*words)

    assert told.exit_code == 2
    assert "Traceback" not in told.output


def test_every_command_file_is_small_and_imports_the_daemon_late() -> None:
    for name in OURS:
        tree = ast.parse((CLI / f"{name}.py").read_text())
        top = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not {m for m in top if m.startswith(("rollbackd.daemon", "rollbackd.config"))}, name
        assert not top & {"httpx", "rich", "rich.console", "pydantic"}, name


def test_errors_have_the_exit_codes_of_the_design() -> None:
    assert exit_code(errors.UsageError("x")) == 2
    assert exit_code(errors.ConfigError("x")) == 78
    assert exit_code(errors.Unreachable("x")) == 69
    assert exit_code(errors.TemporaryError("x")) == 69
    assert exit_code(errors.Rejected("x")) == 1
    assert exit_code(errors.Unauthorized("x")) == 1


def test_status_of_the_only_target_shows_everything(served: Served, rollbackd: Run) -> None:
    told = rollbackd("status")

    assert told.exit_code == 0
    for word in ("shop", "healthy", "v42", "v41", "errors", "health", "hold: ok", "m1"):
        assert word in told.stdout
    assert "\x1b" not in told.stdout
    assert max(len(line) for line in told.stdout.splitlines()) <= 80


def test_status_of_several_targets_is_a_line_each(served: Served, rollbackd: Run) -> None:
    served.desk.names = ("shop", "blog")

    told = rollbackd("status")

    assert [line.split()[0] for line in told.stdout.splitlines()] == ["TARGET", "shop", "blog"]


def test_status_as_json_is_what_the_daemon_said(served: Served, rollbackd: Run) -> None:
    assert json.loads(rollbackd("status", "--json").stdout) == served.desk.status()
    assert json.loads(rollbackd("status", "shop", "--json").stdout) == served.desk.target("shop")


def test_status_shows_a_refused_configuration(served: Served, rollbackd: Run) -> None:
    served.desk.config_error = "line 3: unknown key"

    assert "line 3: unknown key" in rollbackd("status").stdout


def test_quiet_is_a_health_check(served: Served, rollbackd: Run, tmp_path: Path) -> None:
    told = rollbackd("status", "--quiet")
    assert (told.exit_code, told.output) == (0, "")


def test_quiet_fails_without_a_daemon(
    rollbackd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path))
    assert rollbackd("status", "--quiet").exit_code == 69


def test_an_unknown_target_is_a_usage_error_with_a_hint(served: Served, rollbackd: Run) -> None:
    told = rollbackd("status", "shpo")

    assert told.exit_code == 2
    assert told.stderr == "error: no target 'shpo' (targets: shop)\n"
    assert told.stdout == ""


def test_a_target_name_is_one_part_of_the_path_whatever_it_holds() -> None:
    assert target_path("a b?x#", "/pause") == "/api/v1/targets/a%20b%3Fx%23/pause"
    with pytest.raises(errors.UsageError, match="is no name"):
        target_path("a/../b", "/pause")


def test_a_strange_target_name_stays_one_part_of_the_path(served: Served, rollbackd: Run) -> None:
    told = rollbackd("status", "../../-/reload?x=1")

    assert told.exit_code == 2
    assert served.desk.orders == []


def test_with_several_targets_one_must_be_named(served: Served, rollbackd: Run) -> None:
    served.desk.names = ("shop", "blog")

    told = rollbackd("explain")

    assert told.exit_code == 2
    assert told.stderr == "error: which target? (name one of: blog, shop)\n"


def test_of_many_targets_some_are_named(served: Served, rollbackd: Run) -> None:
    served.desk.names = tuple(f"shop-{n:02}" for n in range(50))

    told = rollbackd("explain")

    assert told.stderr.startswith("error: which target? (name one of: shop-00, shop-01")
    assert "shop-09 and 40 more: rollbackd status" in told.stderr.replace("\n", " ")
    assert "shop-10" not in told.stderr


LONG = "somebody.with.a.long.name@a-very-long-company-domain.example"


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_names_that_are_too_long_are_cut_and_words_stay_whole(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    served.desk.seen = {
        "releases": tuple(
            views.ReleaseView(
                release=views.release(n, author=LONG, created_at=time.time() - 7205), standing=word
            )
            for n, word in enumerate(("good", "quarantined", "unknown"))
        )
    }

    lines = rollbackd("releases", "shop").stdout.splitlines()

    table = lines[: lines.index("")]
    assert len(table) == 1 + 3, "a release a line"
    assert "quarantined" in table[2]
    assert "2h00m ago" in table[2]
    assert max(map(len, lines)) <= int(columns)


def test_into_a_pipe_a_row_is_a_line(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    served.desk.why = "word " * 100

    lines = rollbackd("status").stdout.splitlines()

    (row,) = [line for line in lines if line.startswith("errors ")]
    assert row.count("word") == 100
    assert all(line == line.rstrip() for line in lines[lines.index("") :])


def test_where_nothing_fits_whole_it_is_folded_and_nothing_is_lost(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for columns in ("2000", "60", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        told.append(rollbackd("history").stdout)

    assert max(map(len, told[2].split("\n\n")[0].splitlines())) <= 40
    assert all("not_recovered" in text for text in told[:2])
    assert len({"".join(sorted("".join(text.split()))) for text in told}) == 1


def test_a_probe_cannot_drive_the_terminal(served: Served, rollbackd: Run) -> None:
    served.desk.why = "\x1b]0;owned\x07\x1b[2J[red]boo[/red]"

    told = rollbackd("status")

    assert "\x1b" not in told.stdout
    assert "\x07" not in told.stdout
    assert "owned" in told.stdout


def test_releases_mark_the_current_one_and_the_goal(served: Served, rollbackd: Run) -> None:
    told = rollbackd("releases")

    lines = told.stdout.splitlines()
    assert lines[1].split()[:3] == ["*", "v42", "unknown"]
    assert lines[2].split()[:3] == ["->", "v41", "good"]
    assert lines[3].split()[:2] == ["v40", "quarantined"]
    assert "3f2a91c03f" in lines[1]
    assert "v41 is where a rollback would go now: good, was well until v42 came" in lines
    assert max(map(len, lines)) <= 80


def test_explain_prints_numbers_then_gates_then_what_it_takes(
    served: Served, rollbackd: Run
) -> None:
    text = rollbackd("explain", "shop").stdout

    words = (
        "shop v42 is well: 2.1 %",
        "mode auto, release v42",
        "0.021",
        "shop: hold: ok",
        "by ann, 10 m left",
        "For it to act:",
        "It would go back to v41: good, was well until v42 came",
    )
    order = [text.index(word) for word in words]
    assert order == sorted(order)
    assert "the pause has to end" in text
    assert json.loads(rollbackd("explain", "--json").stdout)["gates"][0]["holds"] is True


def test_what_stands_beside_the_numbers_is_told_before_them(served: Served, rollbackd: Run) -> None:
    """A rollback that runs, a mode a person set, a release that nobody wants, what is learned."""
    current = views.target().releases[0]
    why = "was quarantined by ann: it leaks"
    served.desk.seen = {
        "releases": (replace(current, standing="quarantined", why=why),),
        "rollback": RollbackView(
            rollback=RollbackId("shop-v42-1"), bad_version=42, good_version=41,
            started_at=views.T0, cause="because errors breached: v42 -> v41",
        ),
        "paused": "paused for 34 min more by ann: a sale",
        "locked_out": True,
        "locked_why": "shop-v42-1 stands still: status 422",
        "mode_set": "approve, set by ann: launch",
        "learning": ("release-regression is learning: 34 of 60 min of history",),
    }  # fmt: skip

    for word in ("explain", "status"):
        text = rollbackd(word, "shop").stdout
        top = text[: text.index("TRIGGER")].splitlines()

        (line,) = [each for each in top if each.startswith("rollback shop-v42-1 runs, begun ")]
        assert line.endswith(", because errors breached: v42 -> v41")
        assert "paused for 34 min more by ann: a sale" in top
        locked = (
            "locked out: shop-v42-1 stands still: status 422; look at it, then rollbackd unlock"
        )
        assert locked in top
        assert "mode approve, set by ann: launch" in top
        assert f"the current release v42 is quarantined: {why}" in top
        assert "release-regression is learning: 34 of 60 min of history" in top
        assert "would go back" not in text  # it goes


def test_explain_says_what_each_probe_met_that_saw_no_good_sample(
    served: Served, rollbackd: Run
) -> None:
    well = views.target().probes[0]
    missed = replace(well, name="errors", outcome="miss", detail="an answer about another time")
    served.desk.seen = {"probes": (well, missed)}

    told = rollbackd("explain", "shop").stdout.splitlines()

    (line,) = [each for each in told if each.startswith("probe ")]
    assert line.startswith("probe errors: miss, an answer about another time, ")


def test_large_numbers_are_written_out(served: Served, rollbackd: Run) -> None:
    odds = views.verdict(value=23048.2, threshold=2000, evidence={"odds": 23048.2})
    served.desk.seen = {"verdicts": (odds,), "decision": views.hold(verdicts=(odds,))}

    lines = rollbackd("status", "shop").stdout.splitlines()

    assert "evidence of errors 23,048 : 1, act" in lines
    assert any(line.split()[:3] == ["errors", "ok", "23,048"] for line in lines)


def test_what_is_brought_back_is_said_once(served: Served, rollbackd: Run) -> None:
    current = views.target().releases[0]
    back = "has the content of v39, which was rolled back from"
    served.desk.seen = {
        "releases": (replace(current, standing="quarantined", why=back),),
        "relapse": back,
    }

    text = rollbackd("explain", "shop").stdout

    assert f"the current release {back}\n" in text
    assert text.count(back) == 1


def test_history_lists_rollbacks_and_their_steps(served: Served, rollbackd: Run) -> None:
    told = rollbackd("history")
    steps = rollbackd("history", "shop", "--steps", "--limit", "1")

    assert "r2" in told.stdout
    assert "not_recovered" in told.stdout.replace("\n", "")
    assert "41s" in told.stdout
    assert "update m1" in steps.stdout
    assert served.desk.orders[-1] == {"look": "rollbacks", "target": "shop", "limit": 1}


def test_history_shows_what_only_the_mode_held(served: Served, rollbackd: Run) -> None:
    text = rollbackd("history").stdout

    assert "Would have acted, had the mode let it:" in text
    assert "shop v39 -> v38, observe_mode" in text
    assert "shop v39 is bad: errors 12 %" in text
    assert "would have acted once in 14 releases" in rollbackd("status").stdout


@pytest.mark.parametrize("word", ["bless", "quarantine", "unquarantine"])
def test_a_person_says_what_a_release_is(served: Served, rollbackd: Run, word: str) -> None:
    told = rollbackd(word, "shop", "v41", "--reason", " looked ", "--by", "Jürgen")

    assert told.exit_code == 0
    assert told.stdout == "shop v41 is good, it was bad\n"
    assert served.desk.orders == [{word: "shop", "version": 41, "reason": "looked", "by": "Jürgen"}]
    rollbackd(word, "shop", "41", "--reason", "looked", "--json")
    assert served.desk.orders[-1]["by"] not in {"", "local", "Jürgen"}


@pytest.mark.parametrize("word", ["bless", "quarantine", "unquarantine"])
@pytest.mark.parametrize(
    "rest", [("shop", "41", "--reason", " "), ("shop", "x", "--reason", "y"), ("shop", "41")]
)
def test_without_a_reason_or_a_version_nothing_is_said(
    served: Served, rollbackd: Run, word: str, rest: tuple[str, ...]
) -> None:
    told = rollbackd(word, *rest)

    assert told.exit_code == 2
    assert served.desk.orders == []


def test_ci_announces_a_deploy(served: Served, rollbackd: Run) -> None:
    told = rollbackd(
        "announce", "shop", "--sha", "3f2a91c0", "--actor", "ann", "--url", "https://ci"
    )

    assert told.exit_code == 0
    assert told.stdout == "shop expects commit 3f2a91c0 by ann\n"
    assert told.stderr == ""
    (order,) = served.desk.orders
    assert (order["sha"], order["actor"], order["url"]) == ("3f2a91c0", "ann", "https://ci")
    served.desk.refused = ("3f2a91c0",)
    assert "v42 was rolled back to v41" in rollbackd("announce", "--sha", "3f2a91c0").stderr


def test_the_gate_is_the_exit_code_and_says_why(served: Served, rollbackd: Run) -> None:
    welcome = rollbackd("gate", "shop", "--sha", "3f2a91c0")
    served.desk.refused = ("3f2a91c0",)
    refused = rollbackd("gate", "shop", "--sha", "3f2a91c0")
    as_json = rollbackd("gate", "--sha", "3f2a91c0", "--json")

    assert (welcome.exit_code, refused.exit_code, as_json.exit_code) == (0, 1, 1)
    assert welcome.stdout == "3f2a91c0 may go out to shop: nothing is known against it\n"
    assert "must not go out to shop: v42 was rolled back to v41 by errors" in refused.stdout
    assert json.loads(as_json.stdout)["ok"] is False


def test_a_pause_needs_an_end_and_a_reason(served: Served, rollbackd: Run) -> None:
    told = rollbackd("pause", "--for", "1h30m", "--reason", "migration")

    assert told.exit_code == 0
    order = served.desk.orders[-1]
    assert (order["pause"], order["seconds"], order["reason"]) == ("shop", 5400, "migration")
    assert order["by"] not in {"", "local"}
    assert rollbackd("pause", "--for", "90", "--reason", "x").exit_code == 2
    assert rollbackd("pause", "--for", "1h", "--reason", " ").exit_code == 2
    assert len(served.desk.orders) == 1


def test_a_pause_is_ended(served: Served, rollbackd: Run) -> None:
    assert rollbackd("unlock", "shop", "--reason", "the database is back").exit_code == 0
    assert served.desk.orders[-1]["reason"] == "the database is back"
    assert rollbackd("resume", "shop", "--reason", " it is over ").exit_code == 0
    assert served.desk.orders[-1]["resume"] == "shop"
    assert served.desk.orders[-1]["reason"] == "it is over"
    assert rollbackd("resume", "shop").exit_code == 2
    assert rollbackd("resume", "shop", "--reason", " ").exit_code == 2
    assert len(served.desk.orders) == 2


def test_a_dry_run_prints_the_plan_and_orders_nothing(served: Served, rollbackd: Run) -> None:
    told = rollbackd("rollback", "--reason", "slow", "--to", "v41", "--dry-run")
    as_json = rollbackd("rollback", "--reason", "slow", "--dry-run", "--json")

    assert told.exit_code == 0
    assert "v42 -> v41" in told.stdout
    assert "env: LOG_LEVEL goes back to info" in told.stdout
    assert "update m1" in told.stdout
    assert json.loads(as_json.stdout) == PLAN
    assert [order["dry_run"] for order in served.desk.orders] == [True, True]
    assert served.desk.orders[0]["to"] == 41


def test_without_a_terminal_a_rollback_needs_yes(served: Served, rollbackd: Run) -> None:
    told = rollbackd("rollback", "--reason", "slow")

    assert told.exit_code == 2
    assert "--yes" in told.stderr
    assert [order["dry_run"] for order in served.desk.orders] == [True]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_on_a_terminal_no_means_no(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("rollbackd.cli.rollback._someone_there", lambda: True)

    told = rollbackd("rollback", "--reason", "slow", answer=answer)

    assert told.exit_code == 1
    assert "Roll shop back from v42 to v41?" in told.stdout
    assert [order["dry_run"] for order in served.desk.orders] == [True]


def test_a_confirmed_rollback_is_followed_to_its_end(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollbackd.cli.rollback._someone_there", lambda: True)
    running = {**past("r9", "running", None), "steps": []}
    served.desk.ends = [running, past("r9")]

    told = rollbackd("rollback", "--reason", "slow", "--class", "security", answer="y\n")

    assert told.exit_code == 0
    assert served.desk.orders[-1]["dry_run"] is False
    assert served.desk.orders[-1]["class"] == "security"
    assert "update m1  done" in told.stdout
    assert told.stdout.rstrip().endswith("r9: recovered")


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        ("succeeded", "recovered", 0),
        ("succeeded", "recovered_unproven", 0),
        ("failed", "not_recovered", 1),
        ("failed", "failed", 1),
        ("superseded", "superseded", 1),
        ("holding", None, 1),
    ],
)
def test_the_exit_code_is_the_outcome(
    served: Served, rollbackd: Run, state: str, outcome: str | None, code: int
) -> None:
    served.desk.ends = [past("r9", state, outcome)]

    told = rollbackd("rollback", "--reason", "slow", "--yes", "--json")

    assert told.exit_code == code
    assert json.loads(told.stdout)["state"] == state


def test_no_wait_returns_at_once(served: Served, rollbackd: Run) -> None:
    told = rollbackd("rollback", "--reason", "slow", "--yes", "--no-wait", "--by", "eva")

    assert told.exit_code == 0
    assert "r9" in told.stdout
    assert [order["by"] for order in served.desk.orders] == ["eva", "eva"]


def test_a_refused_rollback_exits_1_and_says_why(served: Served, rollbackd: Run) -> None:
    served.desk.refusal = errors.Rejected("a deploy is in progress", hint="rollbackd explain shop")

    told = rollbackd("rollback", "shop", "--reason", "slow", "--yes")

    assert told.exit_code == 1
    assert told.stderr == "error: a deploy is in progress (rollbackd explain shop)\n"


def test_without_daemon_and_journal_it_says_so(
    rollbackd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROLLBACKD_URL", raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "empty"))
    monkeypatch.setenv("ROLLBACKD_CONFIG", str(tmp_path / "none"))
    for words in (
        ("status",),
        ("releases",),
        ("history",),
        ("explain",),
        ("resume", "--reason", "x"),
        ("unlock", "--reason", "x"),
        ("announce", "--sha", "3f2a91c0"),
        ("gate", "--sha", "3f2a91c0"),
        ("bless", "shop", "41", "--reason", "x"),
        ("pause", "--for", "1h", "--reason", "x"),
        ("rollback", "--reason", "x", "--yes"),
    ):
        told = rollbackd(*words)
        assert told.exit_code == 69, words
        assert told.stderr.startswith("error: no daemon answers on"), words
        assert told.stderr.count("\n") == 1
    assert not (tmp_path / "empty").exists()


def test_over_the_network_a_token_is_needed(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACKD_URL", served.url)
    refused = rollbackd("status")
    monkeypatch.setenv("ROLLBACKD_TOKEN_RW", RW)
    welcome = rollbackd("status")

    assert refused.exit_code == 78
    assert "ROLLBACKD_TOKEN_RW" in refused.stderr
    assert welcome.exit_code == 0


def test_a_daemon_that_is_elsewhere_and_down_is_69(
    rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACKD_URL", "http://127.0.0.1:1")

    told = rollbackd("status")

    assert told.exit_code == 69
    assert "http://127.0.0.1:1" in told.stderr


def test_the_socket_is_reached_past_any_proxy(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert rollbackd("status", "--quiet").exit_code == 0


def test_durations_and_versions_are_read_strictly() -> None:
    assert (duration("90s"), duration("2h"), duration("1d12h")) == (90, 7200, 129_600)
    assert (version("41"), version("v41")) == (41, 41)
    for wrong in ("", "h", "1", "1w", "-1h", "1h ", "1.h"):
        with pytest.raises(errors.UsageError):
            duration(wrong)
    for wrong in ("", "v", "-1", "4 1", "latest", "9" * 30):
        with pytest.raises(errors.UsageError):
            version(wrong)


def test_spans_are_short() -> None:
    assert [show.span(s) for s in (4, 64, 599.7, 3600 * 2 + 60, 86_400 * 3 + 3600)] == [
        "4s",
        "1m04s",
        "10m00s",
        "2h01m",
        "3d01h",
    ]


def test_a_closed_pipe_is_no_traceback(served: Served) -> None:
    told = subprocess.run(
        f"{sys.executable} -m rollbackd status --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ROLLBACKD_STATE": str(served.state)},
    )

    assert told.stdout == "{"
    assert "Traceback" not in told.stderr
