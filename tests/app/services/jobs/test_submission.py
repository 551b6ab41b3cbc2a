"""What is accepted becomes a queued job; what is not is told with both sides and the remedy, and leaves nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, InvalidRequest
from app.contract.job import JobStatus
from app.contract.model_folder import BodyDescription
from app.contract.specs.job import job_spec_adapter
from app.db import aliases, checkpoints, workers
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, EventRow, JobRow
from app.services.jobs import Jobs, JobView
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.jobs.conftest import RecordedWakes
from tests.factories import (
    FEATURES_BODY,
    IMAGE_BODY,
    TEXT_BODY,
    language_model_spec,
    make_checkpoint,
    make_dataset,
    make_job,
    make_model,
)
from tests.support.waiting import wait_until


def submit(jobs: Jobs, spec: dict[str, Any]) -> JobView:
    return jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(spec))


def refused(jobs: Jobs, spec: dict[str, Any]) -> InvalidRequest:
    """The refusal; nothing may have been stored."""
    before = _stored(jobs.database)
    with pytest.raises(InvalidRequest) as caught:
        submit(jobs, spec)
    assert _stored(jobs.database) == before
    assert caught.value.errors[0].message == caught.value.detail
    return caught.value


def _stored(database: Database) -> list[int]:
    with database.reading() as session:
        return [session.scalars(select(func.count()).select_from(row)).one() for row in (JobRow, EventRow)]


def finetune(parent: str, dataset: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "finetune",
        "parent": parent,
        "dataset": dataset,
        "method": {"type": "classification"},
        **fields,
    }


def autoencoder(dataset: str, **method: Any) -> dict[str, Any]:
    return {"kind": "pretrain", "dataset": dataset, "method": {"type": "autoencoder", **method}}


def test_a_job_is_queued_with_every_default_filled_in(jobs: Jobs, database: Database, wakes: RecordedWakes) -> None:
    spec = {"kind": "pretrain", "dataset": make_dataset(database).id, "method": {"type": "causal_language_model"}}
    view = submit(jobs, spec | {"name": "tiny", "metadata": {"team": "nlp"}})
    assert (view.status, view.queue_position, view.attempt, view.name) == (JobStatus.QUEUED, 1, 0, "tiny")
    assert view.spec["training"]["optimizer"]["learning_rate"] == 2e-3
    assert view.spec["method"]["architecture"]["num_layers"] == 4
    assert (view.resolved, view.progress.step, view.progress.total_steps, view.metrics) == (None, 0, None, {})
    assert jobs.get(DEFAULT_PROJECT_ID, view.id) == view
    assert wakes.calls == [{"cpu"}]


def test_a_job_for_any_device_wakes_trainers_with_a_gpu_where_they_live(
    jobs: Jobs, database: Database, wakes: RecordedWakes
) -> None:
    with database.transaction() as session:
        workers.heartbeat(
            session,
            id="wrk_a",
            role="trainer",
            queues=["gpu"],
            devices=["cuda"],
            address=None,
            loaded=[],
            at=now(session),
        )
    submit(jobs, language_model_spec(make_dataset(database).id))
    assert wakes.calls == [{"cpu", "gpu"}]


@pytest.mark.parametrize("kind", ["vectors", "labeled_vectors", "scored_vectors"])
def test_data_that_hold_more_than_is_read_fit_too(jobs: Jobs, database: Database, kind: str) -> None:
    assert submit(jobs, autoencoder(make_dataset(database, kind).id)).status is JobStatus.QUEUED


def test_a_finetune_of_a_finished_job_is_queued(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = make_model(database, store)
    view = submit(jobs, finetune(str(model.job_id), make_dataset(database, "labeled_text").id))
    assert (view.status, view.parent_job_id, view.parent_model_id) == (JobStatus.QUEUED, model.job_id, None)


@pytest.mark.parametrize(
    "status", [status for status in JobStatus if status.value not in {"succeeded", "failed", "cancelled"}]
)
def test_a_finetune_of_an_unfinished_job_waits_for_it(
    jobs: Jobs, database: Database, wakes: RecordedWakes, status: JobStatus
) -> None:
    parent = make_job(database, status=status)
    view = submit(jobs, finetune(parent.id, make_dataset(database, "labeled_text").id))
    assert (view.status, view.queue_position, view.queued_at) == (JobStatus.WAITING, None, None)
    assert wakes.calls == [frozenset()]


def test_pooling_that_the_parent_has_no_use_for_is_refused(jobs: Jobs, database: Database, store: FolderStore) -> None:
    encoder = TEXT_BODY.model_copy(update={"bidirectional": True})
    for body, kind, pooling, message in (
        (FEATURES_BODY, "labeled_vectors", "mean", "gives one vector for an example"),
        (encoder, "labeled_text", "last", "does not read from left to right"),
    ):
        spec = finetune(make_model(database, store, body=body).id, make_dataset(database, kind).id)
        error = refused(jobs, spec | {"method": {"type": "classification", "pooling": pooling}})
        assert error.errors[0].location == "method.pooling"
        assert message in error.detail


def test_a_chain_of_waiting_jobs_is_checked_from_its_root(jobs: Jobs, database: Database) -> None:
    root = submit(jobs, autoencoder(make_dataset(database, "vectors").id))
    child = submit(jobs, finetune(root.id, make_dataset(database, "labeled_vectors").id))
    grandchild = submit(jobs, finetune(child.id, make_dataset(database, "labeled_vectors").id))
    assert grandchild.status is JobStatus.WAITING
    five = make_dataset(database, "labeled_vectors", profile={"num_features": 5, "labels": {"a": 1}, "num_labels": 1})
    error = refused(jobs, finetune(child.id, five.id))
    assert error.code is ErrorCode.PARENT_INCOMPATIBLE


def test_a_finetune_may_name_a_model_or_an_alias(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = make_model(database, store, body=FEATURES_BODY)
    with database.transaction() as session:
        aliases.put(session, DEFAULT_PROJECT_ID, "production", model.id, now(session))
    for named in (model.id, "production"):
        view = submit(jobs, finetune(named, make_dataset(database, "labeled_vectors").id))
        assert (view.status, view.parent, view.parent_job_id) == (JobStatus.QUEUED, named, None)


def test_what_is_recorded_with_a_job_stands_or_falls_with_it(jobs: Jobs, database: Database) -> None:
    """The answer to an idempotency key is written so: no crash leaves a job without it."""
    spec = job_spec_adapter.validate_python(language_model_spec(make_dataset(database).id))
    before = _stored(database)

    def break_down(_session: Session, _view: JobView) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        jobs.submit(DEFAULT_PROJECT_ID, spec, break_down)
    assert _stored(database) == before
    recorded: list[JobView] = []
    view = jobs.submit(DEFAULT_PROJECT_ID, spec, lambda _, made: recorded.append(made))
    assert recorded == [view]


@pytest.mark.parametrize("field", [{"name": "a\0b"}, {"metadata": {"a\0": "b"}}, {"metadata": {"a": "\0"}}])
def test_text_that_not_every_database_keeps_is_refused(database: Database, field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        job_spec_adapter.validate_python(language_model_spec(make_dataset(database).id, **field))


def test_a_data_set_that_does_not_exist_is_named(jobs: Jobs) -> None:
    missing = "ds_" + "0" * 32
    error = refused(jobs, language_model_spec(missing))
    assert missing in error.detail
    assert error.errors[0].location == "dataset"


def test_a_data_set_of_another_project_does_not_exist(jobs: Jobs, database: Database) -> None:
    other = make_dataset(database, project_id="other")
    assert "There is no data set" in refused(jobs, language_model_spec(other.id)).detail


def test_a_deleted_data_set_does_not_exist(jobs: Jobs, database: Database) -> None:
    with database.reading() as session:
        at = now(session)
    dataset = make_dataset(database, deleted_at=at)
    assert "There is no data set" in refused(jobs, language_model_spec(dataset.id)).detail


@pytest.mark.parametrize(
    ("kind", "architecture", "would_fit"),
    [
        ("labeled_text", {"type": "mlp"}, "images, labeled_images, labeled_vectors, scored_vectors or vectors"),
        ("vectors", {"type": "conv"}, "images or labeled_images"),
    ],
)
def test_data_of_the_wrong_kind_are_told_with_what_would_fit(
    jobs: Jobs, database: Database, kind: str, architecture: dict[str, str], would_fit: str
) -> None:
    dataset = make_dataset(database, kind)
    error = refused(jobs, autoencoder(dataset.id, architecture=architecture))
    assert error.code is ErrorCode.DATASET_INCOMPATIBLE
    assert error.errors[0].location == "dataset"
    for named in ("autoencoder", architecture["type"], dataset.id, kind, would_fit):
        assert named in error.detail


def test_data_that_a_finetune_cannot_learn_from_are_told_with_the_parent(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "tagged_tokens")
    error = refused(jobs, finetune(model.id, dataset.id))
    assert error.code is ErrorCode.DATASET_INCOMPATIBLE
    for named in ("classification", model.id, "reads text", dataset.id, "tagged_tokens", "labeled_text"):
        assert named in error.detail


def test_a_parent_whose_body_does_not_fit_is_told_with_what_would(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    model, dataset = make_model(database, store, body=IMAGE_BODY), make_dataset(database, "scored_vectors")
    error = refused(jobs, finetune(model.id, dataset.id, method={"type": "regression"}))
    assert error.code is ErrorCode.PARENT_INCOMPATIBLE
    assert error.errors[0].location == "parent"
    for named in ("regression", model.id, "reads images", "text or vectors of features", "classification"):
        assert named in error.detail


def test_a_pretraining_goes_on_from_a_parent_of_its_own_method(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    more = make_dataset(database).id
    read_on = submit(jobs, finetune(make_model(database, store).id, more, method={"type": "causal_language_model"}))
    assert (read_on.status, read_on.spec["training"]["optimizer"]["learning_rate"]) == (JobStatus.QUEUED, 5e-4)
    again = submit(jobs, finetune(read_on.id, more, method={"type": "causal_language_model"}))
    assert again.status is JobStatus.WAITING


@pytest.mark.parametrize("is_done", [True, False])
def test_a_pretraining_does_not_go_on_from_a_parent_of_another_method(
    jobs: Jobs, database: Database, store: FolderStore, is_done: bool
) -> None:
    """A classifier has a language model's body and no head to tell tokens by; nor will one that still trains."""
    root = make_job(database)
    spec = finetune(root.id, make_dataset(database, "labeled_text").id)
    classifier = make_job(database, spec=spec, status=JobStatus.SUCCEEDED, parent_job_id=root.id)
    parent = make_model(database, store, job=classifier).id if is_done else submit(jobs, spec).id
    error = refused(jobs, finetune(parent, make_dataset(database).id, method={"type": "causal_language_model"}))
    assert error.code is ErrorCode.PARENT_INCOMPATIBLE
    assert error.errors[0].location == "parent"
    for named in (
        parent,
        "is a model of the method classification",
        "takes a parent of the method causal_language_model",
        "From this parent: classification",
    ):
        assert named in error.detail


def test_only_language_models_are_taught_to_answer(jobs: Jobs, database: Database, store: FolderStore) -> None:
    told, method = make_dataset(database, "instructions").id, {"type": "instruction_tuning"}
    answering = submit(jobs, finetune(make_model(database, store).id, told, method=method))
    assert submit(jobs, finetune(answering.id, told, method=method)).status is JobStatus.WAITING
    masked = language_model_spec(make_dataset(database).id)
    masked["method"] |= {"type": "masked_language_model"}
    error = refused(jobs, finetune(submit(jobs, masked).id, told, method=method))
    assert "takes a parent of the method causal_language_model or instruction_tuning" in error.detail


def test_what_is_continued_has_no_head_that_could_be_trained_alone(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    spec = finetune(make_model(database, store).id, make_dataset(database).id, method={"type": "causal_language_model"})
    error = refused(jobs, spec | {"strategy": {"type": "frozen"}})
    assert error.errors[0].location == "strategy.type"
    for named in ("no new head", "frozen", "gradual_unfreezing"):
        assert named in error.detail
    submitted = submit(jobs, spec | {"strategy": {"type": "gradual_unfreezing"}})
    assert submitted.spec["strategy"]["unfreeze_every"] is None


def test_only_a_variational_parent_has_a_divergence_to_weigh(jobs: Jobs, database: Database) -> None:
    vectors = make_dataset(database, "vectors").id
    method = {"type": "autoencoder", "variational": {"kl_weight": 0.5}}
    plain, variational = submit(jobs, autoencoder(vectors)), submit(jobs, autoencoder(vectors, variational={}))
    assert submit(jobs, finetune(variational.id, vectors, method=method)).status is JobStatus.WAITING
    error = refused(jobs, finetune(plain.id, vectors, method=method))
    assert error.errors[0].location == "method.variational"


@pytest.mark.parametrize(
    ("body", "dataset", "told"),
    [
        (FEATURES_BODY, ("labeled_vectors", {"num_features": 5}), ("5 features", "4 features")),
        (IMAGE_BODY, ("labeled_images", {"shape": [3, 8, 8]}), ("3x8x8 pixels", "1x8x8 pixels")),
    ],
)
def test_examples_of_another_shape_than_the_parent_reads_are_refused(
    jobs: Jobs, store: FolderStore, body: BodyDescription, dataset: tuple[str, dict[str, Any]], told: tuple[str, str]
) -> None:
    (kind, shape), labels = dataset, {"labels": {"a": 1, "b": 1}, "num_labels": 2}
    model, row = make_model(jobs.database, store, body=body), make_dataset(jobs.database, kind, profile=shape | labels)
    error = refused(jobs, finetune(model.id, row.id))
    assert error.code is ErrorCode.PARENT_INCOMPATIBLE
    for named in (*told, model.id, row.id):
        assert named in error.detail


def test_a_parent_that_does_not_exist_is_named(jobs: Jobs, database: Database, store: FolderStore) -> None:
    other = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id="other"))
    dataset = make_dataset(database, "labeled_text")
    for missing in ("job_" + "0" * 32, "model_" + "0" * 32, "prod", other.id, str(other.job_id)):
        error = refused(jobs, finetune(missing, dataset.id))
        assert error.detail == f"There is no job, model or alias {missing!r}."
        assert error.errors[0].location == "parent"


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_parent_that_did_not_succeed_is_refused(jobs: Jobs, database: Database, status: JobStatus) -> None:
    parent = make_job(database, status=status)
    error = refused(jobs, finetune(parent.id, make_dataset(database, "labeled_text").id))
    assert error.code is ErrorCode.PARENT_FAILED
    assert parent.id in error.detail
    assert status.value in error.detail


def test_a_parent_whose_model_was_deleted_is_refused(jobs: Jobs, database: Database) -> None:
    parent = make_job(database, status=JobStatus.SUCCEEDED)
    error = refused(jobs, finetune(parent.id, make_dataset(database, "labeled_text").id))
    assert "was deleted" in error.detail


def test_a_checkpoint_is_chosen_of_a_job_alone(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "labeled_text")
    error = refused(jobs, finetune(model.id, dataset.id, checkpoint="last"))
    assert error.errors[0].location == "checkpoint"
    assert str(model.job_id) in error.detail


def test_a_checkpoint_that_a_finished_parent_has_not_is_told_with_those_that_it_has(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    parent = make_job(database, status=JobStatus.SUCCEEDED)
    make_checkpoint(database, store, parent, 5)
    make_model(database, store, job=parent, step=10)
    dataset = make_dataset(database, "labeled_text")
    assert submit(jobs, finetune(parent.id, dataset.id, checkpoint="step:5")).status is JobStatus.QUEUED
    error = refused(jobs, finetune(parent.id, dataset.id, checkpoint="step:7"))
    assert "step:7" in error.detail
    assert "5, 10" in error.detail


def test_of_a_parent_that_trains_a_later_step_is_waited_for_and_one_given_up_is_refused(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    parent, dataset = make_job(database, status=JobStatus.RUNNING), make_dataset(database, "labeled_text")
    assert submit(jobs, finetune(parent.id, dataset.id, checkpoint="step:2")).status is JobStatus.WAITING
    for step in (5, 6):
        make_checkpoint(database, store, parent, step)
    for step in (5, 7):
        assert submit(jobs, finetune(parent.id, dataset.id, checkpoint=f"step:{step}")).status is JobStatus.WAITING
    error = refused(jobs, finetune(parent.id, dataset.id, checkpoint="step:4"))
    assert error.errors[0].location == "checkpoint"
    assert "5, 6" in error.detail


@pytest.mark.databases("postgresql")  # SQLite lets one transaction write at a time
def test_a_checkpoint_that_is_given_up_while_a_fine_tune_asks_for_it_is_refused(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    """The trainer has it deleted and not yet committed: without a lock, the job would be accepted and fail later."""
    parent, dataset = make_job(database, status=JobStatus.RUNNING), make_dataset(database, "labeled_text")
    for step in (5, 6):
        make_checkpoint(database, store, parent, step)
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            session.get_one(JobRow, parent.id, with_for_update=True)
            checkpoints.delete(session, parent.id, 5)
            asked = thread.submit(submit, jobs, finetune(parent.id, dataset.id, checkpoint="step:5"))
            wait_until(lambda: _someone_waits(database), 30, "the submission should wait for the trainer")
        with pytest.raises(InvalidRequest, match="has no checkpoint step:5"):
            asked.result()


def _someone_waits(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.reading() as session:
        return bool(session.scalar(text(query)))


def test_validation_data_must_exist(jobs: Jobs, database: Database) -> None:
    spec = language_model_spec(make_dataset(database).id, training={"validation_dataset": "ds_" + "0" * 32})
    error = refused(jobs, spec)
    assert error.errors[0].location == "training.validation_dataset"


def test_validation_data_must_be_of_the_same_kind_and_shape(jobs: Jobs, database: Database) -> None:
    dataset, other_kind = make_dataset(database, "vectors"), make_dataset(database, "text")
    other_shape = make_dataset(database, "vectors", profile={"num_features": 9})
    for other, told in ((other_kind, "of kind text"), (other_shape, "9 features")):
        error = refused(jobs, autoencoder(dataset.id) | {"training": {"validation_dataset": other.id}})
        assert error.code is ErrorCode.DATASET_INCOMPATIBLE
        assert told in error.detail


def test_a_duration_in_tokens_needs_a_method_that_counts_them(jobs: Jobs, database: Database) -> None:
    dataset = make_dataset(database, "vectors")
    error = refused(jobs, autoencoder(dataset.id) | {"training": {"duration": {"tokens": 5_000}}})
    assert error.errors[0].location == "training.duration.tokens"
    assert "5000" in error.detail


@pytest.mark.parametrize(
    ("body", "dataset", "augmentation", "told"),
    [
        (
            TEXT_BODY,
            "labeled_text",
            {"shift_pixels": 2},
            ("shift_pixels is 2", "classification on text", "token_dropout"),
        ),
        (FEATURES_BODY, "labeled_vectors", {"crop_area": 0.5}, ("crop_area is 0.5", "mixup_alpha or noise_std")),
        (IMAGE_BODY, "labeled_images", {"token_dropout": 0.1}, ("token_dropout is 0.1", "crop_area or mixup_alpha or")),
        (IMAGE_BODY, "labeled_images", {"shift_pixels": 8}, ("shift_pixels is 8", "8x8 pixels", "less than 8")),
    ],
)
def test_an_augmentation_that_does_not_fit_the_parent_is_told_with_what_would(
    jobs: Jobs,
    store: FolderStore,
    *,
    body: BodyDescription,
    dataset: str,
    augmentation: dict[str, Any],
    told: tuple[str, ...],
) -> None:
    model, row = make_model(jobs.database, store, body=body), make_dataset(jobs.database, dataset)
    spec = finetune(model.id, row.id) | {"training": {"augmentation": augmentation}}
    error = refused(jobs, spec)
    assert error.errors[0].location == f"training.augmentation.{next(iter(augmentation))}"
    for named in told:
        assert named in error.detail


def test_an_augmentation_that_suits_the_parent_is_taken(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model, row = make_model(database, store, body=IMAGE_BODY), make_dataset(database, "labeled_images")
    augmentation = {"shift_pixels": 7, "crop_area": 0.5, "noise_std": 0.1, "mixup_alpha": 0.2}
    view = submit(jobs, finetune(model.id, row.id) | {"training": {"augmentation": augmentation}})
    assert view.spec["training"]["augmentation"] == augmentation | {"token_dropout": None}


def test_a_pretraining_that_answers_with_what_it_reads_takes_no_blends_of_it(jobs: Jobs, database: Database) -> None:
    for method, told in (("autoencoder", "crop_area or shift_pixels"), ("gan", "Nothing of the kind fits")):
        spec = autoencoder(make_dataset(database, "images").id) | {"training": {"augmentation": {"mixup_alpha": 0.2}}}
        assert told in refused(jobs, spec | {"method": {"type": method}}).detail


@pytest.mark.parametrize(
    ("body", "dataset", "strategy", "told"),
    [
        (IMAGE_BODY, "labeled_images", "full", ("architecture conv has no blocks", "transformer, gpt2 and bert")),
        (TEXT_BODY, "labeled_text", "frozen", ("strategy frozen keeps no activations",)),
    ],
)
def test_activations_that_nothing_would_spare_are_not_computed_again(
    jobs: Jobs, store: FolderStore, *, body: BodyDescription, dataset: str, strategy: str, told: tuple[str, ...]
) -> None:
    model, row = make_model(jobs.database, store, body=body), make_dataset(jobs.database, dataset)
    training = {"activation_checkpointing": True}
    error = refused(jobs, finetune(model.id, row.id, strategy={"type": strategy}) | {"training": training})
    assert error.errors[0].location == "training.activation_checkpointing"
    for named in ("activation_checkpointing is true", "Leave it out", *told):
        assert named in error.detail


@pytest.mark.parametrize(
    ("body", "dataset", "strategy", "told"),
    [
        (IMAGE_BODY, "labeled_images", {}, ("lora", "a transformer or an mlp", "architecture conv", "frozen")),
        (TEXT_BODY, "labeled_text", {"targets": ["q_proj", "query"]}, ("called query.", "q_proj, k_proj, v_proj")),
        (TEXT_BODY, "labeled_text", {"targets": ["proj"]}, ("called proj.", "gate_proj, up_proj, down_proj")),
        (FEATURES_BODY, "labeled_vectors", {"targets": ["Wqkv"]}, ("called Wqkv.", "layers.0, code")),
    ],
)
def test_adapters_that_the_parent_has_no_place_for_are_refused_with_the_places_that_it_has(
    jobs: Jobs,
    store: FolderStore,
    *,
    body: BodyDescription,
    dataset: str,
    strategy: dict[str, Any],
    told: tuple[str, ...],
) -> None:
    model, row = make_model(jobs.database, store, body=body), make_dataset(jobs.database, dataset)
    error = refused(jobs, finetune(model.id, row.id, strategy={"type": "lora"} | strategy))
    assert error.errors[0].location == ("strategy.targets" if strategy else "strategy.type")
    for named in (model.id, *told):
        assert named in error.detail


def test_adapters_need_a_network_that_they_reach_as_a_whole(jobs: Jobs, database: Database) -> None:
    vectors = make_dataset(database, "vectors").id
    parent = submit(jobs, autoencoder(vectors))
    error = refused(jobs, finetune(parent.id, vectors, method={"type": "autoencoder"}, strategy={"type": "lora"}))
    assert error.errors[0].location == "strategy.type"
    for named in (parent.id, "a second network beside it", "gradual_unfreezing"):
        assert named in error.detail


def test_a_stretch_between_thaws_in_tokens_needs_such_a_method_too(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    model, dataset = make_model(database, store, body=IMAGE_BODY), make_dataset(database, "labeled_images")
    strategy = {"type": "gradual_unfreezing", "unfreeze_every": {"tokens": 7_000}}
    error = refused(jobs, finetune(model.id, dataset.id, strategy=strategy))
    assert error.errors[0].location == "strategy.unfreeze_every.tokens"
    assert "7000" in error.detail


def test_a_model_with_too_many_parameters_is_refused_by_arithmetic(
    jobs: Jobs, database: Database, settings: Settings
) -> None:
    spec = language_model_spec(make_dataset(database).id)
    spec["method"]["architecture"] |= {"num_layers": 1_000, "width": 10_240, "num_heads": 16}
    error = refused(jobs, spec)
    assert error.code is ErrorCode.TOO_LARGE
    parameters = 300 * 10_240 + 1_000 * (4 * 10_240**2 + 3 * 10_240 * 27_328 + 2 * 10_240) + 10_240
    assert f"{parameters:,}" in error.detail
    assert f"{settings.max_parameters:,}" in error.detail


def test_a_step_that_no_memory_holds_is_refused_by_arithmetic(jobs: Jobs, database: Database) -> None:
    spec = language_model_spec(make_dataset(database).id, training={"batch_size": 1_048_576})
    spec["method"]["architecture"] |= {"context_length": 1_048_576}
    error = refused(jobs, spec)
    assert error.code is ErrorCode.TOO_LARGE
    assert "1048576" in error.detail
    assert "set activation_checkpointing" in error.detail
    assert error.errors[0].location == "training.batch_size"
    spec["training"] |= {"activation_checkpointing": True}
    assert "set activation_checkpointing" not in refused(jobs, spec).detail
