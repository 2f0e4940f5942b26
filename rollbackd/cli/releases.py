"""`rollbackd releases`: what could be gone back to, newest first."""

from __future__ import annotations

from rollbackd.cli import offline, show
from rollbackd.cli.client import objects
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.model import JsonObject


def releases(target: Target = None, *, json: AsJson = False) -> None:
    """What could be gone back to. The arrow marks where a rollback would go now."""
    answer = offline.asked_of(
        target,
        "/releases",
        offline.releases_of(target),
        lambda answer: f"releases as last seen {show.ago(answer.get('seen_at'))}",
    )
    if json:
        show.as_json(answer)
        return
    found = objects(answer.get("releases"))
    rows = [
        (
            _mark(each),
            f"v{each.get('version')}",
            each.get("standing"),
            show.ago(each.get("created_at")),
            str(each.get("commit") or "")[:10],
            each.get("author"),
            _short(str(each.get("image") or "")),
        )
        for each in found
    ]
    show.table(
        ("", "release", "standing", "made", "commit", "by", "image"),
        rows,
        cut=("image", "by", "commit"),
    )
    _why(found)


def _why(releases: list[JsonObject]) -> None:
    """Where a rollback would go now, and why not to the releases before that one."""
    show.line("")
    for each in releases:
        version, why = f"v{each.get('version')}", each.get("passed_over")
        if each.get("current"):
            show.line(f"{version} runs: {each.get('standing')}, {each.get('why')}")
        elif each.get("goal"):
            word = f"{each.get('standing')}, {each.get('why')}"
            show.line(f"{version} is where a rollback would go now: {word}", style="bold")
        elif why:
            show.line(f"{version} is passed over: {why}")
    if releases and not any(each.get("goal") for each in releases):
        show.line("There is no release to go back to.", style="bold")


def _mark(release: JsonObject) -> str:
    if release.get("current"):
        return "*"
    return "->" if release.get("goal") else " "


def _short(image: str) -> str:
    """The tag, else enough of the digest to tell two apart. --json has all of it."""
    name, _, digest = image.rpartition("/")[2].partition("@")
    tag = name.partition(":")[2]
    return tag or digest.removeprefix("sha256:")[:12] or name
