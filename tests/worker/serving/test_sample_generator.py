"""Samples of GANs as users ask for them, on the device's thread."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic_core import from_json

from app.contract.errors import InvalidRequest
from app.contract.inference import InferenceRequest, ModelReference, Operation
from tests.worker.serving import models
from tests.worker.serving.figures import new_metrics
from worker.export import load_model
from worker.models.gan import Gan
from worker.serving.device import Device
from worker.serving.errors import InvalidInput, OperationNotSupported
from worker.serving.generation import CacheMemory
from worker.serving.predictors import load_predictor
from worker.serving.served import ServedModel

METERS = new_metrics().model("model_1")
REFERENCE = ModelReference(model_id="model_1", digest="0", artifact_prefix="p", files=())

Ask = Callable[..., Any]


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(1)
    yield device
    device.close()


@pytest.fixture
def helpers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as helpers:
        yield helpers


@pytest.fixture
def ask(device: Device, helpers: ThreadPoolExecutor) -> Ask:
    """The answers to requests that are there at once."""

    def ask(folder: Path, *bodies: dict[str, Any], operation: Operation = Operation.GENERATE) -> list[Any]:
        async def answers() -> list[bytes]:
            served = ServedModel(load_predictor(folder), device, helpers, CacheMemory(device, 1 << 30), METERS)
            requests = [InferenceRequest(model=REFERENCE, operation=operation, body=body) for body in bodies]
            return await asyncio.gather(*(served.answer(request, 100) for request in requests))

        return [from_json(answer) for answer in asyncio.run(answers())]

    return ask


def seeded(count: int, seed: int) -> dict[str, Any]:
    return {"parameters": {"count": count, "seed": seed}}


def test_samples_of_vectors_are_the_generators_in_the_units_of_the_data(ask: Ask, tmp_path: Path) -> None:
    folder = models.feature_gan(tmp_path / "model")
    module = load_model(folder).module
    assert isinstance(module, Gan)

    (answer,) = ask(folder, seeded(3, 7))

    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(7))
    expected = module.generator(noise) * module.body.standardization.std + module.body.standardization.mean
    assert answer.keys() == {"samples"}
    np.testing.assert_allclose(answer["samples"], expected.detach().numpy(), rtol=1e-5)


def test_samples_of_images_are_pixels_in_the_shape_of_the_data(ask: Ask, tmp_path: Path) -> None:
    (answer,) = ask(models.image_gan(tmp_path / "model"), seeded(5, 1))

    samples = np.array(answer["samples"])
    assert samples.shape == (5, *models.IMAGE_SHAPE)
    assert samples.dtype == np.int64
    assert samples.min() >= 0
    assert samples.max() <= 255
    assert len(np.unique(samples)) > 10


def test_the_same_seed_gives_the_same_samples_whatever_else_is_asked(ask: Ask, tmp_path: Path) -> None:
    folder = models.feature_gan(tmp_path / "model")
    (alone,) = ask(folder, seeded(3, 7))

    others = ask(folder, seeded(40, 8), seeded(3, 7), {}, seeded(3, 9), {})

    assert others[1] == alone
    assert others[3] != alone
    assert [len(each["samples"]) for each in others] == [40, 3, 1, 3, 1]
    assert others[2] != others[4], "without a seed they are others each time"


def test_more_samples_than_one_answer_holds_are_refused(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"1,001 samples are too many for one answer.*at most 1,000") as refusal:
        ask(models.feature_gan(tmp_path / "model"), seeded(1_001, 0))

    assert [error.location for error in refusal.value.errors] == ["parameters.count"]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({"parameters": {"count": 0}}, "parameters.count"),
        ({"parameters": {"count": 1, "temperature": 1}}, "parameters.temperature"),
        ({"prompt": "a cat"}, "prompt"),
    ],
)
def test_what_a_gan_does_not_take_is_named(body: dict[str, Any], location: str, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ask(models.feature_gan(tmp_path / "model"), body)

    assert [error.location for error in refusal.value.errors] == [location]


def test_a_prediction_is_refused_by_naming_generate(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(OperationNotSupported, match="gan does not answer predict; it answers generate and embed"):
        ask(models.feature_gan(tmp_path / "model"), {"inputs": [[1, 2, 3, 4]]}, operation=Operation.PREDICT)


def test_samples_are_not_streamed(device: Device, helpers: ThreadPoolExecutor, tmp_path: Path) -> None:
    served = ServedModel(
        load_predictor(models.feature_gan(tmp_path / "model")), device, helpers, CacheMemory(device, 1 << 30), METERS
    )
    request = InferenceRequest(model=REFERENCE, operation=Operation.GENERATE, body={"stream": True})

    with pytest.raises(InvalidRequest, match="gives its samples whole; leave stream out"):
        asyncio.run(served.prepare(request, 100))


def test_the_embedding_is_the_discriminators_features(ask: Ask, tmp_path: Path) -> None:
    folder = models.feature_gan(tmp_path / "model")
    module = load_model(folder).module
    assert isinstance(module, Gan)
    inputs = [[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 5.0, 2.0]]

    (answer,) = ask(folder, {"inputs": inputs}, operation=Operation.EMBED)

    features = module.body.encode({"inputs": torch.tensor(inputs)}).detach().numpy()
    np.testing.assert_allclose(answer["embeddings"], features, rtol=1e-5)
