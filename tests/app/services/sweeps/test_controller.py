"""A sweep is a function of its rows: what is tried, what goes on, how it ends, whoever looks and however often."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from app.contract.job import JobStatus
from app.contract.specs.sweep import SweepSpec, SweepStatus, TrialState
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, AliasRow, ModelRow, TrialRow
from app.services.jobs.service import insert_job
from app.services.sweeps.controller import SweepController
from tests.app.services.sweeps.conftest import RATE, STEPS, SweepBench, rate_of

pytestmark = pytest.mark.databases("sqlite")
both_databases = pytest.mark.databases("sqlite", "postgresql")
HALVING = {"pruner": {"type": "successive_halving", "reduction_factor": 3, "min_fraction": 0.1}}


def test_a_sweep_finds_what_is_best_and_makes_a_model_of_it(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=8, max_parallel=4).id)

    assert view.status is SweepStatus.SUCCEEDED
    assert [trial.number for trial in view.trials] == list(range(8))
    assert {trial.state for trial in view.trials} == {TrialState.COMPLETE}
    assert view.best is not None
    best = view.trials[view.best.number]
    assert best.mean == min(trial.mean for trial in view.trials if trial.mean is not None)
    assert best.parameters[RATE] == min((t.parameters[RATE] for t in view.trials), key=lambda r: abs(math.log10(r) + 3))
    assert best.folds[0].best_step == STEPS
    assert view.importance == {RATE: 1.0}
    with bench.database.reading() as session:
        models = session.scalars(select(ModelRow)).all()
    assert [model.id for model in models] == [view.model_id], "of trials, the best alone becomes a model"
    assert (models[0].job_id, models[0].checkpoint_step) == (best.folds[0].job_id, STEPS)
    assert bench.job(best.folds[0].job_id).model_id == view.model_id
    assert f"The best is trial {best.number}: validation_loss" in view.reason


def test_no_more_trials_run_at_a_time_than_were_asked_for(bench: SweepBench) -> None:
    sweep = bench.create(trials=5, max_parallel=3)

    bench.look()
    assert len(bench.get(sweep.id).trials) == 3
    bench.train(limit=1)
    bench.look()
    assert len(bench.get(sweep.id).trials) == 4
    bench.train(limit=1)
    assert bench.run(sweep.id).trials_by_state == {"complete": 5}


def test_the_same_seed_tries_the_same_whoever_looks(bench: SweepBench) -> None:
    def tried(seed: int) -> list[Any]:
        sweep = bench.create(trials=3, max_parallel=1, seed=seed)
        while bench.get(sweep.id).status is SweepStatus.RUNNING:
            SweepController(bench.database, bench.store, bench.settings).round()  # as if each died after one look
            bench.train()
        return [trial.parameters for trial in bench.get(sweep.id).trials]

    assert tried(7) == tried(7)
    assert tried(7) != tried(8)


@both_databases
def test_two_that_look_at_once_make_no_trial_twice(bench: SweepBench) -> None:
    sweep = bench.create(trials=8, max_parallel=8)
    controllers = [SweepController(bench.database, bench.store, bench.settings) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda controller: controller.round(), controllers))

    rows = bench.jobs_of(sweep.id)
    assert [row.trial for row in rows] == list(range(8))
    parameters = [json.dumps(trial.parameters) for trial in bench.get(sweep.id).trials]
    assert len(set(parameters)) == 8


def test_a_trial_stands_with_all_its_jobs_or_not_at_all(bench: SweepBench, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = bench.create(trials=2, folds=4, max_parallel=1)
    inserted = insert_job

    def dies_at_the_third(*arguments: Any, **columns: Any) -> Any:
        if columns["fold"] == 2:
            raise KeyboardInterrupt
        return inserted(*arguments, **columns)

    with monkeypatch.context() as patched:
        patched.setattr("app.services.sweeps.controller.insert_job", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            bench.look()
    assert bench.get(sweep.id).trials == []
    assert bench.jobs_of(sweep.id) == []
    assert bench.run(sweep.id).trials_by_state == {"complete": 2}


@both_databases
def test_folds_are_jobs_and_their_mean_counts(bench: SweepBench) -> None:
    bench.loss = lambda spec, step: rate_of(spec) + 1 / step + spec["training"]["validation_fold"]["index"]

    view = bench.run(bench.create(trials=2, folds=3).id)

    assert len(bench.jobs_of(view.id)) == 6
    for trial in view.trials:
        scores = [fold.score for fold in trial.folds]
        assert scores == pytest.approx([trial.parameters[RATE] + 1 / STEPS + index for index in range(3)])
        assert trial.mean == pytest.approx(scores[1])
        assert trial.standard_deviation == pytest.approx(1.0)
    assert view.model_id is None
    assert "ask for `finalize`" in view.reason
    folds = [row.spec["training"]["validation_fold"] for row in bench.jobs_of(view.id)[:3]]
    assert folds == [{"count": 3, "index": index, "group": None} for index in range(3)]


def test_a_sweep_that_maximises_takes_the_highest_at_the_lowest_loss(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=4, max_parallel=4, objective={"metric": "r2"}).id)

    means = [trial.mean for trial in view.trials if trial.mean is not None]
    assert view.best is not None
    assert view.best.mean == max(means)
    assert view.spec["objective"]["goal"] == "maximize"
    assert "r2" in view.reason


def test_a_trial_that_fails_is_told_and_the_others_go_on(bench: SweepBench) -> None:
    bench.loss = lambda spec, _: math.nan if rate_of(spec) > 1e-3 else rate_of(spec)

    grid = {RATE: {"type": "categorical", "choices": [1e-4, 1e-2, 1e-3]}}
    view = bench.run(bench.create(sampler="grid", trials=None, search=grid, max_parallel=1).id)

    assert view.status is SweepStatus.SUCCEEDED
    failed = [trial for trial in view.trials if trial.state is TrialState.FAILED]
    assert [trial.parameters[RATE] for trial in failed] == [1e-2]
    assert view.best is not None
    assert view.best.parameters == {RATE: 1e-4}
    assert {str(trial.error and trial.error.code) for trial in failed} == {"loss_not_finite"}
    assert f"{len(failed)} failed" in view.reason


def test_a_sweep_whose_trials_all_fail_fails_with_the_first_error(bench: SweepBench) -> None:
    bench.loss = lambda *_: math.nan

    view = bench.run(bench.create(trials=3).id)

    assert view.status is SweepStatus.FAILED
    assert view.error is not None
    assert view.error.code == "loss_not_finite"
    assert view.reason == "None of the 3 trials came to its end. The first failed: It became NaN."


def test_a_metric_that_nobody_measures_is_named_with_those_that_are(bench: SweepBench) -> None:
    search = {"method": {"type": "categorical", "choices": [{"type": "regression"}]}}
    view = bench.run(bench.create(search=search, trials=1, objective={"metric": "f1"}).id)

    assert view.status is SweepStatus.FAILED
    assert "measures no 'f1'; it measures r2, validation_loss." in view.reason


def test_trials_halve_from_rung_to_rung_on_one_schedule(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=18, max_parallel=6, **HALVING).id)

    assert view.status is SweepStatus.SUCCEEDED
    complete = [trial for trial in view.trials if trial.state is TrialState.COMPLETE]
    pruned = [trial for trial in view.trials if trial.state is TrialState.PRUNED]
    assert len(complete) + len(pruned) == 18
    assert 1 <= len(complete) <= 6
    assert {trial.step for trial in complete} == {STEPS}
    assert {trial.step for trial in pruned} <= {10, 30}
    assert {tuple(trial.rung_scores) for trial in complete} == {("0.111", "0.333")}
    assert {fold.total_steps for trial in view.trials for fold in trial.folds} == {STEPS}
    assert view.steps < 18 * STEPS / 2
    assert {fold.status for trial in pruned for fold in trial.folds} == {JobStatus.CANCELLED}
    worst_kept = max(trial.rung_scores["0.111"] for trial in complete)
    assert worst_kept < sorted(trial.rung_scores["0.111"] for trial in view.trials)[len(view.trials) // 2]


@both_databases
def test_rungs_and_folds_together_prune_by_the_mean(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=9, folds=2, max_parallel=9, **HALVING).id)

    assert view.trials_by_state["complete"] >= 1
    assert view.trials_by_state["pruned"] >= 4
    assert all(len({fold.step for fold in trial.folds}) == 1 for trial in view.trials)


def test_a_spent_budget_begins_nothing_and_lets_go_on_what_runs(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=50, max_parallel=2, budget={"steps": 3 * STEPS}).id)

    assert view.status is SweepStatus.SUCCEEDED
    assert view.trials_by_state == {"complete": 4}
    assert view.reason.startswith("4 of 50 trials have ended.")


def test_a_budget_that_is_spent_at_rungs_still_takes_one_to_its_end(bench: SweepBench) -> None:
    view = bench.run(bench.create(trials=50, max_parallel=5, budget={"steps": 20}, **HALVING).id)

    assert view.status is SweepStatus.SUCCEEDED
    assert view.trials_by_state == {"complete": 1, "pruned": 4}


def test_the_best_is_trained_on_all_data_for_as_long_as_it_was_best(bench: SweepBench) -> None:
    bench.loss = lambda spec, step: abs(step - 60) / 100 + rate_of(spec)

    view = bench.run(bench.create(name="rates", trials=4, folds=2, finalize={"alias": "best-rate"}).id)

    assert view.status is SweepStatus.SUCCEEDED, view.reason
    final = bench.job(str(view.final_job_id))
    assert final.spec["training"]["duration"]["steps"] == 60
    assert final.spec["training"]["validation_fraction"] == 0.0
    assert final.spec["training"]["validation_fold"] is None
    assert view.best is not None
    assert rate_of(final.spec) == view.best.parameters[RATE]
    assert (final.name, final.sweep_id, final.trial) == ("rates", view.id, None)
    assert "on all data" in view.reason
    with bench.database.reading() as session:
        assert session.get_one(AliasRow, (DEFAULT_PROJECT_ID, "best-rate")).model_id == view.model_id


def test_a_grid_tries_each_point_once(bench: SweepBench) -> None:
    search = {
        RATE: {"type": "log_uniform", "low": 1e-4, "high": 1e-2, "points": 3},
        "training.batch_size": {"type": "categorical", "choices": [16, 32]},
    }
    view = bench.run(bench.create(trials=None, sampler="grid", search=search).id)

    points = sorted((trial.parameters[RATE], trial.parameters["training.batch_size"]) for trial in view.trials)
    assert [rate for rate, _ in points] == pytest.approx([1e-4, 1e-4, 1e-3, 1e-3, 1e-2, 1e-2])
    assert [size for _, size in points] == [16, 32] * 3


def test_a_paused_sweep_stands_still_and_goes_on_where_it_was(bench: SweepBench) -> None:
    sweep = bench.create(trials=4, max_parallel=2)
    bench.look()
    assert bench.sweeps.pause(DEFAULT_PROJECT_ID, sweep.id).status is SweepStatus.PAUSED
    assert {row.status for row in bench.jobs_of(sweep.id)} == {"paused"}
    bench.look()
    assert bench.train() == 0

    view = bench.sweeps.resume(DEFAULT_PROJECT_ID, sweep.id)

    assert view.status is SweepStatus.RUNNING
    assert bench.run(sweep.id).trials_by_state == {"complete": 4}


@both_databases
def test_a_resumed_sweep_leaves_at_their_rungs_those_that_stand_there(bench: SweepBench) -> None:
    sweep = bench.create(trials=3, max_parallel=3, **HALVING)
    bench.look()
    bench.train()
    bench.sweeps.pause(DEFAULT_PROJECT_ID, sweep.id)
    bench.sweeps.resume(DEFAULT_PROJECT_ID, sweep.id)
    assert {row.status for row in bench.jobs_of(sweep.id)} == {"paused"}
    assert bench.run(sweep.id).status is SweepStatus.SUCCEEDED


@both_databases
def test_a_cancelled_sweep_takes_its_jobs_with_it(bench: SweepBench) -> None:
    sweep = bench.create(trials=4, max_parallel=2, **HALVING)
    bench.look()
    bench.train(limit=1)

    view = bench.sweeps.cancel(DEFAULT_PROJECT_ID, sweep.id)

    assert view.status is SweepStatus.CANCELLED
    assert {row.status for row in bench.jobs_of(sweep.id)} == {"cancelled"}
    assert bench.sweeps.cancel(DEFAULT_PROJECT_ID, sweep.id).status is SweepStatus.CANCELLED
    assert bench.look() == set()


def test_a_trial_that_its_user_has_paused_is_waited_for(bench: SweepBench) -> None:
    sweep = bench.create(trials=2, max_parallel=2)
    bench.look()
    job_id = bench.jobs_of(sweep.id)[0].id
    bench.jobs.pause(DEFAULT_PROJECT_ID, job_id)

    view = bench.run(sweep.id)
    assert view.status is SweepStatus.RUNNING
    assert f"paused until they are resumed: {job_id}." in view.reason
    bench.jobs.resume(DEFAULT_PROJECT_ID, job_id)
    assert bench.run(sweep.id).status is SweepStatus.SUCCEEDED


def test_a_full_queue_holds_a_sweep_back_until_there_is_room(bench: SweepBench) -> None:
    bench.controller = SweepController(
        bench.database, bench.store, bench.settings.model_copy(update={"max_queued_jobs": 1})
    )
    sweep = bench.create(trials=3, max_parallel=3)

    bench.look()
    held = bench.get(sweep.id)
    assert len(held.trials) == 1
    assert "may have 1" in held.reason
    view = bench.run(sweep.id)
    assert view.trials_by_state == {"complete": 3}
    assert view.error is None


@both_databases
def test_nothing_is_left_of_a_deleted_sweep_but_its_model(bench: SweepBench, database: Database) -> None:
    sweep = bench.run(bench.create(trials=2).id)

    bench.sweeps.delete(DEFAULT_PROJECT_ID, sweep.id)

    with database.reading() as session:
        assert session.scalars(select(TrialRow)).all() == []
        assert session.get_one(ModelRow, sweep.model_id).checkpoint_step == STEPS
    assert {row.deleted_at is not None for row in bench.jobs_of(sweep.id)} == {True}
    keys = [file.key for file in bench.store.list(f"{DEFAULT_PROJECT_ID}/jobs")]
    assert keys
    assert all("step-" in key and "/model/" in key for key in keys), "those of the model"


def test_a_spec_read_back_is_the_spec(bench: SweepBench) -> None:
    spec = SweepSpec.model_validate_json(json.dumps(bench.body(finalize=True, **HALVING)))
    assert SweepSpec.model_validate_json(json.dumps(spec.model_dump(mode="json"))).search == spec.search
