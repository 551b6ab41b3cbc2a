"""What every method keeps, whatever it learns."""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.contract.compatibility import MethodKey, metrics_of
from app.contract.messages import Assignment, ReportLine
from app.contract.model_folder import OUR_MODEL_TYPE
from app.contract.tensors import has_stock_form
from tests.contract.cases import CASES, COMPILED, VARIANTS, Case
from tests.contract.runs import (
    continued,
    final_checkpoint,
    prepared,
    run_here,
    run_until_killed,
    series,
)
from worker.export import load_model
from worker.training.resolution import resolve

METHODS = {"-".join(key): case for key, case in CASES.items()}


def over(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


every_method = over({**METHODS, **VARIANTS})


@every_method
def test_what_training_lowers_falls(case: Case, tmp_path: Path) -> None:
    metrics = series(run_here(case.assignment(tmp_path)))

    losses = [value for (name, _), value in sorted(metrics.items(), key=lambda item: item[0][1]) if name == case.falls]
    third = len(losses) // 3
    assert sum(losses[-third:]) < 0.9 * sum(losses[:third])


@pytest.mark.parametrize("key", CASES, ids="-".join)
def test_it_measures_what_the_table_tells(key: MethodKey, tmp_path: Path) -> None:
    measured = prepared(CASES[key].assignment(tmp_path)).evaluate()

    assert sorted(measured) == sorted(metrics_of(key))


@every_method
def test_a_saved_model_loads_with_equal_weights_and_outputs(case: Case, tmp_path: Path) -> None:
    method = prepared(case.assignment(tmp_path))
    batch = method.train_data.micro_batches(0)[0]
    (tmp_path / "model").mkdir()
    method.export(tmp_path / "model")

    loaded = load_model(tmp_path / "model")

    assert loaded.description == method.describe()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["model_type"] != OUR_MODEL_TYPE) == has_stock_form(loaded.description)
    with torch.no_grad():
        torch.testing.assert_close(
            case.outputs(loaded.module, batch), case.outputs(method.module.eval(), batch), rtol=0, atol=0
        )


@every_method
def test_equal_weights_give_equal_bytes(case: Case, tmp_path: Path) -> None:
    method = prepared(case.assignment(tmp_path))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        method.export(tmp_path / name)

    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


@every_method
def test_batch_mates_do_not_change_a_prediction(case: Case, tmp_path: Path) -> None:
    method = prepared(case.assignment(tmp_path))
    module, batch = method.module.eval(), method.train_data.micro_batches(0)[0]

    with torch.no_grad():
        together = case.outputs(module, batch)
        alone = [case.outputs(module, example) for example in case.examples(batch)]

    assert len(alone) > 1
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@every_method
def test_gradients_reach_every_trainable_parameter(case: Case, tmp_path: Path) -> None:
    assignment = case.assignment(tmp_path)
    method = prepared(assignment)
    method.start(resolve(assignment.spec, method))
    _step_aside(method.module)
    recorders = {name: _Recorder(parameters) for name, parameters in method.parameter_groups().items()}

    method.train_step(method.train_data.micro_batches(0), recorders)

    names = {id(parameter): name for name, parameter in method.module.named_parameters() if parameter.requires_grad}
    reached = {place for recorder in recorders.values() for place in recorder.reached}
    assert names.keys() - reached == set(), [names[place] for place in names.keys() - reached]


@every_method
def test_steps_are_a_pure_function_of_the_seed_and_the_step(case: Case, tmp_path: Path) -> None:
    first, second = prepared(case.assignment(tmp_path)), prepared(case.assignment(tmp_path))
    first.train_data.micro_batches(0)  # what was asked for before does not matter

    for mine, theirs in zip(first.train_data.micro_batches(5), second.train_data.micro_batches(5), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert torch.equal(mine[name], theirs[name])


@every_method
def test_a_killed_run_resumes_to_equal_bytes_and_the_same_series(case: Case, tmp_path: Path) -> None:
    whole = run_here(case.assignment(tmp_path / "whole"))
    _check_resume(case.assignment(tmp_path / "killed"), whole)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports what torch deprecates
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # and looks into recurrent layers
@over(METHODS | {name: VARIANTS[name] for name in COMPILED})
def test_a_killed_run_of_compiled_code_resumes_to_equal_bytes_and_the_same_series(case: Case, tmp_path: Path) -> None:
    try:
        whole = run_here(_compiled(case.assignment(tmp_path / "whole")))
        _check_resume(_compiled(case.assignment(tmp_path / "killed")), whole)
    finally:
        torch.use_deterministic_algorithms(False)
        torch._dynamo.reset()


def _check_resume(assignment: Assignment, whole: list[ReportLine]) -> None:
    """The kill falls on another step for every method, in the first third of the run: where must not matter."""
    last_step = max(step for _, step in series(whole))
    killed_at = 1 + zlib.crc32(assignment.spec.method.type.encode()) % (last_step // 3)

    cut = run_until_killed(assignment, killed_at)
    rest = run_here(continued(assignment, cut))

    assert series(rest), "the kill came too late: nothing was left to do"
    assert series(cut, rest) == series(whole)
    for name in ("model/model.safetensors", "model/pretune.json"):
        assert (final_checkpoint(rest) / name).read_bytes() == (final_checkpoint(whole) / name).read_bytes()


def _compiled(assignment: Assignment) -> Assignment:
    training = assignment.spec.training.model_copy(update={"compile": True})
    return assignment.model_copy(update={"spec": assignment.spec.model_copy(update={"training": training})})


@torch.no_grad()
def _step_aside(module: nn.Module) -> None:
    """From where it begins, at which a factor may be zero, and the gradient of what it is multiplied with."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter), alpha=1e-3)


class _Recorder:
    """Stands in an optimizer's place: notes which parameters have a gradient that is not all zero."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self.reached: set[int] = set()

    def apply(self, gradient_divisor: Tensor | float = 1.0) -> Tensor:
        self.reached |= {id(each) for each in self._parameters if each.grad is not None and each.grad.any()}
        return torch.zeros(())
