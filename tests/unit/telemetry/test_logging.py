import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import structlog
from pydantic import SecretStr

from rollbackd.telemetry import events
from rollbackd.telemetry import logging as ours
from rollbackd.telemetry.redact import GONE, Scrubber

CONFIGURED = "s3cr3t-of-this-process/+="
PLANTED = [
    CONFIGURED,
    "FlyV1 fm2_lJPECAAAAAAA,fm2_lJPETwAAAAAA",
    "fm1r_AAAAbbbb+/==",
    "fm1a_AAAAcccc",
    "fm2_AAAAdddd",
    "fo1_AAAAeeee",
]
PIECES = [
    CONFIGURED, "lJPECAAAAAAA", "lJPETwAAAAAA", "AAAAbbbb", "AAAAcccc", "AAAAdddd", "AAAAeeee",
    "hunter22", "c2VjcmV0OmJhc2lj", "opensesame", "s3cr3t-of-this-process",
]  # fmt: skip


@contextmanager
def logged(
    level: str = "debug", form: str = "json", secrets: tuple[str, ...] = (CONFIGURED,)
) -> Iterator[io.StringIO]:
    """The pipeline as the daemon sets it up, into a text; the process as before afterwards."""
    root = logging.getLogger()
    before, before_level = root.handlers[:], root.level
    out = io.StringIO()
    ours.configure(level, form, secrets, stream=out)
    try:
        yield out
    finally:
        structlog.reset_defaults()
        root.handlers[:], root.level = before, before_level
        logging.captureWarnings(capture=False)


def refuse_leaks(text: str) -> None:
    for piece in PIECES:
        assert piece not in text


class Holder:
    """Something whose repr holds a token, as a library's request object might."""

    def __repr__(self) -> str:
        return "<Holder authorization='Bearer opensesame'>"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("secret", PLANTED)
def test_a_planted_secret_leaves_by_no_door(secret: str, form: str) -> None:
    with logged(form=form) as out:
        log = structlog.get_logger()
        log.info(f"the event itself {secret}")  # noqa: G004 -- the mistake to guard against
        log.info(events.API_RETRIED, url=f"https://x.example/?q={secret}", detail=secret)
        log.info(events.API_RETRIED, **{f"key {secret}": 1})
        log.info(events.API_RETRIED, nested={"a": [{"b": (secret,)}], "c": {secret}})
        log.info(events.API_RETRIED, raw=secret.encode(), held=Holder(), typed=SecretStr(secret))
        log.info(events.API_RETRIED, error=ValueError(f"no luck with {secret}"))
        structlog.contextvars.bind_contextvars(bound=secret)
        log.info(events.API_RETRIED)
        structlog.contextvars.clear_contextvars()
        try:
            raise_with(secret)
        except RuntimeError:
            log.exception(events.ROLLBACK_HELD)
        logging.getLogger("uvicorn.error").error("answered %s", secret)
        try:
            raise_with(secret)
        except RuntimeError:
            logging.getLogger("apscheduler.executors").exception("job with %r", secret)

    text = out.getvalue()
    assert text.count(GONE) >= 10
    refuse_leaks(text)


def raise_with(secret: str) -> None:
    token = secret
    try:
        int(f"inner {token}")
    except ValueError as error:
        raise RuntimeError(f"outer {token}") from error


def test_each_shape_of_a_secret_is_known() -> None:
    scrub = Scrubber().text
    refuse_leaks(scrub("Authorization: Bearer opensesame"))
    refuse_leaks(scrub("authorization: FlyV1 fm2_lJPECAAAAAAA,fm2_lJPETwAAAAAA"))
    refuse_leaks(scrub("{'authorization': 'Basic c2VjcmV0OmJhc2lj'}"))
    refuse_leaks(scrub("[(b'Authorization', b'Bearer opensesame')]"))
    refuse_leaks(scrub("sent Basic c2VjcmV0OmJhc2lj to it"))
    refuse_leaks(scrub("postgres://app:hunter22@db.internal:5432/app"))
    refuse_leaks(scrub("https://hunter22@example.com/x"))
    refuse_leaks(scrub("https://example.com/x?a=1&access_token=opensesame&b=2"))
    refuse_leaks(scrub("host=db user=app password=hunter22 dbname=app"))
    refuse_leaks(scrub("host=db password='hunter22 and more'"))


def test_what_is_no_secret_is_left_alone() -> None:
    scrub = Scrubber([CONFIGURED]).text
    for text in (
        "https://hotdash.fly.dev/health?deep=1",
        "v42 -> v41 because 12.0 % of 1,003 requests failed",
        "registry.fly.io/shop:deployment-01ABC@sha256:abcdef",
        "ann@example.com deployed",
    ):
        assert scrub(text) == text


def test_fields_with_a_secret_name_are_hidden_whatever_they_hold() -> None:
    fields = {"token": "a", "fly_token": "b", "Authorization": "c", "password": 7, "probe": "d"}

    clean = Scrubber().fields(fields)

    assert clean == {**dict.fromkeys(fields, GONE), "probe": "d"}


def test_a_secret_by_type_is_hidden_without_asking_it() -> None:
    assert Scrubber().value({"note": SecretStr("opensesame")}) == {"note": GONE}


def test_a_configured_secret_is_known_in_its_other_spellings() -> None:
    scrub = Scrubber([CONFIGURED, "FlyV1 alpha-token,beta-token"]).text

    assert scrub("s3cr3t-of-this-process%2F%2B%3D") == GONE
    assert "beta-token" not in scrub("sent beta-token alone")


def test_a_short_or_empty_secret_does_not_black_out_the_log() -> None:
    assert Scrubber(["", " ", "a", "abc"]).text("a cab at abc") == "a cab at abc"


def test_json_lines_carry_event_level_and_time() -> None:
    with logged() as out:
        structlog.get_logger().warning(events.PROBE_MISSED, probe="health", seconds=0.2)

    line = json.loads(out.getvalue())
    assert line["event"] == "probe.missed"
    assert (line["level"], line["probe"], line["seconds"]) == ("warning", "health", 0.2)
    assert line["at"].endswith("Z")


def test_a_traceback_never_prints_local_variables() -> None:
    with logged(form="console", secrets=()) as out:
        only_here = "elbairav".join("xy")
        try:
            raise_with("no luck")
        except RuntimeError:
            structlog.get_logger().exception(events.ROLLBACK_HELD)

    assert "RuntimeError" in out.getvalue()
    assert only_here not in out.getvalue()


def test_the_level_is_kept_and_counted() -> None:
    counted: list[str] = []
    with logged():
        ours.configure("warning", "json", count=counted.append, stream=io.StringIO())
        log = structlog.get_logger()
        log.info(events.DAEMON_STARTED)
        log.warning(events.PROBE_MISSED)
        log.error(events.STORE_FAILED)

    assert counted == ["warning", "error"]


async def test_httpx_does_not_log_each_request() -> None:
    with logged() as out:
        transport = httpx.MockTransport(lambda _request: httpx.Response(204))
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("https://example.com/?token=opensesame")

    assert out.getvalue() == ""


def test_the_access_log_is_silent_and_errors_of_libraries_come_through() -> None:
    with logged() as out:
        logging.getLogger("uvicorn.access").error("GET /")
        logging.getLogger("apscheduler.scheduler").info("job added")
        logging.getLogger("asyncio").error("task died")

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(x["event"], x["logger"]) for x in lines] == [(events.LIBRARY_LOGGED, "asyncio")]


def test_warnings_of_python_go_the_same_way() -> None:
    with logged() as out, warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("deprecated with fm2_AAAAdddd", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)

    assert events.LIBRARY_LOGGED in out.getvalue()
    refuse_leaks(out.getvalue())


def test_events_are_noun_and_verb() -> None:
    names = [v for k, v in vars(events).items() if k.isupper()]
    assert len(names) == len(set(names))
    for name in names:
        noun, _, verb = name.partition(".")
        assert noun.replace("_", "").isalpha(), name
        assert verb.replace("_", "").isalpha(), name
