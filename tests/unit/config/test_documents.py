"""What is generated is up to date, and every example passes."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from rollbackd.config import files, schema, schema_triggers
from rollbackd.config.diagnostics import Level
from rollbackd.config.json_schema import json_schema, schemas, text
from rollbackd.config.load import load, load_directory
from rollbackd.config.promise import promises
from rollbackd.config.reference import reference
from rollbackd.config.types import Spec
from rollbackd.core.model import TargetName
from rollbackd.core.rules import Mode
from rollbackd.plugins import probes
from tests.unit.config.fakes import PLUGINS
from tests.unit.config.texts import PROBES, signal

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
FILES = ("monitoring", "alerts", "logging")
ENVIRON = {
    "ROLLBACKD_PROMETHEUS_URL": "http://prometheus.test:9090",
    "DATABASE_URL": "postgresql://shop@db.test/shop",
}


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of a language in README.md and docs/, with its page."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(page.name, block) for page in pages for block in fence.findall(page.read_text())]


def shown_plugins() -> dict[str, Any]:
    """The probes that the pages themselves show how to write."""
    shown: dict[str, Any] = {}
    for page, block in blocks("python"):
        if re.search(r"^    kind = ", block, re.MULTILINE):
            names: dict[str, Any] = {"__name__": page}
            exec(block, names)
            classes = [one for one in names.values() if isinstance(one, type)]
            shown |= {one.kind: one for one in classes if isinstance(getattr(one, "kind", 0), str)}
    return shown


EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for number, (page, block) in enumerate(blocks("ya?ml"))
    if re.search(r"^targets:", block, re.MULTILINE)
]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_passes(tmp_path: Path, example: str) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "example.yml").write_text(example)

    load(tmp_path / "config" / "example.yml", ENVIRON, plugins={**probes(), **shown_plugins()})


@pytest.mark.parametrize("name", FILES)
def test_the_committed_schema_is_what_the_models_say(name: str) -> None:
    file = f"rollback-{name}.schema.json"

    assert (CONFIG / file).read_text() == text(schemas()[file]), "run: make docs"


@pytest.mark.parametrize("name", FILES)
def test_the_files_name_their_schema_and_fit_it(name: str) -> None:
    written = (CONFIG / f"rollback-{name}.yml").read_text()
    committed = json.loads((CONFIG / f"rollback-{name}.schema.json").read_text())

    jsonschema.Draft202012Validator.check_schema(committed)
    jsonschema.validate(yaml.safe_load(written), committed)
    assert written.startswith(f"# yaml-language-server: $schema=rollback-{name}.schema.json\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": {"a": {"mod": "auto"}}},
        {"targets": {"a": {"probes": {"p": {"htpt": {}}}}}},
        {"targets": {"a": {"probes": {"p": {"http": {"pth": "/"}}}}}},
        {"targets": {"a": {"probes": {"p": {"http": {}, "interval": 5}}}}},
        {"targets": {"a": {"triggers": {"t": {"probe": "p", "breach_when": {"abov": 1}}}}}},
        {"targets": {"a": {"plans": {"p": {"steps": "app"}}}}},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(wrong: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(PLUGINS))

    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("document", [PROBES, signal("breach_when: {above: 5%}", "for: 1m")])
def test_the_schema_takes_what_the_loader_takes(document: str) -> None:
    jsonschema.validate(yaml.safe_load(document), json_schema(PLUGINS))


def test_an_heir_may_say_only_what_differs() -> None:
    heir = {"like": "a", "triggers": {"t": {"mode": "approve"}}, "probes": {"p": None}}

    jsonschema.validate({"targets": {"b": heir}}, json_schema(PLUGINS))


@pytest.mark.parametrize("module", [schema, schema_triggers, files])
def test_every_key_has_a_description(module: ModuleType) -> None:
    models = [
        one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Spec)
    ]

    bare = [
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert len(models) > 1
    assert bare == []


def test_the_page_of_thresholds_is_what_the_models_say() -> None:
    assert (ROOT / "docs" / "thresholds.md").read_text() == reference(), "run: make docs"


def test_hotdash_passes_its_own_check() -> None:
    loaded = load_directory(CONFIG, ENVIRON)

    assert not [d for d in loaded.diagnostics if d.severity is Level.ERROR]
    assert loaded.diagnostics == ()
    targets = loaded.policy.targets
    assert {name: target.mode for name, target in targets.items()} == {
        "staging": Mode.AUTO,
        "production": Mode.OBSERVE,
    }
    assert loaded.targets[TargetName("production")].fly is not None


def test_hotdash_s_automatic_triggers_keep_the_runbook_s_five_minutes() -> None:
    policy = load_directory(CONFIG, ENVIRON).policy
    staging = promises(policy.targets[TargetName("staging")], policy.mode_ceiling)

    kept = {promise.trigger for promise in staging if promise.kept}
    assert kept == {"release-regression", "health-down", "deploy-failed"}
    careful = ("mode approve", "mode observe")
    assert all(promise.why_not.startswith(careful) for promise in staging if not promise.kept)
