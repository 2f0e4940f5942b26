import gzip
import threading

import httpx
import pytest
from prometheus_client import CollectorRegistry

from rollbackd.core.snapshot import Snapshot
from rollbackd.telemetry.metrics import Metrics
from rollbackd.web.public import metrics_app
from tests import support_views as views
from tests.support_desk import FakeVitals


def client(vitals: FakeVitals | None = None, metrics: Metrics | None = None) -> httpx.AsyncClient:
    counted = metrics or Metrics(CollectorRegistry(), views.snapshot)
    app = metrics_app(counted, vitals or FakeVitals())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_metrics_need_no_token_and_no_redirect() -> None:
    async with client() as asked:
        answer = await asked.get("/metrics", headers={"Accept-Encoding": "identity"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'rollbackd_target_healthy{target="shop"} 1.0' in answer.text
    assert "content-encoding" not in answer.headers


async def test_metrics_are_packed_for_who_can_unpack() -> None:
    async with client() as asked, asked.stream("GET", "/metrics") as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == "gzip"
    assert b"rollbackd_target_healthy" in gzip.decompress(raw)


async def test_openmetrics_is_spoken_to_prometheus() -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"
    async with client() as asked:
        answer = await asked.get("/metrics", headers={"Accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_the_snapshot_is_taken_on_the_loop_not_in_the_rendering_thread() -> None:
    taken_in: list[threading.Thread] = []

    def snapshot() -> Snapshot:
        taken_in.append(threading.current_thread())
        return views.snapshot()

    async with client(metrics=Metrics(CollectorRegistry(), snapshot)) as asked:
        taken_in.clear()
        answer = await asked.get("/metrics")

    assert 'rollbackd_target_healthy{target="shop"} 1.0' in answer.text
    assert taken_in == [threading.current_thread()]


async def test_a_strange_query_does_not_break_a_scrape() -> None:
    async with client() as asked:
        assert (await asked.get("/metrics?name[]=up")).status_code == 200


async def test_health_is_the_loop_and_nothing_else() -> None:
    vitals = FakeVitals(is_ready=False)
    async with client(vitals) as asked:
        well = await asked.get("/healthz")
        vitals.alive = False
        stalled = await asked.get("/healthz")

    assert (well.status_code, well.json()["ok"]) == (200, True)
    assert (stalled.status_code, stalled.json()["why"]) == (503, "no turn for 95 s")


async def test_readiness_names_what_is_missing() -> None:
    vitals = FakeVitals(is_ready=False)
    async with client(vitals) as asked:
        answer = await asked.get("/readyz?verbose")
        vitals.is_ready = True
        later = await asked.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "config": True, "store": True, "probed": False}
    assert later.status_code == 200


@pytest.mark.parametrize("path", ["/metrics/", "/", "/api/v1/status", "/healthz/"])
async def test_nothing_else_is_there(path: str) -> None:
    async with client() as asked:
        assert (await asked.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_nothing_can_be_ordered_here(path: str) -> None:
    async with client() as asked:
        assert (await asked.post(path)).status_code == 405


async def test_scrapes_are_counted() -> None:
    metrics = Metrics(CollectorRegistry())
    async with client(metrics=metrics) as asked:
        await asked.get("/metrics")
        answer = await asked.get("/metrics")

    line = 'rollbackd_http_requests_total{code="200",handler="/metrics",method="GET"} 1.0'
    assert line in answer.text
