"""Questions that are asked at once travel together; what befalls one of them befalls no other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.contract.frames import Answer, AnswerReader, Question, pack_answer, pack_questions, unpack_questions
from app.contract.inference import ModelReference, Operation
from app.inference_client.connection import ConnectionFailed, Head
from app.inference_client.frames import MAX_BYTES, Frame, Frames
from app.inference_client.routes import RoutedModel
from worker.serving.together import answers

MODEL = RoutedModel.of(ModelReference(model_id="model_1", digest="0" * 64, artifact_prefix="a", files=()))
ANSWERS = (Answer(1, 200, 0, b"{}"), Answer(0, 429, 7, b'{"code": "overloaded"}'), Answer(2, 200, 0, b""))


def packed(*bodies: bytes) -> bytes:
    return pack_questions(MODEL.reference_json, Operation.PREDICT, [Question(body, None) for body in bodies])


def asked(frames: Frames, body: bytes, model: RoutedModel = MODEL) -> "asyncio.Task[tuple[Head, bytes]]":
    return asyncio.ensure_future(frames.ask("10.0.0.1:1", model, Operation.PREDICT, body))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_a_frame_holds_the_model_the_operation_and_the_bodies_as_they_came() -> None:
    questions = [Question(b'{"inputs": []}', "00-1-2-01"), Question(b"", None), Question("{\u00e4}".encode(), None)]
    head, bodies = unpack_questions(pack_questions(MODEL.reference_json, Operation.EMBED, questions))
    assert (head.model.model_id, head.operation) == ("model_1", Operation.EMBED)
    assert list(map(Question, bodies, head.traces)) == questions


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0\x02{}",
        b"\xff\xff\xff\xff{}",
        packed(),
        packed(b"{}")[:-1],
        packed(b"{}") + b"x",
        packed(b"{}{}", b"").replace(b"[4,0]", b"[5,-1]"),
        packed(b"{}", b"{}").replace(b"[null,null]", b"[     null]"),
    ],
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"^its? "):
        unpack_questions(frame)


@pytest.mark.parametrize("size", [1, 13, 14, 1000])
def test_answers_are_read_from_pieces_of_any_size(size: int) -> None:
    content, reader = b"".join(map(pack_answer, ANSWERS)), AnswerReader()
    pieces = [content[begin : begin + size] for begin in range(0, len(content), size)]
    assert tuple(answer for piece in pieces for answer in reader.read(piece)) == ANSWERS


def test_questions_of_one_turn_travel_together_and_those_of_the_next_do_not() -> None:
    sent: list[list[bytes]] = []

    async def exchange(_address: str, frame: Frame) -> None:
        sent.append([body for body, _ in frame.questions])
        for number, (body, _) in reversed(list(enumerate(frame.questions))):
            frame.settle(Answer(number, 200, 0, body.upper()))

    async def scenario() -> None:
        frames = Frames(exchange)
        other = RoutedModel("model_2", MODEL.digest, MODEL.reference_json)
        answered = await asyncio.gather(asked(frames, b"a"), asked(frames, b"b"), asked(frames, b"c", other))
        assert [content for _, content in answered] == [b"A", b"B", b"C"]
        assert (await asked(frames, b"d"))[1] == b"D"
        assert sent == [[b"a", b"b"], [b"c"], [b"d"]]

    run(scenario)


def test_a_frame_that_is_full_departs_without_what_comes_next() -> None:
    sent: list[list[int]] = []

    async def exchange(_address: str, frame: Frame) -> None:
        sent.append([len(body) for body, _ in frame.questions])
        frame.settle_all(Head(200, {}), b"{}")

    async def scenario() -> None:
        frames = Frames(exchange)
        sizes = [MAX_BYTES - 1, 1, 1, 3 * MAX_BYTES, 2]
        await asyncio.gather(*(asked(frames, b"x" * size) for size in sizes))
        assert sent == [[MAX_BYTES - 1, 1], [1], [3 * MAX_BYTES], [2]]

    run(scenario)


def test_who_has_an_answer_keeps_it_when_the_connection_breaks() -> None:
    async def exchange(_address: str, frame: Frame) -> None:
        frame.settle(Answer(1, 200, 0, b"kept"))
        raise ConnectionFailed("it broke")

    async def scenario() -> None:
        frames = Frames(exchange)
        lost, kept = await asyncio.gather(asked(frames, b"a"), asked(frames, b"b"), return_exceptions=True)
        assert isinstance(lost, ConnectionFailed)
        assert kept == (Head(200, {}), b"kept")

    run(scenario)


def test_a_question_without_an_answer_fails_rather_than_waits() -> None:
    async def exchange(_address: str, frame: Frame) -> None:
        frame.settle(Answer(0, 200, 0, b""))

    async def scenario() -> None:
        frames = Frames(exchange)
        first, second = asked(frames, b"a"), asked(frames, b"b")
        await first
        with pytest.raises(ConnectionFailed, match="missing"):
            await second

    run(scenario)


def test_the_exchange_ends_when_everybody_has_gone_and_not_before() -> None:
    async def scenario() -> None:
        begun, given_up = asyncio.Event(), asyncio.Event()

        async def exchange(_address: str, _frame: Frame) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()

        frames = Frames(exchange)
        first, second = asked(frames, b"a"), asked(frames, b"b")
        await begun.wait()
        first.cancel()
        await asyncio.wait([first])
        assert not given_up.is_set()
        second.cancel()
        await given_up.wait()

    run(scenario)


def test_a_replica_sends_each_answer_when_it_is_there_and_what_is_there_at_once_in_one_piece() -> None:
    async def scenario() -> None:
        slow = asyncio.Event()

        async def answering(number: int, body: bytes) -> Answer:
            if number == 1:
                await slow.wait()
            return Answer(number, 200, 0, body)

        pieces, reader = answers([b"a", b"b", b"c"], answering), AnswerReader()
        assert [answer.number for answer in reader.read(await anext(pieces))] == [0, 2]
        slow.set()
        assert [answer.number for answer in reader.read(await anext(pieces))] == [1]
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)

    run(scenario)


def test_a_replica_stops_answering_when_nobody_listens() -> None:
    async def scenario() -> None:
        cancelled = asyncio.Event()

        async def answering(number: int, body: bytes) -> Answer:
            try:
                await asyncio.Event().wait() if number else None
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return Answer(number, 200, 0, body)

        pieces = answers([b"a", b"b"], answering)
        await anext(pieces)
        await pieces.aclose()
        await cancelled.wait()

    run(scenario)
