"""blackbox_exporter as oracle: of the same answer, our http probe must say what it says."""

import asyncio
from pathlib import Path

import pytest

from rollbackd.core.facts import Check, CheckOutcome
from tests.integration.peers import Peer, complaints, free_port, serving
from tests.unit.probes.loopback import Loopback, Request, answer, context, hang, reset, take

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MODULES = """\
modules:
  plain: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4}}
  unfollowed: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4, follow_redirects: false}}
  said: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: [healthy]}}
  created: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4, valid_status_codes: [201]}}
  named: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4, fail_if_header_not_matches: [{header: X-Ok, regexp: "^yes$"}]}}
"""  # noqa: E501 -- one module a line reads as a table

OURS = {
    "plain": {},
    "unfollowed": {"redirects": "none"},
    "said": {"expect": {"body": "healthy"}},
    "created": {"expect": {"status": "201"}},
    "named": {"expect": {"headers": {"X-Ok": "^yes$"}}},
}
PLAIN = {
    "/ok": answer(b"all healthy"),
    "/empty": answer(b"", status=204),
    "/created": answer(b"", status=201),
    "/named": answer(X_Ok="yes"),
    "/misnamed": answer(X_Ok="no"),
    "/error": answer(b"oops", status=500),
    "/unavailable": answer(b"", status=503),
    "/teapot": answer(b"", status=418),
    "/moved": answer(b"", status=302, Location="/ok"),
    "/moved-to-error": answer(b"", status=301, Location="/error"),
    "/moved-in-circles": answer(b"", status=302, Location="/moved-in-circles"),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhealthy\r\n0\r\n\r\n",
    "/truncated": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhealthy",
    "/nonsense": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
}
CASES = [
    *(("plain", path) for path in (*PLAIN, "/slow", "/reset", "/silent")),
    *(("unfollowed", path) for path in ("/ok", "/moved")),
    *(("said", path) for path in ("/ok", "/empty", "/chunked")),
    *(("created", path) for path in ("/ok", "/created")),
    *(("named", path) for path in ("/ok", "/named", "/misnamed")),
]


async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
    match request.path:
        case "/slow":
            await hang(request, writer)
        case "/reset":
            await reset(request, writer)
        case "/silent":
            pass  # closed without a word
        case path:
            writer.write(PLAIN[path])


async def its_verdict(peer: Peer, module: str, url: str) -> bool:
    told = (await peer.get("/probe", module=module, target=url)).text
    lines = [line for line in told.splitlines() if line.startswith("probe_success ")]
    assert len(lines) == 1, told
    return lines[0].endswith(" 1")


async def our_verdict(module: str, url: str) -> bool:
    reading = await take("http", {"url": url, **OURS[module]}, context(seconds=1))
    assert isinstance(reading, Check), (url, reading)
    assert reading.outcome is not CheckOutcome.REFUSED, "a third verdict it does not have"
    return reading.outcome is CheckOutcome.OK


async def test_the_http_probe_says_what_blackbox_exporter_says(tmp_path: Path) -> None:
    path, port = tmp_path / "modules.yml", free_port()
    path.write_text(MODULES, encoding="utf-8")
    arguments = (f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}")
    name = "prometheus-blackbox-exporter"
    async with (
        serving(tmp_path, name, arguments, port=port, ready="/-/healthy") as peer,
        Loopback(behave) as server,
    ):
        cases = [(module, f"{server.url}{path}") for module, path in CASES]
        cases.append(("plain", f"http://127.0.0.1:{free_port()}/refused"))

        its = {case: await its_verdict(peer, *case) for case in cases}
        ours = {case: await our_verdict(*case) for case in cases}

    assert ours == its
    assert set(its.values()) == {True, False}
    assert complaints(peer.log) == []
