"""What `make faults-proof` takes out is still there, and so are its tests and its page."""

from pathlib import Path

import pytest

from tests.faults.protections import PROTECTIONS, Protection

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("one", PROTECTIONS, ids=lambda one: one.what)
def test_it_can_be_taken_out_and_its_test_is_there(one: Protection) -> None:
    whole = (ROOT / one.file).read_text(encoding="utf-8")
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")

    for old, _ in ((one.old, one.new), *one.also):
        assert whole.count(old) == 1
    for test in one.test.split():
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
    assert f"| {one.what} |" in page
