"""Which token goes where. It asks nobody, and gives no token to a stranger."""

from __future__ import annotations

from rollbackd.config.settings import Settings
from rollbackd.config.targets import TargetSettings, same_host
from rollbackd.plugins import PrometheusAccess


def prometheus_access(settings: Settings, target: TargetSettings) -> PrometheusAccess | None:
    """The target's Prometheus, with Fly's token only where it is Fly's own; None without one."""
    if target.prometheus_url is None:
        return None
    token = settings.prometheus_token
    if token is None and same_host(target.prometheus_url, settings.fly_api_url):
        own = target.fly.token if target.fly else None
        token = settings.fly_read_token or own or settings.fly_token
    return PrometheusAccess(
        url=target.prometheus_url, token=token.get_secret_value() if token else ""
    )
