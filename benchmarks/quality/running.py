"""Runs jobs as a trainer would, in this process, and asks their models as a replica would."""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from app.contract.checkpoint import MODEL_FOLDER, checkpoint_folder_name
from app.contract.messages import Assignment, DatasetInput, FinishedLine, ReportLine
from app.contract.specs import job_spec_adapter
from worker.methods import BUILDERS
from worker.serving.predictors import load_predictor
from worker.training.seed import seed_preparation
from worker.training_run import run_assignment

DATASET_ID = "ds_" + "0" * 32
INPUTS_A_BATCH = 200

Json = dict[str, Any]


def dataset(path: Path, kind: str, columns: dict[str, str] | None = None) -> DatasetInput:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return DatasetInput(path=path, filename=path.name, kind=kind, columns=columns or {}, sha256=digest)


def train(spec: Json, data: DatasetInput, folder: Path, parent: Path | None = None) -> Path:
    """-> the folder of the job's model"""
    assignment = _assignment(spec, data, folder, parent)
    lines: list[ReportLine] = []
    assert run_assignment(assignment, lines.append, stop=threading.Event()) == 0, lines[-1]
    finished = lines[-1]
    assert isinstance(finished, FinishedLine)
    return assignment.output_dir / "checkpoints" / checkpoint_folder_name(finished.model_step) / MODEL_FOLDER


def untrained(spec: Json, data: DatasetInput, folder: Path) -> Path:
    """The model of a pretraining as it is before its first step: what it knows of the data is their scale."""
    assignment = _assignment(spec, data, folder, None)
    seed_preparation(assignment.spec.training.seed)
    model = folder / MODEL_FOLDER
    model.mkdir(parents=True)
    BUILDERS[assignment.spec.kind, assignment.spec.method.type](assignment, lambda _: None).export(model)
    return model


def seeded(spec: Json, seed: int) -> Json:
    return spec | {"training": spec.get("training", {}) | {"seed": seed}}


@torch.inference_mode()
def predict(model: Path, inputs: Sequence[Any]) -> list[Json]:
    operation = load_predictor(model).predict
    assert operation is not None
    outputs: list[Json] = []
    for start in range(0, len(inputs), INPUTS_A_BATCH):
        encoded = operation.encode_pre(inputs[start : start + INPUTS_A_BATCH])
        outputs += operation.encode_post(encoded, operation.encode_core([row.value for row in encoded.rows]))
    return outputs


def accuracy(model: Path, inputs: Sequence[Any], labels: Sequence[Any]) -> float:
    outputs = predict(model, inputs)
    right = [bool(output["label"] == label) for output, label in zip(outputs, labels, strict=True)]
    return sum(right) / len(right)


def _assignment(spec: Json, data: DatasetInput, folder: Path, parent: Path | None) -> Assignment:
    names = {"dataset": DATASET_ID} | ({"parent": "parent"} if parent else {})
    return Assignment(
        job_id="benchmark",
        attempt=1,
        spec=job_spec_adapter.validate_python(spec | names),
        dataset=data,
        parent_model=parent,
        output_dir=folder / "output",
        cache_dir=folder.parent / "cache",
    )
