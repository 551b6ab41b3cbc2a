"""What is left `auto` is refused where nothing could decide it, and told in a job's view."""

from typing import Any

import pytest

from app.contract.auto import as_decided, settled, with_values
from app.contract.errors import InvalidRequest
from app.contract.messages import Resolved
from app.contract.specs import training_spec_adapter
from app.contract.trials import Trial
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.estimate import Estimates
from app.services.jobs import Jobs, JobView
from app.services.jobs.auto import AutoDecision
from app.settings import Settings
from tests.factories import make_dataset, make_job

OPEN = {"learning_rate": "auto"}
RESOLVED = Resolved(
    device="cpu",
    precision="fp32",
    compile=False,
    total_steps=1_000,
    evaluate_every_steps=100,
    checkpoint_every_steps=100,
    num_parameters=10,
    num_train_examples=1_000,
    num_validation_examples=100,
)


def regression(database: Database, **training: Any) -> dict[str, Any]:
    dataset = make_dataset(database, "scored_vectors", num_examples=4_000)
    return {"kind": "pretrain", "dataset": dataset.id, "method": {"type": "regression"}, "training": training}


@pytest.mark.parametrize(
    ("training", "location", "remedy"),
    [
        (
            {"optimizer": OPEN, "validation_fraction": 0.0},
            "training.validation_fraction",
            "training.optimizer.learning_rate is auto.*Hold back a part of the data",
        ),
        ({"duration": "auto", "validation_fraction": 0.0}, "training.validation_fraction", "training.duration is auto"),
        (
            {"batch_size": "auto", "duration": {"steps": 500}},
            "training.batch_size",
            "500 steps.*Give the duration in epochs",
        ),
    ],
)
def test_what_nothing_could_decide_is_refused(
    jobs: Jobs, database: Database, training: dict[str, Any], location: str, remedy: str
) -> None:
    spec = training_spec_adapter.validate_python(regression(database, **training))
    with pytest.raises(InvalidRequest, match=remedy) as refused:
        jobs.submit(DEFAULT_PROJECT_ID, spec)
    assert refused.value.errors[0].location == location


def test_a_data_set_of_its_own_may_judge(jobs: Jobs, database: Database) -> None:
    other = make_dataset(database, "scored_vectors", num_examples=100)
    given = regression(database, optimizer=OPEN, validation_fraction=0.0, validation_dataset=other.id)
    view = jobs.submit(DEFAULT_PROJECT_ID, training_spec_adapter.validate_python(given))
    assert view.auto == {"learning_rate": AutoDecision(candidates=[], chosen=None, reason=None, trial_steps=0)}


def test_an_estimate_tells_the_trials(database: Database, settings: Settings) -> None:
    """3,600 examples in batches of 32 for 100 epochs: 11,250 steps, a fifth of which is 2,250, for 16 units of 140."""
    spec = training_spec_adapter.validate_python(regression(database, optimizer=OPEN))
    told = Estimates(database, settings).estimate(DEFAULT_PROJECT_ID, spec)
    assert (told.total_steps, told.trial_steps) == (11_250, 16 * 140)
    named = training_spec_adapter.validate_python(regression(database))
    without = Estimates(database, settings).estimate(DEFAULT_PROJECT_ID, named)
    assert (without.trial_steps, without.trial_seconds["cpu"]) == (0, 0.0)
    added = told.estimated_seconds["cpu"] - without.estimated_seconds["cpu"]
    assert added == pytest.approx(told.trial_seconds["cpu"], abs=0.11)


def test_an_estimate_warns_of_a_job_that_is_too_short_for_trials(database: Database, settings: Settings) -> None:
    spec = training_spec_adapter.validate_python(regression(database, optimizer=OPEN, duration={"steps": 100}))
    told = Estimates(database, settings).estimate(DEFAULT_PROJECT_ID, spec)
    assert told.trial_steps == 0
    [warning] = [warning for warning in told.warnings if "learning_rate" in warning]
    assert warning == (
        "training.optimizer.learning_rate takes the default, 0.01: 20% of 100 steps are too few for trials that tell "
        "more than chance."
    )


def trial(value: float, score: float | None, steps: int, *, field: str = "learning_rate") -> Trial:
    return Trial.model_validate(
        {
            "field": field,
            "learning_rate": value if field == "learning_rate" else 0.01,
            "batch_size": 32 if field == "learning_rate" else int(value),
            "steps": steps,
            "score": score,
            "stopped_at_step": steps if score is not None else 3,
            "cut": None if score is not None else "diverged",
            "curve": ((1, 4.0), (3, 2.0)),
        }
    )


def viewed(
    jobs: Jobs, database: Database, trials: list[Trial], resolved: Resolved | None = None, **training: Any
) -> JobView:
    row = make_job(
        database,
        spec=regression(database, **training),
        trials=[each.model_dump(mode="json") for each in trials],
        resolved=resolved and resolved.model_dump(mode="json"),
    )
    return jobs.get(DEFAULT_PROJECT_ID, row.id)


def test_while_trials_are_made_their_candidates_are_told(jobs: Jobs, database: Database) -> None:
    told = viewed(jobs, database, [trial(0.01, 2.0, 10), trial(0.1, None, 10)], RESOLVED, optimizer=OPEN).auto
    decision = told["learning_rate"]
    assert [(each.value, each.score, each.stopped_at_step, each.cut) for each in decision.candidates] == [
        (0.01, 2.0, 10, None),
        (0.1, None, 3, "diverged"),
    ]
    assert decision.candidates[0].curve == ((1, 4.0), (3, 2.0))
    assert (decision.chosen, decision.reason, decision.trial_steps) == (None, None, 13)


def test_the_longest_trial_stands_for_a_candidate_and_one_sentence_says_why_it_won(
    jobs: Jobs, database: Database
) -> None:
    trials = [
        trial(0.001, 1.9, 10), trial(0.01, 2.0, 10), trial(0.1, None, 10), trial(0.001, 1.5, 30), trial(0.01, 1.2, 30)
    ]  # fmt: skip
    resolved = RESOLVED.model_copy(update={"learning_rate": 0.01})
    decision = viewed(jobs, database, trials, resolved, optimizer=OPEN).auto["learning_rate"]
    assert [(each.value, each.score, each.steps) for each in decision.candidates] == [
        (0.001, 1.5, 30),
        (0.01, 1.2, 30),
        (0.1, None, 10),
    ]
    assert decision.chosen == 0.01
    assert decision.reason == (
        "The lowest validation loss of all trials that went so far, 1.2 after 30 steps; next came 0.001 with 1.5."
    )


@pytest.mark.parametrize(
    ("trials", "chosen", "reason"),
    [
        ([trial(0.01, 2.0, 10), trial(0.1, 1.0, 10)], 0.1, "It is the largest that was tried"),
        ([trial(0.01, 1.0, 10), trial(0.1, 2.0, 10)], 0.01, "It is the smallest that was tried"),
        ([trial(0.01, None, 10), trial(0.1, None, 10)], 0.01, "The smallest: every trial was cut."),
        ([], 0.01, "20% of 1,000 steps are too few"),
    ],
)
def test_a_choice_without_a_clear_winner_says_so(
    jobs: Jobs, database: Database, trials: list[Trial], chosen: float, reason: str
) -> None:
    resolved = RESOLVED.model_copy(update={"learning_rate": chosen})
    told = viewed(jobs, database, trials, resolved, optimizer=OPEN).auto["learning_rate"].reason
    assert told is not None
    assert reason in told


def test_a_batch_that_is_as_good_is_told_as_such(jobs: Jobs, database: Database) -> None:
    trials = [trial(16, 1.0, 20, field="batch_size"), trial(32, 1.005, 10, field="batch_size")]
    resolved = RESOLVED.model_copy(update={"batch_size": 32})
    decision = viewed(jobs, database, trials, resolved, batch_size="auto").auto["batch_size"]
    assert decision.chosen == 32
    assert decision.reason == (
        "The largest batch whose validation loss in its trial is within 1% of the lowest, 1 of 16."
    )


def test_a_rate_that_went_with_the_batch_tells_where_it_came_from(jobs: Jobs, database: Database) -> None:
    trials = [trial(0.01, 1.0, 10), trial(0.1, 2.0, 10), trial(0.001, 2.0, 10)]
    resolved = RESOLVED.model_copy(update={"learning_rate": 0.02, "batch_size": 128})
    told = viewed(jobs, database, trials, resolved, optimizer=OPEN, batch_size="auto").auto["learning_rate"]
    assert told.reason is not None
    assert told.reason.endswith("0.01 was found with batches of 32, and 0.02 goes with the batch size.")


def test_an_open_duration_tells_its_bound(jobs: Jobs, database: Database) -> None:
    decision = viewed(jobs, database, [], RESOLVED, duration="auto").auto["duration"]
    assert (decision.candidates, decision.chosen) == ([], 1_000)
    assert decision.reason is not None
    assert "5 evaluations in a row" in decision.reason


def test_a_job_with_every_number_named_has_decided_nothing(jobs: Jobs, database: Database) -> None:
    assert viewed(jobs, database, [], RESOLVED).auto == {}


def test_only_what_was_left_open_is_told_as_decided(database: Database) -> None:
    spec = training_spec_adapter.validate_python(regression(database, optimizer=OPEN))
    resolved = as_decided(RESOLVED, spec.training, with_values(settled(spec), 0.5, 32))
    assert (resolved.learning_rate, resolved.batch_size) == (0.5, None)
    assert settled(spec, resolved).optimizer.decided_rate == 0.5
    assert settled(spec).optimizer.decided_rate == 0.01
