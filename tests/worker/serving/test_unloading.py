"""What leaves memory really leaves it: nobody holds on to the weights of a model that is unloaded."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from app.contract.inference import InferenceRequest, ModelReference, Operation
from app.storage import FolderStore
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.serving.figures import new_metrics
from tests.worker.serving.replicas import publish
from worker.serving.device import Device
from worker.serving.generation import CacheMemory
from worker.serving.loader import Loader
from worker.serving.predictors import load_predictor
from worker.serving.served import ServedModel

DEADLINE_SECONDS = 20


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(1)
    yield device
    device.close()


@pytest.mark.parametrize(
    ("make", "operation", "body"),
    [
        (models.text_classifier, Operation.PREDICT, {"inputs": ["the quick fox"]}),
        (models.language_model, Operation.GENERATE, {"prompt": "the", "parameters": {"max_tokens": 5}}),
        (models.feature_gan, Operation.GENERATE, {"parameters": {"count": 2}}),
    ],
)
def test_the_weights_of_an_unloaded_model_are_freed(
    make: Callable[[Path], Path], operation: Operation, body: dict[str, Any], device: Device, tmp_path: Path
) -> None:
    metrics, memory = new_metrics(), CacheMemory(device, 1 << 30)
    reference = publish(FolderStore(tmp_path / "store"), make(tmp_path / "m"), "model_a")

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as helpers:

            def load(reference: ModelReference) -> ServedModel:
                predictor = load_predictor(tmp_path / "m")
                return ServedModel(predictor, device, helpers, memory, metrics.model(reference.model_id))

            loader = Loader(load, 1 << 30, metrics)
            async with loader.use(reference) as served:
                assert await served.answer(InferenceRequest(model=reference, operation=operation, body=body), 0)
            loader.unload(reference.digest)

    before = {id(module) for module in living_modules()}
    asyncio.run(scenario())
    wait_until(lambda: not {id(module) for module in living_modules()} - before, DEADLINE_SECONDS, "weights are freed")


def living_modules() -> list[nn.Module]:
    gc.collect()
    return [
        found for found in gc.get_objects() if issubclass(type(found), nn.Module)
    ]  # some objects answer `isinstance` with a warning
