"""Trains jobs as a trainer would, in this process, and asks their models as a replica would.

What was trained is kept under a key of all that made it, so that rows share their parents and a run that was broken off
goes on where it was.
"""

import hashlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.contract.checkpoint import MANIFEST_NAME, MODEL_FOLDER, CheckpointManifest, checkpoint_folder_name
from app.contract.messages import Assignment, DatasetInput, FinishedLine, ReportLine, ResolvedLine, TrialLine
from app.contract.model_folder import DESCRIPTION_NAME, ModelDescription
from app.contract.specs import training_spec_adapter
from worker.methods import BUILDERS
from worker.serving.predictors import load_predictor
from worker.training.seed import seed_preparation
from worker.training_run import run_assignment

ROOT = Path(__file__).resolve().parents[2]
#: What decides the numbers that a training gives.
CODE = ("worker", "app/contract", "app/records")
DATASET_ID = f"ds_{'0' * 32}"
INPUTS_A_REQUEST, ROWS_A_BATCH = 200, 64

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """How much is trained. `scale` shortens every training, to see that it starts."""

    name: str
    seeds: tuple[int, ...]
    scale: float = 1.0


FAST = Profile("fast", seeds=(0,))
FULL = Profile("full", seeds=(0, 1, 2))


@dataclass(frozen=True, slots=True)
class Trained:
    """The folder of a model, and what it took: its own steps and seconds behind those of its parents. `learning_rate`
    is what `auto` chose, after `trial_steps`."""

    model: Path
    steps: tuple[int, ...] = ()
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float | None = None
    trial_steps: int = 0

    @property
    def description(self) -> ModelDescription:
        return ModelDescription.model_validate_json((self.model / DESCRIPTION_NAME).read_bytes())


@dataclass(frozen=True, slots=True)
class Bench:
    """One seed of one profile; `folder` is kept between runs."""

    folder: Path
    profile: Profile = FAST
    seed: int = 0

    def steps(self, number: int) -> Json:
        return {"steps": max(2, round(number * self.profile.scale))}

    def epochs(self, number: float) -> Json:
        return {"epochs": number * self.profile.scale}

    def train(
        self, spec: Json, data: DatasetInput, parent: Trained | None = None, validation: DatasetInput | None = None
    ) -> Trained:
        """The job's model, trained now or before."""
        folder = self.folder / "models" / self._key(spec, data, parent, validation)
        if not folder.exists():
            self._train(folder, spec, data, parent, validation)
        facts = json.loads((folder / "trained.json").read_text())
        return Trained(folder / MODEL_FOLDER, **facts | {"steps": tuple(facts["steps"])})

    def untrained(self, spec: Json, data: DatasetInput) -> Trained:
        """The model of a pretraining as it is before its first step: what it knows of the data is their scale."""
        folder = self.folder / "models" / f"{self._key(spec, data, None, None)}-untrained"
        if not folder.exists():
            with self._workplace() as workplace:
                made = Path(workplace) / MODEL_FOLDER
                made.mkdir()
                self._prepared(spec, data, Path(workplace), None, None).export(made)
                _moved(made.parent, folder)
        return Trained(folder / MODEL_FOLDER)

    def judged(self, trained: Trained, method: str, data: DatasetInput) -> Mapping[str, float]:
        """What a fine-tune of the model by that method would tell of these data before its first step."""
        with self._workplace() as workplace:
            spec = {"kind": "finetune", "method": {"type": method}}
            metrics: Mapping[str, float] = self._prepared(spec, data, Path(workplace), trained, data).evaluate()
            return metrics

    def file(self, name: str, content: str, kind: str, columns: dict[str, str] | None = None) -> DatasetInput:
        return self._kept(name, kind, lambda path: path.write_text(content, encoding="utf-8"), columns)

    def lines(self, name: str, records: Sequence[Json], kind: str) -> DatasetInput:
        """As .jsonl"""
        return self.file(f"{name}.jsonl", "".join(json.dumps(record) + "\n" for record in records), kind)

    def arrays(self, name: str, kind: str, **arrays: Any) -> DatasetInput:
        """As .npz"""
        return self._kept(f"{name}.npz", kind, lambda path: np.savez(path, **arrays), None)

    def _kept(
        self, name: str, kind: str, write: Callable[[Path], object], columns: dict[str, str] | None
    ) -> DatasetInput:
        folder = self.folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        write(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path = path.rename(folder / f"{path.stem}-{digest[:12]}{path.suffix}")
        return DatasetInput(path=path, filename=name, kind=kind, columns=columns or {}, sha256=digest)

    def _train(
        self, folder: Path, spec: Json, data: DatasetInput, parent: Trained | None, validation: DatasetInput | None
    ) -> None:
        began = time.perf_counter()
        with self._workplace() as workplace:
            assignment = self._assignment(spec, data, Path(workplace), parent, validation)
            lines: list[ReportLine] = []
            try:
                code = run_assignment(assignment, lines.append, stop=threading.Event())
            finally:
                torch.compiler.reset()  # what one training compiled is of no use to the next
                torch.use_deterministic_algorithms(False)
            if code != 0:
                raise RuntimeError(lines[-1])
            finished = lines[-1]
            assert isinstance(finished, FinishedLine)
            checkpoint = assignment.output_dir / "checkpoints" / checkpoint_folder_name(finished.model_step)
            facts = {
                "steps": [*(parent.steps if parent else ()), finished.step],
                "seconds": (parent.seconds if parent else 0.0) + time.perf_counter() - began,
                "metrics": CheckpointManifest.model_validate_json((checkpoint / MANIFEST_NAME).read_bytes()).metrics,
                "learning_rate": [line.resolved for line in lines if isinstance(line, ResolvedLine)][-1].learning_rate,
                "trial_steps": sum(line.trial.stopped_at_step for line in lines if isinstance(line, TrialLine)),
            }
            (checkpoint / "trained.json").write_text(json.dumps(facts))
            _moved(checkpoint, folder)

    def _prepared(
        self, spec: Json, data: DatasetInput, folder: Path, parent: Trained | None, validation: DatasetInput | None
    ) -> Any:
        assignment = self._assignment(spec, data, folder, parent, validation)
        seed_preparation(self.seed)
        return BUILDERS[assignment.spec.kind, assignment.spec.method.type](assignment, lambda _: None)

    def _assignment(
        self, spec: Json, data: DatasetInput, folder: Path, parent: Trained | None, validation: DatasetInput | None
    ) -> Assignment:
        names = {"dataset": DATASET_ID} | ({"parent": "parent"} if parent else {})
        return Assignment(
            job_id="benchmark",
            attempt=1,
            spec=training_spec_adapter.validate_python(self._seeded(spec) | names),
            dataset=data,
            validation_dataset=validation,
            parent_model=parent.model if parent else None,
            output_dir=folder / "output",
            cache_dir=self.folder / "cache",
        )

    def _seeded(self, spec: Json) -> Json:
        return spec | {"training": spec.get("training", {}) | {"seed": self.seed}}

    def _key(self, spec: Json, data: DatasetInput, parent: Trained | None, validation: DatasetInput | None) -> str:
        made_of = [
            self._seeded(spec),
            [data.sha256, data.kind, data.columns],
            parent and parent.model.parent.name,
            validation and validation.sha256,
            code_digest(),
        ]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]

    def _workplace(self) -> tempfile.TemporaryDirectory[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self.folder, prefix="training-")


@cache
def code_digest(*files: Path) -> str:
    """Of all code that trains and of `files`."""
    paths = [path for room in CODE for path in sorted((ROOT / room).rglob("*.py"))]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*paths, *files)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@torch.inference_mode()
def predict(trained: Trained, inputs: Sequence[Any]) -> list[Json]:
    operation = load_predictor(trained.model).predict
    assert operation is not None
    outputs: list[Json] = []
    for asked in _parts(inputs, INPUTS_A_REQUEST):
        encoded = operation.encode_pre(asked)
        batches = _parts([row.value for row in encoded.rows], ROWS_A_BATCH)
        outputs += operation.encode_post(
            encoded, [result for batch in batches for result in operation.encode_core(batch)]
        )
    return outputs


def accuracy(trained: Trained, inputs: Sequence[Any], labels: Sequence[Any]) -> float:
    outputs = predict(trained, inputs)
    right = [bool(output["label"] == label) for output, label in zip(outputs, labels, strict=True)]
    return sum(right) / len(right)


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _moved(made: Path, folder: Path) -> None:
    """Whole, or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(made / "trainer", ignore_errors=True)
    made.rename(folder)
