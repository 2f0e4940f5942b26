"""Asks at the start what each token is good for, and caps the mode by the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog

from rollbackd.core.errors import ConfigError, RollbackdError
from rollbackd.core.model import TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.ports import Platform, TokenReport
from rollbackd.core.rules import Mode
from rollbackd.fly.platform import FlyPlatform
from rollbackd.telemetry import events

log = structlog.get_logger()


async def reports(platforms: Mapping[TargetName, Platform]) -> dict[TargetName, TokenReport]:
    """What each target's token may do. A platform that does not answer is left out: later then."""
    found: dict[TargetName, TokenReport] = {}
    for name, platform in platforms.items():
        try:
            found[name] = await platform.token_report()
        except RollbackdError as error:
            log.warning(
                events.WATCH_FAILED, target=name, error=error.message, hint="asked again later"
            )
    return found


def refuse_own_app(platforms: Mapping[TargetName, FlyPlatform], own_app: str | None) -> None:
    """A daemon that rolls itself back in the middle of a rollback helps nobody."""
    for name, platform in platforms.items():
        if platform.app == own_app:
            raise ConfigError(
                f"target {name}: {own_app} is the app that rollbackd itself runs in",
                hint="run rollbackd as an app of its own and watch the other one",
            )


def capped(
    policy: Policy, names: Collection[TargetName], found: Mapping[TargetName, TokenReport]
) -> Policy:
    """The policy with `observe` wherever the token cannot act, or is not known to yet."""
    targets = dict(policy.targets)
    for name in names:
        report = found.get(name)
        if name in targets and (report is None or report.read_only or not report.covers_app):
            targets[name] = replace(targets[name], token_ceiling=Mode.OBSERVE)
    return replace(policy, targets=targets)


def tell(found: Mapping[TargetName, TokenReport]) -> None:
    """Say once what a token cannot do; silence when unable to act would be a defect."""
    for name, report in found.items():
        if not report.covers_app:
            log.error(
                events.TOKEN_REFUSED, target=name, error=report.detail, hint="see README, step 3"
            )
        elif report.read_only:
            log.warning(events.MODE_CAPPED, target=name, mode="observe", why=report.detail)
