"""Jobs in files, and changes on the command line."""

import io
from typing import Any

import pytest
import typer

from app.cli.specs import job_in, with_changes


class File(io.StringIO):
    """What typer opens."""

    name = "job.yaml"


def test_a_number_in_yaml_is_a_number() -> None:
    """YAML 1.1 took 1e-3 for a text, and `no` for false."""
    job = job_in(File("name: no\ntraining: {optimizer: {learning_rate: 1e-3}, duration: {steps: 10}}"))
    assert job == {"name": "no", "training": {"optimizer": {"learning_rate": 0.001}, "duration": {"steps": 10}}}


def test_json_may_be_indented_with_tabs() -> None:
    assert job_in(File('{\n\t"kind": "pretrain"\n}')) == {"kind": "pretrain"}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("name=other", {"name": "other", "training": {"seed": 1}}),
        ("training.seed=7", {"name": "a", "training": {"seed": 7}}),
        ("training.a.b=[0.9, 1e-4]", {"name": "a", "training": {"seed": 1, "a": {"b": [0.9, 1e-4]}}}),
        ("metadata={team: nlp}", {"name": "a", "training": {"seed": 1}, "metadata": {"team": "nlp"}}),
        ("name=null", {"name": None, "training": {"seed": 1}}),
    ],
)
def test_a_change_reaches_its_field_alone(change: str, changed: dict[str, Any]) -> None:
    spec = {"name": "a", "training": {"seed": 1}}
    assert with_changes(spec, [change]) == changed
    assert spec == {"name": "a", "training": {"seed": 1}}


@pytest.mark.parametrize("change", ["seed", "=7", "name.first=x", "training={"])
def test_what_is_no_change_is_refused(change: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        with_changes({"name": "a"}, [change])
    assert ended.value.exit_code == 2
    assert change in capsys.readouterr().err
