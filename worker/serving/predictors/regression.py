"""Regression: a number, or a list of them, in the scale of the training data. Legend: B batch, K targets."""

from collections.abc import Sequence
from typing import Any

from worker.export import LoadedModel
from worker.models.heads import Regressor
from worker.serving.predictors.embedding import BodyEmbedding
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import InputReader, reader_of


class Regression:
    """`module` gives values, float [B, K]; it undoes the normalisation of its targets itself."""

    def __init__(self, module: Regressor, reader: InputReader) -> None:
        self.limits = reader.limits
        self._module = module
        self._reader = reader

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        return Encoded(self._reader.read_all(inputs))

    def encode_core(self, values: Sequence[Any]) -> list[list[float]]:
        """-> [B, K]"""
        predicted: list[list[float]] = self._module(self._reader.collate(values)).tolist()
        return predicted

    def encode_post(self, encoded: Encoded, results: Sequence[list[float]]) -> list[dict[str, Any]]:
        return [{"value": values[0] if len(values) == 1 else values} for values in results]


def regression(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Regressor)
    reader = reader_of(loaded)
    return Predictor(
        method=loaded.description.method,
        predict=Regression(loaded.module, reader),
        embed=BodyEmbedding(loaded.module.body, reader),
    )
