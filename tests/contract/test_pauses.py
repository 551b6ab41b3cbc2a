"""A run that pauses where its sweep says, at rungs of its one schedule, ends with the bytes of one that did not."""

from pathlib import Path

import pytest

from app.contract.messages import FinishedLine, PausedLine, Resolved, ResolvedLine
from tests.contract.cases import CASES
from tests.contract.runs import continued, final_checkpoint, run_here, series

METHODS = [("pretrain", "regression"), ("pretrain", "causal_language_model"), ("finetune", "classification")]


@pytest.mark.parametrize("method", METHODS, ids="-".join)
def test_rungs_change_no_byte_and_no_point(method: tuple[str, str], tmp_path: Path) -> None:
    whole_folder, parts_folder = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole_folder, parts_folder):
        folder.mkdir()
    whole = run_here(CASES[method].assignment(whole_folder))
    assignment = CASES[method].assignment(parts_folder)

    first = run_here(assignment.model_copy(update={"pause_at": 0.3}))
    second = run_here(continued(assignment, first).model_copy(update={"pause_at": 0.6}))
    again = run_here(continued(assignment, first).model_copy(update={"pause_at": 0.6}))
    last = run_here(continued(assignment, first))

    resolved = next(line.resolved for line in first if isinstance(line, ResolvedLine))
    rungs = [resolved.pause_step(share) for share in (0.3, 0.6)]
    assert first[-1] == PausedLine(step=rungs[0] or 0)
    assert second[-1] == again[-1] == PausedLine(step=rungs[1] or 0), "one that is there already pauses at once"
    assert ("validation_loss", rungs[0]) in series(first), "there is a score at the rung"
    assert isinstance(last[-1], FinishedLine)
    assert series(first, second, last) == series(whole)
    weights = [final_checkpoint(lines) / "model" / "model.safetensors" for lines in (whole, last)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("share", "step"), [(None, None), (1 / 9, 40), (1 / 3, 100), (0.34, 120), (0.95, None), (0.001, 20), (0.9, 280)]
)
def test_a_rung_is_the_first_evaluation_behind_its_share(share: float | None, step: int | None) -> None:
    resolved = Resolved(
        device="cpu",
        precision="fp32",
        compile=False,
        total_steps=300,
        evaluate_every_steps=20,
        checkpoint_every_steps=20,
        num_parameters=1,
        num_train_examples=1,
        num_validation_examples=1,
    )
    assert resolved.pause_step(share) == step
