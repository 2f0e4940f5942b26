"""What an HTTP answer must look like to count as good, and the judge of it."""

from __future__ import annotations

import re
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from rollbackd.config.types import Regex, Spec, StatusClasses, refused
from rollbackd.core.facts import Check, CheckOutcome
from rollbackd.core.model import Json
from rollbackd.probes.http_exchange import Answer
from rollbackd.probes.json_path import ABSENT, Absent, JsonPath, parse_json, pick

# They say that *we* are not welcome, or not there any more; not that the app is broken.
REFUSALS = frozenset({401, 403, 404, 405, 429})
SEARCHED_BYTES = 64 * 2**10  # a regex over megabytes of a stranger's text could hold the loop


class JsonExpect(Spec):
    """One place in a JSON body."""

    path: JsonPath = Field(description="Where to look, such as $.status or $.checks[0].ok.")
    equals: str | int | float | bool | None = Field(
        default=None, description="The value that must stand there."
    )
    present: bool | None = Field(
        default=None, description="Only whether anything stands there; instead of `equals`."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if ("equals" in self.model_fields_set) == (self.present is not None):
            raise refused("exactly one of equals and present", "write equals: ok or present: true")
        return self

    def holds(self, document: Json) -> bool:
        found = pick(document, self.path)
        if self.present is not None:
            return (found is not ABSENT) is self.present
        return _same(found, self.equals)


class Expect(Spec):
    """All of it must hold. Without a status, any 2xx is good."""

    model_config = ConfigDict(populate_by_name=True)

    status: StatusClasses = Field(
        default=("2xx",),
        min_length=1,
        description="Status classes or codes that are good: 2xx, 204, [2xx, 302].",
    )
    body: Regex | None = Field(
        default=None, description="A regex to be found in the first 64 KiB of the body."
    )
    json_: JsonExpect | None = Field(
        default=None, alias="json", description="A value in a JSON body."
    )
    headers: dict[str, Regex] = Field(
        default_factory=dict, description="Header name to a regex to be found in its value."
    )

    def judge(self, answer: Answer) -> Check:
        """The check this answer makes."""
        outcome, why = self._verdict(answer)
        return Check(outcome=outcome, seconds=answer.seconds, why=why, phases=answer.phases)

    def _verdict(self, answer: Answer) -> tuple[CheckOutcome, str]:
        if not self.wants(answer.status):
            refused_us = answer.status in REFUSALS
            outcome = CheckOutcome.REFUSED if refused_us else CheckOutcome.FAILED
            return outcome, f"status {answer.status}"
        for name, pattern in self.headers.items():
            if not re.search(pattern, answer.headers.get(name.lower(), "")):
                return CheckOutcome.FAILED, f"header {name}"
        if self.body is not None and not re.search(self.body, _text(answer.body)):
            return CheckOutcome.FAILED, "body does not match"
        if self.json_ is None:
            return CheckOutcome.OK, ""
        document = parse_json(answer.body)
        if isinstance(document, Absent):
            return CheckOutcome.FAILED, "body is not JSON"
        if not self.json_.holds(document):
            return CheckOutcome.FAILED, f"json {self.json_.path}"
        return CheckOutcome.OK, ""

    def wants(self, status: int) -> bool:
        code = str(status)
        return any(code == wanted or f"{code[0]}xx" == wanted for wanted in self.status)


def _text(body: bytes) -> str:
    return body[:SEARCHED_BYTES].decode("utf-8", errors="replace")


def _same(found: object, wanted: object) -> bool:
    # To Python, True is 1; in JSON they are not the same.
    return found == wanted and isinstance(found, bool) is isinstance(wanted, bool)
