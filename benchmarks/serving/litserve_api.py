"""LitServe's side of the comparison. Its worker is another process, which finds these classes by import."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from litserve import LitAPI

from benchmarks.serving.peers import Classifier


class SingleClassifier(LitAPI):
    """One request at a time."""

    def __init__(self, folder: Path, dtype: torch.dtype, **options: Any) -> None:
        super().__init__(**options)
        self._folder, self._dtype = folder, dtype

    def setup(self, device: str) -> None:
        self._classifier = Classifier(self._folder, self._dtype)

    def decode_request(self, request: dict[str, Any]) -> Any:
        [value] = request["inputs"]
        return value

    def predict(self, value: Any) -> Any:
        return self._classifier([value])[0]

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return {"outputs": [output]}


class BatchedClassifier(SingleClassifier):
    """As many requests as arrive in LitServe's time."""

    def batch(self, inputs: Sequence[Any]) -> list[Any]:
        return list(inputs)

    def predict(self, value: Sequence[Any]) -> list[dict[str, Any]]:
        return self._classifier(value)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output
