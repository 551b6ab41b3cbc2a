"""The client against real replicas over real sockets, and against sockets that misbehave."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from app import inference_client
from app.contract.errors import ServiceError, Unavailable
from app.contract.frames import Answer, pack_answer
from app.contract.inference import Operation
from app.db import workers
from app.db.session import Database, now
from app.db.tables import Row
from app.inference_client import InferenceClient, RoutedModel
from app.inference_client.connection import ConnectionFailed
from app.inference_client.replicas import Replicas
from app.settings import Settings
from app.storage import FolderStore
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.serving.replicas import publish, running, serving

DEADLINE_SECONDS = 20
TOKEN = "token-of-both-sides"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FEATURES = b'{"inputs": [[1, 2, 3, 4]]}'


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("data")
    return Settings(data_dir=folder, internal_token=TOKEN, inference_threads=1, heartbeat_seconds=0.2)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    Row.metadata.drop_all(database.engine)
    Row.metadata.create_all(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def client(database: Database, settings: Settings) -> InferenceClient:
    return InferenceClient(database, settings)


@pytest.fixture(scope="module")
def regressor(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> RoutedModel:
    folder = models.feature_regressor(tmp_path_factory.mktemp("a") / "m")
    return RoutedModel.of(publish(FolderStore(settings.artifacts_dir), folder, "model_regressor"))


@pytest.fixture(scope="module")
def language_model(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> RoutedModel:
    folder = models.language_model(tmp_path_factory.mktemp("b") / "m")
    return RoutedModel.of(publish(FolderStore(settings.artifacts_dir), folder, "model_language"))


@contextmanager
def listed(settings: Settings, database: Database) -> Iterator[str]:
    """A replica whose heartbeat has reached the database."""
    with running(settings) as address:
        wait_until(lambda: address in addresses(database), DEADLINE_SECONDS, "the replica beats")
        yield address


def addresses(database: Database) -> list[str | None]:
    with database.reading() as session:
        return [row.address for row in workers.live(session, "inference", now(session) - timedelta(seconds=60))]


def enlist(database: Database, address: str, replica_id: str = "wrk_other") -> None:
    """The row of a replica that beat once, a moment ago."""
    with database.transaction() as session:
        workers.heartbeat(
            session,
            id=replica_id,
            role="inference",
            queues=[],
            devices=["cpu"],
            address=address,
            loaded=[],
            at=now(session),
        )


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def misbehaving(application: Any) -> Iterator[str]:
    """Another ASGI application in a replica's place."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        with serving(uvicorn.Server(config), listener):
            yield f"127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def in_place_of_a_replica(database: Database, client: InferenceClient, handler: Handler) -> AsyncIterator[None]:
    """A listed address whose connections `handler` answers as it likes; all are closed in the end."""
    handlers: list[asyncio.Task[Any] | None] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        await handler(reader, writer)
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    async with await asyncio.start_server(closing, "127.0.0.1", 0) as server:
        enlist(database, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield
        client.close()
        await asyncio.gather(*(task for task in handlers if task))


async def receive(reader: asyncio.StreamReader) -> bytes:
    """One whole request; nothing where the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def run(scenario: Callable[[], Awaitable[Any]], client: InferenceClient | None = None) -> Any:
    """On an event loop of its own, of the api server's kind; the client's connections are closed in the end."""

    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                return await scenario()
            finally:
                if client is not None:
                    client.close()

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(bounded())


def with_digest(model: RoutedModel, number: int) -> RoutedModel:
    """The same model to a replica; another one to the hash that chooses the replica."""
    return RoutedModel(model.model_id, f"digest-{number}", model.reference_json)


def test_the_answer_comes_as_the_replica_wrote_it(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def scenario() -> bytes:
        return await client.infer(regressor, Operation.PREDICT, FEATURES)

    with listed(settings, database):
        answer = json.loads(run(scenario, client))
    assert answer["model_id"] == "model_regressor"
    assert isinstance(answer["outputs"][0]["value"], float)


def test_one_request_after_another_takes_one_connection(
    database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    connections = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await receive(reader):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async def scenario() -> None:
        async with in_place_of_a_replica(database, client, answering):
            for _ in range(5):
                await client.infer(regressor, Operation.PREDICT, FEATURES)

    run(scenario)
    assert connections == 1


def test_requests_at_once_get_their_own_answers(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def ask(number: int) -> float:
        body = json.dumps({"inputs": [[number, 2, 3, 4]]}).encode()
        return float(json.loads(await client.infer(regressor, Operation.PREDICT, body))["outputs"][0]["value"])

    async def scenario() -> tuple[list[float], list[float]]:
        alone = [await ask(number) for number in range(40)]
        return alone, await asyncio.gather(*(ask(number) for number in range(40)))

    with listed(settings, database):
        alone, together = run(scenario, client)
    assert together == pytest.approx(alone, rel=1e-4)
    assert len(set(alone)) > 10


def test_a_refusal_of_the_replica_is_raised_with_its_code_status_and_places(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def scenario() -> None:
        await client.infer(regressor, Operation.PREDICT, b'{"inputs": [[1, 2]]}')

    with listed(settings, database), pytest.raises(ServiceError) as refusal:
        run(scenario, client)
    error = refusal.value
    assert (error.status, error.code) == (422, "invalid_input")
    assert [field.location for field in error.errors] == ["inputs.0"]
    assert "takes 4 features, and got 2" in error.detail


def test_a_question_that_is_refused_spoils_none_that_is_asked_with_it(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    bodies = [FEATURES, b'{"inputs": [[1, 2]]}', b'{"inputs": 1}', FEATURES]

    async def scenario() -> list[bytes | BaseException]:
        asked = (client.infer(regressor, Operation.PREDICT, body) for body in bodies)
        return await asyncio.gather(*asked, return_exceptions=True)

    with listed(settings, database):
        first, short, shapeless, last = run(scenario, client)
    assert first == last
    assert isinstance(short, ServiceError)
    assert (short.status, short.code, short.errors[0].location) == (422, "invalid_input", "inputs.0")
    assert isinstance(shapeless, ServiceError)
    assert (shapeless.status, shapeless.code, shapeless.errors[0].location) == (422, "validation_failed", "inputs")


def test_without_a_replica_the_client_says_when_to_come_back(client: InferenceClient, regressor: RoutedModel) -> None:
    async def scenario() -> None:
        await client.infer(regressor, Operation.PREDICT, FEATURES)

    with pytest.raises(Unavailable) as refusal:
        run(scenario, client)
    assert (refusal.value.status, refusal.value.code) == (503, "unavailable")
    assert refusal.value.retry_after_seconds


def test_a_dead_replica_costs_no_request_while_another_lives(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    """Of twelve models some belong to the dead one by their hash; all are answered."""

    async def scenario() -> list[bytes]:
        return [await client.infer(with_digest(regressor, number), Operation.PREDICT, FEATURES) for number in range(12)]

    enlist(database, free_address())
    with listed(settings, database):
        assert len(set(run(scenario, client))) == 1


def test_questions_that_a_replica_left_unanswered_go_to_the_next(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    """It answers the first of a frame, and dies."""
    answered = pack_answer(Answer(0, 200, 0, b'"of the dying one"'))

    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/questions " in await receive(reader):
            chunk = b"%x\r\n%b\r\n" % (len(answered), answered)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk)

    async def owner(digest: str) -> str:
        return (await client._replicas.ranked(digest))[0]

    async def scenario() -> list[bytes]:
        async with in_place_of_a_replica(database, client, dying):
            owners = {f"digest-{number}": await owner(f"digest-{number}") for number in range(100)}
            digest = next(digest for digest, address in owners.items() if address != living)
            model = RoutedModel(regressor.model_id, digest, regressor.reference_json)
            return await asyncio.gather(*(client.infer(model, Operation.PREDICT, FEATURES) for _ in range(3)))

    with listed(settings, database) as living:
        first, *others = run(scenario, client)
    assert first == b'"of the dying one"'
    assert [json.loads(other)["model_id"] for other in others] == ["model_regressor"] * 2


def test_only_dead_replicas_are_unavailable(
    database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def scenario() -> None:
        await client.infer(regressor, Operation.PREDICT, FEATURES)

    enlist(database, free_address())
    with pytest.raises(Unavailable, match="do not answer"):
        run(scenario, client)


def test_a_connection_that_the_replica_closed_meanwhile_is_made_anew(
    database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    """The replica closes each connection after its answer without saying so in a header."""
    served = 0

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await receive(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        served += 1

    async def scenario() -> list[bytes]:
        async with in_place_of_a_replica(database, client, forgetful):
            return [await client.infer(regressor, Operation.PREDICT, FEATURES) for _ in range(5)]

    assert run(scenario, client) == [b"{}"] * 5
    assert served == 5


def test_a_replica_that_hangs_is_given_up_once_its_heartbeat_stops(
    settings: Settings,
    database: Database,
    client: InferenceClient,
    regressor: RoutedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inference_client, "LOOK_SECONDS", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client gives up

    async def scenario() -> None:
        async with in_place_of_a_replica(database, client, silent):
            for number in range(6):  # by their hash, some of these belong to the silent one
                await client.infer(with_digest(regressor, number), Operation.PREDICT, FEATURES)

    with listed(settings, database):
        run(scenario, client)


def test_a_token_that_the_replica_refuses_is_not_the_users_401(
    settings: Settings, database: Database, regressor: RoutedModel
) -> None:
    stranger = InferenceClient(database, Settings(data_dir=settings.data_dir, internal_token="another"))

    async def scenario() -> None:
        await stranger.infer(regressor, Operation.PREDICT, FEATURES)

    with listed(settings, database), pytest.raises(Unavailable):
        run(scenario, stranger)


def test_a_stream_arrives_piece_by_piece(
    settings: Settings, database: Database, client: InferenceClient, language_model: RoutedModel
) -> None:
    async def scenario() -> list[bytes]:
        body = b'{"prompt": "the", "parameters": {"max_tokens": 10, "temperature": 0}, "stream": true}'
        return [chunk async for chunk in await client.stream(language_model, body)]

    with listed(settings, database):
        events = b"".join(run(scenario, client)).decode().strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["num_tokens"] == 10
    assert len(events) > 3


def test_a_stream_that_cannot_begin_is_an_error_and_not_a_stream(
    settings: Settings, database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def scenario() -> None:
        await client.stream(regressor, b'{"prompt": "the", "stream": true}')

    with listed(settings, database), pytest.raises(ServiceError, match="does not answer generate") as refusal:
        run(scenario, client)
    assert refusal.value.code == "operation_not_supported"


def test_a_stream_whose_replica_goes_away_does_not_end_in_silence(
    database: Database, client: InferenceClient, language_model: RoutedModel
) -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b'data: {"text": "a"}\n\n', "more_body": True})
        raise RuntimeError("broken")

    async def scenario() -> None:
        chunks = await client.stream(language_model, b"{}")
        assert await anext(chunks) == b'data: {"text": "a"}\n\n'
        with pytest.raises(ConnectionFailed):
            await anext(chunks)

    with misbehaving(breaking) as address:
        enlist(database, address)
        run(scenario, client)


def test_an_answer_that_is_not_understood_is_an_internal_error(
    database: Database, client: InferenceClient, regressor: RoutedModel
) -> None:
    async def strange(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>"})

    async def scenario() -> None:
        await client.infer(regressor, Operation.PREDICT, FEATURES)

    with misbehaving(strange) as address:
        enlist(database, address)
        with pytest.raises(ServiceError) as refusal:
            run(scenario, client)
    assert refusal.value.code == "internal"


def test_a_model_stays_with_its_replica_and_a_leaving_replica_moves_only_its_own(database: Database) -> None:
    for number in range(4):
        enlist(database, f"10.0.0.{number}:1", f"wrk_{number}")
    digests = [f"digest-{number}" for number in range(200)]

    async def owners() -> list[str]:
        replicas = Replicas(database, live_seconds=60)
        return [(await replicas.ranked(digest))[0] for digest in digests]

    before = run(owners)
    assert before == run(owners)
    assert all(before.count(address) > 25 for address in set(before))
    with database.transaction() as session:
        workers.remove(session, "wrk_2")
    after = run(owners)
    assert all(old in (new, "10.0.0.2:1") for old, new in zip(before, after, strict=True))


def test_replicas_are_known_while_the_database_is_away(database: Database, tmp_path: Path) -> None:
    enlist(database, "10.0.0.1:1")
    replicas = Replicas(database, live_seconds=60)

    async def ranked() -> list[str]:
        return await replicas.ranked("digest")

    assert run(ranked) == ["10.0.0.1:1"]
    Row.metadata.drop_all(database.engine)
    replicas._read_at = float("-inf")  # a second passes
    assert run(ranked) == ["10.0.0.1:1"]
