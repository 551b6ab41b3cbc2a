"""Inputs to outputs, many at a time, by the predictors that serve. Knows no file and no job.

What runs together follows from the inputs alone, never from the clock: the same inputs give the same bytes, as long as
memory suffices. (Another batch sums in another order, and may differ in its last digits.)
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from app.contract.errors import ErrorCode, InvalidRequest, ServiceError
from app.contract.inference import Operation
from app.contract.parameters import GenerateParameters
from app.contract.specs import BatchPredictSpec
from worker.serving.batcher import Row, cut
from worker.serving.device import Work
from worker.serving.errors import InvalidInput
from worker.serving.generation import CacheMemory, GenerateBody, GenerativeModel, TextGenerator
from worker.serving.generation.meter import Unmetered
from worker.serving.predictors.protocol import BatchedOperation, Encoded, Predictor
from worker.serving.served import configured, parsed
from worker.training.failures import is_out_of_memory

#: Inputs that are validated and tokenised at once.
REQUEST_INPUTS = 64
#: Texts that are generated at a time: more than ever run beside each other, fewer than may wait.
MAX_GENERATIONS = 128
#: For what they have read.
CACHE_BYTES = 1 << 30

#: Told how many of the inputs have been answered, now and then; it may raise to end the work.
Heed = Callable[[int], None]


class Refusal(NamedTuple):
    """Why a model does not take an input."""

    code: ErrorCode
    message: str


class Answers(Protocol):
    @property
    def num_at_once(self) -> int:
        """Inputs that keep the cores busy, and are answered before anything of them is kept."""

    def answer(self, first_index: int, inputs: Sequence[Any], heed: Heed) -> list[Any | Refusal]:
        """For each input what the model answers, ready for JSON, or why it does not. `first_index` is that of the first
        in the data set."""


def answers_of(predictor: Predictor, spec: BatchPredictSpec) -> Answers:
    if spec.operation is Operation.GENERATE:
        assert isinstance(predictor.generate, GenerativeModel), "checked when the job was asked for"
        return GeneratedAnswers(predictor.generate, GenerateParameters.model_validate(spec.parameters))
    operation = predictor.predict if spec.operation is Operation.PREDICT else predictor.embed
    assert operation is not None, "checked when the job was asked for"
    return BatchedAnswers(configured(operation, spec.parameters))


@dataclass(slots=True)
class _Request:
    """Inputs that were encoded together: where they stand, and what came of their rows."""

    places: Sequence[int]
    encoded: Encoded
    results: list[Any]


class _Entry(NamedTuple):
    """One row of a request, and which."""

    request: _Request
    number: int
    row: Row


@dataclass(frozen=True, slots=True)
class BatchedAnswers:
    """Predictions and embeddings: rows of like length share a forward pass."""

    operation: BatchedOperation
    num_at_once: int = 1_000

    def answer(self, first_index: int, inputs: Sequence[Any], heed: Heed) -> list[Any | Refusal]:
        answers: list[Any | Refusal] = [None] * len(inputs)
        requests: list[_Request] = []
        for start in range(0, len(inputs), REQUEST_INPUTS):
            places = range(start, min(start + REQUEST_INPUTS, len(inputs)))
            requests += self._encoded(places, inputs, answers)
            heed(0)
        self._compute(requests, len(inputs), heed)
        for request in requests:
            outputs = self.operation.encode_post(request.encoded, request.results)
            for place, output in zip(request.places, outputs, strict=True):
                answers[place] = output
        return answers

    def _encoded(self, places: Sequence[int], inputs: Sequence[Any], answers: list[Any | Refusal]) -> list[_Request]:
        """One request; or where an input is refused, each by itself, so that it alone is."""
        try:
            encoded = self.operation.encode_pre([inputs[place] for place in places])
        except InvalidInput as error:
            if len(places) == 1:
                answers[places[0]] = _refusal(error)
                return []
            return [request for place in places for request in self._encoded([place], inputs, answers)]
        return [_Request(places, encoded, [None] * len(encoded.rows))]

    def _compute(self, requests: Sequence[_Request], num_inputs: int, heed: Heed) -> None:
        entries = [_Entry(request, *row) for request in requests for row in enumerate(request.encoded.rows)]
        num_done = 0
        for batch in cut(entries, self.operation.limits):
            with torch.inference_mode():
                results = self._results([entry.row.value for entry in batch])
            for entry, result in zip(batch, results, strict=True):
                entry.request.results[entry.number] = result
            num_done += len(batch)
            heed(num_inputs * num_done // len(entries))

    def _results(self, values: Sequence[Any]) -> Sequence[Any]:
        """Where memory does not suffice, of each half by itself. Raises what one row alone raises."""
        try:
            return self.operation.encode_core(values)
        except Exception as error:
            if len(values) == 1 or not is_out_of_memory(error):
                raise
        half = len(values) // 2  # the error is gone by now, and with it what was computed
        return [*self._results(values[:half]), *self._results(values[half:])]


@dataclass(frozen=True, slots=True)
class GeneratedAnswers:
    """Texts: they join and leave one running batch between steps, as in serving."""

    model: GenerativeModel
    parameters: GenerateParameters
    num_at_once: int = MAX_GENERATIONS

    def answer(self, first_index: int, inputs: Sequence[Any], heed: Heed) -> list[Any | Refusal]:
        """With nothing left of those before, which another attempt may have answered."""
        self.model.decoder.clear()
        return asyncio.run(_Generations(self.model, self.parameters, first_index).run(inputs, heed))


class _Generations:
    """On one event loop."""

    def __init__(self, model: GenerativeModel, parameters: GenerateParameters, first_index: int) -> None:
        self._turns = TurnsInOrder()
        self._generator = TextGenerator(model, self._turns, CacheMemory(self._turns, CACHE_BYTES), Unmetered())
        self._parameters = parameters
        self._first_index = first_index
        self._room = asyncio.Semaphore(MAX_GENERATIONS)

    async def run(self, inputs: Sequence[dict[str, Any]], heed: Heed) -> list[Any | Refusal]:
        tasks = [asyncio.create_task(self._one(place, value)) for place, value in enumerate(inputs)]
        while (num_done := sum(task.done() for task in tasks)) < len(tasks):
            heed(num_done)
            self._turns.take_one()
            await asyncio.sleep(0)
        return [task.result() for task in tasks]

    async def _one(self, place: int, value: dict[str, Any]) -> Any | Refusal:
        async with self._room:
            try:
                prepared = self._generator.prepare(self._body(place, value))
            except (InvalidInput, InvalidRequest) as error:
                return _refusal(error)
            return await self._generator.answer(prepared)

    def _body(self, place: int, value: dict[str, Any]) -> GenerateBody:
        seed = seed_of(self._parameters.seed or 0, self._first_index + place)
        parameters = self._parameters.model_copy(update={"seed": seed})
        return parsed(GenerateBody, value).model_copy(update={"parameters": parameters})


class TurnsInOrder:
    """Gives turns on the thread of the event loop. A thread of its own would let the clock tell who shares a step."""

    def __init__(self) -> None:
        self._waiting: dict[Work, None] = {}

    def wake(self, work: Work) -> None:
        self._waiting[work] = None

    def take_one(self) -> None:
        """A unit of what has waited longest, if anything waits."""
        work = next(iter(self._waiting), None)
        if work is None:
            return
        del self._waiting[work]
        with torch.inference_mode():
            if work.step():
                self.wake(work)


def seed_of(seed: int, index: int) -> int:
    """Of a record: its answer does not depend on how many stand before it."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> 1)


def _refusal(error: ServiceError) -> Refusal:
    """Of one input: where it stands in the request that we made is no news."""
    return Refusal(error.code, error.errors[0].message if error.errors else error.detail)
