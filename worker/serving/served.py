"""One loaded model, ready to answer: its predictor's operations behind batchers. Knows no HTTP and no method."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import to_json

from app.contract.base import Contract
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.inference import InferenceRequest, Operation, Precision
from app.contract.parameters import NoParameters
from worker.serving.batcher import Batcher
from worker.serving.device import Device
from worker.serving.errors import OperationNotSupported
from worker.serving.generation import CacheMemory, GenerateBody, GenerativeModel, Piece, Prepared, TextGenerator
from worker.serving.metrics import ModelMeters
from worker.serving.predictors.protocol import BatchedOperation, ConfiguredOperation, Predictor
from worker.serving.sample_generator import SampleBody, SampleGenerator

Body = TypeVar("Body", bound=Contract)
Result = TypeVar("Result")

#: Work on a request of fewer bytes than this costs less than handing it to a thread.
INLINE_BYTES = 4_096

OUTPUT_KEYS = {Operation.PREDICT: "outputs", Operation.EMBED: "embeddings"}


class InputsBody(Contract):
    """The body of `predict` and `embed`."""

    inputs: list[Any]
    parameters: dict[str, Any] = Field(default_factory=dict)  # a default in place would be copied for each request


@dataclass(frozen=True, slots=True)
class Batched:
    """An operation and what batches it."""

    operation: BatchedOperation
    batcher: Batcher


class ServedModel:
    """Lives on one event loop. `helpers` are threads for tokenising, decoding pictures and writing JSON."""

    def __init__(
        self, predictor: Predictor, device: Device, helpers: Executor, memory: CacheMemory, meters: ModelMeters
    ) -> None:
        self._predictor = predictor
        self._helpers = helpers
        self._text_generator: TextGenerator | None = None
        self._sample_generator: SampleGenerator | None = None
        if isinstance(predictor.generate, GenerativeModel):
            self._text_generator = TextGenerator(predictor.generate, device, memory, meters.text())
        elif predictor.generate is not None:
            self._sample_generator = SampleGenerator(predictor.generate, device, meters.of(Operation.GENERATE))
        self._batched = {
            operation: Batched(batched, Batcher(device, batched.encode_core, batched.limits, meters.of(operation)))
            for operation, batched in ((Operation.PREDICT, predictor.predict), (Operation.EMBED, predictor.embed))
            if batched is not None
        }

    @property
    def precision(self) -> Precision:
        return self._predictor.precision

    async def answer(self, request: InferenceRequest, size_bytes: int) -> bytes:
        """JSON. Raises InvalidRequest, InvalidInput, OperationNotSupported, Overloaded."""
        if request.operation is Operation.GENERATE and self._sample_generator is not None:
            return await self._sample(self._sample_generator, request)
        if request.operation is Operation.GENERATE:
            return to_json(await self._generator().answer(await self.prepare(request, size_bytes)))
        batched = self._batched.get(request.operation)
        if batched is None:
            raise self._not_supported(request.operation)
        body = parsed(InputsBody, request.body)
        operation = configured(batched.operation, body.parameters)
        encoded = await self._help(size_bytes, lambda: operation.encode_pre(body.inputs))
        results = await batched.batcher.run(encoded.rows)
        return await self._help(
            size_bytes,
            lambda: to_json(
                {"model_id": request.model.model_id}
                | {OUTPUT_KEYS[request.operation]: operation.encode_post(encoded, results)}
                | ({"num_tokens": encoded.num_tokens} if request.operation is Operation.EMBED else {})
            ),
        )

    async def prepare(self, request: InferenceRequest, size_bytes: int) -> Prepared:
        """A generation that may begin. Raises InvalidRequest, InvalidInput, OperationNotSupported."""
        generator, body = self._generator(), parsed(GenerateBody, request.body)
        return await self._help(size_bytes, lambda: generator.prepare(body))

    async def pieces(self, prepared: Prepared) -> AsyncGenerator[Piece, None]:
        """Text as it becomes final, then one Finish."""
        async with aclosing(self._generator().pieces(prepared)) as pieces:
            async for piece in pieces:
                yield piece

    async def _sample(self, generator: SampleGenerator, request: InferenceRequest) -> bytes:
        samples = await generator.samples(parsed(SampleBody, request.body))
        return await self._help(samples.nbytes, lambda: to_json(generator.told(samples)))

    def _generator(self) -> TextGenerator:
        if self._sample_generator is not None:
            message = f"A model of the method {self._predictor.method} gives its samples whole; leave stream out."
            raise InvalidRequest(
                message, code=ErrorCode.VALIDATION_FAILED, errors=[FieldError(location="stream", message=message)]
            )
        if self._text_generator is None:
            raise self._not_supported(Operation.GENERATE)
        return self._text_generator

    def _not_supported(self, operation: Operation) -> OperationNotSupported:
        answers = " and ".join(self._predictor.operations)
        return OperationNotSupported(
            f"A model of the method {self._predictor.method} does not answer {operation}; it answers {answers}."
        )

    async def _help(self, size_bytes: int, function: Callable[[], Result]) -> Result:
        """Small work at once; large work in a thread, beside the forward passes and the event loop."""
        if size_bytes < INLINE_BYTES:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._helpers, function)


def configured(operation: BatchedOperation, parameters: dict[str, Any]) -> BatchedOperation:
    """As one request asks for it. Raises InvalidRequest."""
    if _takes_parameters(operation):
        return operation.configured(parsed(operation.parameters, parameters, "parameters"))
    parsed(NoParameters, parameters, "parameters")
    return operation


def _takes_parameters(operation: BatchedOperation) -> TypeGuard[ConfiguredOperation]:
    """By one member: to ask for a protocol's every one took a sixth of a small prediction."""
    return hasattr(operation, "parameters")


def parsed(body_type: type[Body], body: dict[str, Any], *location: str) -> Body:
    """`location`: where in the request `body` stands."""
    try:
        return body_type.model_validate(body)
    except ValidationError as error:
        errors = [
            FieldError(location=".".join(str(part) for part in (*location, *problem["loc"])), message=problem["msg"])
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise InvalidRequest(
            f"The request is not understood. {errors[0].location}: {errors[0].message}",
            code=ErrorCode.VALIDATION_FAILED,
            errors=errors,
        ) from None
