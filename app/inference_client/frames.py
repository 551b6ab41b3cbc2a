"""Lets questions to one model that are asked within one turn of the event loop travel together: by itself, each would
cost as much as all of them. Knows no connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.contract.frames import Answer, Question
from app.contract.inference import Operation
from app.inference_client.connection import ConnectionFailed, Head
from app.inference_client.routes import RoutedModel
from app.tracing import traces

#: A body that is longer travels by itself, and a frame that would become longer departs.
MAX_BYTES = 256 << 10


@dataclass(eq=False, slots=True)
class Frame:
    """Questions of one operation to one model, and who waits for their answers."""

    model: RoutedModel
    operation: Operation
    questions: list[Question] = field(default_factory=list)
    size_bytes: int = 0
    _waiting: list["asyncio.Future[tuple[Head, bytes]]"] = field(default_factory=list)

    def add(self, body: bytes) -> "asyncio.Future[tuple[Head, bytes]]":
        self.questions.append(Question(body, traces.current()))
        self.size_bytes += len(body)
        self._waiting.append(asyncio.get_running_loop().create_future())
        return self._waiting[-1]

    def settle(self, answer: Answer) -> None:
        headers = {"retry-after": str(answer.retry_after_seconds)} if answer.retry_after_seconds else {}
        _give(self._waiting[answer.number], (Head(answer.status, headers), answer.content))

    def settle_all(self, head: Head, content: bytes) -> None:
        for future in self._waiting:
            _give(future, (head, content))

    def fail(self, error: Exception) -> None:
        """Whoever has no answer yet."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    @property
    def is_settled(self) -> bool:
        return all(future.done() for future in self._waiting)


class Frames:
    """`exchange` sends a frame to an address and settles it; it may raise ConnectionFailed. Lives on one event loop."""

    def __init__(self, exchange: Callable[[str, Frame], Awaitable[None]]) -> None:
        self._exchange = exchange
        self._open: dict[tuple[str, str, Operation], Frame] = {}
        self._tasks: dict[Frame, asyncio.Task[None]] = {}

    async def ask(self, address: str, model: RoutedModel, operation: Operation, body: bytes) -> tuple[Head, bytes]:
        """What the replica answers to this question. Raises ConnectionFailed."""
        frame = self._frame(address, model, operation, len(body))
        try:
            return await frame.add(body)
        except asyncio.CancelledError:
            if frame.is_settled and (task := self._tasks.get(frame)):
                task.cancel()  # nobody waits any more: the replica stops computing
            raise

    def _frame(self, address: str, model: RoutedModel, operation: Operation, num_bytes: int) -> Frame:
        key = (address, model.model_id, operation)
        frame = self._open.get(key)
        if frame is None or frame.size_bytes + num_bytes > MAX_BYTES:
            frame = self._open[key] = Frame(model, operation)
            asyncio.get_running_loop().call_soon(self._depart, key, frame)
        return frame

    def _depart(self, key: tuple[str, str, Operation], frame: Frame) -> None:
        if self._open.get(key) is frame:
            del self._open[key]
        self._tasks[frame] = asyncio.create_task(self._run(key[0], frame))

    async def _run(self, address: str, frame: Frame) -> None:
        try:
            await self._exchange(address, frame)
            frame.fail(ConnectionFailed("an answer is missing"))
        except Exception as error:  # noqa: BLE001  theirs who wait for it
            frame.fail(error)
        finally:
            del self._tasks[frame]


def _give(future: "asyncio.Future[tuple[Head, bytes]]", answer: tuple[Head, bytes]) -> None:
    if not future.done():  # its caller may have gone
        future.set_result(answer)
