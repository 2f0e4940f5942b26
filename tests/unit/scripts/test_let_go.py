"""let-go.sh gives back what is ours, with flyctl and jq alone."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "rollback" / "let-go.sh"
FLYCTL = """#!/usr/bin/env bash
echo "$*" >> "$HERE/calls"
case "$*" in
  "machine list "*) cat "$HERE/machines.json" ;;
  "$REFUSES "*) echo "no" >&2; exit 1 ;;
  "machine leases view "*)
    cat "$HERE/lease-$4.json" 2>/dev/null || { echo "Error: lease not found" >&2; exit 1; } ;;
esac
"""


def machine(name: str, **metadata: str) -> dict[str, object]:
    return {"id": name, "config": {"metadata": metadata}}


@pytest.fixture
def fly(tmp_path: Path) -> Path:
    flyctl = tmp_path / "flyctl"
    flyctl.write_text(FLYCTL)
    flyctl.chmod(0o755)
    machines = [
        machine("m1", rollbackd_cordon="shop-v42-1"),
        machine("m2", rollbackd_op="x"),
        machine("m3"),
        {"id": "m4", "config": None},
    ]
    (tmp_path / "machines.json").write_text(json.dumps(machines))
    ours = {"m1": {"status": "success", "data": {"description": "rollbackd shop-v42-1"}}}
    (tmp_path / "lease-m1.json").write_text(json.dumps(ours))
    theirs = {"m3": {"data": {"description": "bill deploys with rollbackd off"}}}
    (tmp_path / "lease-m3.json").write_text(json.dumps(theirs))
    return tmp_path


def run(fly: Path, *arguments: str, refuses: str = "-") -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{fly}:{os.environ['PATH']}", "HERE": str(fly), "REFUSES": refuses}
    return subprocess.run(
        [str(SCRIPT), *arguments], env=env, capture_output=True, text=True, check=False, timeout=30
    )


def mutations(fly: Path) -> list[str]:
    calls = (fly / "calls").read_text().splitlines()
    return [call for call in calls if " clear " in call or "uncordon" in call]


def test_our_lease_goes_first_then_our_cordon_and_nothing_else(fly: Path) -> None:
    done = run(fly, "shop")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["shop m1: lease released", "shop m1: back in traffic"]
    assert mutations(fly) == [
        "machine leases clear m1 --app shop",
        "machine uncordon m1 --app shop",
    ]


def test_where_nothing_is_ours_it_says_so(fly: Path) -> None:
    (fly / "machines.json").write_text(json.dumps([machine("m3")]))

    done = run(fly, "shop")

    assert (done.returncode, done.stdout) == (0, "shop: nothing of ours is held here\n")
    assert mutations(fly) == []


def test_one_that_refuses_is_told_and_the_rest_is_still_let_go(fly: Path) -> None:
    done = run(fly, "shop", refuses="machine leases clear")

    assert done.returncode == 1
    assert "m1: lease NOT released" in done.stderr
    assert "m1: back in traffic" in done.stdout


def test_a_dry_run_says_what_it_would_do_and_does_nothing(fly: Path) -> None:
    done = run(fly, "--dry-run", "shop")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "shop m1: would release the lease",
        "shop m1: would go back into traffic",
    ]
    assert mutations(fly) == []


def test_a_machine_that_is_back_in_traffic_is_left_alone_although_the_mark_stays(
    fly: Path,
) -> None:
    back = machine("m1", rollbackd_cordon="shop-v42-1") | {"cordoned": False}
    (fly / "machines.json").write_text(json.dumps([back]))
    (fly / "lease-m1.json").unlink()

    done = run(fly, "shop")

    assert (done.returncode, mutations(fly)) == (0, [])


def test_a_lease_that_cannot_be_seen_is_told_and_the_rest_is_still_let_go(fly: Path) -> None:
    done = run(fly, "shop", refuses="machine leases view m1")

    assert done.returncode == 1
    assert "shop m1: cannot see its lease; one of ours expires by itself: no" in done.stderr
    assert mutations(fly) == ["machine uncordon m1 --app shop"]


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "null",
        "{}",
        '{"error": "unauthorized"}',
        "[1]",
        '[{"id": null}]',
        "<html>502</html>",
        "[",
    ],
)
def test_what_is_no_list_of_machines_is_said_and_nothing_is_touched(fly: Path, listed: str) -> None:
    (fly / "machines.json").write_text(listed)

    done = run(fly, "shop")

    assert (done.returncode, mutations(fly)) == (1, [])
    assert done.stderr == f"shop: flyctl's list of machines is none: {listed}\n"
    assert done.stdout == ""


def test_an_empty_list_is_no_proof_that_nothing_is_held(fly: Path) -> None:
    (fly / "machines.json").write_text("[]")

    done = run(fly, "shop")

    assert (done.returncode, mutations(fly)) == (1, [])
    assert "no machines are listed, so nothing was looked at" in done.stderr


def test_odd_machines_beside_it_do_not_keep_ours(fly: Path) -> None:
    """Unreachable hosts have no config; metadata and leases may be anything."""
    machines = json.loads((fly / "machines.json").read_text())
    odd: list[object] = [None, [], "x", 7, {"metadata": None}, {"metadata": ["rollbackd_cordon"]}]
    machines = [{"id": f"o{i}", "config": config} for i, config in enumerate(odd)] + machines
    (fly / "machines.json").write_text(json.dumps(machines))
    for i, lease in enumerate(("", "[]", "null", '"x"', '[{"description": 7}]', '{"data": null}')):
        (fly / f"lease-o{i}.json").write_text(lease)

    done = run(fly, "shop")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["shop m1: lease released", "shop m1: back in traffic"]


@pytest.mark.parametrize("app", ["two words", "it's", "$(id)", "*", "a;b"])
def test_an_odd_name_is_handed_on_as_it_is(fly: Path, app: str) -> None:
    assert run(fly, app).returncode == 0
    assert mutations(fly)[-1] == f"machine uncordon m1 --app {app}"


def test_an_app_that_cannot_be_listed_is_an_error(fly: Path) -> None:
    (fly / "machines.json").unlink()

    done = run(fly, "shop")

    assert done.returncode == 1
    assert "cannot list the machines" in done.stderr


def test_what_we_stopped_is_started_once_it_may_have_traffic_again(fly: Path) -> None:
    ours = machine("m1", rollbackd_cordon="shop-v42-1", rollbackd_stopped="shop-v42-1")
    up = machine("m2", rollbackd_stopped="shop-v42-1") | {"state": "started"}
    by_somebody = machine("m3") | {"state": "stopped"}
    (fly / "machines.json").write_text(json.dumps([ours | {"state": "stopped"}, up, by_somebody]))
    (fly / "lease-m1.json").unlink()
    (fly / "lease-m3.json").unlink()

    planned, done = run(fly, "--dry-run", "shop"), run(fly, "shop")
    refused = run(fly, "shop", refuses="machine start m1")

    assert planned.stdout.splitlines()[-1] == "shop m1: would be started"
    assert done.stdout.splitlines() == ["shop m1: back in traffic", "shop m1: started"]
    assert (refused.returncode, "m1: NOT started" in refused.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("shop", "till")])
def test_it_wants_one_app(fly: Path, arguments: tuple[str, ...]) -> None:
    assert run(fly, *arguments).returncode == 2


def test_it_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
