"""The parent of a fine-tune: its body, and what the body reads."""

from dataclasses import dataclass
from typing import Self

from tokenizers import Tokenizer
from torch import nn

from app.contract.messages import Assignment, DatasetInput
from app.contract.model_folder import BodyDescription
from app.contract.specs.architectures import TextArchitecture
from worker.data.answered_text import read_answered_text
from worker.data.arrays import read_array_data
from worker.data.examples import DataSet
from worker.export import load_model
from worker.models.body import Body
from worker.training.protocols import Log


@dataclass(frozen=True, slots=True)
class Parent:
    """`module` is the parent's whole; `body` the part of it that a fine-tune inherits, scaling of inputs included."""

    module: nn.Module
    body: Body
    description: BodyDescription
    tokenizer: Tokenizer | None

    @classmethod
    def of(cls, assignment: Assignment) -> Self:
        assert assignment.parent_model is not None, "a fine-tune has a parent"
        loaded = load_model(assignment.parent_model)
        body = loaded.module.body
        assert isinstance(body, Body)
        return cls(loaded.module, body, loaded.description.body, loaded.tokenizer)

    def data(self, assignment: Assignment, log: Log) -> tuple[DataSet, DataSet | None]:
        """The data set as this body reads it, and the validation data set, if one was named. Raises BadData."""
        validation = assignment.validation_dataset
        return (
            self._read(assignment.dataset, assignment, log),
            None if validation is None else self._read(validation, assignment, log),
        )

    def _read(self, dataset: DatasetInput, assignment: Assignment, log: Log) -> DataSet:
        if self.tokenizer is None:
            return read_array_data(dataset, self.description.input_shape)
        shape = self.description.architecture
        assert isinstance(shape, TextArchitecture)
        return read_answered_text(dataset, self.tokenizer, shape.context_length, assignment.cache_dir, log)
