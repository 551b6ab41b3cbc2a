"""What a pretraining starts from: a new model, or all of a parent that is taught further."""

from dataclasses import dataclass
from typing import Self

from tokenizers import Tokenizer
from torch import nn

from app.contract.messages import Assignment
from app.contract.model_folder import BodyDescription, ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.architectures import ConvArchitecture, MlpArchitecture
from worker.export import load_model
from worker.methods.example_method import Sides, described, fit_inputs, parted, pretrained_body, pretraining_data
from worker.models.building import build_module
from worker.models.conv import ConvBody
from worker.models.mlp import MlpBody
from worker.training.protocols import Log


@dataclass(frozen=True, slots=True)
class Start:
    """`description` is of the model that comes out, whose form training does not change."""

    module: nn.Module
    description: ModelDescription
    tokenizer: Tokenizer | None = None

    @classmethod
    def new(
        cls,
        spec: PretrainSpec,
        body: BodyDescription,
        tokenizer: Tokenizer | None = None,
        *,
        variational: bool = False,
    ) -> Self:
        """With fresh weights."""
        description = described(spec, body, variational=variational)
        return cls(build_module(description), description, tokenizer)

    @classmethod
    def continued(cls, assignment: Assignment) -> Self:
        """With all weights of the parent, whatever a body is put beneath; its tokenizer, its scaling of inputs."""
        assert assignment.parent_model is not None, "a fine-tune has a parent"
        parent = load_model(assignment.parent_model)
        theirs = parent.description
        description = described(assignment.spec, theirs.body, variational=theirs.variational)
        return cls(parent.module.train(), description, parent.tokenizer)

    @property
    def text_tokenizer(self) -> Tokenizer:
        assert self.tokenizer is not None, "what reads text has a tokenizer"
        return self.tokenizer


def new_among_examples(
    assignment: Assignment,
    spec: PretrainSpec,
    architecture: MlpArchitecture | ConvArchitecture,
    code_size: int,
    log: Log,
    *,
    variational: bool = False,
) -> tuple[Start, Sides]:
    """A new model of vectors or images, which it scales by those that it is to learn from."""
    data, validation_data = pretraining_data(assignment, log)
    sides = parted(assignment, data, validation_data)
    start = Start.new(spec, pretrained_body(architecture, data, code_size), variational=variational)
    assert isinstance(start.module.body, MlpBody | ConvBody)
    fit_inputs(start.module.body.standardization, sides.training)
    return start, sides


def continued_among_examples(assignment: Assignment, log: Log) -> tuple[Start, Sides]:
    """A parent, and examples of the shape that it reads."""
    start = Start.continued(assignment)
    data, validation_data = pretraining_data(assignment, log, start.description.body.input_shape)
    return start, parted(assignment, data, validation_data)
