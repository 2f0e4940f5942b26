"""An error says what is wrong, what to do next, and whether it may pass by itself."""

import pytest

from rollbackd.core import errors, ports
from rollbackd.core.model import Release, ReleaseStatus, RollBack, TargetName


@pytest.mark.parametrize(
    ("kind", "temporary"),
    [
        (errors.ConfigError, False),
        (errors.UsageError, False),
        (errors.RateLimited, True),
        (errors.Ambiguous, True),
        (errors.Unreachable, True),
        (errors.Unauthorized, False),
        (errors.NotFound, False),
        (errors.Rejected, False),
        (errors.VersionConflict, False),
        (errors.PlanRefused, False),
        (errors.Stopped, False),
        (errors.Superseded, False),
        (errors.Fenced, False),
    ],
)
def test_every_error_has_a_message_and_a_hint(
    kind: type[errors.RollbackdError], temporary: bool
) -> None:
    error = kind("it is wrong", hint="mend it")

    assert (str(error), error.message, error.hint) == ("it is wrong", "it is wrong", "mend it")
    assert isinstance(error, errors.TemporaryError) is temporary
    assert isinstance(error, errors.RollbackdError)


def test_a_temporary_error_may_say_when_to_come_back() -> None:
    assert errors.RateLimited("slower").retry_after_seconds is None
    assert errors.RateLimited("slower", retry_after_seconds=3).retry_after_seconds == 3


def test_a_held_lease_names_its_owner_and_its_end() -> None:
    error = errors.LeaseHeld("held", owner="eva", expires_at=7.0, hint="wait")

    assert (error.owner, error.expires_at, error.hint) == ("eva", 7.0, "wait")


def test_what_a_platform_may_offer_is_told_by_its_methods() -> None:
    class Knowing:
        async def health_paths(self) -> tuple[str, ...]:
            return ("/healthz",)

    assert isinstance(Knowing(), ports.KnowsHealthPaths)
    assert not isinstance(object(), ports.KnowsHealthPaths)


def test_a_rollback_has_a_readable_id() -> None:
    release = Release(version=42, image="i", status=ReleaseStatus.COMPLETE, content="i")
    decision = RollBack(
        target=TargetName("shop"), at=7.9, trigger=None, bad=release, good=release, plan="app"
    )

    assert decision.id == "shop-v42-7"
