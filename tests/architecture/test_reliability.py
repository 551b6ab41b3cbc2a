"""docs/reliability.md names tests that exist, and every numbered test of the fault suite."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
#: A numbered test begins its docstring with the number.
NUMBERED = re.compile(r'^def (test_\w+)\((?:[^"]|"(?!""))*?"""(\d+)\.', re.MULTILINE)
SUITE = sorted((ROOT / "tests" / "faults").glob("test_*.py"))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.name)
def test_a_numbered_test_stands_in_the_row_of_its_number(path: Path) -> None:
    rows = re.split(r"^\| (?=\d)", TEXT, flags=re.MULTILINE)
    for name, number in NUMBERED.findall(path.read_text()):
        [row] = [row for row in rows if row.startswith(f"{number} |")]
        assert f"::{name}`" in row, f"{name} is missing in row {number}"
