"""What ARCHITECTURE.md names exists: paths as files, names as definitions. Links between documents lead somewhere."""

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
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: A link to a file and, in it, to a heading.
LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_leads_somewhere(document: Path) -> None:
    for target, heading in LINK.findall(document.read_text()):
        if not target.startswith("http"):
            path = document.parent / target if target else document
            assert path.exists(), target
            assert not heading or heading in headings(path), f"{target}#{heading}"


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [path.name for path in DOCUMENTS[1:] if path.name != "README.md" and f"({path.name})" not in index] == []


def headings(document: Path) -> set[str]:
    """As links name them: lower case, words joined by hyphens."""
    found = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in found}
