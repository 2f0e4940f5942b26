"""`like:`: one target takes over what another says. Maps merge, everything else is replaced."""

from __future__ import annotations

from rollbackd.config.diagnostics import Findings
from rollbackd.config.nodes import Entry, Leaf, Node, Table

LIKE = "like"
# Taken whole: half of one condition and half of another would be a third one nobody wrote.
_WHOLE = frozenset({"breach_when", "clear_when", "breaches", "expect"})
_LONGEST_CHAIN = 8
_TIMING = frozenset({"interval", "timeout"})


def inherit(targets: dict[str, Entry], findings: Findings) -> dict[str, Table]:
    """Every target that could be resolved, with what it is like merged in and `like` gone."""
    made: dict[str, Table] = {}
    for name in targets:
        table = _resolve(name, targets, findings, ())
        if table is not None:
            made[name] = table
    return made


def _resolve(
    name: str, targets: dict[str, Entry], findings: Findings, asked: tuple[str, ...]
) -> Table | None:
    node = targets[name].node
    if not isinstance(node, Table):
        return None  # the schema says so with its own words
    like = node.entries.get(LIKE)
    if like is None:
        return node
    base = like.node.value if isinstance(like.node, Leaf) else None
    if not isinstance(base, str):
        findings.error(like.node.mark, "like takes the name of another target")
    elif base in (*asked, name):
        circle = " -> ".join((*asked, name, base))
        findings.error(like.node.mark, f"targets are like each other in a circle: {circle}")
    elif len(asked) >= _LONGEST_CHAIN:
        findings.error(
            like.node.mark, f"more than {_LONGEST_CHAIN} targets like each other in a row"
        )
    elif base not in targets:
        findings.error(like.node.mark, f"unknown target {base!r}", _known(targets, name))
    else:
        above = _resolve(base, targets, findings, (*asked, name))
        return None if above is None else merge(above, node.without(LIKE))
    return None


def merge(base: Table, over: Table, *, at: tuple[str, ...] = ()) -> Table:
    """`over` on top of `base`. A null takes the inherited key away."""
    if len(at) == 2 and at[0] == "probes" and set(over.entries) - _TIMING:  # noqa: PLR2004
        base = _only_timing(base, over)
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        inherited = entries.get(key)
        if isinstance(entry.node, Leaf) and entry.node.value is None and inherited:
            del entries[key]
            continue
        entries[key] = Entry(mark=entry.mark, node=_merged(inherited, entry.node, (*at, key)))
    return Table(entries=entries, mark=over.mark, size=base.size + over.size)


def _only_timing(base: Table, over: Table) -> Table:
    """A probe of another kind replaces the kind; the same kind merges."""
    kinds = set(over.entries) - _TIMING
    return base.without(*(set(base.entries) - _TIMING - kinds))


def _merged(inherited: Entry | None, node: Node, at: tuple[str, ...]) -> Node:
    if inherited is None or at[-1] in _WHOLE:
        return node
    if isinstance(inherited.node, Table) and isinstance(node, Table):
        return merge(inherited.node, node, at=at)
    return node


def _known(targets: dict[str, Entry], name: str) -> str:
    others = sorted(set(targets) - {name})
    return f"known: {', '.join(others[:8])}" if others else "there is no other target"
