"""Fine-tuning by cross-entropy over a label set: a new head on the parent's body, for text, vectors and images.

Legend: B batch, L labels, n validation examples.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs import FinetuneSpec
from worker.data.examples import Answers, DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.methods.example_method import ExampleMethod, described, parted
from worker.methods.finetune.parent import Parent, apply_strategy
from worker.models.heads import Classifier
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "ClassificationMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    parent = Parent.of(assignment)
    data, validation_data = parent.data(assignment, log)
    taught = _labels(data)
    _check_there_is_something_to_tell_apart(taught)

    def answers(data: DataSet) -> Answers:
        return {"labels": _labels(data).coded_by(taught.names)}

    sides = parted(data, validation_data, spec.training, answers, strata=taught.codes)
    model = Classifier(parent.body, len(taught.names))
    apply_strategy(spec.strategy, model)
    description = described(spec, parent.description, labels=taught.names)
    return ClassificationMethod(model, description, sides, spec.training, parent.tokenizer)


class ClassificationMethod(ExampleMethod[Classifier]):
    """The loss is the mean negative log-likelihood of an example's label, in nats."""

    def total(self, batch: Batch) -> Tensor:
        """batch: what the body reads, and `labels` int64 [B]"""
        return F.cross_entropy(self.model(batch).float(), batch["labels"], reduction="sum")

    def metrics(self) -> Mapping[str, float]:
        batches = [(self.model(batch).float(), batch["labels"]) for batch in self.validation_batches()]
        logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        chosen = logits.argmax(1)
        return {
            "validation_loss": F.cross_entropy(logits, labels).item(),
            "accuracy": (chosen == labels).double().mean().item(),
            "macro_f1": _macro_f1(chosen, labels, logits.shape[1]),
        }


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
