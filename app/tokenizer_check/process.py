"""`python -m app.tokenizer_check.process`: one request on stdin, one verdict on stdout.

Its memory and its time are limited: what a hostile file does ends here.
"""

import resource
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from app.contract.model_folder import TokenRole
from app.tokenizer_check.messages import TokenizerRequest, TokenizerVerdict

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 100
PROBE = "A text, and 2 more: naïve Zoë 東京 🙂"


class Unfit(Exception):
    """The file does not fit; the message says why."""


def main() -> None:
    request = TokenizerRequest.model_validate_json(sys.stdin.buffer.read(), strict=False)
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    sys.stdout.write(_judged(request).model_dump_json())


def _judged(request: TokenizerRequest) -> TokenizerVerdict:
    try:
        tokenizer = Tokenizer.from_str(Path(request.path).read_text(encoding="utf-8"))
        return TokenizerVerdict(content=_told(tokenizer, request))
    except Unfit as error:
        return TokenizerVerdict(problem=str(error))
    except Exception as error:  # noqa: BLE001  whatever the library raises is the file's fault
        return TokenizerVerdict(problem=f"It cannot be read as the file of a fast tokenizer: {str(error)[:300]}.")


def _told(tokenizer: Any, request: TokenizerRequest) -> str:
    """The file, with its special tokens in their roles."""
    _check_numbers(tokenizer, request.vocab_size)
    tokens = _tokens(tokenizer, request)
    closing = " end" if request.closes and TokenRole.END in tokens else ""
    tokens.setdefault(TokenRole.END, tokens[TokenRole.BEGIN])
    tokens.setdefault(TokenRole.PADDING, tokens[TokenRole.END])
    names = {role: tokenizer.id_to_token(token) for role, token in tokens.items()}
    tokenizer.add_special_tokens(sorted({*names.values()}))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"begin $A{closing}",
        pair=f"begin $A{closing} $B:1{closing and ' end:1'}",
        special_tokens=[{"id": role.value, "ids": [token], "tokens": [names[role]]} for role, token in tokens.items()],
    )
    return str(tokenizer.to_str(pretty=True))


def _check_numbers(tokenizer: Any, vocab_size: int) -> None:
    """Tokens are rows of the embeddings, and every row up to the last has one."""
    numbers = tokenizer.get_vocab().values()
    last = max(numbers, default=-1)
    if last >= vocab_size:
        raise Unfit(f"It has a token of the number {last:,}, and the model a vocabulary of {vocab_size:,}.")
    if len(numbers) != last + 1:
        raise Unfit(f"Its {len(numbers):,} tokens have numbers up to {last:,}: there are gaps, or numbers given twice.")
    if not tokenizer.encode(PROBE, add_special_tokens=False).ids:
        raise Unfit("It makes no token of a plain text.")


def _tokens(tokenizer: Any, request: TokenizerRequest) -> dict[TokenRole, int]:
    """By role; what is told and is not in the vocabulary is as if it were not told."""
    tokens: dict[TokenRole, int] = {}
    for role, told in request.roles.items():
        number = told if isinstance(told, int) else tokenizer.token_to_id(told)
        if number is not None and tokenizer.id_to_token(number) is not None:
            tokens[role] = number
    for role in request.needed:
        if role not in tokens:
            raise Unfit(
                f"It has no {role} token: {request.roles.get(role, 'none')!r} is what tokenizer_config.json and "
                "config.json tell. Name one that is in the vocabulary."
            )
    return tokens


if __name__ == "__main__":
    main()
