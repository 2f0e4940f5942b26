"""Questions and rollbacks answered in a browser: forms that need no script and no other site."""

import re
from html import unescape

import httpx
import pytest

from rollbackd.core import errors
from rollbackd.core.model import RollbackId, TargetName
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.core.snapshot import ProposalView
from rollbackd.web.auth import Tokens
from tests import support_views as views
from tests.support_desk import FakeDesk, past
from tests.unit.web.test_private import RO, RW, basic, served

ID = "shop-v42-to-v41"
EVIL = '"><script>alert(1)</script>'
SAME = {"Origin": "http://rollbackd.internal", "Sec-Fetch-Site": "same-origin"}
FORMS = {
    f"/proposals/{ID}/approve": {"hash": "abcd", "reason": "we looked"},
    f"/proposals/{ID}/reject": {"reason": "a test"},
    "/rollbacks/r1/abort": {"reason": "it holds"},
    "/rollbacks/r1/undo": {"reason": "it was the database"},
}


def asked(why: str = "12 % failed", name: str = "bring m1 back") -> ProposalView:
    step = Step(
        seq=1, phase=Phase.EXECUTE, kind="machine", name=name, params={}, op_key="k", mutates=True
    )
    plan = Plan(
        rollback=RollbackId("shop-v42-146"), target=TargetName("shop"), name="app",
        from_version=42, to_version=41, steps=(step,), parallel=1, deadline_at=0.0,
        hash="abcd", settings={}, notes=("env: LOG_LEVEL goes back",),
    )  # fmt: skip
    return ProposalView(
        rollback=RollbackId(ID), bad_version=42, good_version=41, trigger="errors", why=why,
        plan=plan, asked_at=views.T0, answer_by=views.T0 + 600, overdue=False,
    )  # fmt: skip


def asking(**changes: str) -> FakeDesk:
    return FakeDesk(seen={"proposal": asked(**changes)})


def forms(text: str) -> dict[str, dict[str, str]]:
    """By action, what each form of the page would send."""
    found = {}
    for action, inner in re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', text):
        fields = re.findall(r'<input (?:type="hidden" )?name="([^"]+)"(?: value="([^"]*)")?', inner)
        found[unescape(action)] = {name: unescape(value) for name, value in fields}
    return found


async def test_the_page_leads_to_the_question_and_the_question_to_its_answers() -> None:
    async with served(asking()) as client:
        first = await client.get("/", headers=basic("ann", RW))
        link = re.search(r'<a href="(/proposals/[^"]+)"', first.text)
        assert link is not None
        shown = await client.get(link[1], headers=basic("ann", RW))

    assert forms(first.text) == {}  # it is loaded anew every ten seconds
    assert "refresh" not in shown.text
    assert forms(shown.text) == {
        f"/proposals/{ID}/approve": {"hash": "abcd", "reason": ""},
        f"/proposals/{ID}/reject": {"reason": ""},
    }
    assert "bring m1 back" in shown.text
    assert "env: LOG_LEVEL goes back" in shown.text
    assert "<script" not in shown.text


async def test_what_runs_and_what_was_has_a_page_with_the_one_order_that_is_possible() -> None:
    desk = FakeDesk()
    desk.ends = [past("r1", "holding", "holding")]
    async with served(desk) as client:
        held = await client.get("/rollbacks/r1", headers=basic("ann", RW))
        desk.ends = [past("r1")]
        over = await client.get("/rollbacks/r1", headers=basic("ann", RW))
        desk.ends = [{**past("r1"), "undoes": "r0"}]
        undo = await client.get("/rollbacks/r1", headers=basic("ann", RW))
        desk.ends = [past("r1", "failed", "failed_before_effect")]
        nothing = await client.get("/rollbacks/r1", headers=basic("ann", RW))
        listed = await client.get("/rollbacks", headers=basic("ann", RO))

    assert list(forms(held.text)) == ["/rollbacks/r1/abort"]
    assert list(forms(over.text)) == ["/rollbacks/r1/undo"]
    assert forms(undo.text) == forms(nothing.text) == {}
    assert '<a href="/rollbacks/r2">' in listed.text


async def test_an_approval_is_bound_to_the_plan_that_was_shown_and_goes_on_to_the_rollback() -> (
    None
):
    desk = asking()
    async with served(desk) as client:
        shown = await client.get(f"/proposals/{ID}", headers=basic("ann", RW))
        ((action, fields), *_) = forms(shown.text).items()
        answer = await client.post(action, data=fields, headers={**basic("ann", RW), **SAME})
        unbound = await client.post(action, data={}, headers={**basic("ann", RW), **SAME})

    assert (answer.status_code, answer.headers["location"]) == (303, "/rollbacks/r9")
    assert desk.orders == [{"approve": ID, "hash": "abcd", "reason": "", "by": "ann"}]
    assert unbound.status_code == 400


async def test_each_order_is_the_one_of_the_api_with_who_and_why() -> None:
    desk = asking()
    async with served(desk) as client:
        codes = [
            (await client.post(path, data=data, headers={**basic("ann", RW), **SAME})).status_code
            for path, data in FORMS.items()
        ]

    assert codes == [303, 200, 200, 303]
    assert desk.orders == [
        {"approve": ID, "hash": "abcd", "reason": "we looked", "by": "ann"},
        {"reject": ID, "reason": "a test", "by": "ann"},
        {"abort": "r1", "reason": "it holds", "by": "ann"},
        {"undo": "r1", "reason": "it was the database", "by": "ann"},
    ]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {},  # no browser of today, or one that hides where it comes from
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://rollbackd.internal.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://rollbackd.internal"},
    ],
)
async def test_no_other_site_can_make_a_browser_answer(path: str, headers: dict[str, str]) -> None:
    desk = asking()
    async with served(desk) as client:
        answer = await client.post(path, data=FORMS[path], headers=basic("ann", RW) | headers)

    assert answer.status_code == 403
    assert desk.orders == []


@pytest.mark.parametrize(
    "headers", [SAME, {"Origin": SAME["Origin"]}, {"Sec-Fetch-Site": "same-origin"}]
)
async def test_either_word_of_the_browser_is_enough(headers: dict[str, str]) -> None:
    async with served(asking()) as client:
        path = "/rollbacks/r1/abort"
        answer = await client.post(path, data=FORMS[path], headers=basic("ann", RW) | headers)

    assert answer.status_code == 200


@pytest.mark.parametrize("path", FORMS)
async def test_who_may_only_look_sees_no_form_and_can_send_none(path: str) -> None:
    desk = asking()
    desk.ends = [past("r1", "holding", "holding")]
    async with served(desk) as client:
        shown = await client.get(path.rpartition("/")[0], headers=basic("ann", RO))
        sent = await client.post(path, data=FORMS[path], headers=basic("ann", RO) | SAME)
        nobody = await client.post(path, data=FORMS[path], headers=SAME)
        looked = await client.get(path, headers=basic("ann", RW))

    assert forms(shown.text) == {}
    assert "may only look" in shown.text
    assert (sent.status_code, nobody.status_code, looked.status_code) == (403, 401, 405)
    assert desk.orders == []


async def test_without_tokens_loopback_may_answer_and_another_name_may_not() -> None:
    desk, data = asking(), FORMS["/rollbacks/r1/abort"]
    async with served(desk, tokens=Tokens(), host="127.0.0.1:8080") as client:
        here = {"Origin": "http://127.0.0.1:8080"}
        good = await client.post("/rollbacks/r1/abort", data=data, headers=here)
    async with served(desk, tokens=Tokens(), host="rebound.example") as client:
        there = {"Origin": "http://rebound.example"}
        bad = await client.post("/rollbacks/r1/abort", data=data, headers=there)

    assert (good.status_code, bad.status_code) == (200, 421)
    assert len(desk.orders) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({}, 400),
        ({"reason": "  "}, 400),
        ({"reason": "x" * 1001}, 400),
        ({"reason": "a", "force": "1"}, 400),
        ({"reason": ["a", "b"]}, 400),
    ],
)
async def test_a_form_is_read_strictly(data: dict[str, object], status: int) -> None:
    desk = asking()
    async with served(desk) as client:
        path = "/rollbacks/r1/abort"
        answer = await client.post(path, data=data, headers=basic("ann", RW) | SAME)
        as_json = await client.post(path, json={"reason": "a"}, headers=basic("ann", RW) | SAME)

    assert (answer.status_code, as_json.status_code) == (status, 415)
    assert desk.orders == []
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_refusal_is_a_page_that_says_what_to_do_instead() -> None:
    desk = asking()
    desk.refusal = errors.Rejected(f"plan is {EVIL} now", hint="look at it again")
    async with served(desk) as client:
        answer = await sent(client, f"/proposals/{ID}/approve")

    assert answer.status_code == 409
    assert "look at it again" in answer.text
    assert "<script" not in answer.text


async def test_a_held_approval_says_which_gate_and_until_when_it_stands() -> None:
    desk = asking()
    desk.held = "our own connectivity is in doubt"
    async with served(desk) as client:
        answer = await sent(client, f"/proposals/{ID}/approve")

    assert answer.status_code == 200
    assert "held: blind: our own connectivity is in doubt" in answer.text
    assert "The approval stands until 20" in answer.text


async def test_what_an_abort_could_not_let_go_is_said() -> None:
    desk = FakeDesk(still_held="machine m1: 403")
    async with served(desk) as client:
        answer = await sent(client, "/rollbacks/r1/abort")

    assert "still held: machine m1: 403" in answer.text


async def test_what_is_not_asked_any_more_is_said_and_not_answered() -> None:
    async with served(FakeDesk()) as client:
        gone = await client.get(f"/proposals/{ID}", headers=basic("ann", RW))
        unknown = await client.get("/rollbacks/r7", headers=basic("ann", RW))

    assert (gone.status_code, unknown.status_code) == (404, 404)
    assert "is not asked any more" in gone.text


async def test_words_from_outside_stay_words() -> None:
    async with served(asking(why=EVIL, name=EVIL)) as client:
        shown = await client.get(f"/proposals/{ID}", headers=basic("ann", RW))

    assert "<script" not in shown.text
    assert "&lt;script&gt;" in shown.text


async def test_the_browser_is_told_to_send_forms_home_and_to_say_where_they_come_from() -> None:
    async with served(asking()) as client:
        for path in ("/", f"/proposals/{ID}", "/rollbacks"):
            headers = (await client.get(path, headers=basic("ann", RW))).headers
            assert "form-action 'self'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "same-origin"
            assert headers["x-frame-options"] == "DENY"


async def sent(client: httpx.AsyncClient, path: str) -> httpx.Response:
    return await client.post(path, data=FORMS[path], headers=basic("ann", RW) | SAME)
