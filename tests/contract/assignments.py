"""Assignments of tiny jobs, and untrained parents for those that need one."""

from pathlib import Path
from typing import Any

from app.contract.messages import Assignment, DatasetInput
from app.contract.specs import training_spec_adapter
from worker.methods import BUILDERS
from worker.training.seed import seed_preparation

DATASET_ID = "ds_" + "0" * 32

TRAINING: dict[str, Any] = {
    "duration": {"steps": 30},
    "batch_size": 16,
    "gradient_accumulation_steps": 2,
    "optimizer": {"type": "adamw", "learning_rate": 1e-2},
    "schedule": {"type": "cosine", "warmup_steps": 3},
    "validation_fraction": 0.2,
    "seed": 7,
}


def pretraining(
    folder: Path, dataset: DatasetInput, method: dict[str, Any], *, learning_rate: float = 1e-2, **training: Any
) -> Assignment:
    optimizer = {"type": "adamw", "learning_rate": learning_rate, "weight_decay": 0.0}
    options = TRAINING | {"optimizer": optimizer} | training
    return _assignment(folder, dataset, {"kind": "pretrain", "method": method, "training": options})


def finetuning(
    folder: Path,
    dataset: DatasetInput,
    parent: Assignment,
    method: dict[str, Any],
    *,
    strategy: dict[str, Any] | None = None,
    learning_rate: float = 1e-2,
    **training: Any,
) -> Assignment:
    """From the parent as it is before its first step."""
    model = folder / "parent_model"
    model.mkdir(exist_ok=True)
    seed_preparation(parent.spec.training.seed)
    BUILDERS[parent.spec.kind, parent.spec.method.type](parent, lambda _: None).export(model)
    return finetuning_of(model, folder, dataset, method, strategy=strategy, learning_rate=learning_rate, **training)


def finetuning_of(
    model: Path,
    folder: Path,
    dataset: DatasetInput,
    method: dict[str, Any],
    *,
    strategy: dict[str, Any] | None = None,
    learning_rate: float = 1e-2,
    **training: Any,
) -> Assignment:
    """From a model's folder."""
    options = TRAINING | {"optimizer": {"type": "adamw", "learning_rate": learning_rate}} | training
    spec = {"kind": "finetune", "parent": "model_1", "method": method, "strategy": strategy or {"type": "full"}}
    return _assignment(folder, dataset, spec | {"training": options}).model_copy(update={"parent_model": model})


def _assignment(folder: Path, dataset: DatasetInput, spec: dict[str, Any]) -> Assignment:
    return Assignment(
        job_id="job_1",
        attempt=1,
        spec=training_spec_adapter.validate_python({"dataset": DATASET_ID, "training": TRAINING} | spec),
        dataset=dataset,
        output_dir=folder / "output",
        cache_dir=folder / "cache",
    )
