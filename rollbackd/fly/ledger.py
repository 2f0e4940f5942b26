"""Remembers what each release was: image digest and machine config per process group.

Fed by every look at the machines; what ran before we watched is read from the machines' own
version history. What was learned once is never overwritten: a machine changed by hand later
says nothing about its release. Keeps configs through `Keep`, so that a rollback has them after
a blue-green deploy destroyed the machines that ran them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Json, JsonObject
from rollbackd.fly.client import FlyClient
from rollbackd.fly.commit import commit_in, commit_of
from rollbackd.fly.config_restore import fingerprint
from rollbackd.fly.content import content_name, digest_or_ref, image_of
from rollbackd.fly.json_shape import object_at, text_at, whole_at
from rollbackd.fly.machine_view import config_of, group_of, managed, reachable, release_of

_CALLS = 4  # extra calls per look: Fly's limits are shared with the proxy's autostart


class Keep(Protocol):
    """The part of the store this needs."""

    async def put_blob(self, key: str, value: Json) -> None: ...

    async def get_blob(self, key: str) -> Json: ...


@dataclass(slots=True)
class Known:
    """What is known of one release. `groups`: config fingerprint by process group."""

    image: str = ""
    commit: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    recipe: str = ""  # image and app config as the release record has them
    asked: bool = False  # whether the store was looked into


class Ledger:
    """What the releases of one app were."""

    def __init__(self, app: str, client: FlyClient, keep: Keep | None) -> None:
        self._app = app
        self._client = client
        self._keep = keep
        self._known: dict[int, Known] = {}
        self._configs: dict[tuple[int, str], JsonObject] = {}
        self._dug: set[str] = set()
        self._digests: dict[str, str] = {}  # ref -> digest, "" when the image is gone

    async def learn(self, machines: Sequence[JsonObject]) -> None:
        """Note what the machines of each release run."""
        for (version, group), peers in _by_release(machines).items():
            known = await self._recall(version)
            told = known.commit or next(filter(None, map(commit_of, peers)), "")
            if group in known.groups:
                if told != known.commit:  # kept by a version of us that did not look
                    known.commit = told
                    await self._write(version, known)
                continue
            known.commit = told
            ordinary = Counter(fingerprint(config_of(peer)) for peer in peers).most_common(1)[0][0]
            model = next(p for p in peers if fingerprint(config_of(p)) == ordinary)
            known.image = known.image or image_of(model)
            await self._note(version, group, config_of(model))

    async def dig(self, machines: Sequence[JsonObject], wanted: Iterable[int]) -> None:
        """Learn of older releases from the machines' own history; a few calls at most.

        One machine of every group is asked, more only while a wanted release is still unknown.
        """
        missing = {version for version in wanted if not (await self._recall(version)).groups}
        if not missing:
            return
        calls = 0
        groups: set[str] = set()
        for machine in machines:
            name, group = text_at(machine, "id"), group_of(machine)
            enough = not missing and group in groups
            if enough or name in self._dug or not managed(machine) or not reachable(machine):
                continue
            if calls == _CALLS:
                return
            calls += 1
            groups.add(group)
            missing -= await self._dig_one(name)

    async def _dig_one(self, machine: str) -> set[int]:
        try:
            versions = await self._client.machine_versions(self._app, machine)
        except RollbackdError:
            return set()  # best effort: asked again at the next look
        self._dug.add(machine)
        found = [await self._note_former(object_at(former, "user_config")) for former in versions]
        return {version for version in found if version is not None}

    async def resolve(self, refs: Sequence[str]) -> None:
        """Find the digests behind refs; a few calls at most."""
        unknown = [ref for ref in dict.fromkeys(refs) if ref and ref not in self._digests]
        for ref in [ref for ref in unknown if "@" not in ref][:_CALLS]:
            try:
                image = await self._client.image(self._app, ref)
            except RollbackdError:
                return  # best effort: asked again at the next look
            self._digests[ref] = text_at(image, "digest") if image else ""

    def describe(self, version: int, recipe: str) -> None:
        """Note what the release record says of a release: never changes."""
        self._known.setdefault(version, Known()).recipe = recipe

    def described(self, version: int) -> bool:
        return version in self._known and self._known[version].recipe != ""

    def content(self, version: int, ref: str, others: Mapping[str, str]) -> str:
        """The release's content as far as it is known; `others`: the groups it left alone."""
        known = self._known.get(version, Known())
        if known.groups:
            return content_name(self._image(known.image or ref), {**others, **known.groups})
        twin = self._twin(version, known.recipe)
        return self.content(twin, ref, others) if twin is not None else self._image(ref)

    def content_of(self, machine: JsonObject, others: Mapping[str, str]) -> str:
        """A machine's content: its release's, unless its image or config is another."""
        known = self._known.get(release_of(machine) or 0, Known())
        mine = {group_of(machine): fingerprint_of(machine)}
        return content_name(image_of(machine), {**others, **known.groups, **mine})

    async def freeze(self, version: int, others: Mapping[str, str]) -> None:
        """The release is over: the groups it left alone belong to its content from now on."""
        known = self._known.get(version)
        if known is None or not known.groups or others.keys() <= known.groups.keys():
            return
        known.groups = {**others, **known.groups}
        await self._write(version, known)

    async def config(self, version: int, group: str) -> JsonObject | None:
        """The machine config a group had at a release; None when nobody knows.

        A release that left the group alone has the config of the one before it.
        """
        name = self._known.get(version, Known()).groups.get(group)
        same = [v for v, k in self._known.items() if v <= version and k.groups.get(group) == name]
        for older in sorted(same, reverse=True) if name else [version]:
            found = self._configs.get((older, group))
            if found is None and self._keep is not None:
                found = object_at(await self._keep.get_blob(self._config_key(older, group)))
            if found:
                return found
        return None

    def commit(self, version: int) -> str:
        """The git commit a release was made from, "" when neither deploy nor image told it."""
        return self._known.get(version, Known()).commit

    def groups(self, version: int) -> frozenset[str]:
        return frozenset(self._known.get(version, Known()).groups)

    def image(self, version: int) -> str:
        """The digest a release ran, "" when nobody saw it run."""
        image = self._known.get(version, Known()).image
        return image if image.startswith("sha256:") else ""

    def _image(self, ref: str) -> str:
        return self._digests.get(ref) or digest_or_ref(ref)

    def _twin(self, version: int, recipe: str) -> int | None:
        """An older release made from the same image and app config: a secrets-only one's parent."""
        if not recipe:
            return None
        twins = [
            v for v, k in self._known.items() if k.recipe == recipe and k.groups and v != version
        ]
        return max(twins, default=None)

    async def _note_former(self, config: JsonObject) -> int | None:
        version = whole_at(config, "metadata", "fly_release_version")
        group = text_at(config, "metadata", "fly_process_group") or "app"
        if version is None:
            return None
        known = await self._recall(version)
        if group not in known.groups:
            known.image = known.image or self._image(text_at(config, "image"))
            known.commit = known.commit or commit_in(config)
            await self._note(version, group, config)
        return version

    async def _note(self, version: int, group: str, config: JsonObject) -> None:
        known = self._known[version]
        known.groups[group] = fingerprint(config)
        if self._keep is None:
            self._configs[version, group] = config  # a ledger without a store lives as long as we
            return
        await self._keep.put_blob(self._config_key(version, group), config)
        await self._write(version, known)

    async def _write(self, version: int, known: Known) -> None:
        if self._keep is not None:
            value: JsonObject = {
                "image": known.image, "commit": known.commit, "groups": dict(known.groups),
            }  # fmt: skip
            await self._keep.put_blob(self._release_key(version), value)

    async def _recall(self, version: int) -> Known:
        known = self._known.setdefault(version, Known())
        if known.groups or known.asked or self._keep is None:
            return known
        found = await self._keep.get_blob(self._release_key(version))
        groups = object_at(found, "groups")
        known.image = known.image or text_at(found, "image")
        known.commit = known.commit or text_at(found, "commit")
        known.groups = {group: str(name) for group, name in groups.items()}
        known.asked = True  # once is enough: what comes later comes through us
        return known

    def _config_key(self, version: int, group: str) -> str:
        return f"fly/{self._app}/config/{version}/{group}"

    def _release_key(self, version: int) -> str:
        return f"fly/{self._app}/release/{version}"


def fingerprint_of(machine: JsonObject) -> str:
    return fingerprint(config_of(machine))


def newest_by_group(machines: Sequence[JsonObject]) -> dict[str, str]:
    """The config fingerprint each process group has now, of its newest release."""
    best: dict[str, tuple[int, str]] = {}
    for machine in machines:
        if managed(machine) and reachable(machine):
            entry = (release_of(machine) or 0, fingerprint_of(machine))
            best[group_of(machine)] = max(best.get(group_of(machine), (-1, "")), entry)
    return {group: name for group, (_, name) in best.items()}


def _by_release(machines: Sequence[JsonObject]) -> dict[tuple[int, str], list[JsonObject]]:
    found: dict[tuple[int, str], list[JsonObject]] = {}
    for machine in machines:
        version = release_of(machine)
        if version is not None and managed(machine) and reachable(machine):
            found.setdefault((version, group_of(machine)), []).append(machine)
    return found
