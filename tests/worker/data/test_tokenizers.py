"""Tokenizers of every kind, and the cutting of texts."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from app.contract.model_folder import TokenRole
from app.contract.specs.tokenizers import (
    BpeTokenizer,
    CharacterTokenizer,
    TokenizerSpec,
    WordPieceTokenizer,
    WordTokenizer,
)
from tests.contract.language_model import manual
from worker.data import blocks
from worker.data.blocks import blocks_of, evenly_spaced
from worker.data.tokenizers import (
    BEGIN_TOKEN,
    PADDING_TOKEN,
    Frame,
    begin_token,
    frame_tokens,
    learn_tokenizer,
    load_tokenizer,
    mask_token,
    parse_tokenizer,
    special_tokens,
    stand_in_token,
    token_bytes,
    token_characters,
    token_in_role,
    unknown_token,
    word_opening,
    words_hold_spaces,
)

SPECS: list[TokenizerSpec] = [
    BpeTokenizer(vocab_size=400),
    WordPieceTokenizer(vocab_size=400),
    WordTokenizer(vocab_size=400, min_count=1),
    CharacterTokenizer(vocab_size=80),
]
TEXT = manual()
BYTE_PAIRS, PIECES, WORDS, CHARACTERS = LEARNED = [learn_tokenizer([TEXT], spec) for spec in SPECS]

every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.type)
every_tokenizer = pytest.mark.parametrize("tokenizer", LEARNED, ids=[spec.type for spec in SPECS])

#: Whitespace of every sort between words of every sort.
texts = st.text(st.sampled_from("ab1'.#é世🙂 \n\t\r\u00a0\u2003\x1f"), max_size=400)


@every_tokenizer
@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_a_text_cut_into_blocks_has_the_tokens_of_the_whole(tokenizer: Tokenizer, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_CHARACTERS", 8)
        cut = list(blocks_of([text[:37], text[37:90], text[90:]]))

    assert "".join(cut) == text
    assert [token for block in cut for token in tokenizer.encode(block).ids] == tokenizer.encode(text).ids


def test_text_without_any_space_is_cut_all_the_same() -> None:
    blocks = list(blocks_of(["x" * 1_000_000]))

    assert len(blocks) > 5
    assert sum(map(len, blocks)) == 1_000_000


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_byte_pairs_write_any_text_and_read_it_back(text: str) -> None:
    assert BYTE_PAIRS.decode(BYTE_PAIRS.encode(text).ids, skip_special_tokens=False) == text


@every_spec
def test_what_was_learned_is_read_back_white_space_and_all(spec: TokenizerSpec) -> None:
    known = (
        "the the statement is # a list ."
        if spec.type == "word"
        else "  the  statement\n\n\n    is  #  a ## list ##s.\n"
    )
    learned = learn_tokenizer([known] * 3, spec)

    assert learned.decode(learned.encode(known).ids, skip_special_tokens=True) == known


@pytest.mark.parametrize(
    ("tokenizer", "text"),
    [(BYTE_PAIRS, "the naïve 東京"), (PIECES, "the list is"), (WORDS, "the list is"), (CHARACTERS, "the list")],
    ids=["bpe", "wordpiece", "word", "character"],
)
def test_the_bytes_of_tokens_make_the_text(tokenizer: Tokenizer, text: str) -> None:
    spelled = [token_bytes(tokenizer, token) for token in tokenizer.encode(text, add_special_tokens=False).ids]

    assert None not in spelled
    assert b"".join(filter(None, spelled)).decode().strip() == text
    assert token_bytes(tokenizer, begin_token(tokenizer)) is None


def test_a_fallback_token_is_one_byte() -> None:
    model = models.BPE({"<unk>": 0, "<0xE6>": 1, "a": 2}, [], unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])

    assert [token_bytes(tokenizer, token) for token in (1, 2)] == [b"\xe6", b"a"]


@pytest.mark.parametrize(
    ("tokenizer", "text", "told"),
    [
        (PIECES, "the naïve\nlist 東京.", "the\ufffd\nlist\ufffd."),
        (WORDS, "The naïve\nlist 東京.", "the \ufffd list \ufffd ."),
        (CHARACTERS, "the naïve\nlist 東京.", "the na\ufffdve\nlist \ufffd\ufffd."),
    ],
    ids=["wordpiece", "word", "character"],
)
def test_what_is_unknown_reads_as_the_replacement_character(tokenizer: Tokenizer, text: str, told: str) -> None:
    ids = tokenizer.encode(text).ids

    assert tokenizer.decode(ids, skip_special_tokens=True) == told
    assert sum(token == unknown_token(tokenizer) for token in ids) == told.count("\ufffd")
    assert token_characters(tokenizer)[ids].sum() == len(told) + (tokenizer is WORDS)  # a space too many


@every_tokenizer
@given(text=st.text(max_size=200))
@settings(max_examples=50, deadline=None)
def test_tokens_count_the_characters_of_what_they_tell(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids

    space_too_many = tokenizer is WORDS and bool(ids)
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    assert token_characters(tokenizer)[ids].sum() == len(decoded) + space_too_many


@every_tokenizer
def test_special_tokens_tell_no_characters_and_are_in_no_text(tokenizer: Tokenizer) -> None:
    specials: list[Any] = [tokenizer.token_to_id(name) for name in (BEGIN_TOKEN, PADDING_TOKEN)]
    ids = tokenizer.encode(f"before {BEGIN_TOKEN} {PADDING_TOKEN} after").ids

    assert token_characters(tokenizer)[specials].sum() == 0
    assert specials == [begin_token(tokenizer), 1]
    assert not set(specials) & set(ids)


def test_the_names_of_special_tokens_in_a_text_are_text() -> None:
    text = f"before {BEGIN_TOKEN} after"

    assert BYTE_PAIRS.decode(BYTE_PAIRS.encode(text).ids) == text


@every_tokenizer
def test_a_saved_tokenizer_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path, text = tmp_path / "tokenizer.json", f"{BEGIN_TOKEN} x \ufffd 東 ##s"
    path.write_text(tokenizer.to_str())
    loaded = load_tokenizer(path)

    assert loaded.encode(text).ids == tokenizer.encode(text).ids
    assert loaded.decode(loaded.encode(text).ids) == tokenizer.decode(tokenizer.encode(text).ids)


@every_spec
def test_learning_twice_gives_the_same_tokenizer(spec: TokenizerSpec) -> None:
    assert learn_tokenizer([TEXT], spec).to_str() == learn_tokenizer([TEXT], spec).to_str()


@pytest.mark.parametrize("vocab_size", [64, 100, 300])
@pytest.mark.parametrize("kind", [WordPieceTokenizer, WordTokenizer, CharacterTokenizer])
def test_no_tokenizer_is_larger_than_was_asked(
    kind: type[WordPieceTokenizer | WordTokenizer | CharacterTokenizer], vocab_size: int
) -> None:
    wide = TEXT + "".join(map(chr, range(0x4E00, 0x5000)))

    assert learn_tokenizer([wide], kind(vocab_size=vocab_size)).get_vocab_size() <= vocab_size


def test_a_small_text_gives_the_bytes_and_what_it_has() -> None:
    small = learn_tokenizer(["hello hello"], BpeTokenizer(vocab_size=1_000))

    assert 258 < small.get_vocab_size() < 280
    assert _num_bytes(small) == 256


def test_words_hold_the_space_before_them_and_characters_do_not() -> None:
    assert [words_hold_spaces(tokenizer) for tokenizer in LEARNED] == [True, True, True, False]


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


def imported(single: str) -> Tokenizer:
    """With its special tokens told by role, as an import leaves it."""
    tokenizer = Tokenizer(models.BPE({"<0xE6>": 0, "<0x9D>": 1, "▁a": 2}, [], byte_fallback=True))
    tokenizer.add_special_tokens(["<s>", "</s>", "<gap>"])
    tokenizer.add_tokens(["an added one"])
    roles = {"begin": 3, "end": 4, "mask": 5, "padding": 4}
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=list(roles.items()))
    return parse_tokenizer(tokenizer.to_str())


def test_an_imported_tokenizer_tells_its_special_tokens_by_role() -> None:
    tokenizer = imported("begin $A")
    roles = [token_in_role(tokenizer, role) for role in TokenRole]
    assert roles == [3, 4, 4, 5]
    assert (begin_token(tokenizer), mask_token(tokenizer)) == (3, 5)
    assert special_tokens(tokenizer) == [3, 4, 5]


def test_a_frame_stands_around_a_text_that_is_cut() -> None:
    assert Frame(imported("begin $A")).around([7, 8, 9], 3) == [3, 7, 8]
    assert Frame(imported("begin $A end")).around([7, 8, 9], 4) == [3, 7, 8, 4]
    assert Frame(imported("begin $A end")).around([7, 8]) == [3, 7, 8, 4]
    assert Frame(BYTE_PAIRS).around([7, 8, 9], 3) == [begin_token(BYTE_PAIRS), 7, 8]


def test_what_stands_around_a_text_and_in_a_gap_is_told() -> None:
    assert frame_tokens(imported("begin $A end")) == (3, 4)
    assert frame_tokens(imported("begin $A")) == (3,)
    assert stand_in_token(imported("begin $A")) == 5
    assert frame_tokens(BYTE_PAIRS) == (begin_token(BYTE_PAIRS),)
    assert stand_in_token(BYTE_PAIRS) == BYTE_PAIRS.token_to_id(PADDING_TOKEN)


def test_bytes_that_stand_for_a_part_of_a_character_are_not_counted_twice() -> None:
    assert token_characters(imported("begin $A")).tolist() == [1, 0, 2, 0, 0, 0, 12]


def test_a_word_alone_is_opened_as_it_is_within_a_text() -> None:
    prepending = Tokenizer(models.WordLevel({"▁a": 0}, unk_token="▁a"))
    prepending.pre_tokenizer = pre_tokenizers.Metaspace()
    assert [word_opening(tokenizer) for tokenizer in (BYTE_PAIRS, WORDS, prepending)] == [" ", "", ""]
