"""Fine-tuning by semantic roles: who did what to whom, for a predicate that is given.

Legend: B batch, W words of a row, L roles.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs import FinetuneSpec
from app.contract.specs.methods import SemanticRoleLabeling
from app.contract.tags import OUTSIDE, arguments
from worker.data.propositions import RoleReader
from worker.data.tagged_words import NO_TAG
from worker.data.words import SubWords
from worker.methods.example_method import ExampleMethod, described, parted
from worker.methods.finetune.parent import Parent
from worker.methods.tagging import Tags, span_f1, word_accuracy
from worker.models.role_labeler import RoleLabeler
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "SemanticRoleLabelingMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    assert isinstance(spec.method, SemanticRoleLabeling)
    parent = Parent.of(assignment)
    assert parent.tokenizer is not None
    reader = RoleReader(assignment.dataset, log)
    sub_words = SubWords(parent.tokenizer, parent.description)
    validation = assignment.validation_dataset
    sides = parted(
        assignment,
        reader.read(assignment.dataset, sub_words),
        None if validation is None else reader.read(validation, sub_words),
    )
    model = RoleLabeler(parent.body, reader.roles, spec.method.dropout)
    description = described(spec, parent.description, labels=reader.roles)
    return SemanticRoleLabelingMethod(model, description, sides, spec.training, parent.tokenizer)


class Told(NamedTuple):
    """The roles of one whole sentence; those beyond the context are told as none."""

    given: Tags
    told: Tags


class SemanticRoleLabelingMethod(ExampleMethod[RoleLabeler]):
    """The loss is the mean negative log-likelihood of a word's role, in nats.

    `accuracy` is the share of words whose role is told right. `span_f1` is that of exact arguments: one counts if it
    has the right role, the right start and the right end; the predicate's own mark does not count.
    """

    def total(self, batch: Batch) -> Tensor:
        """batch: as `RoleExamples.gather` gives it"""
        return self.model.loss(self.model(batch), batch)

    def weight(self, batch: Batch) -> Tensor:
        return batch["num_words"].sum()

    def metrics(self) -> Mapping[str, float]:
        loss, num_words = 0.0, 0
        sentences: list[Told] = []
        for batch in self.validation_batches():
            logits = self.model(batch)
            loss += self.model.loss(logits, batch).item()
            num_words += int(self.weight(batch))
            sentences += self._told(batch, self.model.decode(logits, batch["num_words"]))
        given, told = ([*each] for each in zip(*sentences, strict=True))
        return {
            "validation_loss": loss / num_words,
            "accuracy": word_accuracy(given, told),
            "span_f1": span_f1(given, told, arguments),
        }

    def _told(self, batch: Batch, paths: Tensor) -> Iterator[Told]:
        """paths: int64 [B, W]"""
        names = [*map(str, self._description.labels or ())]
        columns = [batch[name].tolist() for name in ("given", "start", "num_words")]
        for codes, start, num_words, path in zip(*columns, paths.tolist(), strict=True):
            given = [names[code] for code in codes if code != NO_TAG]
            told = [OUTSIDE] * len(given)
            told[start : start + num_words] = [names[code] for code in path[:num_words]]
            yield Told(given, told)
