"""A batch prediction answers what serving answers, whatever stands beside a record and however often it was cut off."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.contract.compatibility import METHOD_TRAITS
from app.contract.errors import ErrorCode
from app.contract.inference import InferenceRequest, ModelReference, Operation
from app.contract.job import Fault
from app.contract.messages import (
    EXIT_FAILED,
    EXIT_STOPPED,
    DatasetInput,
    FailedLine,
    MetricsLine,
    PredictedLine,
    ReportLine,
)
from app.contract.operations import input_kinds, operations_of, parameters_of
from tests.worker.batch_prediction.predicting import Attempt, images, jsonl
from tests.worker.serving import models
from tests.worker.serving.figures import new_metrics
from tests.worker.serving.test_predictors import approximately
from worker.batch_prediction.answers import seed_of
from worker.export import load_model
from worker.serving.device import Device
from worker.serving.generation import CacheMemory
from worker.serving.predictors import load_predictor
from worker.serving.predictors.protocol import ConfiguredOperation
from worker.serving.served import OUTPUT_KEYS, ServedModel

TEXTS = ["the quick brown fox", "naïve Zoë counts 東京", "lazy", "dog " * 20]
FEATURES: list[list[float]] = [[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 5.0, 2.0], [9.5, 0.0, 0.0, -3.25]]
PIXELS = np.arange(3 * 30, dtype=np.uint8).reshape(3, *models.IMAGE_SHAPE)
SENTENCES = [text.split() for text in TEXTS]

Make = Callable[[Path], Path]


def texts(folder: Path, values: list[str] = TEXTS) -> DatasetInput:
    return jsonl(folder, "text", [{"text": value} for value in values])


def labeled_texts(folder: Path) -> DatasetInput:
    return jsonl(folder, "labeled_text", [{"text": text, "label": "a"} for text in TEXTS])


def masked_texts(folder: Path) -> DatasetInput:
    return texts(folder, [f"{text} [MASK]" for text in TEXTS])


def words(folder: Path) -> DatasetInput:
    return texts(folder, ["fox", "Dog", "naïve"])


def tagged(folder: Path) -> DatasetInput:
    return jsonl(folder, "tagged_tokens", [{"tokens": words, "tags": ["O"] * len(words)} for words in SENTENCES])


def roles(folder: Path) -> DatasetInput:
    records = [{"tokens": words, "predicate": len(words) // 2, "roles": ["O"] * len(words)} for words in SENTENCES]
    return jsonl(folder, "semantic_roles", records)


def vectors(folder: Path, values: list[list[float]] = FEATURES) -> DatasetInput:
    return jsonl(folder, "vectors", [{"features": value} for value in values])


def pictures(folder: Path) -> DatasetInput:
    return images(folder, PIXELS)


QUESTIONS = [{"tokens": words, "predicate": len(words) // 2} for words in SENTENCES]
#: A model, its data, an operation, and what a user would send for each record.
CASES: dict[str, tuple[Make, Callable[[Path], DatasetInput], Operation, list[Any]]] = {
    "causal_language_model": (models.language_model, texts, Operation.PREDICT, TEXTS),
    "instruction_tuning": (models.instruction_model, texts, Operation.EMBED, TEXTS),
    "masked_language_model": (
        models.masked_language_model,
        masked_texts,
        Operation.PREDICT,
        [f"{text} [MASK]" for text in TEXTS],
    ),
    "word2vec": (models.word_vectors, words, Operation.PREDICT, ["fox", "Dog", "naïve"]),
    "classification": (models.text_classifier, labeled_texts, Operation.PREDICT, TEXTS),
    "sequence_labeling": (models.tagger, tagged, Operation.PREDICT, [{"tokens": words} for words in SENTENCES]),
    "semantic_role_labeling": (models.role_labeler, roles, Operation.PREDICT, QUESTIONS),
    "regression": (models.feature_regressor, vectors, Operation.PREDICT, FEATURES),
    "autoencoder": (models.image_autoencoder, pictures, Operation.PREDICT, PIXELS.tolist()),
    "gan": (models.feature_gan, vectors, Operation.EMBED, FEATURES),
}


def online(model: Path, operation: Operation, body: dict[str, Any]) -> dict[str, Any]:
    """What a replica answers."""
    device = Device(1)
    reference = ModelReference(model_id="model_1", digest="0" * 64, artifact_prefix="-", files=())

    async def asked() -> bytes:
        with ThreadPoolExecutor(1) as helpers:
            served = ServedModel(
                load_predictor(model), device, helpers, CacheMemory(device, 1 << 30), new_metrics().model("model_a")
            )
            return await served.answer(InferenceRequest(model=reference, operation=operation, body=body), 0)

    try:
        answer: dict[str, Any] = json.loads(asyncio.run(asked()))
    finally:
        device.close()
    return answer


def test_every_method_is_tried() -> None:
    assert set(CASES) == {method for _, method in METHOD_TRAITS}


@pytest.mark.parametrize("method", CASES)
def test_the_answers_are_those_of_serving(method: str, tmp_path: Path) -> None:
    make, data, operation, inputs = CASES[method]
    model = make(tmp_path / "model")
    attempt = Attempt(model, data(tmp_path), len(inputs), tmp_path, operation=operation)

    assert attempt.run() == 0, attempt.last

    assert attempt.last == PredictedLine(num_records=len(inputs), num_errors=0)
    expected = online(model, operation, {"inputs": inputs})[OUTPUT_KEYS[operation]]
    assert attempt.answers == [{"index": index, "output": approximately(out)} for index, out in enumerate(expected)]


@pytest.mark.parametrize("method", CASES)
def test_the_contract_tells_what_the_predictor_does(method: str, tmp_path: Path) -> None:
    make, data, operation, _ = CASES[method]
    model = make(tmp_path / "model")
    description, predictor = load_model(model).description, load_predictor(model)

    assert [*operations_of(description)] == predictor.operations
    assert data(tmp_path).kind in input_kinds(operation, description)
    asked = getattr(predictor, operation)
    assert (parameters_of(operation, description).model_fields == {}) != isinstance(asked, ConfiguredOperation)


def test_a_language_model_continues_each_text_by_a_seed_of_its_own(tmp_path: Path) -> None:
    """As it would be continued alone, with that seed."""
    model = models.language_model(tmp_path / "model")
    prompts = ["the quick", "the quick", "a lazy dog counts twice"] * 30
    parameters = {"max_tokens": 5, "seed": 7}
    attempt = Attempt(model, texts(tmp_path, prompts), 90, tmp_path, "generate", parameters)

    assert attempt.run() == 0, attempt.last

    answers = [answer["output"] for answer in attempt.answers]
    assert len({answer["text"] for answer in answers[::3]}) > 1
    for index in (0, 1, 89):
        alone = {"prompt": prompts[index], "parameters": parameters | {"seed": seed_of(7, index)}}
        assert answers[index] == online(model, Operation.GENERATE, alone)


def test_an_instruction_model_answers_conversations_up_to_the_last_answer(tmp_path: Path) -> None:
    model = models.instruction_model(tmp_path / "model")
    dataset = jsonl(tmp_path, "instructions", [{"prompt": "fox?", "completion": "dog"}])
    attempt = Attempt(model, dataset, 1, tmp_path, "generate", {"max_tokens": 5, "temperature": 0.0})

    assert attempt.run() == 0, attempt.last

    asked = {"messages": [{"role": "user", "content": "fox?"}], "parameters": {"max_tokens": 5, "temperature": 0.0}}
    assert attempt.answers == [{"index": 0, "output": online(model, Operation.GENERATE, asked)}]


def test_parameters_are_those_of_the_operation(tmp_path: Path) -> None:
    model = models.word_vectors(tmp_path / "model")
    attempt = Attempt(model, words(tmp_path), 3, tmp_path, parameters={"top_k": 2})

    assert attempt.run() == 0, attempt.last

    assert [len(answer["output"]["neighbors"]) for answer in attempt.answers] == [2, 2, 2]


def test_a_record_that_the_model_refuses_has_an_error_in_its_place_and_stops_nothing(tmp_path: Path) -> None:
    model = models.word_vectors(tmp_path / "model")
    attempt = Attempt(model, texts(tmp_path, ["fox", "xylophone", "dog"]), 3, tmp_path)

    assert attempt.run() == 0, attempt.last

    good, refused, also_good = attempt.answers
    assert (good["index"], also_good["index"]) == (0, 2)
    assert good["output"]["neighbors"] != also_good["output"]["neighbors"]
    assert refused["index"] == 1
    assert refused["error"]["code"] == ErrorCode.INVALID_INPUT
    assert "xylophone" in refused["error"]["message"]
    assert attempt.last == PredictedLine(num_records=3, num_errors=1)
    told = [line for line in attempt.lines if isinstance(line, MetricsLine)]
    assert told[-1].values == {"records": 3.0, "errors": 1.0}


def test_a_prompt_beyond_the_context_is_refused_alone(tmp_path: Path) -> None:
    model = models.language_model(tmp_path / "model")
    dataset = texts(tmp_path, ["the quick", "brown fox " * 100])
    attempt = Attempt(model, dataset, 2, tmp_path, "generate", {"max_tokens": 2})

    assert attempt.run() == 0, attempt.last

    continued, refused = attempt.answers
    assert continued["output"]["num_tokens"] == 2
    assert "at most" in refused["error"]["message"]


def test_records_that_are_too_long_together_are_answered_one_by_one(tmp_path: Path) -> None:
    model = models.text_regressor(tmp_path / "model")
    long = "quick brown fox " * 6_000
    attempt = Attempt(model, texts(tmp_path, [long, long, "dog"]), 3, tmp_path, "embed")

    assert attempt.run() == 0, attempt.last

    assert attempt.last == PredictedLine(num_records=3, num_errors=0)


def test_a_model_that_refuses_every_record_fails_by_the_users_fault(tmp_path: Path) -> None:
    model = models.word_vectors(tmp_path / "model")
    attempt = Attempt(model, texts(tmp_path, ["xylophone", "zeppelin"]), 2, tmp_path)

    assert attempt.run() == EXIT_FAILED

    assert isinstance(attempt.last, FailedLine)
    assert (attempt.last.error.code, attempt.last.error.fault) == (ErrorCode.BAD_DATA, Fault.USER)
    assert "each of the 2 records" in attempt.last.error.message
    assert "xylophone" in attempt.last.error.message


def many_vectors(folder: Path, count: int) -> DatasetInput:
    values = np.random.default_rng(0).normal(size=(count, models.NUM_FEATURES)).round(4)
    return vectors(folder, values.tolist())


@pytest.mark.parametrize("until_part", ["predictions/part-000000000000.jsonl", "predictions/part-000000002000.jsonl"])
def test_a_run_that_died_is_continued_and_its_bytes_are_those_of_one_that_did_not(
    until_part: str, tmp_path: Path
) -> None:
    model, dataset = models.feature_classifier(tmp_path / "model"), many_vectors(tmp_path, 2_500)
    whole = Attempt(model, dataset, 2_500, tmp_path / "whole")
    assert whole.run() == 0, whole.last
    died = Attempt(model, dataset, 2_500, tmp_path / "died", until_part=until_part)
    assert died.run() == EXIT_FAILED

    resumed = Attempt(model, dataset, 2_500, tmp_path / "died")
    assert resumed.run() == 0, resumed.last

    assert resumed.result == whole.result
    assert resumed.last == whole.last
    assert [*died.reported_parts, *resumed.reported_parts] == whole.reported_parts


def test_a_part_that_is_missing_between_others_is_answered_again(tmp_path: Path) -> None:
    model, dataset = models.feature_classifier(tmp_path / "model"), many_vectors(tmp_path, 2_500)
    whole = Attempt(model, dataset, 2_500, tmp_path)
    assert whole.run() == 0, whole.last
    expected = whole.result
    (tmp_path / "output" / whole.reported_parts[1]).unlink()

    resumed = Attempt(model, dataset, 2_500, tmp_path)
    assert resumed.run() == 0, resumed.last

    assert resumed.result == expected
    assert resumed.reported_parts == whole.reported_parts[1:2]


def test_generated_texts_are_the_same_bytes_however_often_the_run_died(tmp_path: Path) -> None:
    model = models.language_model(tmp_path / "model")
    dataset, parameters = texts(tmp_path, [*TEXTS[:3]] * 60), {"max_tokens": 3, "stop": ["a", "e"], "logprobs": 1}
    whole = Attempt(model, dataset, 180, tmp_path / "whole", "generate", parameters)
    assert whole.run() == 0, whole.last
    died = Attempt(model, dataset, 180, tmp_path / "died", "generate", parameters, until_part=whole.reported_parts[1])
    assert died.run() == EXIT_FAILED

    resumed = Attempt(model, dataset, 180, tmp_path / "died", "generate", parameters)
    assert resumed.run() == 0, resumed.last

    assert resumed.result == whole.result
    assert resumed.reported_parts == whole.reported_parts[1:]


def test_a_run_that_is_asked_to_stop_keeps_what_it_has_reported(tmp_path: Path) -> None:
    model, dataset, stop = (
        models.feature_classifier(tmp_path / "model"),
        many_vectors(tmp_path, 2_500),
        threading.Event(),
    )

    def at_the_first_part(line: ReportLine) -> None:
        if isinstance(line, MetricsLine):
            stop.set()

    attempt = Attempt(model, dataset, 2_500, tmp_path, on_report=at_the_first_part, stop=stop)

    assert attempt.run() == EXIT_STOPPED

    assert attempt.reported_parts == ["predictions/part-000000000000.jsonl"]
    assert isinstance(attempt.last, MetricsLine)
    assert attempt.last.step == 1_000


@pytest.mark.parametrize("operation", ["predict", "generate"])
def test_a_long_part_tells_how_far_it_is_and_can_be_stopped(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.batch_prediction.run.SILENCE_SECONDS", 0.0)
    model, stop = models.language_model(tmp_path / "model"), threading.Event()

    def within_the_part(line: ReportLine) -> None:
        if isinstance(line, MetricsLine) and 0 < line.step < 100:
            stop.set()

    parameters = {"max_tokens": 3} if operation == "generate" else {}
    dataset = texts(tmp_path, ["the quick brown fox"] * 100)
    attempt = Attempt(model, dataset, 100, tmp_path, operation, parameters, on_report=within_the_part, stop=stop)

    assert attempt.run() == EXIT_STOPPED

    assert attempt.reported_parts == []
    assert isinstance(attempt.last, MetricsLine)
    assert 0 < attempt.last.step < 100
    assert attempt.last.values == {}


def test_large_records_make_smaller_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part ends with the record that fills it."""
    monkeypatch.setattr("worker.batch_prediction.run.PART_BYTES", 10)
    model = models.text_classifier(tmp_path / "model")
    attempt = Attempt(model, texts(tmp_path, ["fox dog", "fox dog", "quick"]), 3, tmp_path)

    assert attempt.run() == 0, attempt.last

    assert attempt.reported_parts == ["predictions/part-000000000000.jsonl", "predictions/part-000000000002.jsonl"]
    assert [answer["index"] for answer in attempt.answers] == [0, 1, 2]


def test_damaged_model_files_are_no_fault_of_the_user(tmp_path: Path) -> None:
    model, other = models.feature_classifier(tmp_path / "model"), models.text_classifier(tmp_path / "other")
    (other / "model.safetensors").replace(model / "model.safetensors")
    attempt = Attempt(model, vectors(tmp_path), 3, tmp_path)

    assert attempt.run() == EXIT_FAILED

    assert isinstance(attempt.last, FailedLine)
    assert (attempt.last.error.code, attempt.last.error.fault) == (ErrorCode.MODEL_CORRUPTED, Fault.INFRASTRUCTURE)
