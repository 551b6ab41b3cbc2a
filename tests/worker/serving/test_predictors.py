"""Each predictor against its module asked by hand, one input at a time and without batches, windows or caches."""

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.contract.compatibility import METHOD_TRAITS
from app.contract.inference import Operation
from app.contract.model_folder import CHAT_TEMPLATE_NAME
from tests.worker.serving import models
from worker.data.tokenizers import MASK_TOKEN, begin_token
from worker.export import LoadedModel, load_model
from worker.models.autoencoder import Autoencoder
from worker.models.encoder import MaskedLanguageModel
from worker.models.heads import Classifier, Regressor
from worker.models.language_model import CausalLanguageModel
from worker.serving.errors import InvalidInput, ModelCorrupted
from worker.serving.generation import GenerativeModel
from worker.serving.predictors import PREDICTORS, load_predictor
from worker.serving.predictors.protocol import BatchedOperation, Predictor

TEXTS = ["the quick brown fox", "naïve Zoë counts 東京", "lazy", "dog " * 20]
FEATURES: list[list[float]] = [[1.0, 2.0, 3.0, 4.0], [0, -1, 5, 2], [9.5, 0.0, 0.0, -3.25]]

Make = Callable[..., Path]


@torch.inference_mode()
def answers(operation: BatchedOperation | None, inputs: list[Any], alone: bool = False) -> list[Any]:
    """All inputs in one batch, or each row in a batch of its own."""
    assert operation is not None
    encoded = operation.encode_pre(inputs)
    values = [row.value for row in encoded.rows]
    batches = [[value] for value in values] if alone else [values] if values else []
    results = [result for batch in batches for result in operation.encode_core(batch)]
    return operation.encode_post(encoded, results)


def made(make: Make, tmp_path: Path, **options: Any) -> tuple[LoadedModel, Predictor]:
    folder = make(tmp_path / "model", **options)
    return load_model(folder), load_predictor(folder)


def tokens_of(loaded: LoadedModel, text: str) -> list[int]:
    assert loaded.tokenizer is not None
    return loaded.tokenizer.encode(text, add_special_tokens=False).ids


def begin_of(loaded: LoadedModel) -> int:
    assert loaded.tokenizer is not None
    return begin_token(loaded.tokenizer)


def approximately(value: Any) -> Any:
    """Batch sizes change the order of sums."""
    if isinstance(value, dict):
        return {key: approximately(item) for key, item in value.items()}
    if isinstance(value, list):
        return [approximately(item) for item in value]
    return pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value


def test_every_method_has_a_predictor() -> None:
    assert set(PREDICTORS) == set(METHOD_TRAITS)


ALL_MODELS: list[tuple[Make, list[Any]]] = [
    (models.language_model, TEXTS),
    (models.masked_language_model, [f"{text} [MASK]" for text in TEXTS]),
    (models.word_vectors, ["fox", "Dog", "naïve"]),
    (models.text_classifier, TEXTS),
    (models.text_regressor, TEXTS),
    (models.tagger, TEXTS),
    (models.feature_classifier, FEATURES),
    (models.feature_regressor, FEATURES),
    (models.feature_autoencoder, FEATURES),
    (models.image_autoencoder, [np.full((6, 5), value).tolist() for value in (0, 128, 255)]),
]


@pytest.mark.parametrize(("make", "inputs"), ALL_MODELS)
def test_batch_mates_change_no_answer(make: Make, inputs: list[Any], tmp_path: Path) -> None:
    _, predictor = made(make, tmp_path)
    for operation in (predictor.predict, predictor.embed):
        together = answers(operation, inputs)
        assert together == approximately(answers(operation, inputs, alone=True))
        assert together == approximately(answers(operation, inputs[::-1])[::-1])
        assert together[0] != approximately(together[1])


def test_batch_mates_change_no_roles(tmp_path: Path) -> None:
    _, predictor = made(models.role_labeler, tmp_path)
    questions = [{"tokens": text.split(), "predicate": len(text.split()) // 2} for text in TEXTS]

    together = answers(predictor.predict, questions)

    assert together == answers(predictor.predict, questions, alone=True)
    assert len({tuple(output["roles"]) for output in together}) == len(TEXTS)


def test_a_classifier_of_texts_tells_the_softmax_of_its_logits(tmp_path: Path) -> None:
    loaded, predictor = made(models.text_classifier, tmp_path)
    assert isinstance(loaded.module, Classifier)
    for text, output in zip(TEXTS, answers(predictor.predict, TEXTS), strict=True):
        tokens = [begin_of(loaded), *tokens_of(loaded, text)][: models.CONTEXT_LENGTH]
        batch = {"tokens": torch.tensor([tokens]), "lengths": torch.tensor([len(tokens)])}
        probabilities = loaded.module(batch)[0].softmax(-1).tolist()
        assert output["scores"] == approximately(dict(zip(["neg", "pos"], probabilities, strict=True)))
        assert output["label"] == max(output["scores"], key=output["scores"].get)
        assert output["score"] == max(output["scores"].values())


def test_a_masked_model_tells_what_stands_in_each_place(tmp_path: Path) -> None:
    """`naïve` is no word of its vocabulary, and the space before a mask belongs to it."""
    loaded, predictor = made(models.masked_language_model, tmp_path)
    assert isinstance(loaded.module, MaskedLanguageModel)
    assert loaded.tokenizer is not None
    mask = loaded.tokenizer.token_to_id(MASK_TOKEN)
    tokens = [begin_of(loaded), *tokens_of(loaded, "the quick"), mask, *tokens_of(loaded, " fox"), mask]
    expected = loaded.module(torch.tensor([tokens]))[0].softmax(-1)

    [output] = answers(predictor.predict, ["the quick [MASK] fox [MASK]"])
    assert [len(guesses) for guesses in output["masks"]] == [5, 5]
    for guesses, place in zip(output["masks"], (tokens.index(mask), len(tokens) - 1), strict=True):
        scores, best = expected[place].topk(5)
        assert [guess["score"] for guess in guesses] == approximately(scores.tolist())
        assert [guess["token"] for guess in guesses] == [loaded.tokenizer.decode([token]) for token in best.tolist()]


def test_a_text_without_a_mask_is_refused_where_masks_are_filled(tmp_path: Path) -> None:
    _, predictor = made(models.masked_language_model, tmp_path)
    with pytest.raises(InvalidInput, match=r"a text with \[MASK\] in the places to be told; 'the fox' has none"):
        answers(predictor.predict, ["the fox"])


def test_a_mask_in_a_long_text_is_read_in_the_middle_of_the_context(tmp_path: Path) -> None:
    loaded, predictor = made(models.masked_language_model, tmp_path)
    assert isinstance(loaded.module, MaskedLanguageModel)
    assert loaded.tokenizer is not None
    mask, side = loaded.tokenizer.token_to_id(MASK_TOKEN), tokens_of(loaded, " dog" * 40)
    [output] = answers(predictor.predict, ["[MASK]" + " dog" * 40 + " [MASK]" + " dog" * 40])

    room = models.CONTEXT_LENGTH - 1
    middle = [begin_of(loaded), *side[: room // 2], mask, *side[: room - room // 2 - 1]]
    start = [begin_of(loaded), mask, *side[: room - 1]]
    for guesses, tokens in zip(output["masks"], (start, middle), strict=True):
        scores = loaded.module(torch.tensor([tokens]))[0, tokens.index(mask)].softmax(-1)
        assert guesses[0]["score"] == approximately(scores.max().item())


def test_an_unknown_word_is_refused_with_words_spelled_alike(tmp_path: Path) -> None:
    _, predictor = made(models.word_vectors, tmp_path)
    with pytest.raises(InvalidInput) as refusal:
        answers(predictor.predict, ["fox", "quik", "joumps", "the fox"])
    assert [(error.location, error.message) for error in refusal.value.errors] == [
        ("inputs.1", "'quik' is none of the 15 words of this model. Spelled alike: quick."),
        ("inputs.2", "'joumps' is none of the 15 words of this model."),
        ("inputs.3", "'the fox' is none of the 15 words of this model."),
    ]


def test_labels_keep_their_type_and_score_keys_are_strings(tmp_path: Path) -> None:
    numbers = answers(load_predictor(models.feature_classifier(tmp_path / "numbers")).predict, FEATURES)
    assert all(output["label"] in (3, 5, 8) and list(output["scores"]) == ["3", "5", "8"] for output in numbers)
    image = np.full((6, 5), 7).tolist()
    truths = answers(load_predictor(models.image_classifier(tmp_path / "truths")).predict, [image])
    assert truths[0]["label"] in (True, False)
    assert list(truths[0]["scores"]) == ["true", "false"]


@pytest.mark.parametrize("target_size", [1, 3])
def test_a_regression_gives_a_number_or_a_list_as_it_was_trained(target_size: int, tmp_path: Path) -> None:
    loaded, predictor = made(models.feature_regressor, tmp_path, target_size=target_size)
    assert isinstance(loaded.module, Regressor)
    expected = loaded.module({"inputs": torch.tensor(FEATURES)}).tolist()
    values = [output["value"] for output in answers(predictor.predict, FEATURES)]
    assert values == approximately([row[0] for row in expected] if target_size == 1 else expected)


def test_features_may_stand_in_an_object(tmp_path: Path) -> None:
    _, predictor = made(models.feature_regressor, tmp_path)
    wrapped = [{"features": features} for features in FEATURES]
    assert answers(predictor.predict, wrapped) == answers(predictor.predict, FEATURES)


def test_an_autoencoder_gives_reconstruction_code_and_their_error(tmp_path: Path) -> None:
    loaded, predictor = made(models.feature_autoencoder, tmp_path)
    assert isinstance(loaded.module, Autoencoder)
    outputs = answers(predictor.predict, FEATURES)
    for features, output in zip(FEATURES, outputs, strict=True):
        assert output["reconstruction"] == approximately(
            loaded.module.reconstruct(torch.tensor([features]))[0].tolist()
        )
        differences = np.array(output["reconstruction"]) - np.array(features)
        assert output["error"] == pytest.approx(float((differences**2).mean()), rel=1e-5)
    assert [output["code"] for output in outputs] == answers(predictor.embed, FEATURES)


def test_an_image_is_the_same_as_nested_lists_and_as_a_png(tmp_path: Path) -> None:
    _, predictor = made(models.image_autoencoder, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    forms = [pixels.tolist(), [pixels.tolist()], base64.b64encode(buffer.getvalue()).decode()]
    flat, nested, png = answers(predictor.predict, forms)
    assert flat == nested == png
    assert np.shape(flat["reconstruction"]) == models.IMAGE_SHAPE


@torch.inference_mode()
def _log_likelihood(loaded: LoadedModel, tokens: list[int]) -> float:
    """The oracle: each token from the window that scores it, computed alone."""
    assert isinstance(loaded.module, CausalLanguageModel)
    context, total = models.CONTEXT_LENGTH, 0.0
    for place, token in enumerate(tokens):
        window = 0 if place < context else (place - context) // (context // 2) * (context // 2) + context // 2
        before = [begin_of(loaded), *tokens[window:place]]
        total += float(loaded.module(torch.tensor([before]))[0, -1].double().log_softmax(-1)[token])
    return total


@pytest.mark.parametrize("text", ["lazy dog", "the quick brown fox jumps " * 3, models.TEXT])
def test_a_log_likelihood_counts_each_token_once_after_a_begin_token(text: str, tmp_path: Path) -> None:
    loaded, predictor = made(models.language_model, tmp_path)
    tokens = tokens_of(loaded, text)
    (output,) = answers(predictor.predict, [text])
    assert output["log_likelihood"] == pytest.approx(_log_likelihood(loaded, tokens), rel=1e-4)
    assert (output["num_tokens"], output["num_characters"]) == (len(tokens), len(text))
    assert output["perplexity"] == pytest.approx(math.exp(-output["log_likelihood"] / len(tokens)))


def test_the_long_texts_of_these_tests_need_several_windows(tmp_path: Path) -> None:
    loaded, _ = made(models.language_model, tmp_path)
    assert len(tokens_of(loaded, models.TEXT)) > 3 * models.CONTEXT_LENGTH


def test_an_empty_text_has_no_tokens_and_still_an_embedding(tmp_path: Path) -> None:
    _, predictor = made(models.language_model, tmp_path)
    assert answers(predictor.predict, [""]) == [
        {"log_likelihood": 0.0, "num_tokens": 0, "perplexity": None, "num_characters": 0}
    ]
    assert len(answers(predictor.embed, [""])[0]) == 32


def test_the_embedding_of_a_text_is_the_mean_over_its_tokens(tmp_path: Path) -> None:
    loaded, predictor = made(models.language_model, tmp_path)
    assert isinstance(loaded.module, CausalLanguageModel)
    text = TEXTS[1]
    with torch.inference_mode():
        vectors = loaded.module.body.encode({"tokens": torch.tensor([[begin_of(loaded), *tokens_of(loaded, text)]])})
    assert answers(predictor.embed, [text])[0] == approximately(vectors[0].mean(0).tolist())


WRONG_INPUTS: list[tuple[Make, Any, str]] = [
    (models.text_classifier, 17, r"takes a text \(a string\), and got 17"),
    (models.text_classifier, ["a"], r"takes a text \(a string\), and got a list of 1"),
    (models.text_classifier, None, r"got null"),
    (models.text_classifier, "\ud800", r"lone surrogate"),
    (models.text_classifier, "a" * 200_001, r"200,001 characters; at most 200,000"),
    (models.feature_regressor, [1.0, 2.0], r"takes 4 features, and got 2"),
    (models.feature_regressor, "1,2,3,4", r"takes a list of 4 numbers, and got '1,2,3,4'"),
    (models.feature_regressor, {"values": [1, 2, 3, 4]}, r"an object with the keys \['values'\]"),
    (models.feature_regressor, [1, 2, True, 4], r"Feature 2 is true"),
    (models.feature_regressor, [1, 2, 3, 1e300], r"Feature 3 is 1e\+300"),
    (models.feature_regressor, [1, 2, 3, 10**400], r"beyond what a float holds"),
    (models.image_autoencoder, [[0, 0], [0, 0]], r"takes images of 5 x 6 pixels and 1 channel, and got one of 2 x 2"),
    (models.image_autoencoder, [[0] * 5] * 5 + [[0]], r"unlike lengths"),
    (models.image_autoencoder, [[300] * 5] * 6, r"between 0 and 255"),
    (models.image_autoencoder, [["x"] * 5] * 6, r"nested lists of depth 2 that hold"),
    (models.image_autoencoder, "not base64!", r"no base64"),
    (models.image_autoencoder, base64.b64encode(b"GIF89a").decode(), r"no readable PNG or JPEG"),
    (models.image_autoencoder, 3, r"It got 3"),
]


@pytest.mark.parametrize(("make", "wrong", "message"), WRONG_INPUTS)
def test_a_wrong_input_is_located_and_told_what_the_model_takes(
    make: Make, wrong: Any, message: str, tmp_path: Path
) -> None:
    _, predictor = made(make, tmp_path)
    good = next(inputs for maker, inputs in ALL_MODELS if maker is make)[0]
    for operation in (predictor.predict, predictor.embed):
        with pytest.raises(InvalidInput, match=message) as refusal:
            answers(operation, [good, good, good, wrong])
        assert [error.location for error in refusal.value.errors] == ["inputs.3"]


@pytest.mark.parametrize("count", [0, 1_001])
def test_the_number_of_inputs_is_bounded(count: int, tmp_path: Path) -> None:
    _, predictor = made(models.text_classifier, tmp_path)
    with pytest.raises(InvalidInput, match=rf"has {count:,} inputs; between 1 and 1,000"):
        answers(predictor.predict, ["a"] * count)


def test_the_tokens_of_one_request_are_bounded(tmp_path: Path) -> None:
    _, predictor = made(models.language_model, tmp_path)
    with pytest.raises(InvalidInput, match=r"100,000 tokens together; one request takes at most 65,536"):
        answers(predictor.predict, ["#" * 50_000] * 2)


def test_files_of_different_models_are_refused(tmp_path: Path) -> None:
    folder, other = models.feature_regressor(tmp_path / "a"), models.feature_autoencoder(tmp_path / "b")
    (other / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(ModelCorrupted, match="disagree"):
        load_predictor(folder)


def test_a_predictor_names_its_operations(tmp_path: Path) -> None:
    assert made(models.language_model, tmp_path / "a")[1].operations == list(Operation)
    assert made(models.text_classifier, tmp_path / "b")[1].operations == [Operation.PREDICT, Operation.EMBED]


def test_an_imported_instruction_model_is_asked_in_the_template_that_it_was_taught(tmp_path: Path) -> None:
    def prompt() -> list[int]:
        generate = load_predictor(folder).generate
        assert isinstance(generate, GenerativeModel)
        return generate.chat.prompt([{"role": "assistant", "content": "fox"}, {"role": "user", "content": "dog"}])

    folder = models.instruction_model(tmp_path / "model")
    taught = prompt()
    (folder / CHAT_TEMPLATE_NAME).unlink()
    assert prompt() == taught
