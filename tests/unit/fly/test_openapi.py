"""The check itself finds what does not conform."""

import httpx
import pytest

from tests.unit.fly.openapi import complaints

MACHINE = "https://fly.test/v1/apps/shop/machines/148e1"


@pytest.mark.parametrize(
    "request_",
    [
        httpx.Request("PUT", MACHINE),
        httpx.Request("GET", MACHINE, params={"leases": "yes"}),
        httpx.Request("POST", MACHINE),
        httpx.Request("POST", MACHINE, json={"config": {"env": {"PORT": 8080}}}),
        httpx.Request("POST", MACHINE, json={"skip_launch": "no"}),
        httpx.Request("POST", f"{MACHINE}/lease", json={"ttl": "30s"}),
        httpx.Request("DELETE", f"{MACHINE}/lease"),
        httpx.Request("POST", f"{MACHINE}/cordon", json={}),
    ],
)
def test_a_request_the_specification_does_not_know_is_found(request_: httpx.Request) -> None:
    assert complaints(request_)


def test_a_request_as_specified_passes() -> None:
    body = {"config": {"image": "a", "env": {"PORT": "8080"}}, "skip_launch": False}

    assert complaints(httpx.Request("POST", MACHINE, json=body)) == []
