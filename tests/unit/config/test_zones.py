"""Time zones of recurring windows, where the machine has a database of them and where not."""

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import pytest
from pydantic import TypeAdapter, ValidationError

from rollbackd.config.calendar import Zone

zone = TypeAdapter(Zone)


@pytest.fixture
def no_zones(tmp_path: Path) -> Iterator[None]:
    ZoneInfo.clear_cache()
    reset_tzpath([str(tmp_path)])
    yield
    reset_tzpath()
    ZoneInfo.clear_cache()


@pytest.mark.parametrize("name", ["", "Europe", "europe/berlin", "../../etc/passwd", "Mars/X"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="unknown time zone"):
        zone.validate_python(name)


@pytest.mark.usefixtures("no_zones")
def test_without_a_database_it_is_said_that_the_machine_lacks_it() -> None:
    assert zone.validate_python("UTC") == "UTC"
    with pytest.raises(ValidationError, match="no time-zone database to find Europe/Berlin in"):
        zone.validate_python("Europe/Berlin")
