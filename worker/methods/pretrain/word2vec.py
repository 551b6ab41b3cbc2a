"""Pretraining of word vectors on plain text by skip-gram with negative sampling (Mikolov et al. 2013b).

Legend: C centres, W window, K negatives.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import NegativeSampling
from app.contract.specs.methods import Word2Vec as Spec
from app.contract.specs.training import TrainingOptions
from worker.data.failures import BadData
from worker.data.skip_gram import SkipGramSampler, sampled_for_evaluation, sampled_windows
from worker.data.text import Tokens, token_counts
from worker.data.tokenizers import special_tokens
from worker.data.windows import WindowSource
from worker.export import export_model
from worker.methods.pretrain.start import Start
from worker.methods.pretrain.text_stream import (
    MIN_VALIDATION_TOKENS,
    evaluation_tokens,
    split_text,
    text_body,
    tokenizer_of,
    windows_of,
)
from worker.models.skip_gram import Word2Vec
from worker.training.protocols import Batch, Log
from worker.training.single_loss import SingleLossMethod


def prepare(assignment: Assignment, log: Log) -> "Word2VecMethod":
    spec = assignment.spec
    assert isinstance(spec.method, NegativeSampling)
    start = _new(assignment, spec, log) if isinstance(spec, PretrainSpec) else Start.continued(assignment)
    training, validation = split_text(assignment, start.text_tokenizer, log)
    return Word2VecMethod(start, spec.method, spec.training, training, validation)


def _new(assignment: Assignment, spec: PretrainSpec, log: Log) -> Start:
    assert isinstance(spec.method, Spec)
    tokenizer = tokenizer_of(assignment, spec.method.tokenizer, log)
    return Start.new(spec, text_body(spec.method.architecture, tokenizer), tokenizer)


class Word2VecMethod(SingleLossMethod):
    """The loss is that of a pair of a centre and a context, its share of negatives included, in nats."""

    def __init__(
        self,
        start: Start,
        method: NegativeSampling,
        options: TrainingOptions,
        training: Tokens,
        validation: Tokens,
    ) -> None:
        assert isinstance(start.module, Word2Vec)
        self.model = start.module
        self.tokenizer = tokenizer = start.text_tokenizer
        self._description = start.description
        windows, self._validation = (
            windows_of(part, tokenizer, start.description.body) for part in (training, validation)
        )
        counts = word_counts(training, tokenizer)
        self._sampler = SkipGramSampler.of(counts, method.window, method.negative_samples, method.subsampling)
        self._evaluation_batch_size = options.decided_batch_size // options.gradient_accumulation_steps
        self._evaluation_tokens = MIN_VALIDATION_TOKENS
        source = WindowSource(windows, options.decided_batch_size, options.gradient_accumulation_steps, options.seed)
        sampled = sampled_windows(source, self._sampler, options.seed)
        super().__init__(self.model, sampled, num_validation_examples=self._validation.num_side_by_side)

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        self._evaluation_tokens = evaluation_tokens(resolved, self.train_data)

    def total(self, batch: Batch) -> Tensor:
        """batch: centers int64 [C], contexts int64 and present bool [C, 2 W], negatives int64 [C, K]"""
        return self.model.loss(batch["centers"], batch["contexts"], batch["negatives"], batch["present"])

    def weight(self, batch: Batch) -> Tensor:
        """Pairs; a batch of words that are all alone has none, and a loss of zero."""
        return batch["present"].sum().clamp(min=1)

    def metrics(self) -> Mapping[str, float]:
        nats, pairs = 0.0, 0
        for batch in sampled_for_evaluation(
            self._validation, self._sampler, self._evaluation_tokens, self._evaluation_batch_size
        ):
            moved = {name: tensor.to(self.compute.device) for name, tensor in batch.items()}
            nats += self.total(moved).item()
            pairs += int(batch["present"].sum())
        return {"validation_loss": nats / max(1, pairs)}

    def describe(self) -> ModelDescription:
        return self._description

    def export(self, folder: Path) -> None:
        export_model(folder, self.model, self._description, self.tokenizer)


def word_counts(tokens: Tokens, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """int64 [V]; what is no word counts nothing. Raises BadData."""
    counts = token_counts(tokens, tokenizer.get_vocab_size())
    counts[special_tokens(tokenizer)] = 0
    if np.count_nonzero(counts) < 2:
        raise BadData(
            f"The text has {np.count_nonzero(counts)} words that are in the vocabulary, which takes those that are "
            "frequent enough in the text that it is learned from. Give more text, or a smaller "
            "method.tokenizer.min_count where the vocabulary is learned."
        )
    return counts
