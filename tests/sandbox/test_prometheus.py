"""fly.md §8.1, Prometheus: what the managed one answers, evaluated over the edge's own counters."""

import math
from typing import Any

import httpx
import pytest

from rollbackd.sandbox.counters import Counters, labels_of
from rollbackd.sandbox.errors import QueryError
from rollbackd.sandbox.promql_eval import Evaluation, Vector
from rollbackd.sandbox.promql_parser import parse
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import client
from tests.support import until

ERRORS = 'sum(increase(fly_edge_http_responses_count{app="shop",status=~"5.."}[1m]))'
TOTAL = 'sum(increase(fly_edge_http_responses_count{app="shop"}[1m]))'


def counters() -> Counters:
    """Two minutes of 10 answers a second; from the second minute on every tenth is an error."""
    found = Counters()
    well, bad = labels_of(app="a", status="200"), labels_of(app="a", status="500")
    for second in range(0, 121, 10):
        if second:
            found.add("answers", well, 100 if second <= 60 else 90)
        else:
            found.set("answers", well, 0.0)
        if second > 60:
            found.add("answers", bad, 10)
        for bound, count in (("0.1", 50), ("1", 90), ("+Inf", 100)):
            found.add("took_bucket", labels_of(app="a", le=bound), float(count))
        found.scrape(float(second))
    return found


def ask(text: str, at: float = 120.0, *, lag: float = 0.0) -> Vector | float:
    found = Evaluation(counters=counters(), at=at, visible_until=120.0 - lag)
    return found.value(parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(increase(answers[1m]))", 600.0),
        ('increase(answers{status="500"}[1m])', 60.0),
        ('sum(increase(answers{status=~"5.."}[2m]))', 60.0),
        ('sum(increase(answers{status!~"5.."}[1m]))', 540.0),
        ('sum(rate(answers{status!="500"}[1m]))', 9.0),
        ('sum(rate(answers{status=~"5.."}[1m])) / clamp_min(sum(rate(answers[1m])), 1e-9)', 0.1),
        ("histogram_quantile(0.5, sum by (le) (rate(took_bucket[1m])))", 0.1),
        ("histogram_quantile(0.9, sum(rate(took_bucket[1m])) by (le))", 1.0),
        ('0 * sum(increase(answers{status="200"}[1m]))', 0.0),
        ('sum(increase(answers{status="404"}[1m])) or 0 * sum(increase(answers[1m]))', 0.0),
        ("count(answers == 60)", 1.0),
        ("1 + 2 * 3 - 8 / 4", 5.0),
        ("-(2 + 3)", -5.0),
        ("sum(answers offset 1m)", 600.0),
        ("max(max_over_time(answers[1m]))", 1140.0),
    ],
)
def test_the_subset_is_evaluated_rightly(text: str, expected: float) -> None:
    found = ask(text)

    value = found if isinstance(found, float) else found[0][1]
    assert value == pytest.approx(expected)


def test_a_counter_that_starts_over_counts_from_zero_again() -> None:
    found = Counters()
    for at, value in ((0.0, 100.0), (10.0, 110.0), (20.0, 3.0), (30.0, 8.0)):
        found.set("n", (), value)
        found.scrape(at)
    evaluation = Evaluation(counters=found, at=30, visible_until=30)

    assert evaluation.value(parse("increase(n[30s])")) == [({}, 18.0)]


def test_groups_keep_the_labels_named() -> None:
    found = ask("sum by (status) (increase(answers[1m]))")

    assert isinstance(found, list)
    assert sorted(labels["status"] for labels, _ in found) == ["200", "500"]


def test_nothing_selected_is_an_empty_vector_and_no_zero() -> None:
    assert ask("sum(rate(nothing[1m]))") == []
    assert ask('answers{app="b"}') == []


def test_no_observation_has_no_quantile() -> None:
    found = ask("histogram_quantile(0.9, 0 * sum by (le) (rate(took_bucket[1m])))")

    assert isinstance(found, list)
    assert math.isnan(found[0][1])


def test_what_ingestion_has_not_reached_is_not_seen() -> None:
    assert ask("sum(increase(answers[30s]))", lag=60.0) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sum(",
        "answers[1m]",
        "rate(answers)",
        "deriv(answers[1m])",
        "sum without (app) (answers)",
        "answers{status=200}",
        'answers{status=~"("}',
        "rate(answers[soon])",
        "answers{} answers",
        "1 or 2",
        "clamp_min(1, 2)",
        "answers @ 5",
        '{app="a"}',
        "histogram_quantile(answers, answers)",
    ],
)
def test_anything_else_is_an_error_and_never_a_guess(text: str) -> None:
    with pytest.raises(QueryError):
        ask(text)


async def query(box: Sandbox, text: str, **words: Any) -> httpx.Response:
    async with client(box, box.urls.read_token) as api:
        path = f"{box.urls.prometheus_url}/api/v1/query"
        return await api.get(path, params={"query": text, **words})


async def value(box: Sandbox, text: str) -> float:
    result = (await query(box, text)).json()["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


async def test_real_traffic_shows_at_the_edge(box: Sandbox) -> None:
    await box.deploy(image="errors-50")
    flow = box.traffic(100)
    await until(lambda: flow.failed >= 10)
    box.traffic(0)

    async def counted() -> bool:
        return await value(box, TOTAL) == flow.sent

    await until(counted)
    assert await value(box, ERRORS) == flow.failed


async def test_edge_series_have_no_instance_and_app_series_do(box: Sandbox) -> None:
    flow = box.traffic(50)
    await until(lambda: flow.served >= 3)
    await until(lambda: len(box.platform.counters.points) > 10)

    edge = (await query(box, "fly_edge_http_responses_count")).json()["data"]["result"]
    app = (await query(box, "fly_app_http_responses_count")).json()["data"]["result"]

    assert "instance" not in edge[0]["metric"]
    assert app[0]["metric"]["instance"] == box.machines[0].id


async def test_a_split_proxy_has_two_series_that_must_be_summed(box: Sandbox) -> None:
    box.world.settings.split_proxy = True
    flow = box.traffic(100)
    await until(lambda: flow.served >= 20)

    ids = {
        dict(labels).get("proxy_id")
        for name, labels in box.platform.counters.values
        if name == "fly_edge_http_responses_count"
    }
    assert ids == {"blue", "green"}


async def test_errors_are_json_with_422(box: Sandbox) -> None:
    answer = await query(box, "deriv(x[1m])")

    assert answer.status_code == 422
    assert answer.json()["status"] == "error"
    assert answer.json()["errorType"] == "bad_data"


@pytest.mark.parametrize(("text", "status"), [("2.5", 200), ("2s500ms", 200), ("2.5s", 422)])
async def test_a_timeout_is_read_as_strictly_as_by_a_real_prometheus(
    box: Sandbox, text: str, status: int
) -> None:
    answer = await query(box, "vector(1)", timeout=text)

    assert answer.status_code == status


async def test_nan_is_written_as_text(box: Sandbox) -> None:
    answer = await query(box, "vector(0 / 0)")

    assert answer.json()["data"]["result"][0]["value"][1] == "NaN"


async def test_time_and_a_posted_form_are_understood(box: Sandbox) -> None:
    async with client(box, f"fm2_{box.urls.read_token}", "FlyV1") as api:
        path = f"{box.urls.prometheus_url}/api/v1/query"
        answer = await api.post(path, data={"query": "vector(3)", "time": "1763808091.6"})

    assert answer.json()["data"]["result"][0]["value"] == [1763808091.6, "3"]


async def over(box: Sandbox, text: str, **words: str) -> httpx.Response:
    async with client(box, box.urls.read_token) as api:
        path = f"{box.urls.prometheus_url}/api/v1/query_range"
        return await api.post(path, data={"query": text, **words})


async def test_a_range_is_a_matrix(box: Sandbox) -> None:
    words = {"start": "0", "end": "60", "step": "15"}
    answer = await over(box, "vector(1)", **words)
    too_fine = await over(box, "vector(1)", **words | {"end": "1e9", "step": "1"})

    assert answer.json()["data"] == {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[at, "1"] for at in (0.0, 15.0, 30.0, 45.0, 60.0)]}],
    }
    assert too_fine.status_code == 422


@pytest.mark.parametrize("step", ["30", "30.0", "30s", "500ms", "1m30s"])
async def test_a_step_is_seconds_or_a_duration(box: Sandbox, step: str) -> None:
    answer = await over(box, "1", start="0", end="90", step=step)

    seconds = {"500ms": 0.5, "1m30s": 90.0}.get(step, 30.0)
    times = [at for at, _ in answer.json()["data"]["result"][0]["values"]]
    assert times == [seconds * number for number in range(int(90 / seconds) + 1)]


async def test_a_time_is_a_number_or_written_out(box: Sandbox) -> None:
    answer = await over(
        box, "1", start="2026-11-22T10:41:30Z", end="2026-11-22T11:41:31.5+01:00", step="1"
    )

    times = [at for at, _ in answer.json()["data"]["result"][0]["values"]]
    assert times == [1795344090.0, 1795344091.0]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"start": ""}, '"start"'),
        ({"end": ""}, '"end"'),
        ({"step": ""}, '"step"'),
        ({"start": "yesterday"}, '"start"'),
        ({"step": "often"}, '"step"'),
        ({"step": "0"}, "zero or negative"),
        ({"step": "-5"}, "zero or negative"),
        ({"start": "61"}, "before start"),
        ({"query": "sum("}, "parse error"),
    ],
)
async def test_a_range_that_is_none_is_bad_data(
    box: Sandbox, words: dict[str, str], named: str
) -> None:
    asked = {"start": "0", "end": "60", "step": "15", "query": "vector(1)"} | words
    answer = await over(box, asked.pop("query"), **asked)

    assert (answer.status_code, answer.json()["errorType"]) == (422, "bad_data")
    assert named in answer.json()["error"]


async def test_a_range_says_at_each_moment_what_an_instant_query_says(box: Sandbox) -> None:
    flow = box.traffic(100)
    await until(lambda: flow.served >= 150)
    box.traffic(0)
    end = box.world.now()
    text = "sum by (le) (increase(fly_app_http_response_time_seconds_bucket[500ms]))"
    start, step = end - 3, 0.25
    whole = await over(box, text, start=str(start), end=str(end), step=str(step))

    found: dict[tuple[str, float], str] = {
        (series["metric"]["le"], at): value
        for series in whole.json()["data"]["result"]
        for at, value in series["values"]
    }
    assert found
    for number in range(13):
        at = start + step * number
        single = (await query(box, text, time=repr(at))).json()["data"]["result"]
        told = {series["metric"]["le"]: series["value"][1] for series in single}
        assert told == {le: value for (le, moment), value in found.items() if moment == at}


async def test_a_day_of_range_leaves_the_proxy_to_its_users(box: Sandbox) -> None:
    flow = box.traffic(100)
    await until(lambda: flow.served >= 20)
    now = box.world.now()

    answer = await over(box, TOTAL, start=str(now - 86_400), end=str(now), step="10")

    values = answer.json()["data"]["result"][0]["values"]
    assert all(now - at < 120 for at, _ in values)  # before the first scrape there is nothing
    assert flow.failed == 0


async def test_a_deploy_token_does_not_read_metrics(box: Sandbox) -> None:
    async with client(box, box.urls.token) as api:
        path = f"{box.urls.prometheus_url}/api/v1/query"
        assert (await api.get(path, params={"query": "vector(1)"})).status_code == 403


async def test_a_real_prometheus_could_scrape_it(box: Sandbox) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    flow = box.traffic(50)
    await until(lambda: flow.served >= 3)
    async with httpx.AsyncClient() as web:
        text = (await web.get(f"{box.urls.sandbox_url}/metrics")).text

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["fly_edge_http_response_time_seconds"].type == "histogram"
    assert families["fly_instance_up"].samples[0].value == 1


def test_a_large_counter_is_exposed_to_its_last_digit() -> None:
    found = Counters()
    found.add("answers", labels_of(app="a"), 1_234_567.0)

    assert 'answers{app="a"} 1234567\n' in found.render()
