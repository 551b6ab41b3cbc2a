"""An estimate queues nothing, and says which of its figures are exact."""

from typing import Any

import pytest
from sqlalchemy import func, select

from app.contract.errors import InvalidRequest
from app.contract.specs.job import training_spec_adapter
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, JobRow
from app.services.estimate import Estimate, Estimates
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import PROFILES, language_model_spec, make_dataset, make_model


@pytest.fixture
def estimates(database: Database, settings: Settings) -> Estimates:
    return Estimates(database, settings)


def estimate(estimates: Estimates, spec: dict[str, Any]) -> Estimate:
    return estimates.estimate(DEFAULT_PROJECT_ID, training_spec_adapter.validate_python(spec))


def autoencoder(dataset: str, **training: Any) -> dict[str, Any]:
    return {"kind": "pretrain", "dataset": dataset, "method": {"type": "autoencoder"}, "training": training}


def test_nothing_is_queued_and_the_whole_spec_is_told(estimates: Estimates, database: Database) -> None:
    told = estimate(estimates, language_model_spec(make_dataset(database).id))
    assert told.spec["training"]["optimizer"]["type"] == "adamw"
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 0


def test_steps_are_exact_where_they_are_asked_for(estimates: Estimates, database: Database) -> None:
    spec = language_model_spec(make_dataset(database, size_bytes=10**6).id)
    told = estimate(estimates, spec | {"training": {"duration": {"steps": 100}, "batch_size": 8}})
    assert (told.total_steps, told.total_tokens) == (100, 100 * 8 * 16)
    assert "total_steps" not in told.approximate


def test_epochs_are_counted_over_what_is_not_held_back(estimates: Estimates, database: Database) -> None:
    """100 vectors less a fifth, in batches of 32: 2.5 steps an epoch."""
    dataset = make_dataset(database, "vectors", num_examples=100)
    options = {"duration": {"epochs": 10}, "batch_size": 32, "validation_fraction": 0.2}
    told = estimate(estimates, autoencoder(dataset.id, **options))
    assert (told.total_steps, told.total_tokens) == (25, None)
    assert "total_steps" in told.approximate
    other = make_dataset(database, "vectors")
    held_apart = estimate(estimates, autoencoder(dataset.id, **options, validation_dataset=other.id))
    assert held_apart.total_steps == 32


def test_an_epoch_of_down_sampling_is_as_short_as_the_rarest_label_makes_it(
    estimates: Estimates, database: Database, store: FolderStore
) -> None:
    """Of 1,000 texts with 40 of the rarest of two labels: 80, less a tenth, in batches of 8."""
    profile = PROFILES["labeled_text"] | {"labels": {"bad": 40, "good": 960}}
    dataset = make_dataset(database, "labeled_text", num_examples=1_000, profile=profile)
    spec = {
        "kind": "finetune",
        "parent": make_model(database, store).id,
        "dataset": dataset.id,
        "method": {"type": "classification", "sampling": "down_sample"},
        "training": {"duration": {"epochs": 10}, "batch_size": 8, "validation_fraction": 0.1},
    }
    assert estimate(estimates, spec).total_steps == 90


def test_parameters_of_a_finetune_are_those_of_its_parent_and_a_head(
    estimates: Estimates, database: Database, store: FolderStore
) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "labeled_text")
    spec = {"kind": "finetune", "parent": model.id, "dataset": dataset.id, "method": {"type": "classification"}}
    told = estimate(estimates, spec)
    block = 4 * 16 * 16 + 3 * 16 * 64 + 2 * 16
    assert told.num_parameters == 300 * 16 + block + 16 + (16 * 2 + 2)
    assert "num_parameters" not in told.approximate
    frozen = estimate(estimates, spec | {"strategy": {"type": "frozen"}})
    assert frozen.memory_bytes < told.memory_bytes


def test_what_a_strategy_trains_is_told_and_spared_in_memory_and_time(
    estimates: Estimates, database: Database, store: FolderStore
) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "labeled_text")
    spec = {"kind": "finetune", "parent": model.id, "dataset": dataset.id, "method": {"type": "classification"}}
    strategies = [{"type": "lora", "rank": 2, "targets": ["q_proj"]}, {"type": "gradual_unfreezing"}, {"type": "full"}]
    lora, gradual, full = (estimate(estimates, spec | {"strategy": strategy}) for strategy in strategies)
    assert lora.num_trained_parameters == 2 * (16 + 16) + (16 * 2 + 2)
    assert gradual.num_trained_parameters == full.num_trained_parameters == full.num_parameters == lora.num_parameters
    assert lora.memory_bytes < gradual.memory_bytes == full.memory_bytes
    assert lora.estimated_seconds["cpu"] <= full.estimated_seconds["cpu"]


def test_activations_that_are_computed_again_are_spared_in_memory_and_cost_time(
    estimates: Estimates, database: Database
) -> None:
    training = {"duration": {"steps": 100_000}}
    spec = language_model_spec(make_dataset(database, size_bytes=10**7).id, training=training)
    spec["method"]["architecture"] |= {"num_layers": 8}
    kept = estimate(estimates, spec)
    again = estimate(estimates, spec | {"training": training | {"activation_checkpointing": True}})
    assert again.memory_bytes < kept.memory_bytes / 2
    assert kept.estimated_seconds["cpu"] < again.estimated_seconds["cpu"] < 4 / 3 * kept.estimated_seconds["cpu"]


def test_a_text_that_is_read_on_is_counted_in_windows(
    estimates: Estimates, database: Database, store: FolderStore
) -> None:
    """As in a pretraining, which the same job would be from fresh weights."""
    dataset = make_dataset(database, size_bytes=10**6).id
    training = {"duration": {"epochs": 2}, "batch_size": 8, "validation_fraction": 0.05}
    spec = {"kind": "finetune", "parent": make_model(database, store).id, "dataset": dataset, "training": training}
    told = estimate(estimates, spec | {"method": {"type": "causal_language_model"}})
    fresh = estimate(estimates, language_model_spec(dataset, training=training))
    assert (told.total_steps, told.num_parameters) == (fresh.total_steps, fresh.num_parameters)
    assert "num_parameters" not in told.approximate


def test_the_disk_is_that_of_the_checkpoints_kept_and_of_an_attempt(
    estimates: Estimates, database: Database, store: FolderStore
) -> None:
    """A checkpoint is the model, its weights again and two moments of each; two are beside the three of the end. An
    attempt has three: the one it resumed from, the one that is being stored, and the one that it writes."""
    dataset = make_dataset(database, size_bytes=10_000).id
    told = estimate(estimates, language_model_spec(dataset))
    checkpoint = 4 * 4 * told.num_parameters
    assert told.disk_bytes == (3 + 2) * checkpoint + 3 * checkpoint + 2 * 10_000
    assert "disk_bytes" in told.approximate
    one = estimate(estimates, language_model_spec(dataset, training={"keep_checkpoints": 1}))
    assert told.disk_bytes - one.disk_bytes == 2 * checkpoint
    labeled = make_dataset(database, "labeled_text").id
    tuned = {"kind": "finetune", "parent": make_model(database, store).id, "dataset": labeled}
    strategies = [{"type": strategy} for strategy in ("full", "lora", "frozen")]
    disks = [
        estimate(estimates, tuned | {"method": {"type": "classification"}, "strategy": strategy}).disk_bytes
        for strategy in strategies
    ]
    assert disks == sorted(disks, reverse=True)


def test_a_larger_job_takes_longer_on_every_device(estimates: Estimates, database: Database) -> None:
    dataset = make_dataset(database, size_bytes=10**8).id
    small, large = (
        estimate(estimates, language_model_spec(dataset, training={"duration": {"steps": steps}})).estimated_seconds
        for steps in (100, 10_000)
    )
    assert small.keys() == large.keys() == {"cpu", "cuda"}
    assert all(large[device] > small[device] for device in small)
    on_cpu = estimate(estimates, language_model_spec(dataset, resources={"device": "cpu"}))
    assert on_cpu.estimated_seconds.keys() == {"cpu"}


def test_doubts_are_told(estimates: Estimates, database: Database) -> None:
    dataset = make_dataset(database, "vectors", warnings=["The features 3 never change."])
    spec = autoencoder(
        dataset.id,
        duration={"steps": 10},
        batch_size=1_000,
        schedule={"type": "cosine", "warmup_steps": 50},
    )
    told = " ".join(estimate(estimates, spec | {"resources": {"device": "cuda"}}).warnings)
    for named in ("never change", "1,000", "warm-up of 50", "No trainer is alive"):
        assert named in told


def test_a_time_limit_that_the_training_would_reach_is_told(estimates: Estimates, database: Database) -> None:
    spec = autoencoder(make_dataset(database, "vectors").id, duration={"steps": 10_000_000})
    seconds = estimate(estimates, spec).estimated_seconds
    assert seconds["cpu"] < seconds["cuda"], "what is so small is done sooner without a launch"
    limit = round(seconds["cpu"] + seconds["cuda"]) // 2
    warnings = estimate(estimates, spec | {"resources": {"time_limit_seconds": limit}}).warnings
    [told] = [warning for warning in warnings if f"time_limit_seconds is {limit:,}" in warning]
    assert told.startswith("On cuda")


def test_what_would_be_refused_is_refused(estimates: Estimates) -> None:
    with pytest.raises(InvalidRequest, match="There is no data set"):
        estimate(estimates, language_model_spec("ds_" + "0" * 32))
