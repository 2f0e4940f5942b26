"""The house stays small enough to read."""

import ast
from pathlib import Path

import rollbackd

LONGEST = 300
LONGEST_FUNCTION = 60


def test_no_file_is_longer_than_a_person_reads_in_one_go() -> None:
    house = Path(rollbackd.__file__).parent

    lengths = {
        str(path.relative_to(house)): len(path.read_text(encoding="utf-8").splitlines())
        for path in house.rglob("*.py")
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    house = Path(rollbackd.__file__).parent

    lengths = {
        f"{path.relative_to(house)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in house.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
