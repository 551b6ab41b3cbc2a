"""Log-probabilities of an answer's tokens as users read them. Knows no model."""

from collections import deque
from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer

from app.contract.inference import LikelyToken, TokenLogprob
from worker.data.tokenizers import token_bytes
from worker.serving.generation.sampling import Likelihood


class Logprobs:
    """Keeps what is known of each token until its text is final."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending: deque[tuple[int, Likelihood]] = deque()
        self._spelled = cache(self._spell)

    def push(self, token: int, likelihood: Likelihood) -> None:
        self._pending.append((token, likelihood))

    def told(self, starts: Sequence[int]) -> list[TokenLogprob]:
        """Of the next tokens, which begin at these characters of the text."""
        return [self._told(*self._pending.popleft(), start) for start in starts]

    def _told(self, token: int, likelihood: Likelihood, start: int) -> TokenLogprob:
        text, spelling = self._spelled(token)
        return TokenLogprob(
            token=text,
            bytes=spelling,
            logprob=likelihood.log_probability,
            text_offset=start,
            top_logprobs=[self._likely(*each) for each in likelihood.likeliest],
        )

    def _likely(self, token: int, logprob: float) -> LikelyToken:
        text, spelling = self._spelled(token)
        return LikelyToken(token=text, bytes=spelling, logprob=logprob)

    def _spell(self, token: int) -> tuple[str, list[int] | None]:
        spelling = token_bytes(self._tokenizer, token)
        if spelling is None:
            return self._tokenizer.id_to_token(token) or "", None
        return spelling.decode(errors="replace"), [*spelling]
