"""Whatever is seen and said of releases, in any order: what was rolled back from stays away."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.known_good import goal, passed_over
from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.marks import same_content
from rollbackd.core.model import Release
from tests.unit.core.world import release

COMMITS = ("", "a" * 40, "b" * 40, "a" * 9)
CONTENTS = ("x", "y+config:1", "y+config:2", "y", "z")


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Release, ...]:
    """Releases newest first, some with the same content or commit."""
    count = draw(st.integers(2, 7))
    return tuple(
        replace(
            release(version, draw(st.sampled_from(CONTENTS))), commit=draw(st.sampled_from(COMMITS))
        )
        for version in range(count, 0, -1)
    )


WORDS = st.sampled_from(("accuse", "acquit", "prove", "clear", "quarantine", "bless", "let out"))
STORIES = st.lists(st.tuples(WORDS, st.integers(0, 6)), max_size=20)


def tell(ledger: Ledger, known: tuple[Release, ...], word: str, one: Release, at: float) -> None:
    match word:
        case "accuse":
            ledger.accuse(one, at, why="breached", known=known)
        case "acquit":
            ledger.acquit(one, at - 1)
        case "prove":
            ledger.prove_good(one, at)
        case "clear":
            ledger.cleared.add(one)
        case "quarantine":
            ledger.quarantine(one, at, why="was rolled back from", known=known)
        case "bless":
            ledger.bless(one, at)
        case _:
            ledger.unquarantine(one)


@given(fleets(), STORIES)
def test_what_was_quarantined_is_no_goal_until_a_person_says_so(
    known: tuple[Release, ...], story: list[tuple[str, int]]
) -> None:
    ledger, away = Ledger(), set[int]()
    for at, (word, index) in enumerate(story):
        one = known[index % len(known)]
        tell(ledger, known, word, one, at)
        if word == "quarantine":
            away.add(one.version)
        if word in {"bless", "let out"}:
            # A person speaks of the content: the same content elsewhere is meant, too.
            away = {
                r.version
                for r in known
                if r.version in away and r is not one and not same_content(r.content, one.content)
            }

        found = goal(ledger, known, known[0])

        assert found is None or found.release.version not in away
        assert all(ledger.standing(r) is Standing.QUARANTINED for r in known if r.version in away)


@given(fleets(), STORIES)
def test_whatever_would_be_kept_otherwise_is_counted_as_a_change(
    known: tuple[Release, ...], story: list[tuple[str, int]]
) -> None:
    ledger = Ledger()
    for at, (word, index) in enumerate(story):
        before, changes = ledger.as_json(), ledger.changes
        tell(ledger, known, word, known[index % len(known)], at)
        ledger.note_relapses(known)

        assert ledger.as_json() == before or ledger.changes > changes


@given(fleets(), STORIES)
def test_nothing_but_its_own_content_ever_makes_a_release_good(
    known: tuple[Release, ...], story: list[tuple[str, int]]
) -> None:
    ledger, praised = Ledger(), list[Release]()
    for at, (word, index) in enumerate(story):
        one = known[index % len(known)]
        tell(ledger, known, word, one, at)
        if word in {"prove", "bless"}:
            praised.append(one)

    for each in known:
        if ledger.standing(each) is Standing.GOOD:
            assert any(same_content(each.content, p.content) for p in praised)


@given(fleets(), STORIES)
def test_a_ledger_read_back_answers_as_it_did_and_every_release_has_a_reason(
    known: tuple[Release, ...], story: list[tuple[str, int]]
) -> None:
    ledger = Ledger()
    for at, (word, index) in enumerate(story):
        tell(ledger, known, word, known[index % len(known)], at)
    fresh = Ledger()
    fresh.restore(json.loads(json.dumps(ledger.as_json())))

    found = goal(ledger, known, known[0])

    assert fresh.as_json() == ledger.as_json()
    assert goal(fresh, known, known[0]) == found
    for each in known:
        assert fresh.standing(each) is ledger.standing(each)
        assert fresh.why(each, known) == ledger.why(each, known) != ""
    between = passed_over(ledger, known, known[0], found)
    assert all(between.values())
    assert found is None or found.release.version not in between
