"""Fine-tuning by semantic roles: who did what to whom, for a predicate that is given.

Legend: B batch, W words of a row, L roles.
"""

from collections.abc import Mapping

from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs import FinetuneSpec
from app.contract.specs.methods import SemanticRoleLabeling
from app.contract.tags import arguments
from worker.data.propositions import RoleReader
from worker.data.words import SubWords
from worker.methods.example_method import ExampleMethod, described, parted
from worker.methods.finetune.parent import Parent
from worker.methods.tagging import Tags, span_f1, whole_roles, word_accuracy
from worker.models.role_labeler import RoleLabeler
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "SemanticRoleLabelingMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    assert isinstance(spec.method, SemanticRoleLabeling)
    parent = Parent.of(assignment)
    assert parent.tokenizer is not None
    reader = RoleReader.taught_by(assignment.dataset, log)
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
        names = [*map(str, self._description.labels or ())]
        sentences: list[tuple[Tags, Tags]] = []
        for batch in self.validation_batches():
            logits = self.model(batch)
            loss += self.model.loss(logits, batch).item()
            num_words += int(self.weight(batch))
            sentences += whole_roles(batch, self.model.decode(logits, batch["num_words"]), names)
        given, told = ([*each] for each in zip(*sentences, strict=True))
        return {
            "validation_loss": loss / num_words,
            "accuracy": word_accuracy(given, told),
            "span_f1": span_f1(given, told, arguments),
        }
