"""The model folder of a language model, read by the tools that it is named for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from app.contract.specs.tokenizers import CharacterTokenizer, TokenizerSpec, WordPieceTokenizer, WordTokenizer
from tests.contract import language_model
from tests.contract.runs import prepared
from worker.data.tokenizers import UNKNOWN_TOKEN, learn_tokenizer, unknown_token
from worker.export import load_model
from worker.methods.pretrain.causal_language_model import CausalLanguageModelMethod


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def method(request: pytest.FixtureRequest, tmp_path: Path) -> CausalLanguageModelMethod:
    assignment = language_model.assignment(tmp_path / "job")
    spec: Any = assignment.spec
    shape = spec.method.architecture.model_copy(update={"tie_embeddings": request.param})
    changed = spec.model_copy(update={"method": spec.method.model_copy(update={"architecture": shape})})
    method = prepared(assignment.model_copy(update={"spec": changed}))
    assert isinstance(method, CausalLanguageModelMethod)
    with torch.no_grad():
        for parameter in method.model.parameters():
            parameter.mul_(4.0)  # weights so large that a position or a norm out of place shows in the logits
    return method


@pytest.fixture
def folder(method: CausalLanguageModelMethod, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    method.export(folder)
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_loads_it_as_llama_with_the_same_logits(method: CausalLanguageModelMethod, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: PLC0415  seconds, for this test alone

    theirs = AutoModelForCausalLM.from_pretrained(folder)
    tokens = method.train_data.micro_batches(0)[0]["tokens"]

    assert isinstance(theirs, LlamaForCausalLM)
    with torch.no_grad():
        logits = method.model.eval()(tokens)
        assert logits.std() > 1
        torch.testing.assert_close(theirs(tokens).logits, logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "spec", [WordPieceTokenizer(), WordTokenizer(), CharacterTokenizer()], ids=lambda spec: spec.type
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_reads_every_tokenizer(spec: TokenizerSpec, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415  seconds, for this test alone

    text = language_model.manual(2_000)
    mine = learn_tokenizer([text], spec)
    (tmp_path / "tokenizer.json").write_text(mine.to_str())
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), unk_token=UNKNOWN_TOKEN)  # type: ignore[no-untyped-call]

    assert theirs(f"{text} 東京")["input_ids"] == mine.encode(f"{text} 東京").ids
    assert theirs.decode(theirs(text)["input_ids"]) == mine.decode(mine.encode(text).ids)
    assert theirs.unk_token_id == unknown_token(mine)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_reads_its_tokenizer(method: CausalLanguageModelMethod, folder: Path) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415  seconds, for this test alone

    theirs = AutoTokenizer.from_pretrained(folder)
    text = language_model.manual(2_000) + " Grüße, 世界 🙂"

    assert theirs(text, add_special_tokens=False)["input_ids"] == method.tokenizer.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"]) == text


def test_the_file_of_weights_carries_the_stock_metadata_alone(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    description = folder / "pretune.json"
    description.write_text(description.read_text().replace('"num_layers": 2', '"num_layers": 3'))

    with pytest.raises(ValueError, match=r"disagree on model\.layers\.2"):
        load_model(folder)
