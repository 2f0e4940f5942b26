"""Snapshots as they lie on disk: a dump that only we may read, and beside it what must be in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rollbackd.core.errors import PermanentError, PlanRefused
from rollbackd.postgres.archive import BadSnapshot, Table
from rollbackd.postgres.packed import packed, unpacked
from rollbackd.postgres.words import Fingerprint

_CHUNK: Final = 1 << 20
_FORMAT: Final = 1
_LOST_SECONDS: Final = 86_400.0  # a half-written file that old is nobody's any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which database of which server. `cluster`: its system identifier, empty where not told."""

    database: str
    cluster: str
    major: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What lies beside the dump. Rows were counted in the very snapshot that pg_dump wrote.

    `fingerprint`: of its schemas at that moment, owners and privileges too; None in an older one.
    """

    origin: Origin
    taken_at: float
    schemas: tuple[str, ...]
    rows: Mapping[Table, int]
    sha256: str
    size: int  # bytes
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """What people name it by."""
        return self.path.stem


def load(path: Path) -> Snapshot:
    """With the manifest beside it; BadSnapshot without one that can be understood."""
    try:
        said = json.loads(_beside(path).read_text(encoding="utf-8"))
        return Snapshot(
            path=path,
            manifest=Manifest(
                origin=Origin(**said["origin"]),
                taken_at=float(said["taken_at"]),
                schemas=tuple(said["schemas"]),
                rows={(schema, table): int(rows) for schema, table, rows in said["rows"]},
                sha256=str(said["sha256"]),
                size=int(said["size"]),
                fingerprint=unpacked(said.get("fingerprint")),
            ),
        )
    except OSError as error:
        raise BadSnapshot(f"it has no manifest beside it: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadSnapshot("its manifest is damaged") from error


def kept(directory: Path) -> list[Snapshot]:
    """Those with a manifest, oldest first. None of them is read here."""
    found = []
    for path in directory.glob("*.dump"):
        with contextlib.suppress(BadSnapshot):
            found.append(load(path))
    return sorted(found, key=lambda one: (one.manifest.taken_at, one.path.name))


def label(target: str) -> str:
    """What the names of a target's snapshots begin with."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", target)


def of(directory: Path, target: str) -> list[Snapshot]:
    """Those of one target, oldest first: their names end in a time and a number."""
    mine = label(target)
    return [one for one in kept(directory) if one.id.rsplit("-", 2)[0] == mine]


def named(directory: Path, name: str) -> Snapshot:
    """The one of that id. PlanRefused where there is none: a name is never a path."""
    known = kept(directory)
    found = next((one for one in known if one.id == name), None)
    if found is None:
        newest = ", ".join(one.id for one in known[:-4:-1]) or "none yet"
        raise PlanRefused(f"there is no snapshot {name}", hint=f"the newest: {newest}")
    return found


def prune(
    directory: Path,
    *,
    keep: int,
    now: float,
    spare: frozenset[Path] = frozenset(),
    target: str | None = None,
) -> None:
    """All but the newest `keep` go, of this target or of all, and what an interrupted one left.
    `spare` stays: in use.
    """
    if not directory.is_dir():
        return
    known = kept(directory) if target is None else of(directory, target)
    snapshots = [one.path for one in known if one.path not in spare]
    for path in snapshots[: max(0, len(snapshots) - keep)]:
        _beside(path).unlink(missing_ok=True)  # first: without it the dump is no snapshot
        path.unlink(missing_ok=True)
    for path in directory.glob("*.part"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _LOST_SECONDS:
                path.unlink()


def private(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_uid != os.geteuid() or directory.stat().st_mode & 0o077:
        try:
            directory.chmod(0o700)
        except OSError as error:
            raise PermanentError(
                f"{directory} is not ours alone, and cannot be made so", hint="choose another one"
            ) from error


def settle(part: Path, path: Path, manifest: Manifest) -> Snapshot:
    """The manifest last: with it, the dump is a snapshot."""
    words = json.dumps(
        {
            "format": _FORMAT,
            "origin": {name: getattr(manifest.origin, name) for name in Origin.__slots__},
            "taken_at": manifest.taken_at,
            "schemas": manifest.schemas,
            "rows": [[*table, rows] for table, rows in sorted(manifest.rows.items())],
            "sha256": manifest.sha256,
            "size": manifest.size,
            "fingerprint": packed(manifest.fingerprint) if manifest.fingerprint else None,
        }
    )
    draft = _beside(path).with_suffix(".part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(words)
    sync(draft)
    part.rename(path)
    draft.rename(_beside(path))
    sync(path.parent)
    return Snapshot(path=path, manifest=manifest)


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
