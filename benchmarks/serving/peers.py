"""What a replica is measured against: the same model behind what people take instead, on one torch thread.

python -m benchmarks.serving.peers fastapi|litserve FOLDER PORT float32|bfloat16 [BATCH_SIZE BATCH_SECONDS]
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from app.contract.model_folder import InputKind
from worker.data.tokenizers import begin_token
from worker.export import load_model


class Classifier:
    """A classifier's model folder as a script uses it: one forward pass for all inputs, padded to the longest."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        torch.set_num_threads(1)
        self._loaded = load_model(folder)
        self._loaded.module.to(dtype)
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        with torch.autocast("cpu", self._dtype, enabled=self._dtype != torch.float32):  # a mean of tokens is in float32
            logits = self._loaded.module(self._batch(inputs))
        return [self._told(probabilities) for probabilities in logits.float().softmax(-1).tolist()]

    def _batch(self, inputs: Sequence[Any]) -> dict[str, torch.Tensor]:
        if self._loaded.description.body.input is not InputKind.TEXT:
            return {"inputs": torch.tensor(inputs)}
        tokenizer = self._loaded.tokenizer
        assert tokenizer is not None
        begin = begin_token(tokenizer)
        rows = [torch.tensor([begin, *encoded.ids]) for encoded in tokenizer.encode_batch_fast(list(inputs))]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"tokens": padded, "lengths": torch.tensor([len(row) for row in rows])}

    def _told(self, probabilities: list[float]) -> dict[str, Any]:
        labels = self._loaded.description.labels
        assert labels is not None
        score = max(probabilities)
        scores = dict(zip(map(str, labels), probabilities, strict=True))
        return {"label": labels[probabilities.index(score)], "score": score, "scores": scores}


class Question(BaseModel):
    inputs: list[Any]


def serve_fastapi(folder: Path, port: int, dtype: torch.dtype) -> None:
    """As it is written by hand: a plain function, which FastAPI runs in a thread, and no batches."""
    classifier = Classifier(folder, dtype)
    app = FastAPI()

    @app.post("/predict")
    def predict(question: Question) -> dict[str, Any]:
        return {"outputs": classifier(question.inputs)}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error")


def serve_litserve(folder: Path, port: int, dtype: torch.dtype, batch_size: int, batch_seconds: float) -> None:
    import litserve  # noqa: PLC0415  of the extra `benchmarks`

    from benchmarks.serving.litserve_api import BatchedClassifier, SingleClassifier  # noqa: PLC0415

    if batch_size > 1:
        api = BatchedClassifier(folder, dtype, max_batch_size=batch_size, batch_timeout=batch_seconds)
    else:
        api = SingleClassifier(folder, dtype)
    logging.disable(logging.WARNING)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="error", access_log=False, generate_client_file=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["fastapi", "litserve"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("precision", choices=["float32", "bfloat16"])
    parser.add_argument("batch_size", type=int, nargs="?", default=1)
    parser.add_argument("batch_seconds", type=float, nargs="?", default=0.0)
    given = parser.parse_args()
    dtype: torch.dtype = getattr(torch, given.precision)
    if given.peer == "fastapi":
        serve_fastapi(given.folder, given.port, dtype)
    else:
        serve_litserve(given.folder, given.port, dtype, given.batch_size, given.batch_seconds)


if __name__ == "__main__":
    main()
