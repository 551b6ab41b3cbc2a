"""Fine-tuning by cross-entropy over a label set: a new head on the parent's body, for text, vectors and images.

Legend: B batch, L labels, n validation examples.
"""

from collections.abc import Mapping
from typing import assert_never

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import ModelDescription
from app.contract.specs import FinetuneSpec
from app.contract.specs.methods import Classification as Spec
from app.contract.specs.training import TrainingOptions
from worker.data.examples import Answers, DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.data.order import Epochs, Indices, balanced, down_sampled
from worker.methods.example_method import ExampleMethod, Sides, described, parted
from worker.methods.finetune.parent import Parent
from worker.models.heads import Classifier
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "ClassificationMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    assert isinstance(spec.method, Spec)
    parent = Parent.of(assignment)
    data, validation_data = parent.data(assignment, log)
    taught = _labels(data)
    _check_there_is_something_to_tell_apart(taught)

    def answers(data: DataSet) -> Answers:
        return {"labels": _labels(data).coded_by(taught.names)}

    sides = parted(assignment, data, validation_data, answers, strata=taught.codes)
    pooling = spec.method.pooling or parent.description.pooling
    model = Classifier(parent.body, len(taught.names), pooling)
    description = described(spec, parent.description, labels=taught.names, pooling=pooling)
    return ClassificationMethod(model, description, sides, spec.training, parent.tokenizer, spec=spec.method)


class ClassificationMethod(ExampleMethod[Classifier]):
    """The loss is the mean negative log-likelihood of an example's label, in nats; of the smoothed answer, and each
    example by its label's weight, where the spec asks for that.

    `validation_loss` is never smoothed. Where labels are balanced, by weights or by sampling, it weighs them alike too:
    else the best checkpoint would be the one that has learned the least of what is rare.
    """

    def __init__(
        self,
        model: Classifier,
        description: ModelDescription,
        sides: Sides,
        options: TrainingOptions,
        tokenizer: Tokenizer | None,
        *,
        spec: Spec,
    ) -> None:
        codes = sides.training.answers["labels"][sides.training.indices]
        super().__init__(model, description, sides, options, tokenizer, epochs=_epochs(spec, codes, options.seed))
        balancing = balanced_weights(codes, model.head.out_features)
        self._smoothing = spec.label_smoothing
        self._weights = balancing if spec.class_weights else None
        self._validation_weights = balancing if spec.class_weights or spec.sampling else None

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        if self._weights is not None:
            self._weights = self._weights.to(self.compute.device)

    def total(self, batch: Batch) -> Tensor:
        """batch: what the body reads, and `labels` int64 [B]; where examples are mixed, their partners' labels too, and
        the share of their own (`worker.data.augmentation.mixed`)"""
        logits = self.model(batch).float()
        losses = self._losses(logits, batch["labels"])
        if "partner_labels" in batch:
            share = batch["share"]
            losses = share * losses + (1 - share) * self._losses(logits, batch["partner_labels"])
        return losses.sum()

    def metrics(self) -> Mapping[str, float]:
        batches = [(self.model(batch).float(), batch["labels"]) for batch in self.validation_batches()]
        logits, labels = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
        chosen = logits.argmax(1)
        return {
            "validation_loss": F.cross_entropy(logits, labels, self._validation_weights).item(),
            "accuracy": (chosen == labels).double().mean().item(),
            "macro_f1": _macro_f1(chosen, labels, logits.shape[1]),
        }

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, L], int64 [B] -> [B]"""
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return losses if self._weights is None else self._weights[labels] * losses


def balanced_weights(codes: Indices, num_labels: int) -> Tensor:
    """n / (k n_c) for each label c, with a mean of 1 over the n examples: codes int64 [n] -> float [L]. A label that no
    example has, which cannot be learned, has no weight."""
    counts = torch.bincount(torch.from_numpy(codes), minlength=num_labels)
    return torch.where(counts > 0, len(codes) / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)


def _epochs(spec: Spec, codes: Indices, seed: int) -> Epochs | None:
    match spec.sampling:
        case "balanced":
            return balanced(codes, seed)
        case "down_sample":
            return down_sampled(codes, seed)
        case None:
            return None
        case _:
            assert_never(spec.sampling)


def _labels(data: DataSet) -> CodedLabels:
    assert data.labels is not None
    return data.labels


def _check_there_is_something_to_tell_apart(labels: CodedLabels) -> None:
    if len(labels.names) < 2:
        raise BadData(
            f"Every example has the label {labels.names[0]!r}; a classification needs two labels or more to tell apart."
        )


def _macro_f1(chosen: Tensor, labels: Tensor, num_labels: int) -> float:
    """The mean, over the labels that were given or chosen, of 2 TP / (2 TP + FP + FN); int64 [n] both."""
    hits = torch.bincount(labels[chosen == labels], minlength=num_labels).double()
    either = (torch.bincount(labels, minlength=num_labels) + torch.bincount(chosen, minlength=num_labels)).double()
    return (2 * hits[either > 0] / either[either > 0]).mean().item()
