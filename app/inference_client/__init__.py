"""Asks an inference replica. Knows which replicas live and how to reach one; the question and the answer are opaque."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from app.contract.errors import Unavailable
from app.contract.frames import AnswerReader, pack_questions
from app.contract.inference import Loaded, Operation, Unloaded
from app.db.session import Database
from app.inference_client.answers import is_success, remote_error
from app.inference_client.connection import Connection, ConnectionFailed, Head
from app.inference_client.frames import Frame, Frames
from app.inference_client.pool import Pool
from app.inference_client.replicas import Replicas
from app.inference_client.routes import RoutedModel, Routes
from app.settings import Settings
from app.tracing import traces

__all__ = ["InferenceClient", "RoutedModel"]

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: A replica that misses so many heartbeats is dead.
MISSED_HEARTBEATS = 3
ATTEMPTS = 2
ANSWER_SECONDS = 600.0
#: How often a long wait looks whether its replica still lives.
LOOK_SECONDS = 5.0
RETRY_SECONDS = 2


class InferenceClient:
    """Asynchronous; one for a process. Its methods raise the ServiceError that the replica answered, or Unavailable.

    `routes` is the memory of who looks models up.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._replicas = Replicas(database, live_seconds=MISSED_HEARTBEATS * settings.heartbeat_seconds)
        self._pool = Pool()
        self._frames = Frames(self._carry)
        self.routes = Routes()
        token = settings.internal_token
        self._authorization = f"authorization: Bearer {token.get_secret_value()}\r\n" if token else ""

    async def infer(self, model: RoutedModel, operation: Operation, body: bytes) -> bytes:
        """The replica's JSON answer. `body` is the user's JSON object, valid JSON already."""
        if operation is Operation.GENERATE:  # it takes long, and whoever goes away ends it alone
            return await self._asked(model, self._inference_request(model, operation, body))
        return await self._answered(model, lambda address: self._frames.ask(address, model, operation, body))

    async def load(self, model: RoutedModel) -> Loaded:
        """Once the replica that answers for the model holds it in memory."""
        return Loaded.model_validate_json(await self._asked(model, self._request("/load", model.reference_json)))

    async def unload(self, model: RoutedModel) -> list[Unloaded]:
        """What each live replica answers; one that fails now is left out, for it will hold nothing when it is back."""
        request = self._request("/unload", model.reference_json)
        addresses = await self._replicas.ranked(model.digest)
        answers = await asyncio.gather(*(self._unloaded(address, request) for address in addresses))
        return [answer for answer in answers if answer is not None]

    async def stream(self, model: RoutedModel, body: bytes) -> AsyncGenerator[bytes, None]:
        """Server-sent events of a generation. An error before the first is raised here, not by the iterator.

        The iterator raises ConnectionFailed where the replica goes away; closing it tells the replica to stop.
        """
        request = self._inference_request(model, Operation.GENERATE, body)

        async def exchange(address: str) -> tuple[Head, str, Connection]:
            connection = await opening.enter_async_context(self._pool.connection(address))
            connection.send(request)
            return await self._patiently(address, connection.head), address, connection

        async with AsyncExitStack() as opening:
            head, address, connection = await self._attempt(model, exchange)
            if not is_success(head):
                raise remote_error(head, await connection.body())
            return self._chunks(address, connection, opening.pop_all())
        raise AssertionError("an exit stack swallows nothing")

    def close(self) -> None:
        self._pool.close()

    async def _asked(self, model: RoutedModel, request: bytes) -> bytes:
        return await self._answered(model, lambda address: self._exchange(address, request))

    async def _answered(self, model: RoutedModel, exchange: Callable[[str], Awaitable[tuple[Head, bytes]]]) -> bytes:
        head, answer = await self._attempt(model, exchange)
        if not is_success(head):
            raise remote_error(head, answer)
        return answer

    async def _unloaded(self, address: str, request: bytes) -> Unloaded | None:
        try:
            head, answer = await self._exchange(address, request)
        except ConnectionFailed as error:
            logger.warning("Inference replica %s failed: %s", address, error)
            self._replicas.suspect(address)
            return None
        if not is_success(head):
            raise remote_error(head, answer)
        return Unloaded.model_validate_json(answer)

    async def _exchange(self, address: str, request: bytes) -> tuple[Head, bytes]:
        """Raises ConnectionFailed."""
        async with self._pool.connection(address) as connection:
            connection.send(request)
            return await self._patiently(address, connection.answer)

    async def _carry(self, address: str, frame: Frame) -> None:
        """Raises ConnectionFailed. A question alone needs no frame."""
        if len(frame.questions) == 1:
            request = self._inference_request(frame.model, frame.operation, frame.questions[0].body)
            frame.settle_all(*await self._exchange(address, request))
            return
        content = pack_questions(frame.model.reference_json, frame.operation, frame.questions)
        async with self._pool.connection(address) as connection:
            connection.send(self._request("/questions", content))
            head = await self._patiently(address, connection.head)
            if not is_success(head):
                frame.settle_all(head, await self._patiently(address, connection.body))
                return
            reader = AnswerReader()
            while chunk := await self._patiently(address, connection.chunk):
                for answer in reader.read(chunk):
                    frame.settle(answer)

    async def _attempt(self, model: RoutedModel, exchange: Callable[[str], Awaitable[Answer]]) -> Answer:
        """Ask the model's replica; where the connection fails, ask the next one (or the only one, once more).

        Nothing of an answer has been passed on by then, and asking twice changes nothing.
        """
        addresses = await self._replicas.ranked(model.digest)
        if not addresses:
            raise Unavailable("No inference replica is running now.", retry_after_seconds=RETRY_SECONDS)
        for address in (addresses * ATTEMPTS)[:ATTEMPTS]:
            try:
                return await exchange(address)
            except ConnectionFailed as error:
                logger.warning("Inference replica %s failed: %s", address, error)
                self._replicas.suspect(address)
        raise Unavailable("The inference replicas do not answer now.", retry_after_seconds=RETRY_SECONDS)

    async def _patiently(self, address: str, wait: Callable[[], Awaitable[Answer]]) -> Answer:
        """Wait as long as the replica lives: one that hangs stops its heartbeat and is given up."""
        deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    return await wait()
            except TimeoutError:
                if not await self._replicas.lives(address):
                    raise ConnectionFailed("its heartbeat has stopped") from None
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"No answer within {ANSWER_SECONDS:.0f} s.", retry_after_seconds=60) from None

    def _inference_request(self, model: RoutedModel, operation: Operation, body: bytes) -> bytes:
        content = b'{"model":%b,"operation":"%b","body":%b}' % (model.reference_json, operation.encode(), body)
        return self._request("/infer", content)

    def _request(self, path: str, content: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: inference\r\ncontent-type: application/json\r\n"
            f"{_trace()}{self._authorization}content-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def _chunks(self, address: str, connection: Connection, stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
        async with stack:
            while chunk := await self._patiently(address, connection.chunk):
                yield chunk


def _trace() -> str:
    """For the replica's spans to stand in the request's."""
    traceparent = traces.current()
    return f"traceparent: {traceparent}\r\n" if traceparent else ""
