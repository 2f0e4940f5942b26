"""`like:`, anchors, and JSON as YAML: other ways to write the same thing."""

from pathlib import Path

from rollbackd.core.model import ProbeName, TargetName, TriggerName
from rollbackd.core.rules import Bound, Comparison, Mode, RatioBound, Signal, Trigger
from tests.unit.config.fakes import load_text
from tests.unit.config.texts import HEAD, signal


def trigger(tmp_path: Path, text: str, name: str) -> Trigger:
    policy = load_text(tmp_path, text).policy
    found = {one.name: one for one in policy.targets[TargetName("shop")].triggers}
    return found[TriggerName(name)]


def test_a_target_takes_over_what_another_says(tmp_path: Path) -> None:
    text = signal("breach_when: {above: 5%}", "for: 60s") + (
        "    mode: auto\n"
        "  two:\n"
        "    like: shop\n"
        "    fly: {app: two}\n"
        "    mode: observe\n"
        "    probes: {locks: ~, health: {interval: 7s}, machines: {http: {path: /m}}}\n"
        "    triggers: {t: {breach_when: {at_least: 9%}}}\n"
    )

    loaded = load_text(tmp_path, text)

    two = loaded.policy.targets[TargetName("two")]
    assert two.mode is Mode.OBSERVE
    assert sorted(two.probes) == ["errors", "health", "latency", "machines"]
    assert two.probes[ProbeName("health")].interval_seconds == 7
    assert two.probes[ProbeName("machines")].kind == "http"
    found = two.triggers[0].rule
    assert isinstance(found, Signal)
    assert found.breach == RatioBound(bound=Bound(comparison=Comparison.AT_LEAST, limit=0.09))
    assert found.for_seconds == 60
    assert loaded.targets[TargetName("two")].url == "https://shop.test"
    shop = loaded.policy.targets[TargetName("shop")]
    assert ProbeName("locks") in shop.probes


def test_a_chain_of_likes_is_followed(tmp_path: Path) -> None:
    text = HEAD + "    mode: approve\n  b: {like: shop, fly: {app: b}}\n"

    policy = load_text(tmp_path, text + "  c: {like: b, fly: {app: c}}\n").policy

    assert policy.targets[TargetName("c")].mode is Mode.APPROVE


def test_json_is_yaml(tmp_path: Path) -> None:
    text = '{"targets": {"shop": {"fly": {"app": "shop"}, "url": "https://shop.test"}}}'

    assert list(load_text(tmp_path, text).policy.targets) == ["shop"]


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    text = signal("breach_when: &b {above: 5%}") + (
        "      u: {<<: {window: 9m}, probe: errors, breach_when: *b, min_samples: 1}\n"
    )

    found = trigger(tmp_path, text, "u").rule

    assert isinstance(found, Signal)
    assert found.window_seconds == 540
