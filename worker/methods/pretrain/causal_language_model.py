"""Pretraining by next-token prediction on plain text.

Legend: B batch, T tokens, V vocabulary.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.checkpoint import MODEL_FOLDER
from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import TOKENIZER_NAME, BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import TransformerArchitecture
from app.contract.specs.methods import CausalLanguageModel as Spec
from app.contract.specs.training import TrainingOptions
from worker.data.failures import BadData
from worker.data.text import Tokens, learned_tokenizer, tokenised
from worker.data.tokenizers import begin_token, load_tokenizer, token_characters
from worker.data.windows import Windows, WindowSource
from worker.export import export_model
from worker.models.transformer import CausalLanguageModel, Transformer
from worker.training.protocols import Batch, Log
from worker.training.single_loss import SingleLossMethod

#: An evaluation reads a quarter of what was trained since the last one, within these bounds. A forward pass costs a
#: third of a step, so evaluations stay under a tenth of the time; 65,536 tokens tell the mean to about 0.01 nats.
VALIDATION_SHARE = 1 / 4
MIN_VALIDATION_TOKENS = 8_192
MAX_VALIDATION_TOKENS = 65_536


def prepare(assignment: Assignment, log: Log) -> "CausalLanguageModelMethod":
    spec = assignment.spec.method
    assert isinstance(spec, Spec)
    tokenizer = _tokenizer(assignment, spec, log)
    training, validation = _split(assignment, tokenizer, log)
    return CausalLanguageModelMethod(spec, assignment.spec.training, tokenizer, training, validation)


class CausalLanguageModelMethod(SingleLossMethod):
    """The loss is the mean negative log-likelihood of a token, in nats."""

    def __init__(
        self, spec: Spec, options: TrainingOptions, tokenizer: Tokenizer, training: Tokens, validation: Tokens
    ) -> None:
        self.model = CausalLanguageModel(Transformer(spec.architecture, tokenizer.get_vocab_size()))
        self.tokenizer = tokenizer
        windows, self._validation = (_windows(part, tokenizer, spec.architecture) for part in (training, validation))
        self._evaluation_batch_size = options.batch_size // options.gradient_accumulation_steps
        self._evaluation_tokens = MIN_VALIDATION_TOKENS
        self._characters = torch.from_numpy(token_characters(tokenizer))
        self._architecture = spec.architecture
        source = WindowSource(windows, options.batch_size, options.gradient_accumulation_steps, options.seed)
        super().__init__(self.model, source, num_validation_examples=self._validation.num_side_by_side)

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        trained = self.train_data.tokens_per_step or 0
        share = int(resolved.evaluate_every_steps * trained * VALIDATION_SHARE)
        self._evaluation_tokens = min(max(share, MIN_VALIDATION_TOKENS), MAX_VALIDATION_TOKENS)

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
        body = BodyDescription(
            architecture=self._architecture,
            input=InputKind.TEXT,
            granularity=Granularity.TOKENS,
            vocab_size=self.tokenizer.get_vocab_size(),
        )
        num_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return ModelDescription(
            kind="pretrain", method="causal_language_model", body=body, num_parameters=num_parameters
        )

    def export(self, folder: Path) -> None:
        export_model(folder, self.model, self.describe(), self.tokenizer)


def _windows(tokens: Tokens, tokenizer: Tokenizer, shape: TransformerArchitecture) -> Windows:
    """Windows of the whole context, or of all the text where it is shorter."""
    return Windows(tokens, begin_token(tokenizer), max(1, min(shape.context_length, len(tokens))))


def _tokenizer(assignment: Assignment, spec: Spec, log: Log) -> Tokenizer:
    """A run that goes on keeps its tokenizer, whatever became of the cache."""
    if assignment.resume_from is not None:
        return load_tokenizer(assignment.resume_from / MODEL_FOLDER / TOKENIZER_NAME)
    return learned_tokenizer(assignment.dataset, spec.tokenizer.vocab_size, assignment.cache_dir, log)


def _split(assignment: Assignment, tokenizer: Tokenizer, log: Log) -> tuple[Tokens, Tokens]:
    """Training and validation tokens: the tail of the text is held back, or a data set of its own validates."""
    tokens = tokenised(assignment.dataset, tokenizer, assignment.cache_dir, log)
    if assignment.validation_dataset is not None:
        return tokens, tokenised(assignment.validation_dataset, tokenizer, assignment.cache_dir, log)
    cut = len(tokens) - int(len(tokens) * assignment.spec.training.validation_fraction)
    if cut < 2:
        raise BadData(f"The text has {len(tokens)} tokens in all: too few to learn from.")
    return tokens[:cut], tokens[cut:]
