"""The ledger of observations: how the database was while a release was well. It judges nothing.

What came with a bad release is then a difference of two facts. A change of the history while a
release stays well counts for it only once it has lasted: a pipeline migrates some minutes before
it deploys, and a rollback must not take that for the good release's own.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rollbackd.core import readers
from rollbackd.core.database import MigrationTool
from rollbackd.core.marks import same_content
from rollbackd.core.model import Json, JsonObject, TargetName
from rollbackd.core.ports import Store
from rollbackd.core.readers import Odd
from rollbackd.postgres.words import Applied, Fingerprint, Observed

SETTLED_SECONDS: Final = 600.0  # a changed history has to be well for as long
MOST_CONTENTS: Final = 100  # the oldest are forgotten, as their releases are

_APPLIED: Final = (
    readers.text, readers.text, readers.text, readers.whole, readers.text, readers.flag,
    readers.maybe(readers.finite), readers.text, readers.maybe(readers.text),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One state of the database under one content. `schema`: the sum of its fingerprint.

    `since` and `at`: when it was first and last seen so, epoch seconds.
    """

    version: int
    content: str
    since: float
    at: float
    applied: tuple[Applied, ...]
    schema: str
    row_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return self.at - self.since >= SETTLED_SECONDS

    def like(self, other: Entry) -> bool:
        """Whether nothing changed but time and rows."""
        return (self.content, self.applied, self.schema) == (
            other.content,
            other.applied,
            other.schema,
        )


class Observations:
    """Of one target, in the store."""

    def __init__(self, store: Store, target: TargetName) -> None:
        self._store = store
        self._prefix = f"database/{target}"

    async def keep(self, observed: Observed) -> None:
        """On disk when this returns. The same state as before only becomes older."""
        seen = Entry(
            version=observed.version,
            content=observed.content,
            since=observed.at,
            at=observed.at,
            applied=observed.applied,
            schema=observed.fingerprint.sha256,
            row_counts=dict(observed.row_counts),
        )
        before = await self.entries()
        after = _with(before, seen)
        news: dict[str, Json] = {self._index: [_as_json(entry) for entry in after]}
        kept = {entry.schema for entry in before}
        if seen.schema not in kept:
            news[self._schema(seen.schema)] = _packed(observed.fingerprint)
        for gone in kept - {entry.schema for entry in after}:
            news[self._schema(gone)] = None
        await self._store.put_blobs(news)

    async def still(self, content: str, version: int, at: float) -> None:
        """Nothing changed since the newest entry of this content was kept."""
        entries = await self.entries()
        newest = _newest(entries, content)
        if newest is not None and at > newest.at:
            aged = replace(newest, at=at, version=version)
            told: list[Json] = [_as_json(aged if one is newest else one) for one in entries]
            await self._store.put_blob(self._index, told)

    async def of(self, content: str) -> Observed | None:
        """How the database was while this content was well; None where it was never seen so.

        The newest state that lasted, else the first one.
        """
        entry = _answering(await self.entries(), content)
        return None if entry is None else await self._observed(entry)

    async def that_had(self, applied: Iterable[Applied]) -> Observed | None:
        """The newest state with just these migrations, of whatever release; None: never seen."""
        wanted = {(one.key, one.failed) for one in applied}
        for entry in reversed(await self.entries()):
            if {(one.key, one.failed) for one in entry.applied} == wanted:
                return await self._observed(entry)
        return None

    async def _observed(self, entry: Entry) -> Observed | None:
        fingerprint = _unpacked(await self._store.get_blob(self._schema(entry.schema)))
        if fingerprint is None or fingerprint.sha256 != entry.schema:
            return None
        return Observed(
            version=entry.version,
            content=entry.content,
            at=entry.at,
            applied=entry.applied,
            fingerprint=fingerprint,
            row_counts=entry.row_counts,
        )

    async def entries(self) -> tuple[Entry, ...]:
        """Oldest first, without the fingerprints. What does not look like one is left out."""
        kept = await self._store.get_blob(self._index)
        return tuple(_entries(kept if isinstance(kept, list) else []))

    @property
    def _index(self) -> str:
        return f"{self._prefix}/observed"

    def _schema(self, sha256: str) -> str:
        return f"{self._prefix}/schema/{sha256}"


def _answering(entries: Iterable[Entry], content: str) -> Entry | None:
    own = [entry for entry in entries if same_content(entry.content, content)]
    return next((one for one in reversed(own) if one.settled), own[0] if own else None)


def _newest(entries: Iterable[Entry], content: str) -> Entry | None:
    return max((e for e in entries if e.content == content), key=lambda e: e.at, default=None)


def _with(entries: tuple[Entry, ...], seen: Entry) -> list[Entry]:
    """A state that comes again goes on where it is the newest; else it begins anew."""
    newest = _newest(entries, seen.content)
    if newest is not None and newest.like(seen):
        rest = [entry for entry in entries if entry is not newest]
        return [*rest, replace(seen, since=newest.since)]
    own = [entry for entry in entries if entry.content == seen.content]
    others = [entry for entry in entries if entry.content != seen.content]
    # Enough to answer from: what lasted last or else the first, and what may come to last.
    lasted = next((entry for entry in reversed(own) if entry.settled), own[0] if own else None)
    contents = list(dict.fromkeys(entry.content for entry in others))
    kept = set(contents[-(MOST_CONTENTS - 1) :])
    return [
        *(entry for entry in others if entry.content in kept),
        *([lasted] if lasted is not None else []),
        seen,
    ]


def _as_json(entry: Entry) -> JsonObject:
    return {
        "version": entry.version,
        "content": entry.content,
        "since": entry.since,
        "at": entry.at,
        "schema": entry.schema,
        "rows": dict(entry.row_counts),
        "applied": [
            [
                one.tool.value, one.version, one.name, one.order, one.checksum, one.failed,
                one.applied_at, one.table, one.before,
            ]
            for one in entry.applied
        ],
    }  # fmt: skip


def _entries(kept: Iterable[Json]) -> Iterable[Entry]:
    for row in kept:
        try:
            yield _entry(row)
        except (Odd, ValueError):  # a word of a tool, or a row of another length
            continue


def _entry(row: Json) -> Entry:
    rows = readers.member(row, "rows")
    if not isinstance(rows, dict):
        raise Odd
    return Entry(
        version=readers.whole(readers.member(row, "version")),
        content=readers.text(readers.member(row, "content")),
        since=readers.finite(readers.member(row, "since")),
        at=readers.finite(readers.member(row, "at")),
        schema=readers.text(readers.member(row, "schema")),
        row_counts={table: readers.whole(count) for table, count in rows.items()},
        applied=tuple(
            Applied(
                tool=MigrationTool(tool),
                version=version,
                name=name,
                order=order,
                checksum=checksum,
                failed=failed,
                applied_at=applied_at,
                table=table,
                before=before,
            )
            for (
                tool, version, name, order, checksum, failed, applied_at, table, before,
            ) in readers.rows(readers.member(row, "applied"), *_APPLIED)
        ),
    )  # fmt: skip


def _packed(fingerprint: Fingerprint) -> str:
    rows = [[kind, name, made] for (kind, name), made in sorted(fingerprint.objects.items())]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode(), 6)).decode()


def _unpacked(kept: Json) -> Fingerprint | None:
    from rollbackd.postgres.fingerprint import made_of  # noqa: PLC0415 -- it needs psycopg

    if not isinstance(kept, str):
        return None
    try:
        rows = json.loads(zlib.decompress(base64.b64decode(kept)))
        return made_of({(str(kind), str(name)): str(made) for kind, name, made in rows})
    except (ValueError, TypeError, zlib.error):
        return None


async def told(ledger: Observations, target: TargetName) -> JsonObject:
    """The whole ledger of a target for people, newest first. `answers`: this is what a rollback to
    that content would go by; `came`: migrations that the state before did not have.
    """
    entries = await ledger.entries()
    rows: list[Json] = []
    for at, entry in enumerate(entries):
        before = {one.key for one in entries[at - 1].applied} if at else None
        came = [one for one in entry.applied if before is not None and one.key not in before]
        rows.append(
            {
                "version": entry.version,
                "content": entry.content,
                "since": entry.since,
                "at": entry.at,
                "schema": entry.schema,
                "answers": _answering(entries, entry.content) is entry,
                "migrations": [_migration(one) for one in entry.applied],
                "came": [_migration(one) for one in came],
                "rows": dict(entry.row_counts),
            }
        )
    return {"target": target, "observed": rows[::-1]}


def _migration(one: Applied) -> JsonObject:
    return {
        "tool": one.tool.value,
        "version": one.version,
        "name": one.name,
        "failed": one.failed,
    }
