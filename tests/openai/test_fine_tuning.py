"""`client.fine_tuning.jobs`: jobs of every kind. No trainer runs: states are those that one would have written."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from app.api.openai.fine_tuning_requests import FineTuningRequest
from app.contract.errors import JobError
from app.contract.job import Fault, JobStatus
from app.contract.specs import FinetuneSpec, PretrainSpec
from app.db import events, jobs
from app.db.session import Database, now
from app.db.tables import JobRow
from app.storage import FolderStore
from tests.factories import language_model_spec, make_checkpoint, make_dataset, make_job, make_model
from tests.openai.conftest import PROJECT

LABELED = b'{"text": "a joy", "label": "good"}\n{"text": "a bore", "label": "bad"}\n'
METHOD = language_model_spec("")["method"]
MakeJob = Callable[..., JobRow]


@pytest.fixture
def text(client: OpenAI) -> str:
    return client.files.create(file=("text.txt", b"the quick brown fox " * 50), purpose="fine-tune").id


@pytest.fixture
def labeled(client: OpenAI) -> str:
    return client.files.create(file=("reviews.jsonl", LABELED), purpose="fine-tune").id


@pytest.fixture
def new_job(database: Database) -> MakeJob:
    def make(status: JobStatus = JobStatus.QUEUED, **columns: Any) -> JobRow:
        dataset = make_dataset(database, project_id=PROJECT)
        spec = language_model_spec(dataset.id, **columns.pop("spec", {}))
        return make_job(database, status=status, spec=spec, project_id=PROJECT, **columns)

    return make


def test_a_pretraining_is_asked_for_by_extra_body(client: OpenAI, api: str, key: str, text: str) -> None:
    extra = {"kind": "pretrain", "method": METHOD, "training": {"duration": {"steps": 7}}, "priority": 3}
    job = client.fine_tuning.jobs.create(
        model="", training_file=text, suffix="tiny", seed=5, metadata={"team": "nlp"}, extra_body=extra
    )
    assert (job.object, job.status, job.model, job.training_file) == ("fine_tuning.job", "queued", "", text)
    assert (job.seed, job.error, job.fine_tuned_model, job.organization_id) == (5, None, None, PROJECT)
    native = httpx2.get(f"{api}/v1/jobs/{job.id}", headers={"Authorization": f"Bearer {key}"}).json()
    assert (native["kind"], native["name"], native["priority"], native["metadata"]) == (
        "pretrain", "tiny", 3, {"team": "nlp"}
    )  # fmt: skip
    assert native["spec"]["training"]["duration"]["steps"] == 7
    told = client.fine_tuning.jobs.retrieve(job.id).model_dump()
    assert {name: told[name] for name in ("spec", "progress", "attempt", "priority")} == {
        name: native[name] for name in ("spec", "progress", "attempt", "priority")
    }


def test_a_fine_tune_learns_what_its_file_teaches(client: OpenAI, language_model: str, labeled: str) -> None:
    job = client.fine_tuning.jobs.create(
        model=language_model,
        training_file=labeled,
        validation_file=labeled,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}},
        },
    )
    told = job.model_dump()
    assert (told["kind"], told["method"]["type"], job.model) == ("finetune", "classification", language_model)
    assert job.hyperparameters.to_dict() == {"n_epochs": 2.0, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert told["spec"]["training"]["optimizer"]["learning_rate"] == 0.001
    assert job.validation_file == labeled


def test_a_file_of_instructions_teaches_to_answer(client: OpenAI, instruction_model: str) -> None:
    """From an instruction model too."""
    content = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "dog"}]}\n'
    told = client.files.create(file=("chat.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=instruction_model, training_file=told.id)
    assert job.model_dump()["method"]["type"] == "instruction_tuning"
    assert job.status == "queued"


def test_hyperparameters_at_the_top_may_be_auto(client: OpenAI, language_model: str, labeled: str) -> None:
    job = client.fine_tuning.jobs.create(
        model=language_model,
        training_file=labeled,
        hyperparameters={"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
        extra_body={"method": {"type": "classification"}, "strategy": {"type": "frozen"}},
    )
    assert job.hyperparameters.learning_rate_multiplier == 1.0
    assert job.model_dump()["spec"]["strategy"] == {"type": "frozen"}


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"training_file": "ds_" + "0" * 32}, openai.UnprocessableEntityError, "training_file"),
        ({"model": "nobody"}, openai.UnprocessableEntityError, "model"),
        ({"validation_file": "x"}, openai.UnprocessableEntityError, "validation_file"),
        ({"hyperparameters": {"n_epochs": -1}}, openai.UnprocessableEntityError, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"beta": 0.1}}, openai.BadRequestError, "hyperparameters.beta"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 0}}}},
            openai.UnprocessableEntityError,
            "method.supervised.hyperparameters.batch_size",
        ),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": "big"}}}},
            openai.UnprocessableEntityError,
            "method.supervised.hyperparameters.batch_size",
        ),
        (
            {"method": {"type": "supervised", "supervised": {"beta": 1}}},
            openai.BadRequestError,
            "method.supervised.beta",
        ),
        (
            {
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
                "hyperparameters": {"n_epochs": 2},
            },
            openai.UnprocessableEntityError,
            "hyperparameters",
        ),
        ({"suffix": "a", "extra_body": {"name": "b"}}, openai.UnprocessableEntityError, "suffix"),
        ({"suffix": ""}, openai.UnprocessableEntityError, "suffix"),
        ({"extra_body": {"webhook": {"url": "ftp://x"}}}, openai.UnprocessableEntityError, "webhook.url"),
        ({"method": {"type": "dpo"}}, openai.BadRequestError, "method.type"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, openai.BadRequestError, "integrations"),
        ({"seed": 5, "extra_body": {"training": {"seed": 6}}}, openai.UnprocessableEntityError, "seed"),
        ({"extra_body": {"kind": "pretrain"}}, openai.UnprocessableEntityError, "method"),
        ({"extra_body": {"kind": "pretrain", "method": METHOD}}, openai.UnprocessableEntityError, "model"),
        ({"extra_body": {"priority": 10**6}}, openai.UnprocessableEntityError, "priority"),
    ],
)
def test_bad_input_is_a_typed_error(
    *,
    client: OpenAI,
    language_model: str,
    labeled: str,
    fields: dict[str, Any],
    error: type[openai.APIStatusError],
    param: str,
) -> None:
    with pytest.raises(error) as caught:
        client.fine_tuning.jobs.create(**{"model": language_model, "training_file": labeled} | fields)
    assert caught.value.param == param


def test_every_field_of_a_job_has_a_place() -> None:
    ours = set(PretrainSpec.model_fields) | set(FinetuneSpec.model_fields)
    assert ours - {"dataset", "parent"} <= set(FineTuningRequest.model_fields)


def test_a_webhook_comes_by_extra_body(client: OpenAI, language_model: str, labeled: str) -> None:
    told = {"url": "https://example.com/told", "events": ["job.succeeded"]}
    job = client.fine_tuning.jobs.create(model=language_model, training_file=labeled, extra_body={"webhook": told})
    assert job.model_dump()["spec"]["webhook"] == told


def test_an_error_calls_fields_as_the_user_does(client: OpenAI, language_model: str, labeled: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=r" seed: Must be") as caught:
        client.fine_tuning.jobs.create(model=language_model, training_file=labeled, seed=-1)
    assert "training.seed" not in caught.value.message


def test_a_file_that_no_method_learns_from_says_so(client: OpenAI, language_model: str, database: Database) -> None:
    dataset = make_dataset(database, "tagged_rhymes", project_id=PROJECT)
    with pytest.raises(openai.UnprocessableEntityError, match="tagged_rhymes") as caught:
        client.fine_tuning.jobs.create(model=language_model, training_file=dataset.id)
    assert caught.value.param == "method"


def test_a_job_is_made_once_for_its_key(client: OpenAI, language_model: str, labeled: str) -> None:
    made = [
        client.fine_tuning.jobs.create(
            model=language_model, training_file=labeled, extra_headers={"Idempotency-Key": "job-1"}
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert made[0].object == "fine_tuning.job"


def test_a_job_is_paused_resumed_and_cancelled(client: OpenAI, new_job: MakeJob) -> None:
    job_id = new_job().id
    assert str(client.fine_tuning.jobs.pause(job_id).status) == "paused"
    assert client.fine_tuning.jobs.resume(job_id).status == "queued"
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled", "repeating it changes nothing"


def test_cancelling_a_finished_job_is_sent_once(client: OpenAI, new_job: MakeJob) -> None:
    job_id = new_job(JobStatus.SUCCEEDED).id
    for call in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.ConflictError) as caught:
            call(job_id)
        assert caught.value.code == "invalid_state"
        assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize(
    ("status", "told"),
    [("waiting", "queued"), ("queued", "queued"), ("running", "running"), ("pausing", "running"),
     ("cancelling", "running"), ("paused", "paused"), ("succeeded", "succeeded"), ("failed", "failed")],
)  # fmt: skip
def test_a_status_is_one_of_openais(client: OpenAI, new_job: MakeJob, status: str, told: str) -> None:
    job = client.fine_tuning.jobs.retrieve(new_job(JobStatus(status)).id)
    assert (job.status, job.model_dump()["native_status"]) == (told, status)


def test_a_running_job_tells_when_it_will_end(client: OpenAI, new_job: MakeJob) -> None:
    running = new_job(JobStatus.RUNNING, progress={"step": 5, "eta_seconds": 3_600.0})
    before = int(time.time())
    estimated = client.fine_tuning.jobs.retrieve(running.id).estimated_finish
    assert estimated is not None
    assert before + 3_600 <= estimated <= time.time() + 3_600
    ended = new_job(JobStatus.SUCCEEDED, progress={"step": 5, "eta_seconds": 0.0})
    assert client.fine_tuning.jobs.retrieve(ended.id).estimated_finish is None


def test_a_failure_is_told(client: OpenAI, database: Database, new_job: MakeJob) -> None:
    failure = JobError.model_validate({"code": "bad_data", "message": "No text.", "fault": Fault.USER}, strict=False)
    job = new_job(JobStatus.RUNNING)
    with database.transaction() as session:
        at = now(session)
        told = failure.model_dump(mode="json")
        jobs.transition(session, job.id, JobStatus.FAILED, when={JobStatus.RUNNING}, at=at, error=told, finished_at=at)
    seen = client.fine_tuning.jobs.retrieve(job.id)
    assert seen.error is not None
    assert (seen.error.code, seen.error.message, seen.finished_at) == ("bad_data", "No text.", int(at.timestamp()))
    [last, *_] = client.fine_tuning.jobs.list_events(job.id)
    assert (last.level, last.message) == ("error", "The job is failed: No text.")


def test_jobs_are_paged_and_filtered_by_metadata(client: OpenAI, new_job: MakeJob) -> None:
    made = [new_job(spec={"metadata": {"round": "first"}}).id for _ in range(3)]
    new_job(spec={"metadata": {"round": "second"}})
    filtered = client.fine_tuning.jobs.list(metadata={"round": "first"}, limit=2)
    assert [job.id for job in filtered.data] == made[:0:-1]
    assert [job.id for job in filtered] == made[::-1], "the client goes on by itself"
    named = new_job(name="rhyme").id
    assert [job.id for job in client.fine_tuning.jobs.list(extra_query={"name": "rhyme"})] == [named]
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.fine_tuning.jobs.list(after="nowhere")
    assert caught.value.param == "after"


def test_events_come_with_the_newest_first(client: OpenAI, database: Database, new_job: MakeJob) -> None:
    job_id = new_job().id
    told: list[tuple[str, dict[str, Any]]] = [
        ("metrics", {"step": 10, "values": {"train_loss": 2.5}, "progress": {}}),
        ("checkpoint", {"step": 10, "metrics": {}, "size_bytes": 1, "is_best": True}),
        ("log", {"level": "info", "message": "Hello"}),
        ("warning", {"message": "Careful"}),
    ]
    with database.transaction() as session:
        for kind, data in told:
            events.append(session, job_id, kind, data, now(session))
    seen = list(client.fine_tuning.jobs.list_events(job_id, limit=2))
    assert [(event.message, event.type, event.level) for event in seen] == [
        ("Careful", "message", "warn"),
        ("Hello", "message", "info"),
        ("Checkpoint at step 10", "message", "info"),
        ("Step 10: train_loss=2.5", "metrics", "info"),
        ("The job is queued", "message", "info"),
    ]
    assert [event.id for event in client.fine_tuning.jobs.list_events(job_id, after=seen[3].id)] == [seen[4].id]
    assert seen[3].data == told[0][1]


def test_checkpoints_name_a_model_or_a_parent(
    client: OpenAI, database: Database, store: FolderStore, new_job: MakeJob, labeled: str
) -> None:
    job = new_job(JobStatus.SUCCEEDED)
    for step in (5, 20):
        make_checkpoint(database, store, job, step, metrics={"validation_loss": 2.5})
    model = make_model(database, store, job=job, step=10)
    first, *others = client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)
    assert [each.step_number for each in (first, *others)] == [20, 10, 5]
    assert first.metrics.valid_loss == 2.5
    assert first.fine_tuning_job_id == job.id
    assert others[0].fine_tuned_model_checkpoint == model.id
    child = client.fine_tuning.jobs.create(model=first.fine_tuned_model_checkpoint, training_file=labeled)
    assert child.model == job.id
    assert child.model_dump()["spec"]["checkpoint"] == "step:20"
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.fine_tuning.jobs.checkpoints.list(job.id, after="nowhere")
    assert caught.value.param == "after"


def test_what_holds_a_queued_job_back_is_no_failure(client: OpenAI, new_job: MakeJob) -> None:
    held = {"code": "disk_full", "message": "There is too little disk.", "fault": "infrastructure"}
    seen = client.fine_tuning.jobs.retrieve(new_job(error=held).id)
    assert (seen.status, seen.error) == ("queued", None)
