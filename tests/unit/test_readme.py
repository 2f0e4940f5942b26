"""The README's promises name tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(tests/[^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert len(named) >= 10
    for one in named:
        path, _, test = one.partition("::")
        found = ROOT / path
        assert found.exists(), one
        assert not test or f"def {test}(" in found.read_text(encoding="utf-8"), one


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("http") or (ROOT / link).exists(), link
