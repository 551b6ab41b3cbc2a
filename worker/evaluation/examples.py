"""Models of separate examples: classifications, regressions, autoencoders, and answers in conversations.

Legend: B batch, L labels, T targets, S the shape of one example, K tokens to be told.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.contract.evaluations import Unit
from app.contract.messages import DatasetInput, EvaluationAssignment
from app.contract.model_folder import Label, label_key
from app.contract.specs.architectures import TextArchitecture
from app.evaluation.units import UNIT, Units
from worker.data.answered_text import read_answered_text
from worker.data.arrays import read_array_data
from worker.data.chat import ChatTemplate, template_for
from worker.data.conversations import ConversationReader
from worker.data.examples import DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels, listed
from worker.data.tokenizers import token_characters
from worker.evaluation.scorer import SortedBatches
from worker.export import LoadedModel
from worker.models.autoencoder import Autoencoder, VariationalAutoencoder, divergence
from worker.models.cross_entropy import token_losses
from worker.models.heads import Classifier, Regressor
from worker.models.language_model import CausalLanguageModel
from worker.training.protocols import Log


class ClassificationScorer:
    unit: Unit = "example"

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData."""
        assert isinstance(loaded.module, Classifier)
        assert loaded.description.labels is not None
        data = _read(loaded, assignment, log)
        assert data.labels is not None
        self.labels: tuple[Label, ...] = loaded.description.labels
        self.num_units = len(data.examples)
        self._model = loaded.module
        self._batches = SortedBatches(data.examples, {"labels": codes_of(data.labels, self.labels)})
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        places, batch = self._batches[number]
        logits, given = self._model(batch).double(), batch["labels"]
        log_probabilities = logits.log_softmax(1)
        probabilities = log_probabilities.exp()
        of_given = log_probabilities.gather(1, given[:, None]).squeeze(1)
        # Over labels l of (p_l - [l is given])^2 (Brier 1950).
        brier = probabilities.square().sum(1) - 2 * of_given.exp() + 1
        confidence, told = probabilities.max(1)
        return {
            UNIT: places,
            "given": given.numpy(),
            "told": told.numpy(),
            "nats": -of_given.numpy(),
            "brier": brier.numpy(),
            "confidence": confidence.numpy(),
        }


class RegressionScorer:
    unit: Unit = "example"
    labels: tuple[Label, ...] = ()

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        assert isinstance(loaded.module, Regressor)
        data = _read(loaded, assignment, log)
        assert data.targets is not None
        self.num_units = len(data.examples)
        self._model = loaded.module
        self._batches = SortedBatches(data.examples, {"targets": data.targets})
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        places, batch = self._batches[number]
        targets = batch["targets"].double()
        errors = self._model(batch).double() - targets
        return {UNIT: places, "errors": errors.numpy(), "targets": targets.numpy()}


class AutoencoderScorer:
    """In standardised units, as training has it: 1 is what the mean alone would get."""

    unit: Unit = "example"
    labels: tuple[Label, ...] = ()

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        assert isinstance(loaded.module, Autoencoder)
        data = _read(loaded, assignment, log)
        self.num_units = len(data.examples)
        self._model = loaded.module
        self._batches = SortedBatches(data.examples)
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        places, batch = self._batches[number]
        errors = self._model(batch).double().flatten(1)
        squared = errors.sum(1).numpy()
        numbers = np.full(len(places), errors.shape[1])
        units = {UNIT: places, "squared_errors": squared, "numbers": numbers}
        if not isinstance(self._model, VariationalAutoencoder):
            return units
        return units | {"divergence": divergence(*self._model.posterior(batch["inputs"])).double().sum(1).numpy()}


class AnswerScorer:
    """What the assistant says in conversations, its end tokens included."""

    unit: Unit = "conversation"
    labels: tuple[Label, ...] = ()

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData."""
        assert isinstance(loaded.module, CausalLanguageModel)
        assert loaded.tokenizer is not None
        template = ChatTemplate(loaded.chat_template or template_for(loaded.tokenizer), loaded.tokenizer)
        data = ConversationReader(template, _context_length(loaded), log).read(assignment.dataset)
        self.num_units = len(data.examples)
        self._model = loaded.module
        self._characters = torch.from_numpy(token_characters(template.tokenizer))
        self._batches = SortedBatches(data.examples)
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        indices, batch = self._batches[number]
        places, targets = batch["places"], batch["targets"]  # [K]
        hidden = self._model.body(batch["tokens"]).flatten(0, 1)[places]
        row = places // batch["tokens"].shape[1]
        return {
            UNIT: indices,
            "nats": _by_row(token_losses(hidden, self._model.lm_head.weight, targets).double(), row, len(indices)),
            "tokens": _by_row(torch.ones_like(targets), row, len(indices)),
            "characters": _by_row(self._characters[targets], row, len(indices)),
        }


def codes_of(labels: CodedLabels, known: tuple[Label, ...]) -> NDArray[np.int64]:
    """The codes in the model's own labels, int64 [N]. A label is the same whatever type its file gives it: CSV has "1"
    for 1. Raises BadData."""
    places = {label_key(label): place for place, label in enumerate(known)}
    unknown = [name for name in labels.names if label_key(name) not in places]
    if unknown:
        raise unknown_labels(unknown, known)
    return np.array([places[label_key(name)] for name in labels.names], np.int64)[labels.codes]


def unknown_labels(unknown: Sequence[Label], known: tuple[Label, ...]) -> BadData:
    return BadData(
        f"The data have labels that the model does not know: {listed(unknown)}. It knows {listed(known)}. Leave those "
        "examples out."
    )


def _by_row(values: Tensor, row: Tensor, num_rows: int) -> NDArray[np.number]:
    """Sums [B] of what stands in each row: [K]"""
    sums: NDArray[np.number] = torch.zeros(num_rows, dtype=values.dtype).index_add_(0, row, values).numpy()
    return sums


def _read(loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> DataSet:
    dataset: DatasetInput = assignment.dataset
    if loaded.tokenizer is None:
        return read_array_data(dataset, loaded.description.body.input_shape)
    return read_answered_text(dataset, loaded.tokenizer, _context_length(loaded), assignment.cache_dir, log)


def _context_length(loaded: LoadedModel) -> int:
    shape = loaded.description.body.architecture
    assert isinstance(shape, TextArchitecture)
    return shape.context_length
