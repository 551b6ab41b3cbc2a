"""What methods share that learn from separate examples: vectors, images or texts, each with its answer or with none.

Legend: B batch, T tokens, S the shape of one example.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Generic, TypeVar

from tokenizers import Tokenizer
from torch import Tensor, nn

from app.contract import sizes
from app.contract.messages import Assignment
from app.contract.model_folder import BodyDescription, Granularity, InputKind, Label, ModelDescription, Pooling
from app.contract.specs import FinetuneSpec, PretrainSpec
from app.contract.specs.architectures import ConvArchitecture, MlpArchitecture
from app.contract.specs.training import Augmentation, TrainingOptions
from worker.data.arrays import read_array_data
from worker.data.augmentation import Augmenter
from worker.data.examples import Answers, DataSet, Subset
from worker.data.groups import read_groups
from worker.data.order import Epochs, Indices
from worker.data.redrawn import RedrawnSteps
from worker.data.splits import Split, fold, split
from worker.data.steps import ExampleSteps
from worker.data.tokenizers import frame_tokens, stand_in_token
from worker.export import export_model
from worker.models.conv import ConvBody
from worker.models.mlp import MlpBody
from worker.models.standardization import Standardization
from worker.training.basic_method import BasicMethod
from worker.training.protocols import Batch, Log, StepSource
from worker.training.single_loss import SingleLossMethod

Model = TypeVar("Model", bound=nn.Module)

#: Numbers of a chunk that standardisation is fitted to.
_FIT_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Sides:
    training: Subset
    validation: Subset


class LearnsFromExamples(BasicMethod, Generic[Model]):
    """A batch has `inputs` [B, S], or `tokens` int64 [B, T] and `lengths` int64 [B]; and its answers, by name."""

    def __init__(
        self,
        model: Model,
        description: ModelDescription,
        sides: Sides,
        options: TrainingOptions,
        tokenizer: Tokenizer | None = None,
        *,
        epochs: Epochs | None = None,
    ) -> None:
        """`epochs`, in places within the training side: where one is anything but each example once."""
        num_micro_batches = options.gradient_accumulation_steps
        steps: StepSource = ExampleSteps(
            sides.training, options.decided_batch_size, num_micro_batches, options.seed, epochs
        )
        if options.augmentation is not None:
            steps = RedrawnSteps(steps, augmenter(options.augmentation, model, tokenizer), options.seed)
        super().__init__(model, steps, num_validation_examples=len(sides.validation))
        self.model = model
        self._validation = sides.validation
        self._evaluation_batch_size = options.decided_batch_size // num_micro_batches
        self._description = description
        self._tokenizer = tokenizer

    def validation_batches(self) -> Iterator[Batch]:
        for batch in self._validation.batches(self._evaluation_batch_size):
            yield {name: tensor.to(self.compute.device) for name, tensor in batch.items()}

    def describe(self) -> ModelDescription:
        return self._description

    def export(self, folder: Path) -> None:
        export_model(folder, self.module, self._description, self._tokenizer)


class ExampleMethod(LearnsFromExamples[Model], SingleLossMethod):
    """By one loss: most of them do."""

    def weight(self, batch: Batch) -> Tensor | int:
        return len(next(iter(batch.values())))


def augmenter(spec: Augmentation, model: nn.Module, tokenizer: Tokenizer | None) -> Augmenter:
    """Noise is measured by what the body takes for the data's own deviation."""
    body = model.body
    deviations = body.standardization.std.clone() if isinstance(body, MlpBody | ConvBody) else None
    if tokenizer is None:
        return Augmenter(spec, deviations)
    return Augmenter(spec, deviations, stand_in_token(tokenizer), frame_tokens(tokenizer))


def parted(
    assignment: Assignment,
    training: DataSet,
    validation: DataSet | None,
    answers: Callable[[DataSet], Answers] = lambda _: {},
    strata: Indices | None = None,
) -> Sides:
    """What is trained on, and what validates it: a data set of its own, or a part cut off the training data.
    Raises BadData where they cannot be cut as asked."""
    if validation is not None:
        return Sides(training.all_with(answers(training)), validation.all_with(answers(validation)))
    cut = _cut(assignment, training, strata)
    answered = answers(training)
    return Sides(Subset(training.examples, cut.train, answered), Subset(training.examples, cut.validation, answered))


def _cut(assignment: Assignment, data: DataSet, strata: Indices | None) -> Split:
    options = assignment.spec.training
    if options.validation_fold is None:
        return split(data.keys, strata, options.validation_fraction, options.seed)
    count, index, column = (getattr(options.validation_fold, name) for name in ("count", "index", "group"))
    groups = None if column is None else read_groups(assignment.dataset, column)
    return fold(data.keys, strata, groups, count=count, index=index, seed=options.seed)


def pretraining_data(
    assignment: Assignment, log: Log, example_shape: tuple[int, ...] | None = None
) -> tuple[DataSet, DataSet | None]:
    """Vectors or images, and those of the validation data set, if one was named. Raises BadData where they are not of
    `example_shape`, that of a parent."""
    training = read_array_data(assignment.dataset, example_shape)
    log(f"Read {len(training.examples):,} examples.")
    if assignment.validation_dataset is None:
        return training, None
    return training, read_array_data(assignment.validation_dataset, training.examples.shape)


def pretrained_body(
    architecture: MlpArchitecture | ConvArchitecture, data: DataSet, code_size: int | None = None
) -> BodyDescription:
    """Of a body that reads these vectors or images."""
    shape = data.examples.shape
    assert shape is not None
    return BodyDescription(
        architecture=architecture,
        input=InputKind.FEATURES if len(shape) == 1 else InputKind.IMAGE,
        granularity=Granularity.EXAMPLE,
        input_shape=shape,
        code_size=code_size,
    )


def fit_inputs(standardization: Standardization, training: Subset) -> None:
    num_rows = max(1, _FIT_NUMBERS // prod(training.examples.shape or ()))
    standardization.fit(batch["inputs"] for batch in training.batches(num_rows))


def described(
    spec: PretrainSpec | FinetuneSpec,
    body: BodyDescription,
    *,
    labels: tuple[Label, ...] | None = None,
    target_size: int | None = None,
    variational: bool = False,
    crf: bool = False,
    pooling: Pooling = "mean",
) -> ModelDescription:
    num_outputs = len(labels) if labels is not None else body.code_size if variational else target_size
    return ModelDescription(
        kind=spec.kind,
        method=spec.method.type,
        body=body,
        labels=labels,
        target_size=target_size,
        variational=variational,
        crf=crf,
        pooling=pooling,
        num_parameters=sizes.num_parameters((spec.kind, spec.method.type), body, num_outputs, crf=crf, pooling=pooling),
    )
