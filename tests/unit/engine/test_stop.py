"""STOP is read afresh before every call."""

from pathlib import Path

import pytest

from rollbackd.core.errors import Stopped
from rollbackd.engine.stop import StopSwitch


def test_nothing_is_refused_without_the_file(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)

    switch.check("update of m1")

    assert not switch.stopped


def test_the_file_counts_from_the_next_call_and_only_while_it_is_there(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)
    switch.check("update of m1")
    (tmp_path / "STOP").touch()

    with pytest.raises(Stopped, match="STOP is there, not sent: update of m2"):
        switch.check("update of m2")

    (tmp_path / "STOP").unlink()
    switch.check("update of m2")


def test_a_dangling_link_counts_too(tmp_path: Path) -> None:
    (tmp_path / "STOP").symlink_to(tmp_path / "nowhere")

    assert StopSwitch(tmp_path).stopped


def test_a_directory_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    assert not StopSwitch(tmp_path / "nowhere").stopped


def test_what_cannot_be_read_is_taken_as_stop(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    assert StopSwitch(loop).stopped


def test_a_draining_process_sends_nothing_more(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)
    switch.drain()

    with pytest.raises(Stopped, match="shutting down, not sent: update of m1"):
        switch.check("update of m1")
    assert switch.draining
    assert not switch.stopped
