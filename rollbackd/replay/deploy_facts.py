"""Lines about releases, machines and rollbacks -> the core's facts, which hold whole lists."""

from __future__ import annotations

from typing import Any, Final

from rollbackd.core.deploys import KEPT
from rollbackd.core.facts import (
    MachinesSeen,
    ReleasesSeen,
    RollbackEnded,
    RollbackStarted,
    TargetFact,
)
from rollbackd.core.model import (
    Machine,
    Release,
    ReleaseStatus,
    RollbackId,
    RollbackOutcome,
    TargetName,
    TriggerName,
)
from rollbackd.replay import fields
from rollbackd.replay.fields import BadLine, Row

_RELEASE: Final = frozenset(
    {"version", "image", "status", "content", "id", "author", "commit", "created_at"}
)
_MACHINE: Final = frozenset(
    {
        "id", "state", "group", "content", "image", "version", "region", "critical_checks",
        "crash_looping", "started_at", "boot_seconds", "cordoned", "reachable", "standby",
        "autostop", "lease_owner", "op_id",
    }
)  # fmt: skip
_STATUS: Final = {status.value: status for status in ReleaseStatus}
_OUTCOME: Final = {outcome.value: outcome for outcome in RollbackOutcome}


class DeployFacts:
    """Remembers the releases told so far: the core wants the whole list each time."""

    def __init__(self) -> None:
        self._releases: dict[TargetName, dict[int, Release]] = {}

    def read(self, row: Row, at: float, target: TargetName, common: frozenset[str]) -> TargetFact:
        match row["fact"]:
            case "release":
                fields.known_keys(row, common | _RELEASE)
                return self._release(row, at, target)
            case "machines":
                fields.known_keys(row, common | {"machines", "foreign_leases"})
                return self._machines(row, at, target)
            case "rollback_started":
                known = {"rollback", "from", "to", "automatic", "trigger", "undoes", "by", "reason"}
                fields.known_keys(row, common | known)
                return self._started(row, at, target)
            case _:
                known = {"rollback", "outcome", "detail", "recovered_at", "proved_at"}
                fields.known_keys(row, common | known)
                return _ended(row, at, target)

    def _release(self, row: Row, at: float, target: TargetName) -> ReleasesSeen:
        if "image" not in row and "content" not in row:
            raise BadLine("image is missing")
        content = fields.name(row, "content" if "content" in row else "image")
        release = Release(
            version=fields.whole(row, "version"),
            image=fields.name(row, "image") if "image" in row else content,
            status=_one_of(row, "status", _STATUS),
            content=content,
            created_at=fields.time(row, "created_at") if "created_at" in row else None,
            id=fields.text(row, "id", ""),
            author=fields.text(row, "author", ""),
            commit=fields.text(row, "commit", ""),
        )
        told = self._releases.setdefault(target, {})
        told[release.version] = release
        newest_first = sorted(told.values(), key=lambda one: one.version, reverse=True)[:KEPT]
        self._releases[target] = {one.version: one for one in newest_first}
        return ReleasesSeen(target=target, at=at, releases=tuple(newest_first))

    def _machines(self, row: Row, at: float, target: TargetName) -> MachinesSeen:
        listed = row.get("machines")
        if type(listed) is not list or not all(type(one) is dict for one in listed):
            raise BadLine("machines is not a list of objects")
        return MachinesSeen(
            target=target,
            at=at,
            machines=tuple(self._machine(one, target) for one in listed),
            foreign_leases=fields.whole(row, "foreign_leases") if "foreign_leases" in row else 0,
        )

    def _machine(self, one: dict[str, Any], target: TargetName) -> Machine:
        fields.known_keys({**one, "fact": "machines"}, _MACHINE | {"fact"})
        version = fields.whole(one, "version") if "version" in one else None
        return Machine(
            id=fields.name(one, "id"),
            state=fields.text(one, "state", "started"),
            group=fields.text(one, "group", "app"),
            content=self._content(one, version, target),
            release_version=version,
            region=fields.text(one, "region", ""),
            critical_checks=(
                fields.whole(one, "critical_checks") if "critical_checks" in one else 0
            ),
            crash_looping="crash_looping" in one and fields.flag(one, "crash_looping"),
            started_at=fields.time(one, "started_at") if "started_at" in one else None,
            boot_seconds=fields.count(one, "boot_seconds") if "boot_seconds" in one else None,
            cordoned="cordoned" in one and fields.flag(one, "cordoned"),
            reachable="reachable" not in one or fields.flag(one, "reachable"),
            standby="standby" in one and fields.flag(one, "standby"),
            autostop="autostop" in one and fields.flag(one, "autostop"),
            lease_owner=fields.text(one, "lease_owner") if "lease_owner" in one else None,
            op_id=fields.text(one, "op_id") if "op_id" in one else None,
        )

    def _content(self, one: dict[str, Any], version: int | None, target: TargetName) -> str:
        for key in ("content", "image"):
            if key in one:
                return fields.name(one, key)
        if version is None:
            raise BadLine("a machine needs one of: version, content, image")
        return self.known(version, target, "version").content

    def _started(self, row: Row, at: float, target: TargetName) -> RollbackStarted:
        bad = self.known(fields.whole(row, "from"), target, "from")
        good = self.known(fields.whole(row, "to"), target, "to")
        trigger = fields.text(row, "trigger", "")
        rollback = fields.text(row, "rollback", "") or f"{target}-v{bad.version}-{int(at)}"
        return RollbackStarted(
            target=target,
            at=at,
            rollback=RollbackId(rollback),
            bad=bad,
            good=good,
            automatic=fields.flag(row, "automatic") if "automatic" in row else bool(trigger),
            trigger=TriggerName(trigger) if trigger else None,
            undoes=RollbackId(fields.name(row, "undoes")) if "undoes" in row else None,
        )

    def known(self, version: int, target: TargetName, key: str) -> Release:
        """The release as it was told; `key` names it in what a bad line is told."""
        found = self._releases.get(target, {}).get(version)
        if found is None:
            raise BadLine(f"{key}: no release v{version} of {target} was told before")
        return found


def _ended(row: Row, at: float, target: TargetName) -> RollbackEnded:
    return RollbackEnded(
        target=target,
        at=at,
        rollback=RollbackId(fields.text(row, "rollback", "")),  # "": the one that runs
        outcome=_one_of(row, "outcome", _OUTCOME),
        detail=fields.text(row, "detail", ""),
        recovered_at=fields.time(row, "recovered_at") if "recovered_at" in row else None,
        proved_at=fields.time(row, "proved_at") if "proved_at" in row else None,
    )


def _one_of(row: Row, key: str, known: dict[str, Any]) -> Any:
    word = fields.text(row, key)
    if word not in known:
        raise BadLine(f"unknown {key} {word[:40]!r}, known are: {', '.join(known)}")
    return known[word]
