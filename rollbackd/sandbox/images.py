"""The catalogue of images: which behaviour an image's name stands for. It starts nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rollbackd.sandbox.ids import digest_of

REGISTRY = "registry.fly.io"
OVERRIDE = "ROLLBACKD_SANDBOX_BEHAVIOUR"

CATALOGUE = {
    "good": "answers everything",
    "errors": "5xx at a rate (errors-30 is 30 %), health stays well",
    "slow": "late answers (slow-2.5s), health stays quick",
    "crash": "exits with 1 at boot; crash-5s five seconds after it",
    "boot": "listens only after a while (boot-45s)",
    "leak": "grows until it is killed for memory (leak-8 is 8 MB a second)",
    "one-bad": "errors on one machine only",
    "no-health": "404 on every health path",
    "login-wall": "health redirects who comes from outside to a login; login-wall-401 refuses",
    "outage": "takes the connection and never answers; outage-refuse does not listen",
    "unhealthy": "503 on health, everything else is well",
    "reset": "closes every connection without an answer",
    "drip": "one byte a second",
    "database": "pages come from the PostgreSQL of the demo, health does not ask it",
    "html": "HTML where JSON was asked for",
}

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image reference taken apart."""

    registry: str
    repository: str
    tag: str

    @property
    def digest(self) -> str:
        return digest_of(self.repository, self.tag)

    @property
    def ref(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def behaviour(self) -> str:
        """The catalogue entry this tag stands for, with its parameter (`errors-30`)."""
        fits = [n for n in CATALOGUE if self.tag == n or self.tag.startswith(f"{n}-")]
        return self.tag if fits else "good"

    def wire(self) -> dict[str, object]:
        return {
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "digest": self.digest,
            "labels": {},
        }


def parse_image(text: str, *, app: str) -> Image:
    """`errors`, `shop:errors`, `registry.fly.io/shop:errors` and each with `@sha256:…`."""
    bare = _DIGEST.sub("", text)
    if "/" not in bare and ":" not in bare:
        return Image(registry=REGISTRY, repository=app, tag=bare)
    head, _, last = bare.rpartition("/")
    name, _, tag = last.partition(":")
    registry, _, folder = head.partition("/")
    repository = f"{folder}/{name}" if folder else name
    return Image(registry=registry or REGISTRY, repository=repository, tag=tag or "latest")
