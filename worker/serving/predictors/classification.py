"""Classification: the label, its probability, and those of all labels. Legend: B batch, L labels."""

from collections.abc import Sequence
from typing import Any

from app.contract.model_folder import Label, label_key
from worker.export import LoadedModel
from worker.models.heads import Classifier
from worker.serving.predictors.embedding import BodyEmbedding
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import InputReader, reader_of


class Classification:
    """`module` gives logits, float [B, L]."""

    def __init__(self, module: Classifier, reader: InputReader, labels: Sequence[Label]) -> None:
        self.limits = reader.limits
        self._module = module
        self._reader = reader
        self._labels = labels
        self._keys = [label_key(label) for label in labels]

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        return Encoded(self._reader.read_all(inputs))

    def encode_core(self, values: Sequence[Any]) -> list[list[float]]:
        """-> probabilities [B, L]"""
        logits = self._module(self._reader.collate(values))
        probabilities: list[list[float]] = logits.double().softmax(-1).tolist()
        return probabilities

    def encode_post(self, encoded: Encoded, results: Sequence[list[float]]) -> list[dict[str, Any]]:
        return [self._output(probabilities) for probabilities in results]

    def _output(self, probabilities: list[float]) -> dict[str, Any]:
        score = max(probabilities)
        return {
            "label": self._labels[probabilities.index(score)],
            "score": score,
            "scores": dict(zip(self._keys, probabilities, strict=True)),
        }


def classification(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Classifier)
    assert loaded.description.labels is not None
    reader = reader_of(loaded)
    return Predictor(
        method=loaded.description.method,
        predict=Classification(loaded.module, reader, loaded.description.labels),
        embed=BodyEmbedding(loaded.module.body, reader),
    )
