"""Turns tokens into text as they come. Knows nothing of models.

A character may span tokens, and a stop sequence may span pieces of text: what could still be part of one is held back.
"""

from collections import deque
from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class TextStream:
    """Pieces of text that are final: their concatenation is the answer's text, up to and without a stop sequence;
    `strips_start`: and without the space that it begins with. Beside them, where in that text each token begins."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], *, strips_start: bool = False) -> None:
        self._tokenizer = tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stops = stops
        self._tokens: list[int] = []
        self._decoded = ""
        self._held = ""
        self._has_begun = not strips_start
        self._num_stripped = 0
        self._num_final = 0
        self._starts: deque[int] = deque()
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token makes final; `stopped` is set where a stop sequence was met."""
        self._tokens.append(token)
        self._starts.append(len(self._decoded))
        piece = self._decoder.step(self._tokenizer, token)
        return self._begun(self._sift(piece)) if piece else ""

    def begun(self) -> list[int]:
        """Where the tokens begin, in characters, whose text has begun to be final since the last call: in order, each
        token once. Those of a stop sequence, and behind it, never are."""
        starts = []
        while self._has_begun and self._starts and self._starts[0] < self._num_final:
            starts.append(max(0, self._starts.popleft() - self._num_stripped))
        return starts

    def flush(self) -> str:
        """The rest, once no token follows; bytes that never became a character show as U+FFFD."""
        if self.stopped:
            return ""
        whole = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        rest = whole[len(self._decoded) :] if whole.startswith(self._decoded) else ""
        final = self._sift(rest)
        if not self.stopped:
            final, self._held = final + self._held, ""
            self._num_final = len(self._decoded) + 1  # tokens that write nothing begin behind the last character
        return self._begun(final)

    def _begun(self, text: str) -> str:
        if self._has_begun:
            return text
        stripped = text.lstrip()
        self._num_stripped += len(text) - len(stripped)
        self._has_begun = bool(stripped)
        return stripped

    def _sift(self, piece: str) -> str:
        self._decoded += piece
        text = self._held + piece
        met = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if met:
            self.stopped, self._held = True, ""
            final = text[: min(met)]
        else:
            keep = max((_overlap(text, stop) for stop in self._stops), default=0)
            final, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self._num_final += len(final)
        return final


def _overlap(text: str, stop: str) -> int:
    """How many last characters of `text` begin `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
