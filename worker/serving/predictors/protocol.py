"""What a predictor is: the operations that one model answers. Knows no HTTP, no batching and no method.

An operation is cut in three, so that the work of the processor on text and pixels overlaps the forward passes of
others: `encode_pre` (validate, tokenise) and `encode_post` (shape the answer) run beside them, `encode_core` is one
forward over rows of any callers (after infinity, which serves embeddings so).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor

from app.contract.base import Contract
from app.contract.inference import Operation, Precision
from worker.serving.batcher import BatchLimits, Row
from worker.serving.generation import GenerativeModel


@dataclass(frozen=True, slots=True)
class Encoded:
    """The rows of one request; `context` is what `encode_post` needs beside their results. `num_tokens`: of its texts,
    without those that frame them; 0 where inputs are no texts, and where nobody asks."""

    rows: list[Row]
    context: Any = None
    num_tokens: int = 0


class BatchedOperation(Protocol):
    """`encode_core` never sees an input that `encode_pre` would refuse, so no request can spoil its batch."""

    limits: BatchLimits

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        """Raises InvalidInput, locating each wrong input."""

    def encode_core(self, values: Sequence[Any]) -> Sequence[Any]:
        """One result for each `Row.value`, from one forward pass."""

    def encode_post(self, encoded: Encoded, results: Sequence[Any]) -> list[Any]:
        """One output for each input, ready for JSON."""


@runtime_checkable
class ConfiguredOperation(BatchedOperation, Protocol):
    """An operation that takes `parameters` beside its inputs. What they change is done before and after the forward
    pass, which stays the same for all."""

    parameters: type[Contract]

    def configured(self, parameters: Any) -> Self:
        """The operation as one request asks for it; `parameters` are of that type."""


class SamplingModel(Protocol):
    """What makes examples out of noise rather than text out of a prompt."""

    @property
    def max_count(self) -> int:
        """Samples in one answer."""

    def noise(self, count: int, seed: int | None) -> Tensor:
        """[count, D]; without a seed, another each time."""

    def sample(self, noise: Tensor) -> Tensor:
        """[count, D] -> [count, S], in the shape and scale of the training data."""

    def to_json(self, samples: Tensor) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Predictor:
    """`method` names the model's method in messages; an operation that is None is refused. `precision`: in which the
    large layers compute."""

    method: str
    predict: BatchedOperation | None = None
    embed: BatchedOperation | None = None
    generate: GenerativeModel | SamplingModel | None = None
    precision: Precision = "float32"

    @property
    def operations(self) -> list[Operation]:
        return [operation for operation in Operation if getattr(self, operation) is not None]
