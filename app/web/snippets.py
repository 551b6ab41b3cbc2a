"""How to ask a model from elsewhere, ready to copy."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.contract.model_folder import InputKind
from app.contract.operations import is_measured
from app.services.models.views import ModelView

KEY_VARIABLE = "PRETUNE_API_KEY"
#: Numbers shown of a long input.
FEATURES_SHOWN = 4
_IMPORT_OS = "import os\n\n"

_CALLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "causal_language_model": (
        "generate",
        {"prompt": "Once upon a time", "parameters": {"max_tokens": 60, "temperature": 0.8}},
    ),
    "instruction_tuning": ("generate", {"messages": [{"role": "user", "content": "Who wrote Hamlet?"}]}),
    "gan": ("generate", {"parameters": {"count": 4, "seed": 0}}),
    "masked_language_model": ("predict", {"inputs": ["A [MASK] day."]}),
    "word2vec": ("predict", {"inputs": ["king"]}),
    "semantic_role_labeling": ("predict", {"inputs": [{"tokens": ["She", "sang", "it"], "predicate": 1}]}),
}


@dataclass(frozen=True, slots=True)
class Snippet:
    language: str
    text: str


def snippets_of(model: ModelView, origin: str, *, with_key: bool) -> list[Snippet]:
    """The clients of ours find a key in the environment by themselves."""
    name = next(iter(model.aliases), model.id)
    operation, body = _call(model)
    url = f"{origin}/v1/models/{name}/{operation}"
    found = {
        "curl": _curl(url, body, with_key=with_key),
        "Command line": _command_line(name, operation, body, origin),
        "Python": _python(name, operation, body, origin),
        "openai": _openai(model, name, operation, body, origin, with_key=with_key),
    }
    return [Snippet(language, text) for language, text in found.items() if text is not None]


def evaluation_of(model: ModelView, origin: str) -> str | None:
    """The command that judges it by a data set; null where data can tell nothing of it."""
    if not is_measured(model.method, headless=model.headless):
        return None
    return f"pretune models evaluate {next(iter(model.aliases), model.id)} ds_... --url {origin}"


def _call(model: ModelView) -> tuple[str, dict[str, Any]]:
    """The operation that shows the method best, with a body that it takes."""
    if model.headless:
        return "embed", {"inputs": [_example(model)]}
    return _CALLS.get(model.method) or ("predict", {"inputs": [_example(model)]})


def _example(model: ModelView) -> Any:
    match model.input.kind:
        case InputKind.TEXT:
            return "A splendid film."
        case InputKind.FEATURES:
            (num_features,) = model.input.shape or [FEATURES_SHOWN]
            return [0.0] * num_features
        case InputKind.IMAGE:
            return "<a PNG or JPEG in base64>"


def _curl(url: str, body: dict[str, Any], *, with_key: bool) -> str:
    key = f' \\\n  -H "Authorization: Bearer ${KEY_VARIABLE}"' if with_key else ""
    return f"curl {url}{key} \\\n  --json '{json.dumps(body)}'"


def _command_line(name: str, operation: str, body: dict[str, Any], origin: str) -> str | None:
    """It draws no samples."""
    match body:
        case {"messages": [{"content": str(question)}]}:
            asked = f"{shlex.quote(question)} --chat"
        case {"prompt": str(prompt), "parameters": {"max_tokens": most, "temperature": temperature}}:
            asked = f"{shlex.quote(prompt)} --max-tokens {most} --temperature {temperature}"
        case {"inputs": [given]}:
            asked = shlex.quote(given if isinstance(given, str) else json.dumps(given))
        case _:
            return None
    return f"pretune {operation} {name} {asked} --url {origin}"


def _python(name: str, operation: str, body: dict[str, Any], origin: str) -> str:
    parameters = "".join(f", {key}={value!r}" for key, value in body.get("parameters", {}).items())
    match body:
        case {"inputs": given} | {"messages": given} | {"prompt": given}:
            call = f"{operation}({name!r}, {given!r}{parameters})"
        case _:
            call = f"sample({name!r}{parameters})"
    return f"import pretune\n\nwith pretune.Client({origin!r}) as client:\n    print(client.models.{call})"


def _openai(
    model: ModelView, name: str, operation: str, body: dict[str, Any], origin: str, *, with_key: bool
) -> str | None:
    """What OpenAI's clients can ask: texts to go on, conversations, embeddings of texts."""
    match body:
        case {"messages": messages}:
            call, result = (
                f"chat.completions.create(model={name!r}, messages={messages!r})",
                "choices[0].message.content",
            )
        case {"prompt": prompt, "parameters": {"max_tokens": most}}:
            call, result = (
                f"completions.create(model={name!r}, prompt={prompt!r}, max_tokens={most})",
                "choices[0].text",
            )
        case {"inputs": given} if operation == "embed" and model.input.kind is InputKind.TEXT:
            call = f"embeddings.create(model={name!r}, input={given!r})"
            result = "data[0].embedding"
        case _:
            return None
    key = f'os.environ["{KEY_VARIABLE}"]' if with_key else '"any"'
    return (
        f"{_IMPORT_OS if with_key else ''}from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{origin}/openai/v1", api_key={key})\n'
        f"answer = client.{call}\n"
        f"print(answer.{result})"
    )
