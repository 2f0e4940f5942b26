"""Identifiers in the shapes Fly uses; it knows nothing of what they name."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ADJECTIVES = ("lingering", "quiet", "purple", "wispy", "bold", "solitary", "broken", "hidden")
NOUNS = ("moon", "river", "leaf", "dew", "glade", "frost", "meadow", "sun")


class Ids:
    """Makes every identifier of one sandbox from one seed; ULIDs never go backwards."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._last = 0

    def ulid(self, at: float) -> str:
        """26 characters that sort by time, strictly increasing within the sandbox."""
        fresh = (int(at * 1000) << 80) | self.chance.getrandbits(80)
        self._last = max(fresh, self._last + 1)
        return _base32(self._last, length=26)

    def machine(self) -> str:
        return f"{self.chance.getrandbits(56) | 1 << 55:014x}"

    def machine_name(self) -> str:
        noun = self.chance.choice(NOUNS)
        return f"{self.chance.choice(ADJECTIVES)}-{noun}-{self.chance.randint(1, 9999)}"

    def nonce(self) -> str:
        return f"{self.chance.getrandbits(48):012x}"

    def volume(self) -> str:
        return f"vol_{_base32(self.chance.getrandbits(80), length=16).lower()}"

    def release(self) -> str:
        return "rel" + _base32(self.chance.getrandbits(110), length=22)

    def request(self, at: float) -> str:
        return f"{self.ulid(at)}-ord"

    def private_ip(self) -> str:
        groups = ":".join(f"{self.chance.getrandbits(16):x}" for _ in range(4))
        return f"fdaa:0:3ec2:a7b:{groups}"


def digest_of(repository: str, tag: str) -> str:
    """The digest of an image follows from its name alone, so it is stable between runs."""
    return "sha256:" + hashlib.sha256(f"{repository}:{tag}".encode()).hexdigest()


def owner_of(secret: str) -> str:
    """The opaque owner Fly shows for a token's leases."""
    raw = hashlib.sha256(secret.encode()).hexdigest()
    return f"{raw[:8]}-{raw[8:12]}-5{raw[13:16]}-8{raw[17:20]}-{raw[20:32]}@tokens.fly.io"


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_precise(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _base32(number: int, *, length: int) -> str:
    letters = []
    for _ in range(length):
        letters.append(CROCKFORD[number & 31])
        number >>= 5
    return "".join(reversed(letters))
