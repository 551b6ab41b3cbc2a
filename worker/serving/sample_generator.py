"""Answers `generate` of a model that makes examples out of noise. Knows no HTTP and no method."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.contract.base import Contract
from app.contract.errors import FieldError
from worker.serving.batcher import Batcher, BatchLimits, BatchMeter, Row
from worker.serving.device import Device
from worker.serving.errors import InvalidInput
from worker.serving.predictors.protocol import SamplingModel


class SampleParameters(Contract):
    """The same `seed` gives the same samples; without one, they are others each time."""

    count: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class SampleBody(Contract):
    """Samples are answered whole: a stream is refused before this is read."""

    parameters: SampleParameters = SampleParameters()
    stream: Literal[False] = False


class SampleGenerator:
    """Each request is a batch of its own: the kernels of another batch size would change its last digits."""

    def __init__(self, model: SamplingModel, device: Device, meter: BatchMeter) -> None:
        self._model = model
        self._batcher = Batcher(
            device, lambda noises: [model.sample(noise) for noise in noises], BatchLimits(rows=1), meter
        )

    async def samples(self, body: SampleBody) -> Tensor:
        """Raises InvalidInput where they would be too many for one answer, and Overloaded."""
        count = body.parameters.count
        if count > self._model.max_count:
            message = (
                f"{count:,} samples are too many for one answer; this model gives at most {self._model.max_count:,}."
            )
            raise InvalidInput(message, errors=[FieldError(location="parameters.count", message=message)])
        noise = self._model.noise(count, body.parameters.seed)
        (samples,) = await self._batcher.run([Row(noise, count)])
        assert isinstance(samples, torch.Tensor)
        return samples

    def told(self, samples: Tensor) -> dict[str, Any]:
        return {"samples": self._model.to_json(samples)}
