"""What served models say in less precision, against the same models in single precision.

Real models, trained for a moment and small; so every linear layer is converted, whatever its size.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.contract.inference import Precision
from app.contract.specs.architectures import MlpArchitecture
from tests.contract import classification, language_model
from tests.contract.runs import final_checkpoint, run_here
from tests.worker.serving import models
from worker.data.tokenizers import begin_token
from worker.export import LoadedModel, load_model
from worker.models.encoder import MaskedLanguageModel
from worker.models.fused import FusedEncoderAttention, fuse
from worker.models.language_model import CausalLanguageModel
from worker.serving.generation.caching_decoder import CachingDecoder
from worker.serving.precision import (
    HAS_BFLOAT16_KERNELS,
    MAX_INT8_ROWS,
    Bfloat16Linear,
    Int8Linear,
    cache_type,
    convert,
    precision_of,
)
from worker.serving.predictors import load_predictor
from worker.serving.predictors.readers import right_padded

PRECISIONS: list[Precision] = ["bfloat16", "int8"]
#: Of natural logarithms of probabilities, the worst of all tokens at all places; and at how many places the likeliest
#: token stays the likeliest.
TOLERANCE = 0.05
SAME_LIKELIEST = 0.99


@pytest.fixture(scope="module", params=[language_model.TRANSFORMER, language_model.LSTM], ids=lambda each: each["type"])
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writer")
    assignment = language_model.assignment(folder, request.param, duration={"steps": 20})
    return final_checkpoint(run_here(assignment)) / "model"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    return final_checkpoint(run_here(classification.of_text_from_a_masked_language_model(folder))) / "model"


def converted(folder: Path, precision: Precision) -> LoadedModel:
    loaded = load_model(folder)
    fuse(loaded.module)
    convert(loaded.module, precision, min_weights=1)
    assert precision_of(loaded.module) == precision
    return loaded


def check(exact: torch.Tensor, told: torch.Tensor) -> None:
    """Log-probabilities [..., L]."""
    assert (exact - told).abs().max() < TOLERANCE
    assert (exact.argmax(-1) == told.argmax(-1)).float().mean() >= SAME_LIKELIEST
    assert not torch.equal(exact, told)


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_language_model_gives_nearly_the_same_probabilities(writer: Path, precision: Precision) -> None:
    exact, less = load_model(writer), converted(writer, precision)
    assert exact.tokenizer is not None
    tokens = exact.tokenizer.encode(language_model.manual(4_000)).ids
    batch = torch.tensor(tokens[: len(tokens) // 32 * 32]).view(-1, 32)
    check(exact.module(batch).log_softmax(-1), less.module(batch).log_softmax(-1))


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_so_it_does_token_by_token(writer: Path, precision: Precision) -> None:
    exact, less = load_model(writer).module, converted(writer, precision).module
    assert isinstance(less, CausalLanguageModel)
    tokens = [*range(2, 30)]
    decoder = CachingDecoder(less, cache_type(less))
    decoder.reserve(1, len(tokens))
    reading = decoder.begin(10)
    told = [reading.read(tokens[:10])]
    decoder.join(reading)
    told += [decoder.advance([token])[0] for token in tokens[10:]]
    check(exact(torch.tensor([tokens]))[0, 9:].log_softmax(-1), torch.stack(told).log_softmax(-1))


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_classifier_gives_nearly_the_same_probabilities(classifier: Path, precision: Precision) -> None:
    exact, less = load_model(classifier), converted(classifier, precision)
    assert exact.tokenizer is not None
    begin = begin_token(exact.tokenizer)
    words = ["good", "bad", "awful", "wonderful", "the", "film", "was", "never", "again"]
    texts = [f"{first} {second}" for first in words for second in words]
    batch = right_padded([[begin, *encoding.ids] for encoding in exact.tokenizer.encode_batch(texts)])
    check(exact.module(batch).log_softmax(-1), less.module(batch).log_softmax(-1))


@pytest.mark.skipif(not HAS_BFLOAT16_KERNELS, reason="this processor has no kernels for bfloat16")
@torch.inference_mode()
def test_rows_in_bfloat16_are_the_same_to_the_last_bit_whatever_the_batch() -> None:
    torch.manual_seed(0)
    layer = Bfloat16Linear(torch.nn.Linear(96, 160))
    rows = torch.randn(40, 96)
    whole = layer(rows)
    for size in (1, 2, 7, 16, 33):
        assert torch.equal(layer(rows[:size]), whole[:size])


@torch.inference_mode()
@pytest.mark.parametrize("num_rows", [1, MAX_INT8_ROWS // 2, MAX_INT8_ROWS])  # of each of two texts
@pytest.mark.parametrize("bias", [True, False])
def test_int8_is_the_product_with_rounded_weights(num_rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 30, bias=bias)
    layer.weight[3] = 0.0
    rows = torch.randn(2, num_rows, 48)
    scale = (layer.weight.abs().amax(1, keepdim=True) / 127).bfloat16()
    rounded = (layer.weight / scale).nan_to_num().round() * scale
    expected = torch.nn.functional.linear(rows.bfloat16().float(), rounded, layer.bias)
    torch.testing.assert_close(Int8Linear(layer)(rows), expected, rtol=1e-2, atol=1e-2)


@torch.inference_mode()
def test_fused_layers_compute_what_their_parts_did(tmp_path: Path) -> None:
    folder = models.language_model(tmp_path / "model")
    exact, fused = load_model(folder).module, load_model(folder).module
    fuse(fused)
    tokens = torch.randint(0, 300, (3, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fused(tokens), exact(tokens), rtol=1e-4, atol=1e-4)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in fused.modules()) == 2 * 4 + 1  # beside the head
    assert not any(isinstance(layer, torch.nn.RMSNorm) for layer in fused.modules())


@torch.inference_mode()
def test_so_do_those_of_an_encoder(tmp_path: Path) -> None:
    folder = models.masked_language_model(tmp_path / "model")
    exact, fused = load_model(folder).module, load_model(folder).module
    fuse(fused)
    assert isinstance(exact, MaskedLanguageModel)
    assert isinstance(fused, MaskedLanguageModel)
    assert any(isinstance(layer, FusedEncoderAttention) for layer in fused.modules())
    tokens = torch.randint(0, 100, (3, 16), generator=torch.Generator().manual_seed(0))
    batch = {"tokens": tokens, "lengths": torch.tensor([16, 7, 1])}
    for vectors, same, length in zip(fused.body.encode(batch), exact.body.encode(batch), (16, 7, 1), strict=True):
        torch.testing.assert_close(vectors[:length], same[:length], rtol=1e-4, atol=1e-4)


def answers(folder: Path, precision: Precision, inputs: list[Any]) -> list[Any]:
    operation = load_predictor(folder, precision).predict
    assert operation is not None
    with torch.inference_mode():
        encoded = operation.encode_pre(inputs)
        return operation.encode_post(encoded, operation.encode_core([row.value for row in encoded.rows]))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_reads_no_text_stays_as_it_was_trained(precision: Precision, tmp_path: Path) -> None:
    numbers = models.FEATURE_BODY | {"architecture": MlpArchitecture(hidden_widths=(300, 300))}
    folder = models.write_model(tmp_path / "numbers", "finetune", "classification", numbers, labels=(3, 5, 8))
    inputs = [[0.5, -1.0, 2.0, 0.25], [1.5, 1.0, -2.0, 0.0]]
    assert answers(folder, precision, inputs) == answers(folder, "float32", inputs)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_reads_text_is_converted_where_its_layers_are_large(precision: Precision, tmp_path: Path) -> None:
    wide = models.TEXT_BODY["architecture"].model_copy(update={"width": 256})
    for name, architecture, differs in [("wide", wide, True), ("narrow", models.TEXT_BODY["architecture"], False)]:
        body = models.TEXT_BODY | {"architecture": architecture}
        folder = models.write_model(tmp_path / name, "finetune", "classification", body, labels=("neg", "pos"))
        told, exact = (answers(folder, each, ["the quick brown fox"])[0]["scores"] for each in (precision, "float32"))
        assert (told != exact) == differs
