"""Which token goes where: a Fly token to Fly's own host, and to nobody else's Prometheus."""

from collections.abc import Callable
from typing import cast

import pytest
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.config.settings import Settings, load_settings
from rollbackd.config.targets import FlySettings, TargetSettings
from rollbackd.core.ports import Store
from rollbackd.daemon.parts import Maker
from rollbackd.fly.wire import Meter

FLY = "https://api.fly.io/prometheus/acme"
ELSEWHERE = "https://prometheus.example"


def token_for(url: str, own: str | None = None, **environ: str) -> str:
    settings: Settings = load_settings({f"ROLLBACKD_{k.upper()}": v for k, v in environ.items()})
    maker = Maker(
        settings=settings,
        own_app=None,
        clock=FakeClock(),
        store=cast(Store, None),
        meter=cast(Meter, None),
        permit=cast(Callable[[str], None], None),
    )
    target = TargetSettings(
        fly=FlySettings(app="shop", org="acme", token=SecretStr(own) if own else None),
        url=None,
        control=(),
        prometheus_url=url,
    )
    access = maker._prometheus(target)
    assert access is not None
    return access.token


@pytest.mark.parametrize(
    ("environ", "own", "expected"),
    [
        ({"prometheus_token": "p", "fly_read_token": "r"}, "t", "p"),
        ({"fly_read_token": "r", "fly_token": "d"}, "t", "r"),
        ({"fly_token": "d"}, "t", "t"),
        ({}, "t", "t"),
        ({"fly_token": "d"}, None, "d"),
    ],
)
def test_flys_prometheus_is_asked_with_the_most_careful_token_there_is(
    environ: dict[str, str], own: str | None, expected: str
) -> None:
    assert token_for(FLY, own, **environ) == expected


def test_another_prometheus_gets_no_token_of_flys() -> None:
    assert token_for(ELSEWHERE, "t", fly_token="d", fly_read_token="r") == ""
