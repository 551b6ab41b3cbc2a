"""How to train: duration, optimizer, schedule, validation, checkpoints. The same for every method.

Fields that may be `"auto"` are decided once, by the first attempt, and told in the job's `resolved`. Where numbers are
asked of options, `app.contract.auto.settled` has put them there.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.contract.base import Contract, PlainText

DATASET_ID_PATTERN = r"^ds_[0-9a-f]{32}$"
Count = Annotated[int, Field(ge=1, le=10**12)]
Auto = Literal["auto"]
LARGEST_RATE = 100.0
LARGEST_BATCH = 1_048_576
LearningRate = Annotated[
    Annotated[float, Field(gt=0.0, le=LARGEST_RATE)] | Auto,
    Field(description="Of the steps after the warm-up. auto: short trials before the first step choose it."),
]
#: What of a running mean of gradients stays in a step.
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class Duration(Contract):
    """A stretch of training in exactly one unit: optimizer steps, passes over the data, or tokens."""

    steps: Count | None = None
    epochs: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    tokens: Count | None = None

    @model_validator(mode="after")
    def _exactly_one_unit(self) -> Self:
        given = [name for name in ("steps", "epochs", "tokens") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of steps, epochs, tokens; got {', '.join(given) or 'none'}")
        return self


class _Optimizer(Contract):
    type: str
    learning_rate: LearningRate

    @property
    def decided_rate(self) -> float:
        assert self.learning_rate != "auto", "options are settled before a number is asked of them"
        return self.learning_rate


class AdamW(_Optimizer):
    """Decoupled weight decay (Loshchilov and Hutter 2019)."""

    type: Literal["adamw"] = "adamw"
    learning_rate: LearningRate = 1e-3
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.1


class Adam(_Optimizer):
    """Kingma and Ba 2015."""

    type: Literal["adam"] = "adam"
    learning_rate: LearningRate = 1e-3
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0


class Sgd(_Optimizer):
    type: Literal["sgd"] = "sgd"
    learning_rate: LearningRate = 1e-2
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0


Optimizer = Annotated[AdamW | Adam | Sgd, Field(discriminator="type")]


class Schedule(Contract):
    """The learning rate over steps: linear warm-up to the optimizer's rate, then the shape named by `type`."""

    type: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    final_fraction: Annotated[
        float, Field(ge=0.0, le=1.0, description="Last rate as a fraction of the peak (linear, cosine).")
    ] = 0.1


class EarlyStopping(Contract):
    """Stop after `patience` evaluations in a row that fail to lower validation loss by more than `min_delta`."""

    patience: Annotated[int, Field(ge=1, le=10_000)] = 5
    min_delta: Annotated[float, Field(ge=0.0)] = 0.0


class WeightAverage(Contract):
    """An exponential moving average of the weights (Polyak and Juditsky 1992 for the plain mean). Evaluations and the
    model take the average; training goes on from the weights themselves. In step t, from 0, the decay is at most
    (1 + t) / (10 + t)."""

    decay: Annotated[
        float, Field(gt=0.0, lt=1.0, description="What of the average stays in a step; it spans about 1 / (1 - decay).")
    ] = 0.999


class Augmentation(Contract):
    """What is done to examples in training, by chance and anew whenever one comes; never in validation. Null: not done.
    Each is for certain inputs and methods, which `GET /v1/methods` tells."""

    mixup_alpha: Annotated[float, Field(gt=0.0, le=100.0)] | None = Field(
        default=None,
        description="Vectors or images are mixed in pairs and their answers with them, in shares drawn from "
        "Beta(alpha, alpha) (Zhang et al. 2018). 0.2 is usual, 1 takes all shares alike.",
    )
    noise_std: Annotated[float, Field(gt=0.0, le=100.0)] | None = Field(
        default=None,
        description="Of Gaussian noise added to vectors or images, where the data's own deviation is 1 (Bishop 1995).",
    )
    shift_pixels: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None,
        description="Images are moved by up to so many pixels each way, black where nothing moves in (He et al. 2016).",
    )
    crop_area: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Images are cut to a part of at least this share of their area, and scaled back (Szegedy et al. "
        "2015).",
    )
    token_dropout: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="How likely a token of a text is left out (Iyyer et al. 2015); where words have tags, it reads as "
        "a mask instead, or where there is none as unknown or as padding (Gal and Ghahramani 2016).",
    )


class ValidationFold(Contract):
    """One of `count` parts of the data set, which validates while the others train: over all of them, every example
    validates once (k-fold cross-validation, Stone 1974). The parts are drawn by the seed, labels are spread evenly, and
    duplicates stay together; a stream of text is cut into even stretches."""

    count: Annotated[int, Field(ge=2, le=100)]
    index: Annotated[int, Field(ge=0, le=99, description="From 0.")]
    group: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="A column of the file (.csv, .jsonl or .parquet): records with the same value of it stay together.",
    )

    @model_validator(mode="after")
    def _index_is_of_count(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"index {self.index} is none of {self.count} folds: give 0 to {self.count - 1}")
        return self


class TrainingOptions(Contract):
    duration: Duration | Auto = Field(
        default=Duration(epochs=3.0),
        description="auto: early stopping ends it, after four times the method's default duration at the latest.",
    )
    batch_size: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | Auto = Field(
        default=32,
        description="Examples in one optimizer step, all micro-batches together. auto: short trials before the first "
        "step choose it.",
    )
    optimizer: Optimizer = AdamW()
    schedule: Schedule = Schedule()
    gradient_clip_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    gradient_accumulation_steps: Annotated[
        int, Field(ge=1, le=65_536, description="Micro-batches that one step is cut into; divides batch_size.")
    ] = 1
    activation_checkpointing: bool = Field(
        default=False,
        description="Keeps of each block of a Transformer only what it reads, and computes the rest again in the "
        "backward pass (Chen et al. 2016): much less memory for a third more time, and the same weights.",
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto"] | bool = "auto"
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    validation_dataset: Annotated[str, Field(pattern=DATASET_ID_PATTERN)] | None = None
    validation_fold: ValidationFold | None = Field(default=None, description="In place of validation_fraction.")
    evaluate_every: Duration | None = Field(default=None, description="Default: ten times over the whole duration.")
    checkpoint_every: Duration | None = Field(default=None, description="Default: with each evaluation.")
    keep_checkpoints: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="The newest ones. Kept besides: the best so far, those that became models, and those that a "
            "fine-tune names.",
        ),
    ] = 3
    early_stopping: EarlyStopping | None = None
    weight_average: WeightAverage | None = None
    augmentation: Augmentation | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @property
    def decided_batch_size(self) -> int:
        assert self.batch_size != "auto", "options are settled before a number is asked of them"
        return self.batch_size

    @property
    def decided_duration(self) -> Duration:
        assert self.duration != "auto", "options are settled before a number is asked of them"
        return self.duration

    @model_validator(mode="after")
    def _accumulation_divides_batch(self) -> Self:
        if self.batch_size != "auto" and self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by "
                f"gradient_accumulation_steps {self.gradient_accumulation_steps}"
            )
        return self

    @model_validator(mode="after")
    def _one_thing_validates(self) -> Self:
        if self.validation_fold is not None and self.validation_dataset is not None:
            raise ValueError(
                f"validation_fold {self.validation_fold.index} of {self.validation_fold.count} and validation_dataset "
                f"{self.validation_dataset} are both given, and one thing validates: leave one of them out"
            )
        return self

    @property
    def held_back(self) -> float:
        """The share of the data set that validates."""
        if self.validation_dataset is not None:
            return 0.0
        return self.validation_fraction if self.validation_fold is None else 1 / self.validation_fold.count
