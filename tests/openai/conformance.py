"""`python -m tests.openai.conformance`: writes what is supported into docs/openai.md.

Every call of the resources that we serve and every parameter that the installed client gives it is judged here, by
hand; test_conformance.py then asks the service whether it is so, and fails for whatever a new client adds.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import openai
from openai import OpenAI

DOCUMENT_PATH = Path(__file__).resolve().parents[2] / "docs" / "openai.md"
SECTION = re.compile(r"(?<=<!-- conformance: begin -->\n).*(?=<!-- conformance: end -->)", re.DOTALL)
RESOURCES = ("models", "completions", "chat.completions", "embeddings", "files", "fine_tuning")
#: Of the client's own workings; they reach no service, or reach it as what they are named for.
CLIENTS_OWN = frozenset({"self", "extra_headers", "extra_query", "extra_body", "timeout"})


class Treatment(StrEnum):
    SUPPORTED = "supported"
    #: It changes no answer.
    TAKEN = "taken, and changes nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Case:
    """A value that a parameter may have, and what becomes of it. `shown` stands in the document in its place."""

    value: Any
    treatment: Treatment
    shown: str = ""


Cases = Mapping[str, tuple[Case, ...]]


def supported(value: Any, shown: str = "") -> Case:
    return Case(value, Treatment.SUPPORTED, shown)


def taken(value: Any, shown: str = "") -> Case:
    return Case(value, Treatment.TAKEN, shown)


def refused(value: Any, shown: str = "") -> Case:
    return Case(value, Treatment.REFUSED, shown)


_TOOL = {"type": "function", "function": {"name": "f"}}
_JSON = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
_IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
_TEXT_PART = {"role": "user", "content": [{"type": "text", "text": "hi"}]}

SAMPLING: dict[str, tuple[Case, ...]] = {
    "frequency_penalty": (taken(0), refused(0.5, "another")),
    "logit_bias": (taken({}), refused({"5": 1}, "another")),
    "max_tokens": (supported(2, "up to 1,048,576"), refused(0)),
    "n": (supported(2, "up to 64 choices in all"), refused(65, "more")),
    "presence_penalty": (taken(0), refused(0.5, "another")),
    "seed": (supported(3, "from 0; the choices of a prompt take `seed`, `seed + 1`, ..."), refused(-1, "below 0")),
    "stop": (supported(["fox"], "a text or up to 16"), refused("", "an empty one")),
    "stream": (supported(value=True),),
    "stream_options": (
        supported({"include_usage": True}),
        taken({"include_obfuscation": True}),
        refused({"include_more": True}, "another"),
    ),
    "temperature": (supported(0.5, "0 to 100"), refused(-1, "below 0")),
    "top_p": (supported(0.5, "above 0, up to 1"), refused(0)),
    "user": (taken("ada", "any"),),
}

CALLS: Mapping[str, Cases] = {
    "models.list": {},
    "models.retrieve": {"model": (supported("@language_model", "an id or an alias"),)},
    "models.delete": {"model": (supported("", "an id or an alias"),)},
    "completions.create": SAMPLING
    | {
        "model": (supported("@language_model", "an id or an alias"), refused("nobody", "unknown")),
        "prompt": (
            supported("the", "a text"),
            supported(["the", "lazy dog"], "a list of them"),
            refused([1, 2], "tokens"),
        ),
        "best_of": (taken(1, "as many as `n`"), refused(2, "more")),
        "echo": (supported(value=True), taken(value=False)),
        "logprobs": (supported(0), supported(2, "up to 5"), refused(6, "more, or beside `echo`")),
        "suffix": (taken(""), refused("x", "another")),
    },
    "chat.completions.create": SAMPLING
    | {
        "messages": (
            supported([{"role": "developer", "content": "hi"}], "of `system`, `developer`, `user` and `assistant`"),
            supported([_TEXT_PART], "parts of type `text`"),
            refused([{"role": "tool", "content": "x", "tool_call_id": "1"}], "of other roles"),
            refused([_IMAGE], "images, audio and files"),
            refused([{"role": "user", "content": "hi", "name": "ada"}], "`name`"),
        ),
        "model": (supported("@instruction_model", "an id or an alias"), refused("nobody", "unknown")),
        "audio": (refused({"format": "wav", "voice": "alloy"}, "any"),),
        "function_call": (taken("none"), taken("auto"), refused({"name": "f"}, "another")),
        "functions": (taken([]), refused([{"name": "f"}], "any")),
        "logprobs": (supported(value=True), taken(value=False)),
        "max_completion_tokens": (supported(2, "up to 1,048,576"), refused(0)),
        "metadata": (taken({"team": "nlp"}, "any"),),
        "modalities": (taken(["text"]), refused(["text", "audio"], "another")),
        "moderation": (refused({"model": "omni-moderation-latest"}, "any"),),
        "parallel_tool_calls": (taken(value=True), taken(value=False)),
        "prediction": (taken({"type": "content", "content": "x"}, "any"),),
        "prompt_cache_key": (taken("x", "any"),),
        "prompt_cache_options": (taken({"mode": "explicit"}, "any"),),
        "prompt_cache_retention": (taken("24h", "any"),),
        "reasoning_effort": (taken("none"), refused("low", "another")),
        "response_format": (taken({"type": "text"}), refused({"type": "json_object"}), refused(_JSON, "a JSON schema")),
        "safety_identifier": (taken("x", "any"),),
        "service_tier": (taken("flex", "any"),),
        "store": (taken(value=False), refused(value=True)),
        "tool_choice": (taken("none"), taken("auto"), refused("required", "another")),
        "tools": (taken([]), refused([_TOOL], "any")),
        "top_logprobs": (taken(0), supported(2, "up to 20, beside `logprobs`"), refused(21, "more")),
        "verbosity": (taken("medium"), refused("low", "another")),
        "web_search_options": (refused({}, "any"),),
    },
    "embeddings.create": {
        "input": (
            supported("the", "a text"),
            supported(["the", "lazy dog"], "up to 1,000 texts; of autoencoders, vectors"),
            refused([1, 2], "tokens"),
        ),
        "model": (supported("@language_model", "an id or an alias"), refused("nobody", "unknown")),
        "dimensions": (refused(8),),
        "encoding_format": (supported("float"), supported("base64"), refused("hex", "another")),
        "user": (taken("ada", "any"),),
    },
    "files.create": {
        "file": (supported(("a.txt", b"text"), "of a data set"), refused(("a.exe", b"text"), "another")),
        "purpose": (supported("fine-tune"), refused("batch", "another")),
        "expires_after": (refused({"anchor": "created_at", "seconds": 3600}, "any"),),
    },
    "files.list": {
        "after": (supported("@file", "a file's id"), refused("nowhere", "another text")),
        "limit": (supported(1, "1 to 10,000, which is the default"), refused(0)),
        "order": (supported("desc"), refused("asc")),
        "purpose": (supported("fine-tune"), supported("assistants", "another: an empty list")),
    },
    "files.retrieve": {"file_id": (supported("@file", "a file's id"), refused("nowhere", "unknown"))},
    "files.content": {"file_id": (supported("@file", "a file's id"), refused("nowhere", "unknown"))},
    "files.delete": {"file_id": (supported("", "a file's id"),)},
    "files.wait_for_processing": {
        "id": (supported("@file", "a file's id"),),
        "poll_interval": (supported(1.0),),
        "max_wait_seconds": (supported(1.0),),
    },
    "fine_tuning.jobs.create": {
        "model": (
            supported("@language_model", "a model, an alias, a job or a `fine_tuned_model_checkpoint`"),
            refused("nobody", "unknown"),
        ),
        "training_file": (supported("@labeled", "a file's id"), refused("nowhere", "unknown")),
        "hyperparameters": (
            supported({"n_epochs": 2, "batch_size": "auto"}, "`n_epochs`, `batch_size`, `learning_rate_multiplier`"),
            refused({"beta": 0.1}, "another"),
        ),
        "integrations": (taken([]), refused([{"type": "wandb", "wandb": {"project": "p"}}], "any")),
        "metadata": (supported({"team": "nlp"}, "up to 16 texts"), refused({"team": 1}, "of other values")),
        "method": (
            supported({"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}, "`supervised`"),
            supported({"type": "classification"}, "any of ours"),
            refused({"type": "dpo"}, "`dpo`, `reinforcement`"),
        ),
        "seed": (supported(3, "from 0"), refused(-1, "below 0")),
        "suffix": (supported("mine", "up to 200 characters"), refused("x" * 201, "more")),
        "validation_file": (supported("@labeled", "a file's id"), refused("nowhere", "unknown")),
    },
    "fine_tuning.jobs.list": {
        "after": (supported("@job", "a job's id"), refused("nowhere", "another text")),
        "limit": (supported(1, "1 to 200; 20 by default"), refused(201, "more")),
        "metadata": (supported({"team": "nlp"}, "those of the same values"),),
    },
    "fine_tuning.jobs.retrieve": {
        "fine_tuning_job_id": (supported("@job", "a job's id"), refused("nowhere", "unknown")),
    },
    "fine_tuning.jobs.cancel": {"fine_tuning_job_id": (supported("", "a job's id"),)},
    "fine_tuning.jobs.pause": {"fine_tuning_job_id": (supported("", "a job's id"),)},
    "fine_tuning.jobs.resume": {"fine_tuning_job_id": (supported("", "a job's id"),)},
    "fine_tuning.jobs.list_events": {
        "fine_tuning_job_id": (supported("@job", "a job's id"), refused("nowhere", "unknown")),
        "after": (supported("1", "an event's id"), refused("nowhere", "another text")),
        "limit": (supported(1, "1 to 200; 20 by default"), refused(201, "more")),
    },
    "fine_tuning.jobs.checkpoints.list": {
        "fine_tuning_job_id": (supported("@job", "a job's id"), refused("nowhere", "unknown")),
        "after": (supported("@checkpoint", "a checkpoint's id"), refused("nowhere", "another text")),
        "limit": (supported(1, "1 to 200; 10 by default"), refused(201, "more")),
    },
}
#: What our calls are made of: no call of its own stands behind them.
HELPERS = {
    "chat.completions.parse": "as `create`, with `response_format` left out",
    "chat.completions.stream": "as `create`, streamed",
    "files.retrieve_content": "as `content`",
}
MISSING: Mapping[str, Callable[[OpenAI], object]] = {
    "chat.completions.list": lambda client: client.chat.completions.list(),
    "chat.completions.retrieve": lambda client: client.chat.completions.retrieve("x"),
    "chat.completions.update": lambda client: client.chat.completions.update("x", metadata={}),
    "chat.completions.delete": lambda client: client.chat.completions.delete("x"),
    "chat.completions.messages.list": lambda client: client.chat.completions.messages.list("x"),
    "fine_tuning.checkpoints.permissions.create": lambda client: client.fine_tuning.checkpoints.permissions.create(
        "x", project_ids=["y"]
    ),
    "fine_tuning.checkpoints.permissions.list": lambda client: client.fine_tuning.checkpoints.permissions.list("x"),
    "fine_tuning.checkpoints.permissions.retrieve": lambda client: client.fine_tuning.checkpoints.permissions.retrieve(
        "x"
    ),
    "fine_tuning.checkpoints.permissions.delete": lambda client: client.fine_tuning.checkpoints.permissions.delete(
        "y", fine_tuned_model_checkpoint="x"
    ),
    "fine_tuning.alpha.graders.run": lambda client: client.fine_tuning.alpha.graders.run(
        grader={"type": "string_check", "name": "g", "input": "a", "operation": "eq", "reference": "a"},
        model_sample="a",
    ),
    "fine_tuning.alpha.graders.validate": lambda client: client.fine_tuning.alpha.graders.validate(
        grader={"type": "string_check", "name": "g", "input": "a", "operation": "eq", "reference": "a"}
    ),
}


def call_of(client: OpenAI, name: str) -> Callable[..., Any]:
    found: Any = client
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def parameters_of(client: OpenAI, name: str) -> set[str]:
    return set(inspect.signature(call_of(client, name)).parameters) - CLIENTS_OWN


def calls_of(client: OpenAI) -> set[str]:
    """Every call of the resources that we serve, and of those within them."""
    return {call for name in RESOURCES for call in _calls(call_of(client, name), name)}


def other_resources(client: OpenAI) -> list[str]:
    served = {name.partition(".")[0] for name in RESOURCES}
    return [name for name in _resources(client) if name not in served]


def _calls(resource: Any, name: str) -> Iterator[str]:
    for each, _ in inspect.getmembers(type(resource), inspect.isfunction):
        if not each.startswith("_"):
            yield f"{name}.{each}"
    for each in _resources(resource):
        yield from _calls(getattr(resource, each), f"{name}.{each}")


def _resources(holder: Any) -> list[str]:
    found = inspect.getmembers(type(holder), lambda member: isinstance(member, functools.cached_property))
    return [name for name, _ in found if not name.startswith("with_")]


def rendered() -> str:
    """The section of the document, as the installed client is."""
    client = OpenAI(api_key="unused")
    missing = [*sorted(MISSING), *other_resources(client)]
    parts = [
        f"Of the client's version {openai.__version__}; `tests/openai/test_conformance.py` asks a real service.",
        *(_section(name, CALLS[name]) for name in sorted(CALLS)),
        "Made of these: " + ", ".join(f"`{name}` ({told})" for name, told in sorted(HELPERS.items())) + ".",
        f"Not there, refused with 404 or 405: {', '.join(f'`{name}`' for name in missing)}.",
    ]
    return "".join(f"{part}\n\n" for part in parts)


def _section(name: str, parameters: Cases) -> str:
    rows = [_row(parameter, cases) for parameter, cases in sorted(parameters.items())]
    header = ["", "| parameter | supported | taken, and changes nothing | refused |", "|---|---|---|---|"]
    return "\n".join([f"### {name}", *(header if rows else []), *rows])


def _row(parameter: str, cases: tuple[Case, ...]) -> str:
    cells = (", ".join(_shown(case) for case in cases if case.treatment is each) for each in Treatment)
    return f"| `{parameter}` | {' | '.join(cells)} |"


def _shown(case: Case) -> str:
    return case.shown or f"`{case.value!r}`"


def main() -> None:
    text = DOCUMENT_PATH.read_text(encoding="utf-8")
    DOCUMENT_PATH.write_text(SECTION.sub(lambda _: rendered(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
