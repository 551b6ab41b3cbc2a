"""One tiny job a method, on real records: what the contract suite runs over. A new method adds a file and a line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from app.contract.compatibility import MethodKey
from app.contract.messages import Assignment
from tests.contract import language_model

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Case:
    """`assignment` writes what the job needs into a folder. `outputs`: one row an example of a batch.

    `examples`: the examples of a batch one by one, each as it would be alone.
    """

    assignment: Callable[[Path], Assignment]
    outputs: Callable[[Any, Batch], Tensor] = lambda module, batch: module(batch)
    examples: Callable[[Batch], list[Batch]] = lambda batch: [
        {name: tensor[row : row + 1] for name, tensor in batch.items()}
        for row in range(len(next(iter(batch.values()))))
    ]


CASES: Mapping[MethodKey, Case] = {
    ("pretrain", "causal_language_model"): Case(
        language_model.assignment, lambda module, batch: module(batch["tokens"])
    ),
}
