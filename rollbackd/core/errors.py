"""The exception tree. Every error rollbackd raises on purpose hangs here; it decides nothing.

RollbackdError                  message: lower-case and specific; hint: the reader's next move
├── ConfigError                 the YAML or the environment is wrong (exit 78)
├── UsageError                  the command line asks for something that is not there (exit 2)
├── TemporaryError              may pass by itself: try again, within a bound
│   ├── RateLimited             the platform asked to slow down
│   ├── LeaseHeld               somebody else's lease is on the machine, until `expires_at`
│   ├── Ambiguous               the call may or may not have taken effect: read back first
│   └── Unreachable             no answer at all
├── PermanentError              will not pass by itself: hold and tell a person
│   ├── Unauthorized            the token is wrong, expired or does not cover this app
│   ├── NotFound                the app, machine, release or image is not there
│   ├── Rejected                the platform understood and said no
│   ├── VersionConflict         the object changed since it was read
│   └── PlanRefused             no plan can be made that keeps the promises
│       └── ImageMissing        the good release's image is gone from the registry
├── Stopped                     a person said stop (STOP file); nothing was sent
├── Superseded                  somebody deployed meanwhile: stand back
└── Fenced                      another daemon owns this rollback now: touch nothing
"""

from __future__ import annotations


class RollbackdError(Exception):
    """Base of all errors raised on purpose; `hint` says the next move."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(RollbackdError):
    """The configuration was refused."""


class UsageError(RollbackdError):
    """The command line asks for something that is not there."""


class TemporaryError(RollbackdError):
    """May pass by itself. `retry_after_seconds` is the platform's wish, if it had one."""

    def __init__(
        self, message: str, *, hint: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(TemporaryError):
    """The platform asked to slow down. The call was not carried out."""


class LeaseHeld(TemporaryError):
    """Somebody else's lease is on the machine. The call was not carried out.

    `expires_at` is in epoch seconds where the platform said it, else None.
    """

    def __init__(
        self,
        message: str,
        *,
        owner: str = "",
        expires_at: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.owner = owner
        self.expires_at = expires_at


class Ambiguous(TemporaryError):
    """A mutation was sent and its outcome is unknown. Read back before sending again."""


class Unreachable(TemporaryError):
    """No connection was made: the call cannot have taken effect."""


class PermanentError(RollbackdError):
    """Will not pass by itself."""


class Unauthorized(PermanentError):
    """The token is wrong, expired, or does not cover this app or this action."""


class NotFound(PermanentError):
    """The app, machine, release, lease or image is not there."""


class Rejected(PermanentError):
    """The platform understood the request and refused it."""


class VersionConflict(PermanentError):
    """The object changed since it was read: nothing was applied."""


class PlanRefused(PermanentError):
    """No plan can be made that keeps the promises."""


class ImageMissing(PlanRefused):
    """The good release's image is gone from the registry."""


class Stopped(RollbackdError):
    """A person said stop. Nothing was sent."""


class Superseded(RollbackdError):
    """A newer release appeared: the rollback no longer applies."""


class Fenced(RollbackdError):
    """Another daemon owns this rollback now."""
