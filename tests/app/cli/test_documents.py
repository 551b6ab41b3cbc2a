"""What documents tell their reader to type: commands, options, settings, calls and paths that there are; and a test
that runs it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli import app
from app.settings import Settings
from tests.app.cli.test_commands import leaves
from tests.support.documents import NOT_RUN, PATHS, ROOT, RUNNABLE, blocks_of, runnable_blocks
from tests.support.routes import operations, pages

QUOTED = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<![\w-])pretune +([^\n;|&)>#`]*)")
CALL = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[^`\s,;)]*(?: or alias}[^`\s,;)]*)?)")
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):8080(/[^\s\"'`]*)")
ASSIGNMENT = re.compile(r"(PRETUNE_[A-Z_]+)=(.+)", re.DOTALL)
COMMAND_LINE: Any = get_command(app)
#: Read by the client and the command line.
OF_CLIENTS = {"PRETUNE_URL", "PRETUNE_API_KEY"}
ALL = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


@ALL
def test_whatever_can_be_run_is_run(path: Path) -> None:
    tests = (ROOT / "tests" / "e2e" / "test_readme.py").read_text()
    assert not runnable_blocks(path.name) or f'"{path.name}"' in tests


@ALL
def test_no_block_of_commands_goes_by_another_name(path: Path) -> None:
    others = [block for block in blocks_of(path) if block.language not in RUNNABLE]
    assert {block.language for block in others} <= {"", "json", "yaml"}
    typed = re.compile(r"^(\S+=\S+ )*(\S*/)?(pretune|python3?|pip|curl|make|docker|source) ", re.MULTILINE)
    assert [block.first_line for block in others if typed.search(block.code)] == []


def test_what_is_not_run_is_still_written() -> None:
    written = {block.first_line for path in PATHS for block in blocks_of(path)}
    assert NOT_RUN.keys() - written == set()


@ALL
def test_examples_of_json_are_json(path: Path) -> None:
    for block in blocks_of(path):
        if block.language == "json":
            assert all(map(json.loads, documents_in(block.code)))


@ALL
def test_commands_and_their_options_are_there(path: Path) -> None:
    for words in map(str.split, COMMAND.findall(typed_in(path))):
        command, rest = COMMAND_LINE, list(words)
        while rest and hasattr(command, "commands") and not rest[0].startswith("-") and not rest[0].isupper():
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {name for each in command.params for name in each.opts} | {"--help"}
        assert {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)} <= known, words


def test_every_command_is_told_of() -> None:
    told = set(re.findall(r"[\w-]+", (ROOT / "docs" / "command-line.md").read_text()))
    assert {word for path, _ in leaves(COMMAND_LINE) for word in path.split()} - told == set()


@ALL
def test_settings_are_there_and_take_what_is_shown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"PRETUNE_{name.upper()}" for name in Settings.model_fields} | OF_CLIENTS
    assert set(re.findall(r"PRETUNE_[A-Z_]*[A-Z]", path.read_text())) <= known
    shell = [block.code for block in blocks_of(path) if block.language == "sh"]
    for word in (word for code in shell for word in shlex.split(code, comments=True)):
        if found := ASSIGNMENT.fullmatch(word):
            monkeypatch.setenv(*found.groups())
    Settings()


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """Method and path of every call; pages are calls too."""
    return [*operations(), *(("GET", path) for path in pages())]


@ALL
def test_calls_are_there(path: Path, routes: list[tuple[str, str]]) -> None:
    text = path.read_text()
    for method, asked in CALL.findall(text):
        assert any(method == known and is_of(asked, template) for known, template in routes), (method, asked)
    for asked in ADDRESS.findall(text):
        assert any(is_of(asked, template) or template.startswith(f"{asked}/") for _, template in routes), asked


@ALL
def test_targets_of_make_and_files_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    quoted = QUOTED.findall(path.read_text())
    assert {words.split()[1] for words in quoted if words.startswith("make ")} <= targets
    named = [words.partition("::") for words in quoted if re.match(r"(app|worker|tests|benchmarks)/[\w/.]+", words)]
    assert [file for file, _, _ in named if not (ROOT / file).exists()] == []
    assert [test for file, _, test in named if test and f"def {test}(" not in (ROOT / file).read_text()] == []


def typed_in(path: Path) -> str:
    """What stands in blocks of the shell and between backticks, a line each; lines that go on are one."""
    shell = [block.code.replace("\\\n", " ") for block in blocks_of(path) if block.language == "sh"]
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*shell, *QUOTED.findall(prose)])


def documents_in(code: str) -> list[str]:
    """One, or one a line."""
    lines = code.splitlines()
    return lines if all(line.startswith("{") and line.endswith("}") for line in lines) else [code]


def is_of(asked: str, template: str) -> bool:
    """Part by part the same, where neither leaves it open."""
    parts = [path.partition("?")[0].rstrip(".:").split("/") for path in (asked, template)]
    if len(parts[0]) != len(parts[1]):
        return False
    return all(one == other or one[:1] in ("{", "$") or other[:1] == "{" for one, other in zip(*parts, strict=True))
