"""What stood before a head: Alembic and golang-migrate keep their newest version only.

The files tell the rest. Without them only the head is known, and it cannot be taken back.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused
from rollbackd.postgres.words import Applied

_NUMBERED: Final = re.compile(r"^(?P<version>\d+)_(?P<name>.+?)\.(?:up|down)\.sql$")
_REVISION: Final = re.compile(r"""^revision\b[^=\n]*=\s*['"]([^'"]+)['"]""", re.MULTILINE)
_BEFORE: Final = re.compile(r"^down_revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_QUOTED: Final = re.compile(r"""['"]([^'"]+)['"]""")
_MOST_BYTES: Final = 1024 * 1024


def lineage(applied: Sequence[Applied], directories: Sequence[str | Path]) -> tuple[Applied, ...]:
    """`applied` with all that stands below a head, oldest first, and `before` filled in.

    Raises PlanRefused where a tree of Alembic has joined branches: there is no one way back.
    """
    folders = [Path(directory) for directory in directories if Path(directory).is_dir()]
    found: list[Applied] = []
    for each in applied:
        match each.tool:
            case MigrationTool.GOLANG_MIGRATE:
                found.extend(_numbered(each, folders))
            case MigrationTool.ALEMBIC:
                found.extend(_revisions(each, folders))
            case _:
                found.append(each)
    return tuple(found)


def _numbered(head: Applied, folders: Iterable[Path]) -> list[Applied]:
    names = {
        int(match["version"]): match["name"]
        for folder in folders
        for path in folder.iterdir()
        if (match := _NUMBERED.match(path.name))
    }
    if int(head.version) not in names:
        return [head]
    versions = sorted(version for version in names if version <= int(head.version))
    return [
        dataclasses.replace(
            head,
            version=str(version),
            order=order,
            failed=head.failed and str(version) == head.version,
            before=str(versions[order - 1]) if order else "",
        )
        for order, version in enumerate(versions)
    ]


def _revisions(head: Applied, folders: Iterable[Path]) -> list[Applied]:
    scripts = _scripts(folders)
    chain: list[Applied] = []
    version = head.version
    while version in scripts and len(chain) < len(scripts):
        name, before = scripts[version]
        if len(before) > 1:
            raise PlanRefused(
                f"alembic {version} joins {' and '.join(before)}: there is no one way back"
            )
        below = before[0] if before else ""
        chain.append(dataclasses.replace(head, version=version, name=name, before=below))
        version = below
    chain.reverse()
    ordered = [dataclasses.replace(each, order=order) for order, each in enumerate(chain)]
    return ordered or [head]


def _scripts(folders: Iterable[Path]) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Revision to the name in its file's name and what it stands on."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            if path.stat().st_size > _MOST_BYTES:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            revision, before = _REVISION.search(text), _BEFORE.search(text)
            if revision and before:
                _, _, name = path.stem.partition(f"{revision[1]}_")
                found[revision[1]] = (name, tuple(_QUOTED.findall(before[1])))
    return found
