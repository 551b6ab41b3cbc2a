"""Reads a sentence as users send it: its tokens, or a text that is cut into words and marks of punctuation."""

from dataclasses import dataclass
from typing import Any

from app.contract.parameters import MAX_TEXT_CHARACTERS
from app.records import fields
from app.records.problems import BadValue
from worker.data.tokenizers import cut_into_words
from worker.serving.predictors.inputs import read_text, shown


@dataclass(frozen=True, slots=True)
class Sentence:
    """`characters`: where in `text` each word stands; None where tokens were given."""

    words: list[str]
    text: str | None = None
    characters: list[tuple[int, int]] | None = None

    def stretch(self, start: int, end: int) -> dict[str, Any]:
        """Where words `start` to `end` stand in what was given, the end exclusive: `start` and `end` count characters
        of a text, or tokens; and their `text`, as it was written, or with spaces between tokens."""
        if self.text is None or self.characters is None:
            return {"start": start, "end": end, "text": " ".join(self.words[start:end])}
        first, last = self.characters[start][0], self.characters[end - 1][1]
        return {"start": first, "end": last, "text": self.text[first:last]}


def read_sentence(value: Any) -> Sentence:
    if isinstance(value, str):
        text = read_text(value)
        words = cut_into_words(text)
        return Sentence([word for word, _ in words], text, [place for _, place in words])
    if not isinstance(value, dict) or set(value) != {"tokens"}:
        raise BadValue(f'This model takes a text or {{"tokens": [...]}}, and got {shown(value)}.')
    return Sentence(read_tokens(value["tokens"]))


def read_tokens(value: Any) -> list[str]:
    tokens = [*fields.strings("tokens", value)]
    if (num_characters := sum(map(len, tokens))) > MAX_TEXT_CHARACTERS:
        raise BadValue(
            f"The tokens have {num_characters:,} characters together; at most {MAX_TEXT_CHARACTERS:,} are taken."
        )
    return tokens
