"""How to ask a model from elsewhere, ready to copy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.contract.model_folder import InputKind
from app.services.models.views import ModelView

KEY_VARIABLE = "PRETUNE_API_KEY"
#: Numbers shown of a long input.
FEATURES_SHOWN = 4

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
    language: Literal["curl", "Python"]
    text: str


def snippets_of(model: ModelView, origin: str, *, with_key: bool) -> list[Snippet]:
    operation, body = _call(model)
    url = f"{origin}/v1/models/{next(iter(model.aliases), model.id)}/{operation}"
    return [
        Snippet("curl", _curl(url, body, with_key=with_key)),
        Snippet("Python", _python(url, body, with_key=with_key)),
    ]


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


def _python(url: str, body: dict[str, Any], *, with_key: bool) -> str:
    """With what Python has by itself."""
    key = f', "Authorization": f"Bearer {{os.environ[\'{KEY_VARIABLE}\']}}"' if with_key else ""
    return (
        f"import json{', os' if with_key else ''}, urllib.request\n\n"
        "request = urllib.request.Request(\n"
        f'    "{url}",\n'
        f"    json.dumps({body!r}).encode(),\n"
        f'    {{"Content-Type": "application/json"{key}}},\n'
        ")\n"
        "print(json.load(urllib.request.urlopen(request)))"
    )
