from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from worker.serving.generation.text import TextStream

TEXT = "Zürich 東京 🙂🙃 naïve — end"


@pytest.fixture(scope="module")
def byte_tokenizer() -> Tokenizer:
    """One token a byte: every character beyond ASCII spans tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=257,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a"], trainer)
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str, stops: Sequence[str] = (), drop_last: int = 0) -> tuple[list[str], bool]:
    stream = TextStream(tokenizer, stops)
    tokens = tokenizer.encode(text).ids
    got = []
    for token in tokens[: len(tokens) - drop_last]:
        got.append(stream.push(token))
        if stream.stopped:
            break
    got.append(stream.flush())
    return [piece for piece in got if piece], stream.stopped


def test_an_answer_has_no_space_before_it_whichever_tokens_that_takes(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [], strips_start=True)
    got = [stream.push(token) for token in byte_tokenizer.encode(" \n a b ").ids]
    assert "".join(got) + stream.flush() == "a b "


def test_pieces_hold_whole_characters_and_make_the_text(byte_tokenizer: Tokenizer) -> None:
    got, stopped = pieces(byte_tokenizer, TEXT)
    assert "".join(got) == TEXT
    assert not any("\ufffd" in piece for piece in got)
    assert not stopped


def test_bytes_that_never_became_a_character_show_at_the_end(byte_tokenizer: Tokenizer) -> None:
    got, _ = pieces(byte_tokenizer, "ab🙂", drop_last=1)
    assert got[:2] == ["a", "b"]
    assert set("".join(got[2:])) == {"\ufffd"}


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", ["two"], "one "),
        ("one two three", ["xyz"], "one two three"),
        ("one two three", ["three", "two"], "one "),
        ("aaab", ["aab"], "a"),
        ("stop at the end", ["end"], "stop at the "),
        ("nearly the en", ["end"], "nearly the en"),
        ("x🙂y", ["🙂"], "x"),
        ("first", ["f"], ""),
    ],
)
def test_text_ends_before_the_first_stop(byte_tokenizer: Tokenizer, text: str, stops: list[str], expected: str) -> None:
    got, stopped = pieces(byte_tokenizer, text, stops)
    assert "".join(got) == expected
    assert stopped == (expected != text)


def test_text_that_may_begin_a_stop_is_held_back_until_it_does_not(byte_tokenizer: Tokenizer) -> None:
    got, _ = pieces(byte_tokenizer, "ab-c--d", ["--e"])
    assert got == ["a", "b", "-c", "--d"]


def test_special_tokens_are_no_text(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [])
    begin = byte_tokenizer.token_to_id("<s>")
    assert begin is not None
    assert stream.push(begin) + stream.flush() == ""


@pytest.mark.parametrize(
    ("text", "stops", "strips", "expected"),
    [
        ("a🙂b", [], False, [0, 1, 1, 1, 1, 2]),
        (" ab", [], True, [0, 0, 1]),
        ("ab-c--d", ["--e"], False, [0, 1, 2, 3, 4, 5, 6]),
        ("ab--e", ["--e"], False, [0, 1]),
        ("x🙂y", ["🙂"], False, [0]),
        ("nearly the en", ["end"], False, list(range(13))),
    ],
)
def test_each_token_of_the_text_is_told_once_where_it_begins(
    byte_tokenizer: Tokenizer, text: str, stops: list[str], strips: bool, expected: list[int]
) -> None:
    stream = TextStream(byte_tokenizer, stops, strips_start=strips)
    written, starts = "", []
    for token in byte_tokenizer.encode(text).ids:
        written += stream.push(token)
        starts += (begun := stream.begun())
        assert all(start < len(written) for start in begun)
        if stream.stopped:
            break
    stream.flush()
    assert starts + stream.begun() == expected


def test_bytes_that_never_became_a_character_are_told_too(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer, [])
    for token in byte_tokenizer.encode("a🙂").ids[:-1]:
        stream.push(token)
    assert stream.begun() == [0]
    stream.flush()
    assert stream.begun() == [1, 1, 1]
