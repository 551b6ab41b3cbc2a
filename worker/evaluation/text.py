"""Models of plain text: language models, masked ones, word vectors. The text is read as training reads it, in windows
side by side; what is left behind the last is read too.

Legend: B windows of a batch, T tokens of a window, K hidden places of each, N tokens of the text, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.contract.evaluations import Unit
from app.contract.messages import EvaluationAssignment
from app.contract.model_folder import Label
from app.contract.specs.methods import NegativeSampling
from app.evaluation.units import UNIT, Units
from worker.data.masking import Masking
from worker.data.skip_gram import SkipGramSampler
from worker.data.text import Tokens, tokenised
from worker.data.tokenizers import begin_token, mask_token, token_characters
from worker.data.windows import Windows
from worker.evaluation.scorer import BATCH_TOKENS, MAX_EXAMPLES
from worker.export import LoadedModel
from worker.methods.pretrain.masked_language_model import judged
from worker.methods.pretrain.text_stream import windows_of
from worker.methods.pretrain.word2vec import word_counts
from worker.models.cross_entropy import token_losses
from worker.models.encoder import MaskedLanguageModel
from worker.models.language_model import CausalLanguageModel
from worker.models.skip_gram import Word2Vec
from worker.training.protocols import Log

#: Tokens looked at together for where documents begin.
_CHUNK_TOKENS = 1 << 24


@dataclass(frozen=True, slots=True)
class TextBatch:
    """`tokens` (what is read) and `targets` (what comes next) int64 [B, T]; `units` [B, T]: what each target is of."""

    tokens: Tensor
    targets: Tensor
    units: NDArray[np.int64]


class WindowedText:
    """A unit is a document, from one begin token to the next; of a single document, a window."""

    labels: tuple[Label, ...] = ()

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData where there is no text."""
        assert loaded.tokenizer is not None
        self.tokenizer = loaded.tokenizer
        self.seed = assignment.spec.seed
        self._begin_token = begin_token(loaded.tokenizer)
        self.tokens = tokenised(assignment.dataset, loaded.tokenizer, assignment.cache_dir, log)
        self._windows = windows_of(self.tokens, loaded.tokenizer, loaded.description.body)
        self._openings = _places_of(self._begin_token, self.tokens)
        self.unit: Unit = "document" if len(self._openings) > 1 else "window"
        self._rows = max(1, min(MAX_EXAMPLES, BATCH_TOKENS // self._windows.length))
        self._num_whole = -(-self._windows.num_side_by_side // self._rows)
        num_left = len(self.tokens) - self._windows.num_side_by_side * self._windows.length
        self._rest = Windows(self.tokens, self._begin_token, num_left) if num_left else None
        has_rest = self._rest is not None
        self.num_batches = self._num_whole + has_rest
        num_windows = self._windows.num_side_by_side + has_rest
        self.num_units = len(self._openings) if self.unit == "document" else num_windows

    def batch(self, number: int) -> TextBatch:
        if number == self._num_whole:
            assert self._rest is not None
            return self._batch(self._rest, [len(self.tokens) - self._rest.length])
        first = number * self._rows
        windows = range(first, min(first + self._rows, self._windows.num_side_by_side))
        return self._batch(self._windows, [window * self._windows.length for window in windows])

    def _batch(self, windows: Windows, starts: list[int]) -> TextBatch:
        read = windows.batch(starts)
        positions = np.array(starts)[:, None] + np.arange(windows.length)
        if self.unit == "document":
            units = np.searchsorted(self._openings, positions, side="right") - 1
        else:
            units = positions // self._windows.length
        return TextBatch(read["tokens"], read["targets"], units)


class LanguageModelScorer(WindowedText):
    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        super().__init__(loaded, assignment, log)
        assert isinstance(loaded.module, CausalLanguageModel)
        self._model = loaded.module
        self._characters = token_characters(self.tokenizer)

    def score(self, number: int) -> Units:
        batch = self.batch(number)
        hidden, targets = self._model.body(batch.tokens).flatten(0, 1), batch.targets.flatten()
        losses = token_losses(hidden, self._model.lm_head.weight, targets)
        return _summed(
            batch.units.ravel(),
            {"nats": losses.double().numpy(), "tokens": np.ones(len(targets), np.int64)}
            | {"characters": self._characters[targets.numpy()]},
        )


class MaskedLanguageModelScorer(WindowedText):
    """What is hidden in a batch follows from the seed and the batch's number."""

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        super().__init__(loaded, assignment, log)
        assert isinstance(loaded.module, MaskedLanguageModel)
        self._model = loaded.module
        vocab_size = self.tokenizer.get_vocab_size()
        self._masking = Masking(mask_token(self.tokenizer), begin_token(self.tokenizer), vocab_size)

    def score(self, number: int) -> Units:
        batch = self.batch(number)
        hidden = self._masking.hidden(batch.tokens, np.random.default_rng([self.seed, number]))
        losses, right = judged(self._model, hidden)
        places = hidden["places"].numpy()
        # What is read at place p is the target of the place before it.
        units = np.take_along_axis(batch.units, (places - 1).clip(min=0), axis=1).ravel()
        return _summed(
            units,
            {
                "nats": losses.double().numpy(),
                "tokens": np.ones(len(losses), np.int64),
                "hits": right.numpy().astype(np.int64),
            },
        )


class WordVectorsScorer(WindowedText):
    """Pairs are drawn as a training by default draws them, words by how frequent they are in the text that is judged:
    what follows from the seed and the window is the same for all models of one tokenizer."""

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData."""
        super().__init__(loaded, assignment, log)
        assert isinstance(loaded.module, Word2Vec)
        self._model = loaded.module
        drawn = NegativeSampling()
        counts = word_counts(self.tokens, self.tokenizer)
        self._sampler = SkipGramSampler.of(counts, drawn.window, drawn.negative_samples, drawn.subsampling)

    def score(self, number: int) -> Units:
        batch = self.batch(number)
        scored = [self._window(window[None], place, number) for place, window in enumerate(batch.targets.numpy())]
        nats, pairs = zip(*scored, strict=True)
        # A window is judged as a whole; it counts to the document in which it begins.
        return _summed(batch.units[:, 0], {"nats": np.array(nats), "pairs": np.array(pairs, np.int64)})

    def _window(self, window: NDArray[np.int64], place: int, number: int) -> tuple[float, int]:
        sampled = self._sampler.sample(window, np.random.default_rng([self.seed, number, place]))
        present = sampled["present"]
        loss = self._model.loss(sampled["centers"], sampled["contexts"], sampled["negatives"], present)
        return float(loss.double()), int(present.sum())


def _places_of(token: int, tokens: Tokens) -> NDArray[np.int64]:
    """Where it stands: [N] -> ascending"""
    starts = range(0, len(tokens), _CHUNK_TOKENS)
    return np.concatenate([start + np.flatnonzero(tokens[start : start + _CHUNK_TOKENS] == token) for start in starts])


def _summed(units: NDArray[np.int64], columns: Mapping[str, NDArray[np.number]]) -> Units:
    """A row for each unit that occurs."""
    found, row = np.unique(units, return_inverse=True)
    sums = {}
    for name, values in columns.items():
        sums[name] = np.zeros(len(found), values.dtype)
        np.add.at(sums[name], row, values)
    return {UNIT: found, **sums}
