"""The inference process: `uvicorn worker.serving.asgi:app`. `POST /infer`, `/questions`, `/load` and `/unload`,
`GET /healthz` and `/metrics`, and a heartbeat.

Stateless but for its caches: any number of replicas may run, and the api chooses among those that say they live.
"""

import asyncio
import hmac
import logging
import os
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TypeVar

import torch
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from app.contract.base import Contract
from app.contract.errors import ErrorCode, InvalidRequest, NotFound, ServiceError, Unauthenticated
from app.contract.frames import Answer, FrameHead, unpack_questions
from app.contract.inference import InferenceRequest, Loaded, ModelReference, Operation, Precision, Unloaded
from app.db.ids import new_id
from app.db.session import Database
from app.logging import configure_logging
from app.settings import Settings
from app.storage import open_store
from app.tracing import traces
from worker.cache import Cache
from worker.local_copies import LocalCopies
from worker.serving import http
from worker.serving.admission import Admission
from worker.serving.device import Device
from worker.serving.generation import CacheMemory, Piece
from worker.serving.heartbeat import Heartbeat
from worker.serving.loader import Loader
from worker.serving.metrics import Outcome, ReplicaMetrics
from worker.serving.model_files import model_files
from worker.serving.pins import PinKeeper
from worker.serving.precision import fastest_precision
from worker.serving.predictors import load_predictor
from worker.serving.served import ServedModel
from worker.serving.together import answers

logger = logging.getLogger(__name__)

Asked = TypeVar("Asked", bound=Contract)

MIB = 1 << 20
#: Beside the user's body, a request carries the model's reference.
REFERENCE_BYTES = MIB
MAX_REQUESTS = 1_024
MAX_REQUEST_BYTES = 256 * MIB
#: A replica is on the list as soon as it has loaded what is pinned, and after this at the latest.
PRELOAD_SECONDS = 60.0
#: For the database to hear of a load before its caller does.
NEWS_SECONDS = 2.0
METRICS_TYPE = CONTENT_TYPE_LATEST.encode()
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class Replica:
    """What the process holds while it runs; made at start-up, on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.token = _required_token(settings)
        self.on_loopback = settings.inference_host in LOOPBACK_HOSTS
        self.max_body_bytes = settings.max_json_bytes + REFERENCE_BYTES
        self.metrics = ReplicaMetrics(lambda: self.loader.held_bytes, settings.inference_cache_bytes)
        self.requests = Admission(MAX_REQUESTS, self.metrics.refused)
        self.request_bytes = Admission(MAX_REQUEST_BYTES, self.metrics.refused)
        self.loader = Loader(self._load, settings.inference_cache_bytes, self.metrics)
        self._num_threads = settings.inference_threads or max(1, (os.cpu_count() or 1) // 2)
        self._copies = LocalCopies(open_store(settings), Cache(settings.cache_dir), settings.cache_bytes)
        self._device = Device(self._num_threads)
        asked = settings.inference_precision
        self.precision: Precision = fastest_precision() if asked == "auto" else asked
        self._cache_memory = CacheMemory(self._device, settings.generation_cache_bytes)
        self._helpers = ThreadPoolExecutor(2, thread_name_prefix="helper")
        self._database = Database(settings.resolved_database_url)
        self._id = new_id("wrk")
        self._pins = PinKeeper(self._database, self.loader, settings.heartbeat_seconds)
        self._heartbeat = Heartbeat(
            self._database,
            replica_id=self._id,
            address=settings.inference_address or _own_address(settings),
            devices=["cpu"],
            loaded=lambda: self.loader.loaded,
            cache_bytes=settings.inference_cache_bytes,
            interval_seconds=settings.heartbeat_seconds,
        )

    def start(self) -> None:
        torch.set_num_threads(self._num_threads)
        self._life = asyncio.create_task(self._live())

    async def stop(self) -> None:
        self._life.cancel()
        await asyncio.wait({self._life})
        await asyncio.to_thread(self._end)

    async def load(self, reference: ModelReference) -> Loaded:
        """Raises what `Loader.use` raises."""
        was_loaded, began_at = reference.digest in self.loader.loaded, perf_counter()
        async with self.loader.use(reference) as model:
            seconds, precision = 0.0 if was_loaded else perf_counter() - began_at, model.precision
        await self._tell_news()
        return Loaded(model_id=reference.model_id, replica_id=self._id, load_seconds=seconds, precision=precision)

    async def unload(self, reference: ModelReference) -> Unloaded:
        was_loaded = self.loader.unload(reference.digest)
        await self._tell_news()
        return Unloaded(replica_id=self._id, was_loaded=was_loaded)

    async def _live(self) -> None:
        """Nobody sends requests here before the first heartbeat, so none waits for a pinned model."""
        preload = asyncio.create_task(self._pins.look())
        try:
            await asyncio.wait({preload}, timeout=PRELOAD_SECONDS)
            self._heartbeat.start()
            await preload
            await self._pins.run()
        finally:
            preload.cancel()

    async def _tell_news(self) -> None:
        """Whoever looks next sees what has changed, unless the database keeps us waiting."""
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(self._heartbeat.beat))}, timeout=NEWS_SECONDS)

    def _end(self) -> None:
        self._heartbeat.stop()
        self.loader.close()
        self._helpers.shutdown(wait=False, cancel_futures=True)
        self._device.close()
        self._database.dispose()

    def _load(self, reference: ModelReference) -> ServedModel:
        """Fetch, verify and load; in a thread of the loader's."""
        with model_files(self._copies, reference) as folder:
            predictor = load_predictor(folder, self.precision)
        return ServedModel(
            predictor, self._device, self._helpers, self._cache_memory, self.metrics.model(reference.model_id)
        )


@dataclass(slots=True)
class Application:
    """The ASGI application. Settings are read when the server starts, not on import."""

    settings: Settings | None = None
    replica: Replica | None = None

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)

    async def _live(self, receive: http.Receive, send: http.Send) -> None:
        await receive()
        configure_logging()
        traces.start("inference")
        try:
            self.replica = Replica(self.settings or Settings())
            self.replica.start()
        except Exception as error:
            logger.exception("The inference process cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.replica.stop()
        await asyncio.to_thread(traces.stop)
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Every error ends here, as the body that the api turns into its own error."""
        assert self.replica is not None, "the server must run the lifespan"
        try:
            await self._route(self.replica, scope, receive, send)
        except http.ClientGone:
            pass
        except Exception as error:  # noqa: BLE001
            await http.send_error(send, _told(error))

    async def _route(self, replica: Replica, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/healthz":
                await http.send_bytes(send, to_json({"status": "ok", "precision": replica.precision}))
            case "POST", "/infer":
                _authenticate(scope, replica.token)
                with traces.span("infer", parent=_traceparent(scope)), replica.requests.hold(1):
                    body = await http.read_body(receive, replica.max_body_bytes)
                    with replica.request_bytes.hold(len(body)):
                        await http.until_disconnected(receive, _infer(replica, body, send))
            case "POST", "/questions":
                _authenticate(scope, replica.token)
                frame = await http.read_body(receive, replica.max_body_bytes)
                await http.until_disconnected(receive, _answer_together(replica, frame, send))
            case "POST", "/load" | "/unload" as path:
                _authenticate(scope, replica.token)
                reference = _parsed(ModelReference, await http.read_body(receive, REFERENCE_BYTES))
                answer = await (replica.load if path == "/load" else replica.unload)(reference)
                await http.send_bytes(send, answer.model_dump_json().encode())
            case "GET", "/metrics":
                if not replica.on_loopback:
                    _authenticate(scope, replica.token)
                await http.send_bytes(send, await asyncio.to_thread(replica.metrics.text), content_type=METRICS_TYPE)
            case _:
                raise NotFound(f"There is no {scope['method']} {scope['path']} here.")


app = Application()


async def _infer(replica: Replica, body: bytes, send: http.Send) -> None:
    request = _parsed(InferenceRequest, body)
    if request.operation is Operation.GENERATE and request.body.get("stream") is True:
        await _stream(replica, request, len(body), send)
    else:
        await http.send_bytes(send, await _answer(replica, request, len(body)))


async def _stream(replica: Replica, request: InferenceRequest, size_bytes: int, send: http.Send) -> None:
    traces.note(model_id=request.model.model_id, operation=request.operation.value)
    with replica.metrics.request(request.model.model_id, request.operation) as outcome:
        async with (
            replica.loader.use(request.model) as model,
            aclosing(model.pieces(await model.prepare(request, size_bytes))) as pieces,
        ):
            first = await anext(pieces)  # an overload is told as a status, not inside a stream
            await http.send_stream(send, _events(first, pieces, outcome))


async def _answer(replica: Replica, request: InferenceRequest, size_bytes: int) -> bytes:
    traces.note(model_id=request.model.model_id, operation=request.operation.value)
    with replica.metrics.request(request.model.model_id, request.operation):
        async with replica.loader.use(request.model) as model:
            return await model.answer(request, size_bytes)


async def _answer_together(replica: Replica, frame: bytes, send: http.Send) -> None:
    """Each question is admitted, answered or refused by itself."""
    try:
        head, bodies = unpack_questions(frame)
    except ValueError as error:
        raise InvalidRequest(f"This is no frame of questions: {error}.") from None

    async def answering(number: int, body: bytes) -> Answer:
        try:
            with (
                traces.span("infer", parent=head.traces[number]),
                replica.requests.hold(1),
                replica.request_bytes.hold(len(body)),
            ):
                return Answer(number, HTTPStatus.OK, 0, await _answer(replica, _question(head, body), len(body)))
        except Exception as error:  # noqa: BLE001  its neighbours are to be answered
            refusal = _told(error)
            return Answer(number, refusal.status, refusal.retry_after_seconds or 0, http.error_body(refusal))

    async with aclosing(answers(bodies, answering)) as pieces:
        await http.send_stream(send, pieces, http.BINARY_TYPE)


def _question(head: FrameHead, body: bytes) -> InferenceRequest:
    try:
        return InferenceRequest(model=head.model, operation=head.operation, body=from_json(body))
    except ValueError:
        raise InvalidRequest("The body is no JSON object.") from None


def _told(error: Exception) -> ServiceError:
    """What the caller hears of it; the log hears of what is no refusal."""
    if isinstance(error, ServiceError):
        return error
    logger.error("An inference request failed", exc_info=error)
    return ServiceError("The model failed on this request.")


async def _events(first: Piece, others: AsyncGenerator[Piece, None], outcome: Outcome) -> AsyncGenerator[bytes, None]:
    """A stream that breaks says so: a silent end would pass for success."""
    try:
        yield _event(first)
        async for piece in others:
            yield _event(piece)
    except Exception:
        logger.exception("A stream broke")
        outcome.value = ErrorCode.INTERNAL
        yield http.server_sent_error(ServiceError("The generation broke off."))


def _event(piece: Piece) -> bytes:
    return http.server_sent({"text": "", **piece.model_dump(exclude_unset=True)})


def _parsed(contract: type[Asked], body: bytes) -> Asked:
    try:
        return contract.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequest(f"This is no {contract.__name__}: {error.errors()[0]['msg']}.") from None


def _authenticate(scope: http.Scope, token: bytes | None) -> None:
    if token is None:
        return
    given = _header(scope, b"authorization") or b""
    if not hmac.compare_digest(given, b"Bearer " + token):
        raise Unauthenticated("The internal token is missing or wrong.", code=ErrorCode.UNAUTHENTICATED)


def _traceparent(scope: http.Scope) -> str | None:
    """Of the request that the api answers by asking us."""
    given = _header(scope, b"traceparent")
    return None if given is None else given.decode("latin-1")


def _header(scope: http.Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)


def _required_token(settings: Settings) -> bytes | None:
    """Only on loopback may a replica go without."""
    if settings.internal_token is not None:
        return settings.internal_token.get_secret_value().encode()
    if settings.inference_host not in LOOPBACK_HOSTS:
        raise ValueError(f"PRETUNE_INTERNAL_TOKEN must be set where a replica listens on {settings.inference_host}")
    return None


def _own_address(settings: Settings) -> str:
    """A replica that listens on every interface is reached by its host's name."""
    host = socket.gethostname() if settings.inference_host in {"0.0.0.0", "::"} else settings.inference_host  # noqa: S104
    return f"{host}:{settings.inference_port}"
