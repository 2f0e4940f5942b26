"""How a Prometheus is asked: which one, as whom, and with which form. It reads no answer."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from rollbackd.core.errors import ConfigError
from rollbackd.plugins import ProbeContext, PrometheusAccess
from rollbackd.probes.http_exchange import Ask


def question(
    access: PrometheusAccess,
    path: str,
    form: Mapping[str, str],
    *,
    seconds: float,
    size_limit: int = 4 * 2**20,
) -> Ask:
    """A POST of the form to `path` of its API; `seconds` is the deadline on both sides."""
    # Prometheus reads 2.5 or 2s500ms, never 2.5s.
    body = urlencode({**form, "timeout": f"{seconds:.3f}"}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", **authorization(access.token)}
    return Ask(
        url=f"{access.url.rstrip('/')}/api/v1/{path}",
        seconds=seconds,
        method="POST",
        headers=headers,
        body=body,
        size_limit=size_limit,
    )


def authorization(token: str) -> dict[str, str]:
    """Fly's own scheme for Fly's own tokens, Bearer for everybody else's."""
    if not token:
        return {}
    if token.startswith("FlyV1 "):
        return {"authorization": token}
    if token.startswith(("fm1", "fm2_")):
        return {"authorization": f"FlyV1 {token}"}
    return {"authorization": f"Bearer {token}"}


def needed_access(context: ProbeContext) -> PrometheusAccess:
    """The Prometheus of the process. Raises ConfigError where there is none."""
    if context.prometheus is None:
        raise ConfigError(
            f"probe {context.name} of target {context.target} needs a Prometheus",
            hint="set ROLLBACKD_PROMETHEUS_URL, or take the probe out",
        )
    return context.prometheus
