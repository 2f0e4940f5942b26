"""What the sandbox answers when it refuses, in Fly's words; it never decides to refuse."""

from __future__ import annotations


class FlyError(Exception):
    """An HTTP answer of the Machines or releases API that is not a success."""

    def __init__(self, status: int, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code

    def body(self) -> dict[str, str]:
        return {"error": self.text} | ({"status": self.code} if self.code else {})


class GraphqlError(Exception):
    """An error that GraphQL reports with HTTP 200."""

    def __init__(self, message: str, *, code: str, path: list[str | int] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.path = path or []

    def body(self) -> dict[str, object]:
        return {"message": self.message, "path": self.path, "extensions": {"code": self.code}}


class QueryError(Exception):
    """A query that Prometheus would answer with 422."""


def app_not_found() -> FlyError:
    return FlyError(404, "app not found")


def machine_not_found() -> FlyError:
    return FlyError(404, "machine not found")


def lease_not_found() -> FlyError:
    return FlyError(404, "lease not found")
