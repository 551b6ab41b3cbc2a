"""Tokenizers: learned from a sample of the text, saved as a stock tokenizer.json. Know no data set and no model."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from app.contract.model_folder import TokenRole
from app.contract.specs.tokenizers import (
    BpeTokenizer,
    CharacterTokenizer,
    TokenizerSpec,
    WordPieceTokenizer,
    WordTokenizer,
)

#: Opens every text, and ends the one before it.
BEGIN_TOKEN = "<|begin|>"  # noqa: S105  no password
PADDING_TOKEN = "<|pad|>"  # noqa: S105  no password
#: Stands where a masked language model is to tell what stood there.
MASK_TOKEN = "[MASK]"  # noqa: S105  no password
SPECIAL_TOKENS = [BEGIN_TOKEN, PADDING_TOKEN]
_OUR_NAMES = {
    TokenRole.BEGIN: BEGIN_TOKEN,
    TokenRole.END: BEGIN_TOKEN,
    TokenRole.PADDING: PADDING_TOKEN,
    TokenRole.MASK: MASK_TOKEN,
}
#: Unicode's character for what cannot be told. A token like any other, and so part of the text that is decoded.
UNKNOWN_TOKEN = "\ufffd"  # noqa: S105  no password

#: A word with the apostrophes inside it (either of two), or one mark of punctuation.
_LETTER = r"[\p{L}\p{M}\p{N}]"
_WORD = rf"{_LETTER}+(?:['\x{{2019}}]{_LETTER}+)*|[^\s\p{{L}}\p{{M}}\p{{N}}]"

#: GPT-2's words (Radford et al. 2019), each with the space before it. A `#` stands alone: no word begins with the ##
#: that marks a piece within one.
_SPACED_WORD = Regex(r"'(?:s|t|re|ve|m|ll|d)|#| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}#]+|\s+(?!\S)|\s+")
_WITHIN_WORD = "##"
_CHARACTER = Regex(r"[\s\S]")
_FALLBACK = re.compile("<0x([0-9A-F]{2})>")
_MOST_SINGLE_CHARACTERS = 1_000


def learn_tokenizer(blocks: Iterable[str], spec: TokenizerSpec) -> Tokenizer:
    """From blocks of text. A small text gives fewer tokens than asked for."""
    match spec:
        case BpeTokenizer():
            return _bpe(blocks, spec.vocab_size)
        case WordPieceTokenizer():
            return _word_pieces(blocks, spec.vocab_size)
        case WordTokenizer():
            return learn_words(blocks, spec.vocab_size, spec.min_count, lowercase=spec.lowercase)
        case CharacterTokenizer():
            return _characters(blocks, spec.vocab_size)
        case _:
            assert_never(spec)


def _bpe(blocks: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return parse_tokenizer(tokenizer.to_str())


def learn_words(blocks: Iterable[str], vocab_size: int, min_count: int, *, lowercase: bool) -> Tokenizer:
    """The most frequent words, in order of their frequency."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
    tokenizer.pre_tokenizer = _words()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        special_tokens=[*SPECIAL_TOKENS, UNKNOWN_TOKEN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return _with_special_tokens_alone(tokenizer)


def _word_pieces(blocks: Iterable[str], vocab_size: int) -> Tokenizer:
    """Single characters are counted here, and given to the trainer as if they were special: it would number those
    within words as a hash map gives them, and so learn another tokenizer each time.
    """
    blocks = list(blocks)
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN_TOKEN, continuing_subword_prefix=_WITHIN_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_SPACED_WORD, "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex(rf"\A{_WITHIN_WORD}"), ""), decoders.Fuse()])
    specials = [*SPECIAL_TOKENS, UNKNOWN_TOKEN]
    # A character takes two tokens, as the first of a word and within one.
    characters = _frequent_characters(blocks, min(_MOST_SINGLE_CHARACTERS, (vocab_size - len(specials)) // 2))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*specials, *characters, *(_WITHIN_WORD + character for character in characters)],
        continuing_subword_prefix=_WITHIN_WORD,
        limit_alphabet=0,
        show_progress=False,
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return _with_special_tokens_alone(tokenizer)


def _frequent_characters(blocks: Iterable[str], limit: int) -> list[str]:
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update(block)
    del counts[UNKNOWN_TOKEN]
    return sorted(counts, key=lambda character: (-counts[character], character))[:limit]


def _characters(blocks: Iterable[str], vocab_size: int) -> Tokenizer:
    """The most frequent ones."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN_TOKEN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_CHARACTER, "isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=[*SPECIAL_TOKENS, UNKNOWN_TOKEN], show_progress=False
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return _with_special_tokens_alone(tokenizer)


def _with_special_tokens_alone(tokenizer: Tokenizer) -> Tokenizer:
    """Whatever else a trainer was given is a token like any other: special ones are left out of what is decoded."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL_TOKENS]
    return parse_tokenizer(json.dumps(content))


def with_mask(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer and MASK_TOKEN, its last. Tools that read the file open a text by the begin token, and take the
    space before a mask for a part of what is masked, where it is one of a word."""
    made = Tokenizer.from_str(tokenizer.to_str())
    made.add_special_tokens([AddedToken(MASK_TOKEN, lstrip=words_hold_spaces(made), normalized=False, special=True)])
    opened = f"{BEGIN_TOKEN} $A"
    made.post_processor = processors.TemplateProcessing(
        single=opened, pair=f"{opened} $B:1", special_tokens=[(BEGIN_TOKEN, begin_token(made))]
    )
    return parse_tokenizer(made.to_str())


def words_hold_spaces(tokenizer: Tokenizer) -> bool:
    """Whether a word's tokens tell the space before it too. Without a pre-tokenizer, nothing cuts a word off its
    space."""
    return tokenizer.pre_tokenizer is None or len(tokenizer.pre_tokenizer.pre_tokenize_str("a b")) == 2


def word_opening(tokenizer: Tokenizer) -> str:
    """What to put before a word alone, so that it has the tokens that it has within a text: a space, unless the
    tokenizer puts one there itself, or makes nothing of it."""
    tokens = tokenizer.encode("a a", add_special_tokens=False).ids
    return "" if len(tokens) == 2 and tokens[0] == tokens[1] else " "


def special_tokens(tokenizer: Tokenizer) -> list[int]:
    """Those that stand for no text of their own, the unknown one among them."""
    special = [token for token, content in tokenizer.get_added_tokens_decoder().items() if content.special]
    unknown = unknown_token(tokenizer)
    return special if unknown is None else [*special, unknown]


def words_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Every token that stands for text, with its number, ascending by that."""
    special = {*special_tokens(tokenizer)}
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return {word: number for word, number in vocabulary if number not in special}


def cut_into_words(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Words and marks of punctuation, each with the characters that it stands at, the end exclusive."""
    words: list[tuple[str, tuple[int, int]]] = _words().pre_tokenize_str(text)
    return words


def load_tokenizer(path: Path) -> Tokenizer:
    return parse_tokenizer(path.read_text(encoding="utf-8"))


def parse_tokenizer(content: str) -> Tokenizer:
    """A tokenizer that takes the names of special tokens in a user's text for text."""
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def token_in_role(tokenizer: Tokenizer, role: TokenRole) -> int | None:
    """As the template of an imported tokenizer tells it; else by the name that a tokenizer of ours has for it."""
    told = _template(tokenizer)["special_tokens"].get(role)
    token: int | None = told["ids"][0] if told else tokenizer.token_to_id(_OUR_NAMES[role])
    return token


def begin_token(tokenizer: Tokenizer) -> int:
    token = token_in_role(tokenizer, TokenRole.BEGIN)
    assert token is not None, "every tokenizer has a begin token"
    return token


def mask_token(tokenizer: Tokenizer) -> int:
    token = token_in_role(tokenizer, TokenRole.MASK)
    assert token is not None, f"{MASK_TOKEN} comes with with_mask(), or by import"
    return token


class Frame:
    """What stands around a text that is read whole: a begin token and, where the tokenizer closes texts as BERT's does,
    an end token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._begin = [begin_token(tokenizer)]
        self.closing = _closing(tokenizer)
        self.size = 1 + len(self.closing)

    def around(self, tokens: Sequence[int], max_tokens: int | None = None) -> list[int]:
        """The text's tokens cut so that all are `max_tokens` at most."""
        kept = tokens if max_tokens is None else tokens[: max(0, max_tokens - self.size)]
        return [*self._begin, *kept, *self.closing]


def _closing(tokenizer: Tokenizer) -> list[int]:
    end = token_in_role(tokenizer, TokenRole.END)
    *_, last = _template(tokenizer)["single"]
    return [end] if end is not None and last.get("SpecialToken", {}).get("id") == TokenRole.END else []


def _template(tokenizer: Tokenizer) -> dict[str, Any]:
    processor = tokenizer.post_processor
    if not isinstance(processor, processors.TemplateProcessing):
        return {"single": [{}], "special_tokens": {}}
    template: dict[str, Any] = json.loads(processor.__getstate__())
    return template


def stand_in_token(tokenizer: Tokenizer) -> int:
    """What is read where a token is hidden: the mask, or else the unknown token, or else padding, as far as there are
    such."""
    mask, padding = (token_in_role(tokenizer, role) for role in (TokenRole.MASK, TokenRole.PADDING))
    found = (mask, unknown_token(tokenizer), padding, begin_token(tokenizer))
    return next(token for token in found if token is not None)


def frame_tokens(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Those that stand around every text."""
    return (begin_token(tokenizer), *Frame(tokenizer).closing)


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """None where everything is known, as every byte is to a byte-level tokenizer."""
    name = getattr(tokenizer.model, "unk_token", None)
    if name is None or isinstance(tokenizer.decoder, decoders.ByteLevel):
        return None
    token: int | None = tokenizer.token_to_id(name)
    return token


def token_characters(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """How many characters each token writes, int64 [V]. Special tokens: none; the unknown one: one."""
    count = _counting(tokenizer)
    vocabulary = tokenizer.get_vocab()
    characters = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
    for token, index in vocabulary.items():
        characters[index] = count(token)
    for index, added in tokenizer.get_added_tokens_decoder().items():
        characters[index] = 0 if added.special else len(added.content)
    if (unknown := unknown_token(tokenizer)) is not None:
        characters[unknown] = count(UNKNOWN_TOKEN)
    return characters


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes | None:
    """What a token writes behind others; None for a special one, which writes nothing."""
    name = tokenizer.id_to_token(token)
    added = tokenizer.get_added_tokens_decoder().get(token)
    if name is None or (added is not None and added.special):
        return None
    if added is None and isinstance(tokenizer.decoder, decoders.ByteLevel):
        return bytes(_BYTES[symbol] for symbol in name if symbol in _BYTES)
    if getattr(tokenizer.model, "byte_fallback", False) and (byte := _FALLBACK.fullmatch(name)):
        return bytes([int(byte[1], 16)])
    # Behind itself, since decoders strip what opens a text.
    once, twice = (tokenizer.decode([token] * times, skip_special_tokens=False) for times in (1, 2))
    return twice[len(once) :].encode()


def _counting(tokenizer: Tokenizer) -> Callable[[str], int]:
    if isinstance(tokenizer.decoder, decoders.ByteLevel):
        return _characters_begun
    if getattr(tokenizer.model, "byte_fallback", False):
        return _characters_with_fallback
    if tokenizer.decoder is None:
        return lambda word: len(word) + 1  # a space stands between any two
    return lambda piece: len(piece.removeprefix(_WITHIN_WORD))


def _characters_begun(token: str) -> int:
    """By a byte-level token: its bytes, but for those that go on with a character."""
    return sum(not _continues(_BYTES.get(symbol, 0)) for symbol in token)


def _characters_with_fallback(token: str) -> int:
    """By a token of characters, or of one byte of a character that the vocabulary lacks: `<0xE6>`."""
    byte = _FALLBACK.fullmatch(token)
    return int(not _continues(int(byte[1], 16))) if byte else len(token)


def _continues(byte: int) -> bool:
    """Whether a byte goes on with a character in UTF-8."""
    return 0x80 <= byte < 0xC0


def _words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)


def _symbols_of_bytes() -> dict[str, int]:
    """Each byte by the printable character that stands for it in byte-level tokens (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _symbols_of_bytes()
