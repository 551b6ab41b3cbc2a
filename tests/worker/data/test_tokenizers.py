"""Byte-level BPE, and the cutting of texts."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.contract.language_model import manual
from worker.data import tokenizers
from worker.data.tokenizers import (
    BEGIN_TOKEN,
    begin_token,
    blocks_of,
    evenly_spaced,
    learn_bpe,
    load_tokenizer,
    token_characters,
)

LEARNED = learn_bpe([manual()], 400)

#: Whitespace of every sort between words of every sort.
texts = st.text(st.sampled_from("ab1'.é世🙂 \n\t\r\u00a0\u2003\x1f"), max_size=400)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_a_text_cut_into_blocks_has_the_tokens_of_the_whole(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizers, "BLOCK_CHARACTERS", 8)
        blocks = list(blocks_of([text[:37], text[37:90], text[90:]]))

    assert "".join(blocks) == text
    assert [token for block in blocks for token in LEARNED.encode(block).ids] == LEARNED.encode(text).ids


def test_text_without_any_space_is_cut_all_the_same() -> None:
    blocks = list(blocks_of(["x" * 1_000_000]))

    assert len(blocks) > 5
    assert sum(map(len, blocks)) == 1_000_000


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_written_and_read_back(text: str) -> None:
    assert LEARNED.decode(LEARNED.encode(text).ids, skip_special_tokens=False) == text


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_tokens_count_the_characters_of_their_text(text: str) -> None:
    characters = token_characters(LEARNED)

    assert characters[LEARNED.encode(text).ids].sum() == len(text)


def test_the_names_of_special_tokens_in_a_text_are_text() -> None:
    tokens = LEARNED.encode(f"before {BEGIN_TOKEN} after").ids

    assert begin_token(LEARNED) not in tokens
    assert LEARNED.decode(tokens) == f"before {BEGIN_TOKEN} after"


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(LEARNED.to_str())

    assert load_tokenizer(path).encode(f"{BEGIN_TOKEN} x").ids == LEARNED.encode(f"{BEGIN_TOKEN} x").ids


def test_learning_twice_gives_the_same_merges() -> None:
    assert learn_bpe([manual()], 400).to_str() == LEARNED.to_str()


def test_a_small_text_gives_the_bytes_and_what_it_has() -> None:
    small = learn_bpe(["hello hello"], 1_000)

    assert 258 < small.get_vocab_size() < 280
    assert _num_bytes(small) == 256


def test_a_sample_comes_from_all_over_the_stream_and_keeps_to_its_limit() -> None:
    sample = evenly_spaced((f"{number:06d}" for number in range(10_000)), limit_bytes=600)

    numbers = [int(block) for block in sample]
    gaps = {second - first for first, second in pairwise(numbers)}
    assert 50 <= len(sample) <= 100
    assert len(gaps) == 1
    assert numbers[-1] > 9_700


def test_what_fits_is_taken_whole() -> None:
    assert evenly_spaced(["a", "b", "c"], limit_bytes=3) == ["a", "b", "c"]


def _num_bytes(tokenizer: Tokenizer) -> int:
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    return sum(len(token) == 1 for token in vocabulary)
