"""What a request may ask for is decided before it waits."""

from collections.abc import Iterator

import pytest

from tests.worker.serving import models
from worker.serving.device import Device
from worker.serving.errors import InvalidInput
from worker.serving.generation import CacheMemory, GenerateBody, GenerativeModel, TextGenerator
from worker.serving.generation.meter import Unmetered
from worker.serving.predictors import load_predictor

CONTEXT_LENGTH = 1_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GenerativeModel:
    longer = models.TEXT_BODY["architecture"].model_copy(update={"context_length": CONTEXT_LENGTH})
    folder = tmp_path_factory.mktemp("model") / "language"
    models.write_model(folder, "pretrain", "causal_language_model", models.TEXT_BODY | {"architecture": longer})
    generate = load_predictor(folder).generate
    assert isinstance(generate, GenerativeModel)
    return generate


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(1)
    yield device
    device.close()


def most_tokens(model: GenerativeModel, device: Device, limit_bytes: int, prompt: str) -> int:
    generator = TextGenerator(model, device, CacheMemory(device, limit_bytes), Unmetered())
    body = GenerateBody.model_validate({"prompt": prompt, "parameters": {"max_tokens": 1_000_000}})
    return generator.prepare(body).tokens.max_tokens


def test_an_answer_ends_where_the_context_does(model: GenerativeModel, device: Device) -> None:
    assert most_tokens(model, device, 1 << 30, "#" * 10) == CONTEXT_LENGTH - 10


def test_an_answer_ends_where_the_memory_does(model: GenerativeModel, device: Device) -> None:
    """A prompt of 11 tokens takes a block of memory while it is read; the row that it becomes may fill the others."""
    limit = model.decoder.bytes_for(1, 64) + model.decoder.bytes_for(1, 256)
    assert most_tokens(model, device, limit, "#" * 10) == 256 - 11


def test_a_prompt_that_no_memory_could_hold_is_refused_with_the_limit(model: GenerativeModel, device: Device) -> None:
    limit = model.decoder.bytes_for(2, 256)
    with pytest.raises(InvalidInput, match=rf"300 tokens: .* {limit:,} bytes .*PRETUNE_GENERATION_CACHE_BYTES") as told:
        most_tokens(model, device, limit, "#" * 300)
    assert [error.location for error in told.value.errors] == ["prompt"]
