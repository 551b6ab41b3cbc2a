"""Fine-tuning of a language model to answer, by next-token prediction in conversations: the supervised step of Ouyang
et al. 2022 (section 3.5). What the assistant says is told; what else is said is only read.

Legend: B batch, T tokens, K tokens to be told.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from app.contract.messages import Assignment
from app.contract.model_folder import ModelDescription
from app.contract.specs import FinetuneSpec
from app.contract.specs.architectures import TextArchitecture
from app.contract.specs.training import TrainingOptions
from worker.data.chat import ChatTemplate, template_for
from worker.data.conversations import ConversationReader
from worker.export import export_model, load_model
from worker.methods.example_method import ExampleMethod, Sides, described, parted
from worker.models.language_model import CausalLanguageModel
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "InstructionTuningMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    assert assignment.parent_model is not None, "a fine-tune has a parent"
    parent = load_model(assignment.parent_model)
    body, tokenizer = parent.description.body, parent.tokenizer
    assert isinstance(parent.module, CausalLanguageModel)
    assert isinstance(body.architecture, TextArchitecture)
    assert tokenizer is not None
    template = ChatTemplate(parent.chat_template or template_for(tokenizer), tokenizer)
    reader = ConversationReader(template, body.architecture.context_length, log)
    validation = assignment.validation_dataset
    sides = parted(assignment, reader.read(assignment.dataset), None if validation is None else reader.read(validation))
    description = described(spec, body)
    return InstructionTuningMethod(parent.module.train(), description, sides, spec.training, template)


class InstructionTuningMethod(ExampleMethod[CausalLanguageModel]):
    """The loss is the mean negative log-likelihood of a token that the assistant says, the end token included, in
    nats."""

    def __init__(
        self,
        model: CausalLanguageModel,
        description: ModelDescription,
        sides: Sides,
        options: TrainingOptions,
        template: ChatTemplate,
    ) -> None:
        super().__init__(model, description, sides, options)
        self._template = template

    def total(self, batch: Batch) -> Tensor:
        """batch: as `ConversationExamples.gather` gives it"""
        return self.model.loss_at(batch["tokens"], batch["places"], batch["targets"])

    def weight(self, batch: Batch) -> int:
        return len(batch["targets"])

    def metrics(self) -> Mapping[str, float]:
        nats, count = 0.0, 0
        for batch in self.validation_batches():
            nats += self.total(batch).item()
            count += self.weight(batch)
        return {"validation_loss": nats / count}

    def export(self, folder: Path) -> None:
        export_model(folder, self.module, self._description, self._template.tokenizer, self._template.source)
