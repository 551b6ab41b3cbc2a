"""Stock models, imported: they compute what transformers computes, and so does what is fine-tuned from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract import datasets, instructions, tagged_words
from tests.contract.assignments import finetuning_of
from tests.contract.runs import final_checkpoint, prepared, run_here
from tests.imports import stock
from tests.imports.conftest import Post
from tests.worker.serving.test_predictors import answers, approximately
from worker.data.tokenizers import Frame, begin_token
from worker.export import export_model, load_model
from worker.serving.generation.chat import chat_format
from worker.serving.predictors import load_predictor
from worker.serving.predictors.readers import TextReader

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.databases("sqlite"),
]

Stored = Callable[[str], Path]
TEXTS = ["A class is", "the value of an expression, naïvely"]
families = pytest.mark.parametrize("family", stock.FAMILIES)
decoders = pytest.mark.parametrize("family", ["llama", "gpt2"])


@families
def test_its_logits_are_those_of_transformers(family: str, upload: Post, stored: Stored, tmp_path: Path) -> None:
    theirs = stock.FAMILIES[family](tmp_path / "stock")
    view = upload(tmp_path / "stock").json()
    loaded = load_model(stored(view["id"]))
    tokens = torch.randint(5, 200, (3, stock.CONTEXT))

    assert view["method"] == ("masked_language_model" if family == "bert" else "causal_language_model")
    assert view["num_parameters"] == sum(parameter.numel() for parameter in theirs.parameters())
    with torch.no_grad():
        logits = loaded.module(tokens)
        assert logits.std() > 1
        torch.testing.assert_close(theirs(tokens).logits, logits, rtol=0, atol=1e-4)


@families
def test_it_goes_out_as_the_stock_model_that_it_came_as(
    family: str, upload: Post, stored: Stored, tmp_path: Path
) -> None:
    """Its archive, and what training would export."""
    theirs = stock.FAMILIES[family](tmp_path / "stock")
    folder = stored(upload(tmp_path / "stock").json()["id"])
    loaded = load_model(folder)
    (tmp_path / "again").mkdir()
    export_model(tmp_path / "again", loaded.module, loaded.description, loaded.tokenizer)
    tokens = torch.randint(5, 200, (2, stock.CONTEXT))

    for out in (folder, tmp_path / "again"):
        again, told = type(theirs).from_pretrained(out, output_loading_info=True)
        assert not any(told[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
        with torch.no_grad():
            torch.testing.assert_close(again.eval()(tokens).logits, theirs(tokens).logits, rtol=0, atol=1e-4)


@decoders
def test_it_writes_the_tokens_that_transformers_writes(
    family: str, upload: Post, stored: Stored, tmp_path: Path
) -> None:
    theirs = stock.FAMILIES[family](tmp_path / "stock")
    loaded = load_model(stored(upload(tmp_path / "stock").json()["id"]))
    assert loaded.tokenizer is not None
    prompt = [begin_token(loaded.tokenizer), *loaded.tokenizer.encode(TEXTS[0], add_special_tokens=False).ids]
    expected = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        do_sample=False,
        max_new_tokens=20,
        eos_token_id=[],
        pad_token_id=0,
    )[0, len(prompt) :].tolist()

    decoder = load_predictor(stored(upload(tmp_path / "stock").json()["id"])).generate.decoder  # type: ignore[union-attr]
    first: list[int] = []
    with torch.no_grad():
        decoder.reserve(2, len(prompt) + 20)
        for read in (prompt, prompt[:2]):
            reading = decoder.begin(len(read))
            first.append(int(reading.read(read).argmax()))
            decoder.join(reading)
        written = first[:1]
        while len(written) < 20:
            written.append(int(decoder.advance([written[-1], 5])[0].argmax()))

    assert written == expected
    assert len({*written}) > 3


def test_its_masks_are_filled_as_transformers_fills_them(upload: Post, stored: Stored, tmp_path: Path) -> None:
    from transformers import pipeline  # noqa: PLC0415

    stock.bert(tmp_path / "stock")
    predictor = load_predictor(stored(upload(tmp_path / "stock").json()["id"]))
    texts = ["The [MASK] of a class", "a function is [MASK] ."]
    theirs = pipeline("fill-mask", str(tmp_path / "stock"), top_k=4)(texts)

    for told, output in zip(theirs, answers(predictor.predict, texts), strict=True):
        expected = [{"token": guess["token_str"], "score": guess["score"]} for guess in told]
        assert output["masks"][0][:4] == approximately(expected)


@families
def test_a_classifier_of_it_is_a_stock_classifier(family: str, upload: Post, stored: Stored, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    stock.FAMILIES[family](tmp_path / "stock")
    parent = stored(upload(tmp_path / "stock").json()["id"])
    method = {"type": "classification"} | ({"pooling": "last"} if family == "llama" else {})
    lines = run_here(finetuning_of(parent, tmp_path, datasets.labeled_text(tmp_path), method, duration={"steps": 3}))
    folder = final_checkpoint(lines) / "model"
    ours, theirs = load_model(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    assert ours.tokenizer is not None

    reader = TextReader(ours.tokenizer, stock.CONTEXT)
    batch = reader.collate([row.value for row in reader.read_all(TEXTS)])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    told = tokenizer(TEXTS, padding=True, return_tensors="pt")

    assert type(theirs).__name__.removesuffix("ForSequenceClassification").lower() == family
    assert [*theirs.config.id2label.values()] == [*(ours.description.labels or ())]
    for row, length, ids in zip(batch["tokens"], batch["lengths"], told["input_ids"], strict=True):
        assert row[:length].tolist() == ids[: int(length)].tolist()
    with torch.no_grad():
        logits = ours.module(batch)
        assert logits.std() > 0.1
        torch.testing.assert_close(
            theirs(told["input_ids"], attention_mask=told["attention_mask"]).logits, logits, rtol=0, atol=1e-4
        )


@families
def test_a_tagger_of_it_is_a_stock_tagger(family: str, upload: Post, stored: Stored, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification  # noqa: PLC0415

    stock.FAMILIES[family](tmp_path / "stock")
    parent = stored(upload(tmp_path / "stock").json()["id"])
    lines = run_here(
        finetuning_of(
            parent,
            tmp_path,
            tagged_words.tagged_tokens(tmp_path),
            {"type": "sequence_labeling"},
            duration={"steps": 3},
        )
    )
    folder = final_checkpoint(lines) / "model"
    ours, theirs = load_model(folder), AutoModelForTokenClassification.from_pretrained(folder)
    assert ours.tokenizer is not None
    tokens = torch.tensor([Frame(ours.tokenizer).around(ours.tokenizer.encode(TEXTS[1]).ids)])
    places = torch.arange(tokens.shape[1])[None]
    words = {"tokens": tokens, "lengths": torch.tensor([tokens.shape[1]]), "places": places}

    assert type(theirs).__name__.removesuffix("ForTokenClassification").lower() == family
    with torch.no_grad():
        logits: Any = ours.module(words)
        assert logits.std() > 0.1
        torch.testing.assert_close(theirs(tokens).logits, logits, rtol=0, atol=1e-4)


@decoders
def test_it_is_taught_conversations_as_transformers_writes_them(
    family: str, upload: Post, stored: Stored, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415  seconds, for this test alone

    stock.FAMILIES[family](tmp_path / "stock")
    parent = stored(upload(tmp_path / "stock").json()["id"])
    told = instructions.conversations(tmp_path, instructions.taught())
    taught = prepared(finetuning_of(parent, tmp_path, told, {"type": "instruction_tuning"}))
    (tmp_path / "taught").mkdir()
    taught.export(tmp_path / "taught")
    loaded, messages = load_model(tmp_path / "taught"), [*instructions.asked(0, 1), instructions.asked(1, 2)[0]]

    theirs = AutoTokenizer.from_pretrained(tmp_path / "taught")

    assert loaded.tokenizer is not None
    prompt = chat_format(loaded.chat_template, loaded.tokenizer).prompt(messages)
    assert prompt == theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert theirs.eos_token_id in prompt[1:]
