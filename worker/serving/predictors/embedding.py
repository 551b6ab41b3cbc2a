"""Embeddings: what a body makes of one example. Legend: B batch, D width."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.models.body import Body
from worker.models.heads import encode_example
from worker.serving.predictors.protocol import Encoded
from worker.serving.predictors.readers import InputReader


class BodyEmbedding:
    """The mean over the tokens of a text, or the encoding of an example (an autoencoder's code)."""

    def __init__(self, body: Body, reader: InputReader) -> None:
        self.limits = reader.limits
        self._body = body
        self._reader = reader

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        rows = self._reader.read_all(inputs)
        return Encoded(rows, num_tokens=self._reader.num_tokens(rows))

    def encode_core(self, values: Sequence[Any]) -> list[torch.Tensor]:
        """-> one vector [D] for each row"""
        return list(encode_example(self._body, self._reader.collate(values)))

    def encode_post(self, encoded: Encoded, results: Sequence[torch.Tensor]) -> list[list[float]]:
        return [vector.tolist() for vector in results]
