"""What is asked of the process that reads a tokenizer, and what it answers."""

from app.contract.base import Contract
from app.contract.model_folder import TokenRole


class TokenizerRequest(Contract):
    """`roles`: the token, or its number, that each role is told to have; those `needed` must be there. `closes`: an end
    token that is there closes each text."""

    path: str
    roles: dict[TokenRole, str | int]
    needed: tuple[TokenRole, ...]
    closes: bool
    vocab_size: int


class TokenizerVerdict(Contract):
    """`content`: the file with its special tokens in their roles; or what is wrong."""

    content: str | None = None
    problem: str | None = None
