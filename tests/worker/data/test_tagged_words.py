"""Words and their sub-words: which sub-word carries a word, and how what is beyond the context is cut."""

from pathlib import Path

import numpy as np
import pytest

from app.contract.model_folder import BodyDescription, Granularity, InputKind
from app.contract.specs.architectures import SkipgramArchitecture, TransformerArchitecture
from app.contract.specs.tokenizers import BpeTokenizer, CharacterTokenizer, WordTokenizer
from tests.contract import tagged_words
from tests.contract.language_model import manual
from worker.data.failures import BadData
from worker.data.tagged_words import NO_TAG, TagReader
from worker.data.tokenizers import begin_token, learn_tokenizer
from worker.data.words import SubWords, even_bounds

BPE = learn_tokenizer([manual(20_000)], BpeTokenizer(vocab_size=320))
CONTEXT_LENGTH = 16


def body(*, bidirectional: bool = False, context_length: int = CONTEXT_LENGTH) -> BodyDescription:
    return BodyDescription(
        architecture=TransformerArchitecture(context_length=context_length),
        input=InputKind.TEXT,
        granularity=Granularity.TOKENS,
        vocab_size=320,
        bidirectional=bidirectional,
    )


def quiet(_: str) -> None:
    """For who tells nothing."""


def test_words_are_cut_as_in_running_text() -> None:
    words = ["The", "statement", "naïve", "東京", "."]
    (row,) = SubWords(BPE, body(context_length=64)).rows(words)

    assert row.tokens[0] == begin_token(BPE)
    assert row.tokens[1:] == BPE.encode(" The statement naïve 東京 .", add_special_tokens=False).ids


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_word_is_carried_by_its_first_sub_word_or_by_the_one_that_has_read_it(bidirectional: bool) -> None:
    words = ["statement", "zyx", "a"]
    (row,) = SubWords(BPE, body(bidirectional=bidirectional)).rows(words)

    lengths = [len(BPE.encode(f" {word}", add_special_tokens=False).ids) for word in words]
    starts = [1 + sum(lengths[:place]) for place in range(3)]
    ends = [start + length - 1 for start, length in zip(starts, lengths, strict=True)]
    assert row.places == (starts if bidirectional else ends)
    assert max(lengths) > 1


def test_a_character_carries_a_word_rather_than_the_space_before_it() -> None:
    tokenizer = learn_tokenizer(["ab ba"], CharacterTokenizer(vocab_size=20))
    (row,) = SubWords(tokenizer, body(bidirectional=True)).rows(["ab", "ba"])

    assert [tokenizer.id_to_token(row.tokens[place]) for place in row.places] == ["a", "b"]


def test_a_word_that_the_tokenizer_does_not_know_has_a_token_too() -> None:
    tokenizer = learn_tokenizer(["one two two"], WordTokenizer(vocab_size=10, min_count=1))
    words = BodyDescription(
        architecture=SkipgramArchitecture(), input=InputKind.TEXT, granularity=Granularity.TOKENS, vocab_size=10
    )
    (row,) = SubWords(tokenizer, words).rows(["two", "three", "\u00ad", "one"])

    assert len(row.places) == 4
    assert all(token is not None for token in row.tokens)


def test_a_word_beyond_the_context_is_read_as_far_as_it_fits() -> None:
    rows = SubWords(BPE, body()).rows(["a", "xyz" * 100, "b"])

    assert [(row.start, row.end) for row in rows] == [(0, 1), (1, 2), (2, 3)]
    assert max(len(row.tokens) for row in rows) == CONTEXT_LENGTH


def test_a_sentence_beyond_the_context_is_cut_into_parts_of_like_length() -> None:
    rows = SubWords(BPE, body()).rows(["a"] * 20)

    assert [row.end - row.start for row in rows] == [10, 10]
    assert SubWords(BPE, body()).rows([]) == []


def test_parts_hold_every_item_once_and_fit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        room = int(rng.integers(1, 12))
        lengths = rng.integers(1, room + 1, rng.integers(1, 30)).tolist()
        bounds = even_bounds(lengths, room)
        assert [place for start, end in bounds for place in range(start, end)] == [*range(len(lengths))]
        assert all(0 < sum(lengths[start:end]) <= room for start, end in bounds)


def test_tags_stand_beside_the_words_that_they_are_of(tmp_path: Path) -> None:
    made = [(["a"] * 20, ["X"] * 10 + ["Y"] * 10), (["b", "c"], ["Y", "X"])]
    dataset = tagged_words.tagged_tokens(tmp_path, made)
    reader = TagReader.taught_by(dataset, quiet)

    data = reader.read(dataset, SubWords(BPE, body()))
    batch = data.examples.gather(np.arange(3))

    assert reader.tags == ("X", "Y")
    assert batch["tags"].tolist() == [[0] * 10, [1] * 10, [1, 0] + [NO_TAG] * 8]
    assert batch["num_words"].tolist() == [10, 10, 2]
    assert batch["sentence"].tolist() == [0, 0, 1]
    assert data.keys[0] == data.keys[1] != data.keys[2], "parts of a sentence stay on one side of a split"


def test_older_bio_is_read_as_it_is_meant(tmp_path: Path) -> None:
    dataset = tagged_words.tagged_tokens(tmp_path, [(["a", "b", "c"], ["I-X", "I-X", "O"])])
    reader = TagReader.taught_by(dataset, quiet)

    batch = reader.read(dataset, SubWords(BPE, body())).examples.gather(np.arange(1))

    assert [reader.tags[tag] for tag in batch["tags"][0].tolist()] == ["B-X", "I-X", "O"]


def test_tags_that_training_never_shows_are_refused(tmp_path: Path) -> None:
    reader = TagReader.taught_by(tagged_words.tagged_tokens(tmp_path, [(["a", "b"], ["X", "Y"])]), quiet)
    other = tagged_words.tagged_tokens(tmp_path, [(["a", "b"], ["X", "Z"])], "other.jsonl")

    with pytest.raises(BadData, match="never show: 'Z'"):
        reader.read(other, SubWords(BPE, body()))


def test_one_tag_alone_cannot_be_learned(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="Every token has the tag 'X'"):
        TagReader.taught_by(tagged_words.tagged_tokens(tmp_path, [(["a", "b"], ["X", "X"])]), quiet)
