"""What a file of facts may say, line by line; a bad line is named, skipped and harms nothing."""

import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.facts import (
    Announced,
    Approved,
    Blessed,
    Check,
    CheckOutcome,
    Histogram,
    MachinesSeen,
    Miss,
    Paused,
    Quarantined,
    Ratio,
    Rejected,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    Sample,
    Unlocked,
    Unquarantined,
    Value,
)
from rollbackd.core.model import Release, ReleaseStatus, RollbackOutcome, TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.rules import Mode
from rollbackd.replay.facts_file import FactsFile
from rollbackd.replay.lines import LONGEST
from rollbackd.replay.told import Noted, Reconfigured, Told
from tests.unit.core.world import release
from tests.unit.replay.stories import CALM, EVERYTHING, named, policy

OTHER = policy(named(CALM, "other"))


SHOP = TargetName("shop")
TOLD = [
    {"at": v, "fact": "release", "target": "shop", "version": v, "image": f"image-{v}",
     "status": "complete"} for v in (41, 42)
]  # fmt: skip


def load(directory: str) -> Policy:
    if directory != "other":
        raise ValueError("no such directory")
    return OTHER


def read(*rows: Any) -> tuple[list[Told], list[tuple[int, str]]]:
    """Rows are bytes as they stand, or objects."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    complaints: list[tuple[int, str]] = []
    reader = FactsFile((policy(EVERYTHING),), lambda at, what: complaints.append((at, what)), load)
    told = list(reader.read(io.BytesIO(b"\n".join(lines))))
    assert reader.bad_lines == len(complaints)
    return told, complaints


def one(**row: Any) -> Any:
    told, complaints = read({"at": 10, "target": "shop", **row})
    assert complaints == []
    return told[0]


def refused(**row: Any) -> str:
    told, complaints = read({"at": 10, "target": "shop", **row})
    assert told == []
    return complaints[0][1]


def sampled(**row: Any) -> Any:
    return one(fact="sample", probe=row.pop("probe", "health"), **row).measure


# The shapes --------------------------------------------------------------------------------------


def test_a_look() -> None:
    assert sampled(ok=True, seconds=0.051) == Check(outcome=CheckOutcome.OK, seconds=0.051)
    failed = Check(outcome=CheckOutcome.FAILED, why="status 503", failing_machines=2)
    assert sampled(ok=False, why="status 503", failing_machines=2) == failed


def test_counts() -> None:
    assert sampled(probe="errors", bad=2, total=1003) == Ratio(bad=2.0, total=1003.0)


def test_buckets_in_any_order() -> None:
    buckets = {"+Inf": 1001, "0.1": 700, "0.25": 960}
    expected = Histogram(buckets=((0.1, 700.0), (0.25, 960.0), (math.inf, 1001.0)))
    assert sampled(probe="latency", buckets=buckets) == expected


def test_a_value() -> None:
    assert sampled(probe="locks", value=17) == Value(value=17.0)


def test_one_machine_s_share() -> None:
    part = one(fact="sample", probe="errors", bad=9, total=251, machine="73d8", version=42)
    assert (part.machine, part.version) == ("73d8", 42)


def test_a_miss() -> None:
    told = one(fact="miss", probe="health", reason="control_probe_failed")
    assert told == Miss(target="shop", probe="health", at=10.0, reason="control_probe_failed")


def test_releases_add_up_newest_first() -> None:
    rows = [
        {"at": 0, "fact": "release", "target": "shop", "version": version, "image": image,
         "status": status}
        for version, image, status in (
            (42, "shop:42", "running"), (41, "shop:41", "complete"), (42, "shop:42", "failed"),
        )
    ]  # fmt: skip

    told, _ = read(*rows)

    listed = [[(r.version, r.status.value) for r in t.releases] for t in told]
    assert listed == [
        [(42, "running")], [(42, "running"), (41, "complete")], [(42, "failed"), (41, "complete")],
    ]  # fmt: skip


def test_a_release_s_image_is_its_content_unless_it_says_more() -> None:
    told = one(
        fact="release", version=7, image="shop:7", status="complete", content="shop:7+config:a",
        id="rel_7", author="ada", commit="c0ffee", created_at="1970-01-01T00:00:05Z",
    )  # fmt: skip
    expected = Release(
        version=7, image="shop:7", status=ReleaseStatus.COMPLETE, content="shop:7+config:a",
        created_at=5.0, id="rel_7", author="ada", commit="c0ffee",
    )  # fmt: skip
    assert told == ReleasesSeen(target=TargetName("shop"), at=10.0, releases=(expected,))
    plain = one(fact="release", version=7, image="shop:7", status="complete")
    assert plain.releases[0].content == "shop:7"


def test_machines_have_the_content_of_their_release() -> None:
    told, complaints = read(
        {"at": 0, "fact": "release", "target": "shop", "version": 41, "image": "a",
         "status": "complete"},
        {"at": 1, "fact": "machines", "target": "shop", "foreign_leases": 1,
         "machines": [{"id": "m1", "version": 41}, {"id": "m2", "image": "b", "state": "stopped"}]},
    )  # fmt: skip

    seen = told[1]
    assert complaints == []
    assert isinstance(seen, MachinesSeen)
    shown = [(m.id, m.state, m.content, m.release_version) for m in seen.machines]
    assert shown == [("m1", "started", "a", 41), ("m2", "stopped", "b", None)]
    assert seen.foreign_leases == 1


def test_what_people_say() -> None:
    assert one(fact="pause", until=600, by="ada", reason="sale") == Paused(
        target="shop", at=10.0, until=600.0, by="ada", reason="sale"
    )
    assert one(fact="pause", **{"for": "10m"}).until == 610
    assert one(fact="pause", seconds=5).until == 15
    assert one(fact="resume") == Resumed(target="shop", at=10.0, by="somebody")
    assert one(fact="approve", rollback="r", by="ada") == Approved(
        target="shop", at=10.0, rollback="r", by="ada"
    )
    assert one(fact="reject") == Rejected(target="shop", at=10.0, rollback="", by="somebody")
    assert isinstance(one(fact="unlock", reason="looked"), Unlocked)
    assert one(fact="deploy", commit="c0ffee", by="ci") == Announced(
        target="shop", at=10.0, commit="c0ffee", by="ci"
    )


def test_a_mode_that_a_person_set() -> None:
    set_by = {"target": SHOP, "at": 10.0, "by": "ada", "reason": "sale"}
    said = {"fact": "set", "by": "ada", "reason": "sale"}

    assert one(**said, mode="auto", **{"for": "2h"}) == ModeSet(
        mode=Mode.AUTO, until=7210.0, **set_by
    )
    assert one(**said, mode="observe") == ModeSet(mode=Mode.OBSERVE, until=None, **set_by)
    assert one(**said) == ModeSet(mode=None, until=None, **set_by)


def test_what_a_person_is_asked_and_answers() -> None:
    asked = {"at": 50, "fact": "propose", "target": "shop", "from": 42, "to": 41, "hash": "c0ffee"}

    told, complaints = read(
        *TOLD,
        {**asked, "trigger": "down"},
        {"at": 51, "fact": "approve", "target": "shop", "hash": "c0ffee"},
        {"at": 52, "fact": "withdraw", "target": "shop", "why": "down cleared"},
    )

    assert complaints == []
    proposed, approved, withdrawn = told[2:]
    assert isinstance(proposed, Proposed)
    assert (proposed.rollback, proposed.plan.hash) == ("shop-v42-to-v41", "c0ffee")
    assert (proposed.decision.bad, proposed.decision.good) == (release(42), release(41))
    assert approved == Approved(target=SHOP, at=51.0, rollback="", by="somebody", hash="c0ffee")
    assert withdrawn == Withdrawn(target=SHOP, at=52.0, rollback="", why="down cleared")


def test_what_people_say_of_releases() -> None:
    said = {"at": 50, "target": "shop", "version": 41, "by": "ada", "reason": "looked"}
    words = ("bless", "quarantine", "unquarantine")

    told, complaints = read(*TOLD, *({**said, "fact": word} for word in words))

    assert complaints == []
    stands = {"target": SHOP, "at": 50.0, "version": 41, "by": "ada", "reason": "looked"}
    assert told[2:] == [Blessed(**stands), Quarantined(**stands), Unquarantined(**stands)]


def test_rollbacks() -> None:
    rows = TOLD
    begun = {"at": 50, "fact": "rollback_started", "target": "shop", "from": 42, "to": 41}
    over = {"at": 60, "fact": "rollback_ended", "target": "shop", "outcome": "recovered"}

    undo = {**begun, "from": 41, "to": 42, "undoes": "r9"}
    named_row = {**begun, "trigger": "down", "rollback": "r9"}

    told, complaints = read(*rows, begun, named_row, undo, over)

    assert complaints == []
    plain, named_one, undoing, ended = told[2:]
    assert isinstance(undoing, RollbackStarted)
    assert (undoing.undoes, plain.undoes) == ("r9", None)
    assert isinstance(plain, RollbackStarted)
    assert (plain.bad, plain.good, plain.automatic) == (release(42), release(41), False)
    assert isinstance(named_one, RollbackStarted)
    assert (named_one.rollback, named_one.automatic) == ("r9", True)
    assert isinstance(ended, RollbackEnded)
    assert (ended.rollback, ended.outcome) == ("", RollbackOutcome.RECOVERED)


def test_what_decides_nothing() -> None:
    assert one(fact="alert", name="DiskFull", anything={"at": "all"}) == Noted(
        at=10.0, target="shop", kind="alert", text="DiskFull"
    )
    told, _ = read({"at": 10, "fact": "config", "hash": "abc"})
    assert told == [Noted(at=10.0, target="", kind="config", text="abc")]


def test_a_configuration_that_is_named_is_loaded_and_its_targets_are_known_from_there() -> None:
    strange = {"fact": "sample", "target": "other", "probe": "health", "ok": True}

    told, complaints = read(
        {"at": 1, **strange},
        {"at": 2, "fact": "config", "directory": "other"},
        {"at": 3, **strange},
    )

    assert told[0] == Reconfigured(at=2.0, policy=OTHER, text="other")
    assert isinstance(told[1], Sample)
    assert complaints == [(1, "unknown target 'other'")]
    assert refused(fact="config", directory="nowhere") == "directory: no such directory"


# Time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (0, 0.0),
        (-3600.5, -3600.5),
        ("1970-01-01T00:00:10Z", 10.0),
        ("2026-11-22T16:05:38.25+01:00", 1_795_359_938.25),
        ("2026-11-22t16:05:38-00:30", 1_795_365_338.0),
        ("2016-12-31 23:59:60Z", 1_483_228_800.0),
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
    ],
)
def test_at_is_epoch_seconds_or_rfc_3339(written: Any, at: float) -> None:
    assert one(at=written, fact="sample", probe="health", ok=True).at == at


@pytest.mark.parametrize(
    "written",
    [
        "1970-01-01", "1970-01-01T00:00:10", "1970-02-30T00:00:00Z", "1970-13-01T00:00:00Z",
        "1970-01-01T24:00:00Z", "1970-01-01T00:00:00+24:00", "0000-01-01T00:00:00Z", "10", "",
        "1970-01-01T00:00:61Z", "١٩٧٠-01-01T00:00:00Z", True, None, [], 1e300, 1e12,
    ],
)  # fmt: skip
def test_another_time_is_a_bad_line(written: Any) -> None:
    assert refused(at=written, fact="sample", probe="health", ok=True).startswith("at ")


def test_an_earlier_line_is_bad_and_an_equal_one_is_not() -> None:
    look = {"fact": "sample", "target": "shop", "probe": "health", "ok": True}

    told, complaints = read({"at": 5, **look}, {"at": 4.9, **look}, {"at": 5, **look})

    assert [fact.at for fact in told] == [5, 5]
    assert complaints == [(2, "at 4.9 is earlier than a line before (5)")]


def test_a_bad_line_moves_no_time() -> None:
    look = {"fact": "sample", "target": "shop", "probe": "health"}

    told, _ = read({"at": 1e9, **look}, {"at": 5, **look, "ok": True})

    assert [fact.at for fact in told] == [5]


# Bad lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"at": NaN, "fact": "sample"}', "NaN is not a number"),
        (b'{"at": 1, "at": 2}', "key 'at' stands there twice"),
        (b'{"at": ' + b"9" * 5000 + b"}", "a number with too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{}", "at is missing"),
        (b'{"at": 1}', "fact is missing"),
        (b'{"at": 1, "fact": 7}', "fact is not a string"),
        (b'{"at": 1, "fact": "rumour"}', "unknown fact 'rumour'"),
        (b'{"at": 1, "fact": "sample"}', "target is missing"),
        (b'{"at": 1, "fact": "sample", "target": 1}', "target is not a string"),
        (b'{"at": 1, "fact": "sample", "target": "x"}', "unknown target 'x'"),
        (b'{"at": 1, "fact": "sample", "target": "shop"}', "probe is missing"),
        (b'{"at": 1, "fact": "sample", "target": "shop", "probe": []}', "probe is not a string"),
        (b'{"at": 1, "fact": "sample", "target": "shop", "probe": "x"}', "unknown probe 'x'"),
    ],
)
def test_what_is_no_fact_is_a_bad_line(line: bytes, what: str) -> None:
    told, complaints = read(line)

    assert told == []
    assert complaints[0][1].startswith(what)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({}, "a sample fact needs one of"),
        ({"ok": 1}, "ok is not true or false"),
        ({"ok": True, "seconds": "1"}, "seconds is not a number"),
        ({"ok": True, "seconds": -1}, "seconds is negative"),
        ({"ok": True, "why": 5}, "why is not a string"),
        ({"ok": True, "why": "\ud800"}, "why is not text"),
        ({"ok": True, "value": 1}, "value does not belong"),
        ({"ok": True, "mashine": "m"}, "unknown key 'mashine'"),
        ({"ok": True, "machine": ""}, "machine is empty"),
        ({"ok": True, "version": 1.0}, "version is not a whole number"),
        ({"ok": True, "version": True}, "version is not a whole number"),
        ({"bad": 1}, "total is missing"),
        ({"total": 1}, "bad is missing"),
        ({"bad": True, "total": 1}, "bad is not a number"),
        ({"bad": 2, "total": 1}, "bad (2) is more than total (1)"),
        ({"bad": -1, "total": 1}, "bad is negative"),
        ({"bad": 1, "total": 10**400}, "total is out of range"),
        ({"bad": 1, "total": 1, "buckets": {}}, "buckets does not belong"),
        ({"value": "17"}, "value is not a number"),
        ({"buckets": [1]}, "buckets is not an object"),
        ({"buckets": {}}, "buckets have no bound +Inf"),
        ({"buckets": {"1": 5}}, "buckets have no bound +Inf"),
        ({"buckets": {"x": 5, "+Inf": 5}}, "buckets have a bound that is no number"),
        ({"buckets": {"nan": 5, "+Inf": 5}}, "buckets have a bound that is no number"),
        ({"buckets": {"1": 5, "1.0": 5, "+Inf": 5}}, "buckets have the same bound twice"),
        ({"buckets": {"1": 6, "+Inf": 5}}, "buckets are not cumulative"),
    ],
)
def test_a_sample_that_cannot_be_is_a_bad_line(row: dict[str, Any], what: str) -> None:
    assert refused(fact="sample", probe="health", **row).startswith(what)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"fact": "release", "version": 1, "status": "complete"}, "image is missing"),
        ({"fact": "release", "image": "a", "status": "complete"}, "version is missing"),
        ({"fact": "release", "image": "a", "version": -1, "status": "x"}, "version is out of"),
        ({"fact": "release", "image": "a", "version": 1, "status": "x"}, "unknown status 'x'"),
        ({"fact": "release", "image": "a", "version": 1}, "status is missing"),
        ({"fact": "machines"}, "machines is not a list"),
        ({"fact": "machines", "machines": [{"id": "m"}]}, "a machine needs one of"),
        ({"fact": "machines", "machines": [{"id": "m", "version": 9}]}, "version: no release v9"),
        ({"fact": "machines", "machines": [{"id": "m", "image": "a", "x": 1}]}, "unknown key 'x'"),
        ({"fact": "pause"}, "a pause fact needs one of"),
        ({"fact": "pause", "until": 1, "for": "1m"}, "a pause fact needs one of"),
        ({"fact": "pause", "for": "soon"}, "for is not a duration"),
        ({"fact": "pause", "for": 0}, "for ends at 10, no later than it begins"),
        ({"fact": "pause", "until": 3}, "until ends at 3, no later than it begins"),
        ({"fact": "pause", "for": 1e300}, "for is more than ten years"),
        ({"fact": "pause", "seconds": "10m"}, "seconds is not a number"),
        ({"fact": "pause", "seconds": True}, "seconds is not a number"),
        ({"fact": "set", "mode": "off"}, "unknown mode 'off', known are: observe, approve, auto"),
        ({"fact": "set", "mode": "auto", "for": -1}, "for is negative"),
        ({"fact": "propose", "from": 2, "to": 1}, "from: no release v2 of shop"),
        ({"fact": "quarantine", "version": 7}, "version: no release v7 of shop"),
        ({"fact": "config", "directory": "a\0b"}, "directory is no path"),
        ({"fact": "rollback_started", "from": 2, "to": 1}, "from: no release v2 of shop"),
        ({"fact": "rollback_ended", "outcome": "fine"}, "unknown outcome 'fine'"),
        ({"fact": "miss", "probe": "health"}, "reason is missing"),
        ({"fact": "miss", "probe": "health", "reason": ""}, "reason is empty"),
        ({"fact": "resume", "when": 1}, "unknown key 'when'"),
    ],
)
def test_another_fact_that_cannot_be_is_a_bad_line(row: dict[str, Any], what: str) -> None:
    assert refused(**row).startswith(what)


def test_a_line_that_never_ends_is_skipped_without_being_held() -> None:
    good = {"at": 1, "fact": "sample", "target": "shop", "probe": "health", "ok": True}

    told, complaints = read(b" " * 10 * LONGEST, good)

    assert complaints == [(1, f"longer than {LONGEST:,} bytes")]
    assert len(told) == 1


def test_empty_lines_windows_ends_and_a_byte_order_mark_are_no_mistakes() -> None:
    good = b'{"at": 1, "fact": "sample", "target": "shop", "probe": "health", "ok": true}'

    told, complaints = read(b"\xef\xbb\xbf" + good + b"\r", b"", b"   ", good)

    assert complaints == []
    assert len(told) == 2


def test_a_note_may_stand_in_every_fact() -> None:
    assert one(fact="resume", note="the sale is over")


@given(st.lists(st.binary(max_size=30) | st.text('{}[]":,atx1 ', max_size=30).map(str.encode)))
def test_nothing_that_may_stand_in_a_file_ends_the_reading(lines: list[bytes]) -> None:
    good = {"at": 1, "fact": "sample", "target": "shop", "probe": "health", "ok": True}

    told, _ = read(*lines, b"", good)

    assert len(told) == 1


WORDS = st.text("aé☃\ud800 1", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=3,
)
KEYS = st.sampled_from(
    ("at", "fact", "target", "probe", "ok", "bad", "total", "buckets", "value", "version", "image",
     "status", "machines", "until", "for", "from", "to", "outcome", "reason", "seconds")
)  # fmt: skip
FACTS = st.sampled_from(
    ("sample", "miss", "release", "machines", "pause", "resume", "approve", "reject", "unlock",
     "set", "propose", "withdraw", "bless", "quarantine", "unquarantine", "alert",
     "deploy", "rollback_started", "rollback_ended", "config")
)  # fmt: skip


@given(FACTS, st.dictionaries(KEYS, JSON, max_size=6))
def test_whatever_json_says_is_a_fact_or_a_bad_line(kind: str, row: dict[str, Any]) -> None:
    told, complaints = read({"at": 1, "target": "shop", "probe": "health", **row, "fact": kind})

    assert len(told) + len(complaints) == 1
