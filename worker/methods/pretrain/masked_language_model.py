"""Pretraining by telling hidden tokens of plain text (Devlin et al. 2018), without the prediction of the next sentence,
which Liu et al. 2019 found to be of no use.

Legend: B batch, T tokens, K places to be told in a window.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import MaskedLanguageModel as Spec
from app.contract.specs.training import TrainingOptions
from worker.data.masking import Masking, masked_for_evaluation, masked_windows
from worker.data.text import Tokens, token_counts
from worker.data.tokenizers import begin_token, mask_token, special_tokens, with_mask
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
from worker.models.encoder import MaskedLanguageModel
from worker.training.protocols import Batch, Log
from worker.training.single_loss import SingleLossMethod

#: Tokens that have logits at a time.
_GUESSED_TOKENS = 512


def prepare(assignment: Assignment, log: Log) -> "MaskedLanguageModelMethod":
    spec = assignment.spec
    start = _new(assignment, spec, log) if isinstance(spec, PretrainSpec) else Start.continued(assignment)
    training, validation = split_text(assignment, start.text_tokenizer, log)
    return MaskedLanguageModelMethod(start, spec.training, training, validation)


def _new(assignment: Assignment, spec: PretrainSpec, log: Log) -> Start:
    assert isinstance(spec.method, Spec)
    tokenizer = _tokenizer(assignment, spec.method, log)
    return Start.new(spec, text_body(spec.method.architecture, tokenizer, bidirectional=True), tokenizer)


class MaskedLanguageModelMethod(SingleLossMethod):
    """The loss is the mean negative log-likelihood of a token to be told, in nats."""

    def __init__(self, start: Start, options: TrainingOptions, training: Tokens, validation: Tokens) -> None:
        assert isinstance(start.module, MaskedLanguageModel)
        self.model = start.module
        self.tokenizer = tokenizer = start.text_tokenizer
        self._description = start.description
        windows, self._validation = (
            windows_of(part, tokenizer, start.description.body) for part in (training, validation)
        )
        self._masking = Masking(mask_token(tokenizer), begin_token(tokenizer), tokenizer.get_vocab_size())
        self._most_frequent = _most_frequent(training, tokenizer)
        self._evaluation_batch_size = options.decided_batch_size // options.gradient_accumulation_steps
        self._evaluation_tokens = MIN_VALIDATION_TOKENS
        source = WindowSource(windows, options.decided_batch_size, options.gradient_accumulation_steps, options.seed)
        masked = masked_windows(source, self._masking, options.seed)
        super().__init__(self.model, masked, num_validation_examples=self._validation.num_side_by_side)

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        self._evaluation_tokens = evaluation_tokens(resolved, self.train_data)

    def total(self, batch: Batch) -> Tensor:
        """batch: tokens int64 [B, T], places and targets int64 [B, K]"""
        return self.model.loss(batch["tokens"], batch["places"], batch["targets"])

    def weight(self, batch: Batch) -> int:
        return batch["targets"].numel()

    def metrics(self) -> Mapping[str, float]:
        """Accuracies are over all tokens to be told; that of a model which always tells the token most frequent in
        training is what they are to be compared with."""
        nats, told, frequent, count = 0.0, 0, 0, 0
        for batch in masked_for_evaluation(
            self._validation, self._masking, self._evaluation_tokens, self._evaluation_batch_size
        ):
            moved = {name: tensor.to(self.compute.device) for name, tensor in batch.items()}
            targets = moved["targets"].flatten()
            losses, right = judged(self.model, moved)
            nats += losses.sum().item()
            told += int(right.sum())
            frequent += int((targets == self._most_frequent).sum())
            count += len(targets)
        return {
            "validation_loss": nats / count,
            "masked_accuracy": told / count,
            "most_frequent_token_accuracy": frequent / count,
        }

    def describe(self) -> ModelDescription:
        return self._description

    def export(self, folder: Path) -> None:
        export_model(folder, self.model, self._description, self.tokenizer)


def judged(model: MaskedLanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each token to be told: its negative log-likelihood, and whether it is the likeliest; fp32 and bool [B * K]

    batch: as `Masking.hidden` gives it"""
    guesses, targets = model.guesses(batch["tokens"], batch["places"]), batch["targets"].flatten()
    losses, right = [], []
    for some, wanted in zip(torch.split(guesses, _GUESSED_TOKENS), torch.split(targets, _GUESSED_TOKENS), strict=True):
        logits = model.decoder(some).float()
        losses.append(F.cross_entropy(logits, wanted, reduction="none"))
        right.append(logits.argmax(1) == wanted)
    return torch.cat(losses), torch.cat(right)


def _tokenizer(assignment: Assignment, spec: Spec, log: Log) -> Tokenizer:
    """One token less is learned, since the mask is one."""
    if assignment.resume_from is not None:
        return tokenizer_of(assignment, spec.tokenizer, log)
    learned = spec.tokenizer.model_copy(update={"vocab_size": spec.tokenizer.vocab_size - 1})
    return with_mask(tokenizer_of(assignment, learned, log))


def _most_frequent(tokens: Tokens, tokenizer: Tokenizer) -> int:
    counts = token_counts(tokens, tokenizer.get_vocab_size())
    counts[special_tokens(tokenizer)] = 0
    return int(counts.argmax())
