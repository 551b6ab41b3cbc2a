"""What ARCHITECTURE.md names exists: paths as files, names as definitions."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
QUOTED = set(re.findall(r"`([^`\n]+)`", TEXT))
PATHS = {quoted for quoted in QUOTED if re.fullmatch(r"(app|worker|tests|migrations)/[\w/.]*", quoted)}
#: `Runner.run`, `claim_next`, `BUILDERS`: a class and its method, a function, a constant.
NAMES = {quoted for quoted in QUOTED if re.fullmatch(r"[A-Z]\w+(\.\w+)?|[a-z]+_[a-z_]+", quoted)}
SOURCES = "\n".join(path.read_text() for room in ("app", "worker") for path in sorted((ROOT / room).rglob("*.py")))


def test_something_is_named() -> None:
    assert len(PATHS) > 20
    assert len(NAMES) > 20


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_defined(name: str) -> None:
    for part in name.split("."):
        assert re.search(rf"\b(def|class) {part}\b|\b{part}( =|:)|\"{part}\"", SOURCES), part
