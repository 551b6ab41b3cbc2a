"""Methods over examples: what they inherit and fix, what they report and refuse, and that their folders are served."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.contract.messages import Assignment, DatasetInput
from app.records import read_arrays, read_examples
from app.records.types import LabeledText
from tests.contract import autoencoder, classification, datasets, regression
from tests.contract.runs import final_checkpoint, prepared, run_here, series
from worker.data.failures import BadData
from worker.export import load_model
from worker.methods.example_method import ExampleMethod
from worker.methods.finetune.classification import _macro_f1
from worker.methods.regression_method import _explained
from worker.models.autoencoder import Autoencoder
from worker.models.heads import Regressor
from worker.serving.predictors import load_predictor


def served(assignment: Assignment, inputs: list[Any]) -> list[Any]:
    """What a replica answers once the job is done."""
    operation = load_predictor(final_checkpoint(run_here(assignment)) / "model").predict
    assert operation is not None
    with torch.inference_mode():
        encoded = operation.encode_pre(inputs)
        return operation.encode_post(encoded, operation.encode_core([row.value for row in encoded.rows]))


def inputs_of(dataset: DatasetInput) -> NDArray[Any]:
    return read_arrays(dataset.path, dataset.filename, dataset.kind).inputs


def saved(path: Path, kind: str, **arrays: Any) -> DatasetInput:
    np.savez(path, **arrays)
    return datasets.dataset(path, kind)


def test_a_classifier_of_texts_is_served(tmp_path: Path) -> None:
    assignment = classification.of_text(tmp_path)
    dataset = assignment.dataset
    examples = [
        each
        for each in read_examples(dataset.path, dataset.filename, dataset.kind, dataset.columns)
        if isinstance(each, LabeledText)
    ]

    outputs = served(assignment, [each.text for each in examples])

    right = sum(output["label"] == each.label for output, each in zip(outputs, examples, strict=True))
    assert right > 0.7 * len(examples)


def test_a_classifier_of_vectors_is_served_with_labels_of_their_type(tmp_path: Path) -> None:
    assignment = classification.of_vectors_by_a_linear_probe(tmp_path)
    arrays = read_arrays(assignment.dataset.path, assignment.dataset.filename, "labeled_vectors")

    outputs = served(assignment, arrays.inputs.tolist())

    assert {type(output["label"]) for output in outputs} == {int}
    assert arrays.labels is not None
    right = sum(output["label"] == label for output, label in zip(outputs, arrays.labels, strict=True))
    assert right > 0.7 * len(outputs)


@pytest.mark.parametrize("make", [regression.pretrained, regression.of_vectors])
def test_a_regression_is_served_in_the_targets_own_units(make: Any, tmp_path: Path) -> None:
    assignment = make(tmp_path)
    arrays = read_arrays(assignment.dataset.path, assignment.dataset.filename, "scored_vectors")

    values = np.array([output["value"] for output in served(assignment, arrays.inputs.tolist())])

    assert arrays.targets is not None
    assert np.square(values - arrays.targets).mean() < 0.5 * arrays.targets.var(0).mean()


@pytest.mark.parametrize("make", [autoencoder.of_images, autoencoder.of_vectors])
def test_an_autoencoder_is_served_and_beats_the_mean(make: Any, tmp_path: Path) -> None:
    assignment = make(tmp_path)
    inputs = inputs_of(assignment.dataset)

    outputs = served(assignment, inputs.tolist())

    reconstructions = np.array([output["reconstruction"] for output in outputs])
    assert reconstructions.shape == inputs.shape
    assert np.square(reconstructions - inputs).mean() < 0.8 * inputs.astype(float).var(0).mean()


def test_a_linear_probe_trains_its_head_alone(tmp_path: Path) -> None:
    assignment = classification.of_vectors_by_a_linear_probe(tmp_path)
    before = prepared(assignment).module.state_dict()
    after = load_model(final_checkpoint(run_here(assignment)) / "model").module.state_dict()

    changed = {name for name in after if not torch.equal(before[name], after[name])}

    assert changed == {"head.weight", "head.bias"}


def test_a_regression_goes_on_from_its_parent_s_own_head(tmp_path: Path) -> None:
    assignment = regression.of_vectors(tmp_path)
    assert assignment.parent_model is not None
    parent, child = load_model(assignment.parent_model).module, prepared(assignment).module.eval()
    batch = {"inputs": torch.from_numpy(inputs_of(assignment.dataset))}

    torch.testing.assert_close(child(batch), parent(batch), rtol=0, atol=0)


def test_other_targets_get_a_head_of_their_own_in_their_units(tmp_path: Path) -> None:
    assignment = regression.of_vectors(tmp_path)
    inputs = inputs_of(assignment.dataset)
    targets = np.linspace(-5e6, 5e6, 3 * len(inputs)).reshape(-1, 3)
    other = saved(tmp_path / "other.npz", "scored_vectors", features=inputs, targets=targets)

    module = prepared(assignment.model_copy(update={"dataset": other})).module

    assert isinstance(module, Regressor)
    assert module.head.out_features == 3
    assert (module.target_standardization.std > 1e6).all()


def test_inputs_are_scaled_by_what_is_trained_on_alone(tmp_path: Path) -> None:
    assignment = autoencoder.of_vectors(tmp_path)
    shifted = saved(tmp_path / "shifted.npz", "vectors", features=inputs_of(assignment.dataset) + 1e6)
    method = prepared(assignment.model_copy(update={"validation_dataset": shifted}))

    assert isinstance(method.module, Autoencoder)
    expected = torch.from_numpy(inputs_of(assignment.dataset).mean(0))
    torch.testing.assert_close(method.module.body.standardization.mean, expected, rtol=1e-4, atol=1e-2)
    assert method.num_validation_examples == method.train_data.num_examples == datasets.NUM_EXAMPLES


def test_metrics_are_those_of_the_validation_data(tmp_path: Path) -> None:
    """The oracle asks the module for one example at a time."""
    method = prepared(regression.pretrained(tmp_path))
    assert isinstance(method, ExampleMethod)
    module = method.module.eval()
    batches = [method._validation.gather(np.array([place])) for place in range(len(method._validation))]
    with torch.no_grad():
        estimates = torch.cat([module(batch) for batch in batches]).double()
    targets = torch.cat([batch["targets"] for batch in batches]).double()

    metrics = method.evaluate()

    squares = (estimates - targets).square()
    assert metrics["rmse"] == pytest.approx(squares.mean().sqrt().item(), rel=1e-5)
    shares = 1 - squares.mean(0) / targets.var(0, correction=0)
    assert metrics["r2"] == pytest.approx(shares.mean().item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (classification.of_vectors_by_a_linear_probe, {"train_loss", "validation_loss", "accuracy", "macro_f1"}),
        (regression.of_vectors, {"train_loss", "validation_loss", "r2", "rmse"}),
        (autoencoder.of_vectors, {"train_loss", "validation_loss"}),
    ],
)
def test_what_is_reported(make: Any, names: set[str], tmp_path: Path) -> None:
    reported = {name for name, _ in series(run_here(make(tmp_path)))}

    assert reported == names | {"learning_rate", "gradient_norm"}


def test_macro_f1_is_the_mean_over_labels_that_occur() -> None:
    chosen, labels = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 1])

    assert _macro_f1(chosen, labels, num_labels=4) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_targets_that_do_not_vary_have_a_finite_r2() -> None:
    constant = torch.full((4, 1), 7.0).double()

    assert _explained(torch.zeros(4, 1).double(), constant) == 1
    assert _explained(torch.ones(4, 1).double(), constant) == 0


def test_one_label_alone_cannot_be_learned(tmp_path: Path) -> None:
    assignment = classification.of_vectors_by_a_linear_probe(tmp_path)
    inputs = inputs_of(assignment.dataset)
    same = saved(tmp_path / "same.npz", "labeled_vectors", features=inputs, labels=np.full(len(inputs), 3))

    with pytest.raises(BadData, match="Every example has the label 3"):
        prepared(assignment.model_copy(update={"dataset": same}))


def test_a_label_of_the_validation_data_that_training_never_shows_is_refused(tmp_path: Path) -> None:
    assignment = classification.of_vectors_by_a_linear_probe(tmp_path)
    inputs = inputs_of(assignment.dataset)[:3]
    other = saved(tmp_path / "other.npz", "labeled_vectors", features=inputs, labels=np.array([0, 1, 2]))

    with pytest.raises(BadData, match="never show: 2 "):
        prepared(assignment.model_copy(update={"validation_dataset": other}))


@pytest.mark.parametrize("make", [autoencoder.of_vectors, classification.of_vectors_by_a_linear_probe])
def test_validation_data_of_another_shape_are_refused(make: Any, tmp_path: Path) -> None:
    assignment = make(tmp_path)
    narrow = saved(tmp_path / "narrow.npz", "labeled_vectors", features=np.zeros((4, 2)), labels=np.arange(4) % 2)

    with pytest.raises(BadData, match="has 2 features, and this model reads 6 features"):
        prepared(assignment.model_copy(update={"validation_dataset": narrow}))
