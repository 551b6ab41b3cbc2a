"""Whatever spec the schema allows: it trains two steps, or it is refused with a reason before it is queued."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.contract.compatibility import METHOD_TRAITS, MethodKey, dataset_fits
from app.contract.errors import ErrorCode
from app.contract.job import Fault
from app.contract.messages import Assignment, DatasetInput, FailedLine, FinishedLine, ReportLine
from app.contract.model_folder import DESCRIPTION_NAME, ModelDescription
from app.contract.specs import training_spec_adapter
from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from app.storage import FolderStore
from tests.contract import (
    autoencoder,
    classification,
    datasets,
    gan,
    instructions,
    language_model,
    masked_language_model,
    regression,
    semantic_roles,
    tagged_words,
    word2vec,
)
from tests.contract.any_spec import specs
from tests.contract.runs import prepared
from tests.support.local_client import local_client
from tests.worker.serving.replicas import register
from worker.training_run import run_assignment

pytestmark = pytest.mark.slow

EXAMPLES = 12
#: What only the training can find out, and tells as the user's to mend.
FOUND_IN_TRAINING = {ErrorCode.LOSS_NOT_FINITE, ErrorCode.BAD_DATA}

DATASETS: tuple[Callable[[Path], DatasetInput], ...] = (
    lambda folder: language_model.text_dataset(folder, language_model.manual(1_000)),
    datasets.labeled_text,
    datasets.scored_text,
    tagged_words.tagged_tokens,
    semantic_roles.semantic_roles,
    lambda folder: instructions.conversations(folder, instructions.taught()),
    datasets.vectors,
    lambda folder: datasets.vectors(folder, "labeled_vectors"),
    lambda folder: datasets.vectors(folder, "scored_vectors"),
    datasets.images,
    datasets.labeled_images,
)
PARENTS: dict[str, Callable[[Path], Assignment]] = {
    "transformer": language_model.assignment,
    "lstm": lambda folder: language_model.assignment(folder, language_model.LSTM),
    "encoder": masked_language_model.assignment,
    "words": word2vec.assignment,
    "autoencoder-of-vectors": autoencoder.of_vectors,
    "autoencoder-of-images": autoencoder.of_images,
    "gan-of-vectors": gan.of_vectors,
    "gan-of-images": gan.of_images,
    "regression": regression.pretrained,
    "classifier": classification.of_text_from_a_masked_language_model,
}


@dataclass(frozen=True, slots=True)
class Registered:
    folder: Path
    description: ModelDescription


@dataclass(frozen=True, slots=True)
class World:
    """A service with a data set of each kind and a parent of each sort, by id, and where they lie."""

    client: TestClient
    datasets: dict[str, DatasetInput]
    parents: dict[str, Registered]
    folder: Path

    def starts(self, method: MethodKey) -> list[tuple[str, str | None]]:
        """Data sets that the method takes, beside parents that it can start from."""
        traits = METHOD_TRAITS[method]
        if method[0] == "pretrain":
            return [(data, None) for kind in traits.dataset_kinds.values() for data in self._taught(kind)]
        return [
            (data, name)
            for name, parent in self.parents.items()
            if (body := parent.description.body).input in traits.dataset_kinds
            and body.granularity in traits.granularities
            and (traits.parent_methods is None or parent.description.method in traits.parent_methods)
            for data in self._taught(traits.dataset_kinds[body.input])
        ]

    def _taught(self, kind: str) -> list[str]:
        return [dataset_id for dataset_id, data in self.datasets.items() if dataset_fits(kind, data.kind)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("any_spec")
    shutil.copy(sqlite_template, folder / "pretune.db")
    settings = Settings(data_dir=folder, broker_url="redis://127.0.0.1:9")  # nothing is queued here
    database = Database(settings.resolved_database_url)
    with local_client(create_app(settings)) as client:
        made = {_uploaded(client, data): data for data in (make(folder) for make in DATASETS)}
        parents = {
            name: _registered(database, FolderStore(settings.artifacts_dir), name, make(folder / name))
            for name, make in PARENTS.items()
        }
        yield World(client, made, parents, folder)
    database.dispose()


def _uploaded(client: TestClient, data: DatasetInput) -> str:
    answer = client.post(
        "/v1/datasets", files={"file": (data.filename, data.path.read_bytes())}, data={"kind": data.kind}
    )
    assert answer.status_code == 201, answer.text
    dataset_id: str = answer.json()["id"]
    return dataset_id


def _registered(database: Database, store: FolderStore, name: str, assignment: Assignment) -> Registered:
    """A model as it is before its first step, under the id `name`."""
    folder = assignment.output_dir / "registered"
    folder.mkdir(parents=True)
    prepared(assignment).export(folder)
    register(database, store, folder, name)
    description = ModelDescription.model_validate_json((folder / DESCRIPTION_NAME).read_bytes())
    return Registered(folder, description)


@pytest.mark.parametrize(("kind", "method"), METHOD_TRAITS)
def test_it_trains_or_is_refused_with_a_reason(world: World, kind: str, method: str) -> None:
    trained = 0
    starts = st.sampled_from(world.starts((kind, method)))

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a failure is told as it was met: shrinking would train for minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(starts.flatmap(lambda start: specs(kind, method, *start)))
    def judge(spec: dict[str, Any]) -> None:
        nonlocal trained
        answer = world.client.post("/v1/jobs/estimate", json=spec)
        if answer.status_code == 200:
            trained += _trains(world, spec)
        else:
            assert answer.status_code == 422, answer.text
            assert all(error["location"] and error["message"] for error in answer.json()["errors"]), answer.text
            assert answer.json()["errors"], answer.text

    judge()
    assert trained, "every spec was refused: nothing was tried"


def _trains(world: World, spec: dict[str, Any]) -> bool:
    """Whether it came to its end."""
    validation = spec["training"].get("validation_dataset")
    lines: list[ReportLine] = []
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        assignment = Assignment(
            job_id="job_1",
            attempt=1,
            spec=training_spec_adapter.validate_python(spec),
            dataset=world.datasets[spec["dataset"]],
            validation_dataset=world.datasets[validation] if validation else None,
            parent_model=world.parents[spec["parent"]].folder if "parent" in spec else None,
            output_dir=Path(folder) / "output",
            cache_dir=world.folder / "cache",
        )
        run_assignment(assignment, lines.append, stop=threading.Event())
    last = lines[-1]
    if isinstance(last, FailedLine):
        assert last.error.code in FOUND_IN_TRAINING, last.error
        assert last.error.fault is Fault.USER, last.error
        return False
    assert isinstance(last, FinishedLine)
    return True
