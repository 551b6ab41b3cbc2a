"""Records of text, tokens and instructions: from the values of a row to an example. Knows no file type.

Each decoder is made once a file, because labels must agree with one another.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.contract.model_folder import Label
from app.records import fields
from app.records.kinds import CONVERSATION_FIELDS
from app.records.problems import BadValue, shown
from app.records.types import (
    DatasetKind,
    Example,
    Instruction,
    LabeledText,
    Message,
    ScoredText,
    SemanticRoles,
    TaggedTokens,
    Text,
)

Decode = Callable[[Sequence[Any]], Example]
SPEAKERS = ("system", "user", "assistant")


def decoder(kind: DatasetKind, names: Sequence[str], values_are_text: bool) -> Decode:
    """Turns the values of the fields `names` into an example of this kind; raises BadValue."""
    if kind is DatasetKind.SCORED_TEXT:
        return _scored_text(fields.parsed_number if values_are_text else fields.number)
    if kind is DatasetKind.LABELED_TEXT:
        return _labeled_text(fields.Labels())
    if kind is DatasetKind.INSTRUCTIONS:
        return _conversation if tuple(names) == CONVERSATION_FIELDS else _prompt_and_completion
    return _DECODERS[kind]


def _text(values: Sequence[Any]) -> Text:
    return Text(fields.string("text", values[0]))


def _labeled_text(label: Callable[[Any], Label]) -> Decode:
    return lambda values: LabeledText(fields.filled_string("text", values[0]), label(values[1]))


def _scored_text(number: Callable[[str, Any], float]) -> Decode:
    return lambda values: ScoredText(fields.filled_string("text", values[0]), (number("target", values[1]),))


def _tagged_tokens(values: Sequence[Any]) -> TaggedTokens:
    return TaggedTokens(*_aligned("tags", values[0], values[1]))


def _aligned(name: str, tokens_value: Any, tags_value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tokens, tags = fields.strings("tokens", tokens_value), fields.strings(name, tags_value)
    if len(tokens) != len(tags):
        raise BadValue(f"{name} must be one a token: there are {len(tokens)} tokens and {len(tags)} {name}.")
    return tokens, tags


def _semantic_roles(values: Sequence[Any]) -> SemanticRoles:
    tokens, roles = _aligned("roles", values[0], values[2])
    _check_bio(roles)
    return SemanticRoles(tokens, fields.index_of("predicate", values[1], len(tokens)), roles)


def _check_bio(roles: Sequence[str]) -> None:
    before = "O"
    for index, role in enumerate(roles):
        if role != "O" and role[:2] not in ("B-", "I-"):
            raise BadValue(f"roles[{index}] must be O, B-… or I-…, not {shown(role)}.")
        if role.startswith("I-") and before[2:] != role[2:]:
            raise BadValue(f"roles[{index}] is {shown(role)} after {shown(before)}: a span begins with B-.")
        before = role


def _prompt_and_completion(values: Sequence[Any]) -> Instruction:
    prompt, completion = fields.filled_string("prompt", values[0]), fields.filled_string("completion", values[1])
    return Instruction((Message("user", prompt), Message("assistant", completion)))


def _conversation(values: Sequence[Any]) -> Instruction:
    if not isinstance(values[0], list) or not values[0]:
        raise BadValue(f"messages must be a list of {{role, content}}, not {shown(values[0])}.")
    messages = tuple(_message(f"messages[{index}]", value) for index, value in enumerate(values[0]))
    if messages[-1].role != "assistant":
        raise BadValue(f"The last message must be the assistant's, not the {messages[-1].role}'s.")
    return Instruction(messages)


def _message(name: str, value: Any) -> Message:
    if not isinstance(value, dict) or set(value) != {"role", "content"}:
        raise BadValue(f"{name} must be an object of role and content, not {shown(value)}.")
    if value["role"] not in SPEAKERS:
        raise BadValue(f"{name}.role must be one of {', '.join(SPEAKERS)}, not {shown(value['role'])}.")
    return Message(value["role"], fields.filled_string(f"{name}.content", value["content"]))


_DECODERS: Mapping[DatasetKind, Decode] = {
    DatasetKind.TEXT: _text,
    DatasetKind.TAGGED_TOKENS: _tagged_tokens,
    DatasetKind.SEMANTIC_ROLES: _semantic_roles,
}
