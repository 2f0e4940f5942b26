"""What a rollback brings back of a machine's config, and what it leaves alone."""

import copy

import pytest

from rollbackd.core.model import JsonObject
from rollbackd.fly.config_restore import difference, fingerprint, reimaged, restored

PINNED = "registry.fly.io/shop:good@sha256:aa"
GOOD: JsonObject = {
    "image": "registry.fly.io/shop:good",
    "env": {"PORT": "8080", "PRIMARY_REGION": "ord", "FLY_PROCESS_GROUP": "app"},
    "services": [{"internal_port": 8080, "autostop": True, "checks": [{"path": "/healthz"}]}],
    "checks": {"alive": {"type": "tcp", "port": 8080}},
    "init": {"cmd": ["serve"]},
    "restart": {"policy": "on-failure"},
    "metrics": {"port": 9091},
    "stop_config": {"signal": "SIGTERM"},
    "guest": {"cpus": 1},
    "mounts": [],
    "metadata": {"fly_release_version": "41"},
    "future_key": {"kept": True},
}
BAD: JsonObject = {
    "image": "registry.fly.io/shop:bad@sha256:bb",
    "env": {"PORT": "9", "NEW": "x", "FLY_PROCESS_GROUP": "app", "FLY_STANDBY_FOR": "148e1"},
    "services": [{"internal_port": 9, "autostop": False}],
    "init": {"cmd": ["break"]},
    "restart": {"policy": "no"},
    "guest": {"cpus": 4},
    "mounts": [{"volume": "vol_1", "path": "/data"}],
    "standbys": ["148e1"],
    "schedule": "hourly",
    "auto_destroy": True,
    "dns": {"skip_registration": True},
    "metadata": {"fly_release_version": "42", "mine": "yes"},
}


@pytest.mark.parametrize(
    "key", ["services", "checks", "init", "restart", "metrics", "stop_config", "future_key"]
)
def test_what_the_release_decides_comes_from_the_good_one(key: str) -> None:
    assert restored(BAD, GOOD, image=PINNED, marks={})[key] == GOOD[key]


@pytest.mark.parametrize(
    "key", ["guest", "mounts", "standbys", "schedule", "auto_destroy", "dns", "metadata"]
)
def test_what_was_decided_for_the_machine_stays(key: str) -> None:
    assert restored(BAD, GOOD, image=PINNED, marks={})[key] == BAD[key]


def test_a_volume_of_the_good_time_is_never_swapped_in() -> None:
    good = GOOD | {"mounts": [{"volume": "vol_old", "path": "/data"}]}
    current = {key: value for key, value in BAD.items() if key != "mounts"}

    assert "mounts" not in restored(current, good, image=PINNED, marks={})


def test_the_environment_is_the_good_one_but_for_what_names_the_machine() -> None:
    env = restored(BAD, GOOD, image=PINNED, marks={})["env"]

    assert env == {
        "PORT": "8080",
        "PRIMARY_REGION": "ord",
        "FLY_PROCESS_GROUP": "app",
        "FLY_STANDBY_FOR": "148e1",
    }


def test_the_image_is_pinned_also_in_containers_and_files_that_carry_it() -> None:
    good = GOOD | {
        "containers": [
            {"name": "app", "image": "registry.fly.io/shop:good"},
            {"name": "dot", "image": "."},
            {"name": "proxy", "image": "nginx:1", "files": [{"image_config": BAD["image"]}]},
        ]
    }

    config = restored(BAD, good, image=PINNED, marks={})

    containers = config["containers"]
    assert isinstance(containers, list)
    assert [c["image"] for c in containers if isinstance(c, dict)] == [PINNED, PINNED, "nginx:1"]
    assert config["image"] == PINNED
    assert PINNED in repr(containers[2])


def test_marks_join_the_metadata_of_the_machine() -> None:
    config = restored(BAD, GOOD, image=PINNED, marks={"fly_release_version": "43", "op": "1"})

    assert config["metadata"] == {"fly_release_version": "43", "mine": "yes", "op": "1"}


def test_nothing_given_is_changed() -> None:
    before = copy.deepcopy((BAD, GOOD))

    restored(BAD, GOOD, image=PINNED, marks={"op": "1"})
    reimaged(BAD, image=PINNED, marks={"op": "1"}, env={"A": "1"})
    fingerprint(BAD)

    assert before == (BAD, GOOD)


def test_without_a_kept_config_image_and_environment_go_back() -> None:
    config = reimaged(BAD, image=PINNED, marks={}, env={"PORT": "8080"})

    assert config["image"] == PINNED
    assert config["env"] == {
        "PORT": "8080",
        "FLY_PROCESS_GROUP": "app",
        "FLY_STANDBY_FOR": "148e1",
    }
    assert config["init"] == BAD["init"]


@pytest.mark.parametrize(
    "change",
    [
        {"image": "other"},
        {"guest": {"cpus": 8}},
        {"metadata": {"fly_release_version": "99"}},
        {"mounts": [{"volume": "vol_9"}]},
        {"env": {**GOOD["env"], "FLY_STANDBY_FOR": "1"}},  # type: ignore[dict-item]
        {"standbys": []},
        {"files": []},
    ],
)
def test_the_fingerprint_ignores_what_the_release_does_not_decide(change: JsonObject) -> None:
    assert fingerprint(GOOD | change) == fingerprint(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"env": {"PORT": "1"}},
        {"services": []},
        {"init": {"cmd": ["other"]}},
        {"restart": {"policy": "always"}},
        {"files": [{"guest_path": "/x"}]},
        {"future_key": {"kept": False}},
    ],
)
def test_the_fingerprint_sees_what_the_release_decides(change: JsonObject) -> None:
    assert fingerprint(GOOD | change) != fingerprint(GOOD)


def test_words_and_booleans_of_autostop_are_the_same() -> None:
    def with_autostop(value: str | bool) -> str:
        return fingerprint({"services": [{"internal_port": 1, "autostop": value}]})

    assert with_autostop("stop") == with_autostop(True)
    assert with_autostop("off") == with_autostop(False)
    assert with_autostop("suspend") != with_autostop("stop")


def test_the_difference_names_what_changes_and_never_a_value_that_may_be_secret() -> None:
    before = BAD | {"files": [{"guest_path": "/x", "raw_value": "hidden-1"}]}
    before["env"] = {"NEW": "hidden-2", "PORT": "hidden-3"}
    before["init"] = {"cmd": ["hidden-4"]}

    lines = difference(before, restored(before, GOOD, image=PINNED, marks={}))

    assert "env.NEW: removed" in lines
    assert "env.PORT: changed" in lines
    assert "restart.policy: no -> on-failure" in lines
    assert "init.cmd[0]: changed" in lines
    assert not [line for line in lines if "hidden" in line]
    assert not [line for line in lines if line.startswith(("guest", "mounts", "metadata"))]
