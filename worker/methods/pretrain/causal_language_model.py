"""Pretraining by next-token prediction on plain text, from fresh weights or from a parent's.

Legend: B batch, T tokens, V vocabulary.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import CausalLanguageModel as Spec
from app.contract.specs.training import TrainingOptions
from worker.data.tokenizers import token_characters
from worker.data.windows import Windows, WindowSource
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
from worker.models.language_model import CausalLanguageModel
from worker.training.protocols import Batch, Log
from worker.training.single_loss import SingleLossMethod


def prepare(assignment: Assignment, log: Log) -> "CausalLanguageModelMethod":
    spec = assignment.spec
    start = _new(assignment, spec, log) if isinstance(spec, PretrainSpec) else Start.continued(assignment)
    tokenizer, body = start.text_tokenizer, start.description.body
    training, validation = (windows_of(part, tokenizer, body) for part in split_text(assignment, tokenizer, log))
    return CausalLanguageModelMethod(start, spec.training, training, validation)


def _new(assignment: Assignment, spec: PretrainSpec, log: Log) -> Start:
    assert isinstance(spec.method, Spec)
    tokenizer = tokenizer_of(assignment, spec.method.tokenizer, log)
    return Start.new(spec, text_body(spec.method.architecture, tokenizer), tokenizer)


class CausalLanguageModelMethod(SingleLossMethod):
    """The loss is the mean negative log-likelihood of a token, in nats."""

    def __init__(self, start: Start, options: TrainingOptions, training: Windows, validation: Windows) -> None:
        assert isinstance(start.module, CausalLanguageModel)
        self.model = start.module
        self._description = start.description
        self.tokenizer = start.text_tokenizer
        self._validation = validation
        self._evaluation_batch_size = options.decided_batch_size // options.gradient_accumulation_steps
        self._evaluation_tokens = MIN_VALIDATION_TOKENS
        self._characters = torch.from_numpy(token_characters(self.tokenizer))
        source = WindowSource(training, options.decided_batch_size, options.gradient_accumulation_steps, options.seed)
        super().__init__(self.model, source, num_validation_examples=self._validation.num_side_by_side)

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        self._evaluation_tokens = evaluation_tokens(resolved, self.train_data)

    def total(self, batch: Batch) -> Tensor:
        """batch: tokens, targets int64 [B, T]"""
        return self.model.loss(batch["tokens"], batch["targets"])

    def weight(self, batch: Batch) -> int:
        return batch["targets"].numel()

    def metrics(self) -> Mapping[str, float]:
        nats, num_tokens, num_characters = 0.0, 0, 0
        for batch in self._validation.evenly_spaced(self._evaluation_tokens, self._evaluation_batch_size):
            targets = batch["targets"]
            nats += self.total({name: tensor.to(self.compute.device) for name, tensor in batch.items()}).item()
            num_tokens += targets.numel()
            num_characters += int(self._characters[targets].sum())
        return {
            "validation_loss": nats / num_tokens,
            "bits_per_character": nats / math.log(2) / max(1, num_characters),
        }

    def describe(self) -> ModelDescription:
        return self._description

    def export(self, folder: Path) -> None:
        export_model(folder, self.model, self._description, self.tokenizer)
