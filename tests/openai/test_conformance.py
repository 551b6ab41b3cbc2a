"""Whether the service treats every call and every parameter of the installed client as tests/openai/conformance.py and
so docs/openai.md say.
"""

import itertools
from typing import Any

import openai
import pytest
from openai import OpenAI

from app.contract.job import JobStatus
from app.db.session import Database
from app.storage import FolderStore
from tests.factories import language_model_spec, make_checkpoint, make_dataset, make_job
from tests.openai.conformance import (
    CALLS,
    DOCUMENT_PATH,
    HELPERS,
    MISSING,
    SECTION,
    Case,
    Treatment,
    call_of,
    calls_of,
    parameters_of,
    rendered,
)
from tests.openai.conftest import PROJECT

LABELED = b'{"text": "a joy", "label": "good"}\n{"text": "a bore", "label": "bad"}\n'
#: They change what they are given; the resources' own tests make something for them.
CHANGING = frozenset(
    {"models.delete", "files.delete", *(f"fine_tuning.jobs.{end}" for end in ("cancel", "pause", "resume"))}
)
JUDGED = [
    pytest.param(name, parameter, case, id=f"{name}-{parameter}-{number}")
    for name, parameters in CALLS.items()
    for parameter, cases in parameters.items()
    for number, case in enumerate(cases)
    if name not in CHANGING
]
#: What is asked for beside the parameter that is judged.
BESIDE: dict[str, dict[str, Any]] = {
    "models.retrieve": {"model": "@language_model"},
    "completions.create": {"model": "@language_model", "prompt": "the", "max_tokens": 2, "temperature": 0},
    "chat.completions.create": {
        "model": "@instruction_model",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 2,
        "temperature": 0,
    },
    "embeddings.create": {"model": "@language_model", "input": "the"},
    "files.create": {"file": ("a.txt", b"text"), "purpose": "fine-tune"},
    "files.retrieve": {"file_id": "@file"},
    "files.content": {"file_id": "@file"},
    "files.wait_for_processing": {"id": "@file"},
    "fine_tuning.jobs.create": {"model": "@language_model", "training_file": "@labeled"},
    "fine_tuning.jobs.retrieve": {"fine_tuning_job_id": "@job"},
    "fine_tuning.jobs.list_events": {"fine_tuning_job_id": "@job"},
    "fine_tuning.jobs.checkpoints.list": {"fine_tuning_job_id": "@job"},
}
#: What a parameter says more of.
NEEDED = {"stream_options": {"stream": True}, "top_logprobs": {"logprobs": True}}
#: A parameter that stands in another's place.
INSTEAD = {"max_tokens": "max_completion_tokens"}


@pytest.fixture(scope="module")
def named(
    *,
    api: str,
    key: str,
    replica: str,
    database: Database,
    store: FolderStore,
    language_model: str,
    instruction_model: str,
) -> dict[str, str]:
    """What `@name` stands for."""
    with OpenAI(api_key=key, base_url=f"{api}/openai/v1") as client:
        uploaded = {
            name: client.files.create(file=(name, content), purpose="fine-tune").id
            for name, content in (("file.txt", b"text"), ("labeled.jsonl", LABELED))
        }
    spec = language_model_spec(make_dataset(database, project_id=PROJECT).id)
    job = make_job(database, status=JobStatus.SUCCEEDED, spec=spec, project_id=PROJECT)
    make_checkpoint(database, store, job, 5)
    return {
        "language_model": language_model,
        "instruction_model": instruction_model,
        "file": uploaded["file.txt"],
        "labeled": uploaded["labeled.jsonl"],
        "job": job.id,
        "checkpoint": f"{job.id}:step:5",
    }


def test_every_call_of_the_client_is_judged(client: OpenAI) -> None:
    assert calls_of(client) == CALLS.keys() | HELPERS.keys() | MISSING.keys()


@pytest.mark.parametrize("name", CALLS)
def test_every_parameter_of_a_call_is_judged(client: OpenAI, name: str) -> None:
    assert parameters_of(client, name) == CALLS[name].keys()


@pytest.mark.parametrize(("name", "parameter", "case"), JUDGED)
def test_a_parameter_is_treated_as_told(
    client: OpenAI, named: dict[str, str], name: str, parameter: str, case: Case
) -> None:
    beside = {key: value for key, value in BESIDE.get(name, {}).items() if key != INSTEAD.get(parameter)}
    given = beside | NEEDED.get(parameter, {}) | {parameter: case.value}
    options = {key: _meant(value, named) for key, value in given.items()}
    match case.treatment:
        case Treatment.SUPPORTED:
            assert _answer(client, name, options) is not None
        case Treatment.TAKEN:
            without = {key: value for key, value in options.items() if key != parameter}
            assert _answer(client, name, options) == _answer(client, name, without)
        case Treatment.REFUSED:
            with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError, openai.NotFoundError)) as told:
                _answer(client, name, options)
            if not isinstance(told.value, openai.NotFoundError):
                assert str(told.value.param).startswith(parameter), told.value.param


@pytest.mark.filterwarnings("ignore:Retrieve is deprecated")
@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_a_typed_error(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        MISSING[name](client)
    assert caught.value.code in {"not_found", "method_not_allowed"}


def test_the_document_says_so() -> None:
    """`make documents` writes it."""
    [section] = SECTION.findall(DOCUMENT_PATH.read_text(encoding="utf-8"))
    assert section == rendered()


def _meant(value: Any, named: dict[str, str]) -> Any:
    return named[value[1:]] if isinstance(value, str) and value.startswith("@") else value


def _answer(client: OpenAI, name: str, options: dict[str, Any]) -> Any:
    """What is told, as JSON, without what differs from answer to answer."""
    answer = call_of(client, name)(**options)
    if name == "files.content":
        return answer.read()
    if isinstance(answer, openai.Stream):
        return [_lasting(chunk) for chunk in answer]
    if name.endswith("list"):
        return [_lasting(item) for item in itertools.islice(answer, 3)]
    return _lasting(answer)


def _lasting(answer: Any) -> dict[str, Any]:
    told: dict[str, Any] = answer.to_dict(warnings=False)  # of base64 where the client's type is a list
    return {
        name: value for name, value in told.items() if name not in {"id", "created", "created_at", "queue_position"}
    }
