"""Inference replicas that are killed while they serve, and such as come and go beside others."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.contract.specs.architectures import TransformerArchitecture
from app.db import workers as worker_rows
from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.settings import Settings
from app.storage import FolderStore
from pretune import Client, Conflict
from tests.support.api_server import ApiServer
from tests.support.replica_server import ReplicaServer
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.serving.replicas import register

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql")]

DEADLINE_SECONDS = 60
NUM_MODELS = 8
FEATURES = {"inputs": [[1, 2, 3, 4]]}
#: So long that a stream is caught in the middle.
LONG_TEXT = models.TEXT_BODY | {
    "architecture": TransformerArchitecture(num_layers=2, width=32, num_heads=4, context_length=8_192)
}

StartReplica = Callable[[], ReplicaServer]


@pytest.fixture
def start_replica(
    no_process_stays: None, settings: Settings, database: Database, tmp_path: Path
) -> Iterator[StartReplica]:
    """One that the api can find."""
    started: list[ReplicaServer] = []

    def start() -> ReplicaServer:
        replica = ReplicaServer(settings.model_copy(update={"inference_threads": 1}), tmp_path)
        replica.start()
        started.append(replica)
        wait_until(lambda: replica.address in addresses(database), DEADLINE_SECONDS, "the replica beats")
        return replica

    yield start
    for replica in started:
        replica.kill()


@pytest.fixture
def http(api_server: ApiServer) -> Iterator[httpx2.Client]:
    api_server.start()
    api_server.wait_until_ready()
    with api_server.client() as http:
        yield http


@pytest.fixture
def regressors(database: Database, store: FolderStore, tmp_path: Path) -> list[str]:
    folders = [models.feature_regressor(tmp_path / f"m{seed}", seed) for seed in range(NUM_MODELS)]
    return [register(database, store, folder, f"model_{folder.name}").model_id for folder in folders]


def addresses(database: Database) -> set[str | None]:
    with database.reading() as session:
        return {row.address for row in worker_rows.live(session, "inference", now(session) - timedelta(seconds=2))}


def address_of(database: Database, replica_id: str) -> str:
    with database.reading() as session:
        return str(session.get_one(WorkerRow, replica_id).address)


def load_of(http: httpx2.Client, model: str) -> dict[str, Any] | None:
    """Nothing while no replica answers."""
    answer = http.post(f"/v1/models/{model}/load")
    return answer.json() if answer.status_code == 200 else None


def home_of(http: httpx2.Client, model: str) -> str:
    """The id of the replica that answers for it."""
    answer = load_of(http, model)
    assert answer is not None, "no replica answers"
    return str(answer["replica_id"])


class Crowd:
    """Clients that ask all models over and over; `refused` is whatever was no answer."""

    def __init__(self, http: httpx2.Client, asked: list[str]) -> None:
        self._http = http
        self._models = asked
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(4)
        self.answered = 0
        self.refused: list[str] = []

    def __enter__(self) -> "Crowd":
        for offset in range(4):
            self._threads.submit(self._ask, offset)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self._threads.shutdown()

    def wait_for_more(self, number: int) -> None:
        wanted = self.answered + number
        wait_until(lambda: self.answered >= wanted, DEADLINE_SECONDS, "the crowd is answered")

    def _ask(self, offset: int) -> None:
        while not self._stopping.is_set():
            for number in range(len(self._models)):
                model = self._models[(number + offset) % len(self._models)]
                answer = self._http.post(f"/v1/models/{model}/predict", json=FEATURES)
                if answer.status_code == 200:
                    self.answered += 1
                else:
                    self.refused.append(answer.text)


def test_a_killed_replica_costs_no_prediction_while_another_lives(
    http: httpx2.Client, start_replica: StartReplica, regressors: list[str]
) -> None:
    """30. Those under way are asked again of the other one: nothing of their answers had been passed on."""
    doomed = start_replica()
    start_replica()
    wait_until(lambda: len({home_of(http, model) for model in regressors}) == 2, DEADLINE_SECONDS, "both are asked")
    with Crowd(http, regressors) as crowd:
        crowd.wait_for_more(100)
        doomed.kill()
        crowd.wait_for_more(200)
    assert crowd.refused == []
    assert len({home_of(http, model) for model in regressors}) == 1


def test_a_stream_whose_replica_is_killed_ends_with_an_error_and_the_next_goes_elsewhere(
    http: httpx2.Client, start_replica: StartReplica, database: Database, store: FolderStore, tmp_path: Path
) -> None:
    """30. Half a text cannot be taken back: it is told that it broke off."""
    folder = models.write_model(tmp_path / "m", "pretrain", "causal_language_model", LONG_TEXT)
    writer = register(database, store, folder, "model_writer").model_id
    replicas = {replica.address: replica for replica in (start_replica(), start_replica())}
    home = home_of(http, writer)
    body = {"prompt": "the", "stream": True, "parameters": {"max_tokens": 8_000, "seed": 1}}
    with http.stream("POST", f"/v1/models/{writer}/generate", json=body) as answer:
        lines = answer.iter_lines()
        assert any(line.startswith("data: ") for line in lines)
        replicas[address_of(database, home)].kill()
        *_, event, data, _ = lines
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "unavailable"
    assert home_of(http, writer) != home


def test_a_killed_replica_that_comes_back_has_its_pinned_models_again(
    http: httpx2.Client, start_replica: StartReplica, regressors: list[str]
) -> None:
    """30. With no other replica beside it, requests are told meanwhile when to come again."""
    replica = start_replica()
    with Client(str(http.base_url)) as client:
        pinned = [client.models.get(model).pin() for model in regressors[:2]]
    assert [model.pinned for model in pinned] == [True, True]
    replica.kill()
    refusal = http.post(f"/v1/models/{regressors[0]}/predict", json=FEATURES)
    assert (refusal.status_code, refusal.json()["code"]) == (503, "unavailable")
    assert refusal.headers["Retry-After"]
    replica.start()
    wait_until(lambda: load_of(http, regressors[0]), DEADLINE_SECONDS, "it is back")
    waits = [(load_of(http, model) or {})["load_seconds"] > 0 for model in regressors[:3]]
    assert waits == [False, False, True]
    with Client(str(http.base_url)) as client:
        first = client.models.get(regressors[0])
        with pytest.raises(Conflict, match="Unpin it first"):
            first.unload()
        first.unpin()
        assert first.unload().unloaded_from == first.loaded_on
        assert first.load().load_seconds > 0


def test_a_second_replica_takes_its_share_and_gives_it_back_when_it_ends(
    http: httpx2.Client, start_replica: StartReplica, regressors: list[str]
) -> None:
    """31. Whoever asks meanwhile notices nothing."""
    start_replica()
    with Crowd(http, regressors) as crowd:
        crowd.wait_for_more(100)
        [first] = {home_of(http, model) for model in regressors}
        second = start_replica()
        wait_until(lambda: {home_of(http, model) for model in regressors} > {first}, DEADLINE_SECONDS, "it is asked")
        crowd.wait_for_more(100)
        second.end()
        crowd.wait_for_more(100)
    assert crowd.refused == []
    assert {home_of(http, model) for model in regressors} == {first}
