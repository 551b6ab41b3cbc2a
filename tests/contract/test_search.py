"""Which trials are made and who wins, by scores that are known."""

from collections.abc import Callable
from typing import Any

import pytest

from app.contract.auto import settled
from app.contract.search import BUDGET_SHARE, MIN_TRIAL_STEPS, Candidate, Search, Values, largest_batch
from app.contract.specs import FinetuneSpec, PretrainSpec, training_spec_adapter
from app.contract.trials import Trial

DATASET_ID = "ds_" + "0" * 32


def spec(method: str = "autoencoder", **training: Any) -> PretrainSpec | FinetuneSpec:
    given = {"kind": "pretrain", "dataset": DATASET_ID, "method": {"type": method}, "training": training}
    return training_spec_adapter.validate_python(given)


def open_rate(**training: Any) -> PretrainSpec | FinetuneSpec:
    return spec(optimizer={"learning_rate": "auto"}, **training)


def search(asked: PretrainSpec | FinetuneSpec, total_steps: int = 5_000, num_examples: int = 10_000) -> Search:
    return Search.of(asked, total_steps, num_examples)


class Made:
    """Makes trials by a score of their values, infinite where they diverge, and remembers them."""

    def __init__(self, score: Callable[[Values], float]) -> None:
        self._score = score
        self.candidates: list[Candidate] = []

    def __call__(self, candidate: Candidate) -> Trial:
        self.candidates.append(candidate)
        score = self._score(candidate.values)
        return Trial(
            field=candidate.field,
            learning_rate=candidate.values.learning_rate,
            batch_size=candidate.values.batch_size,
            steps=candidate.steps,
            score=score if score < float("inf") else None,
            stopped_at_step=candidate.steps,
            cut=None if score < float("inf") else "diverged",
        )

    @property
    def rates(self) -> list[float]:
        return [candidate.values.learning_rate for candidate in self.candidates]


def distance_from(rate: float) -> Callable[[Values], float]:
    return lambda values: abs(values.learning_rate - rate)


def test_half_decades_around_the_default_are_tried_and_a_third_goes_on() -> None:
    made = Made(distance_from(0.02))
    assert search(open_rate()).run(made) == Values(0.02, 64)
    assert made.rates[:7] == [6.32e-5, 0.0002, 6.32e-4, 0.002, 6.32e-3, 0.02, 6.32e-2]
    assert made.rates[7:] == [0.02, 6.32e-3, 0.002]
    assert [candidate.steps for candidate in made.candidates] == [62] * 7 + [3 * 62] * 3


@pytest.mark.parametrize("total_steps", [100, 149, 150, 549, 550, 799, 800, 5_000, 123_456])
@pytest.mark.parametrize("batch_size", [64, "auto"])
def test_trials_keep_to_their_share_of_the_jobs_examples(total_steps: int, batch_size: int | str) -> None:
    asked, made = open_rate(batch_size=batch_size), Made(distance_from(0.02))
    planned = search(asked, total_steps)
    planned.run(made)
    examples = sum(candidate.steps * candidate.values.batch_size for candidate in made.candidates)
    rounding = 64 * len(made.candidates)
    assert examples <= BUDGET_SHARE * total_steps * 64 + (rounding if batch_size == "auto" else 0)
    assert len(made.candidates) == planned.num_trials
    assert all(candidate.steps >= MIN_TRIAL_STEPS for candidate in made.candidates)


@pytest.mark.parametrize(("total_steps", "num_rates"), [(149, 0), (150, 3), (549, 3), (550, 5), (799, 5), (800, 7)])
def test_the_grid_is_as_wide_as_the_budget_allows(total_steps: int, num_rates: int) -> None:
    made = Made(distance_from(0.002))
    planned = search(open_rate(), total_steps)
    assert planned.run(made).learning_rate == 0.002
    assert len(set(made.rates)) == num_rates
    assert planned.skipped == (() if num_rates else ("learning_rate",))


def test_what_diverges_has_no_next_rung_and_the_smallest_is_left_where_all_do() -> None:
    made = Made(lambda values: values.learning_rate if values.learning_rate < 1e-3 else float("inf"))
    assert search(open_rate()).run(made).learning_rate == 6.32e-5
    assert sorted(made.rates[7:]) == [6.32e-5, 0.0002, 6.32e-4]
    made = Made(lambda _: float("inf"))
    assert search(open_rate()).run(made).learning_rate == 6.32e-5
    assert len(made.candidates) == 7


def test_the_largest_of_batches_that_are_as_good_wins() -> None:
    losses = {16: 1.0, 32: 1.001, 64: 1.009, 128: 1.02, 256: 1.1}
    made = Made(lambda values: losses[values.batch_size])
    assert search(spec(batch_size="auto")).run(made) == Values(0.002, 32), "64 has not reached the last rung"
    assert [candidate.steps for candidate in made.candidates[:5]] == [360, 180, 90, 45, 22]


def test_a_batch_is_in_as_many_parts_as_asked_for_and_no_larger_than_the_data() -> None:
    made = Made(lambda values: values.batch_size)
    search(spec(batch_size="auto", gradient_accumulation_steps=24), num_examples=150).run(made)
    assert {candidate.values.batch_size for candidate in made.candidates} == {24, 48, 96}


@pytest.mark.parametrize(("optimizer", "scaled"), [("adamw", 0.004), ("sgd", 0.04)])
def test_a_rate_that_was_searched_for_goes_with_the_batch(optimizer: str, scaled: float) -> None:
    """Four times the batch: twice the rate of Adam, four times that of SGD."""
    default = {"adamw": 0.002, "sgd": 0.01}[optimizer]
    asked = spec(optimizer={"type": optimizer, "learning_rate": "auto"}, batch_size="auto")
    made = Made(lambda values: abs(values.learning_rate - default) if values.batch_size == 64 else -values.batch_size)
    values = search(asked, 50_000).run(made)
    assert values.learning_rate == pytest.approx(scaled)
    assert values.batch_size == 256


def test_without_data_to_judge_by_nothing_is_tried() -> None:
    planned = Search.of(open_rate(), 5_000, 10_000, is_judged=False)
    assert planned.run(Made(distance_from(1.0))) == Values(0.002, 64)
    assert (planned.num_trials, planned.steps) == (0, 0)


def test_an_open_duration_is_four_default_ones_and_trials_count_by_one() -> None:
    options = settled(open_rate(duration="auto"))
    assert options.decided_duration.epochs == 200.0
    assert options.early_stopping is not None
    assert options.evaluate_every is not None
    assert options.evaluate_every.epochs == 5.0
    assert search(open_rate(duration="auto"), 4_000).steps <= 200 < search(open_rate(), 4_000).steps


def test_memory_is_counted_for_the_largest_batch() -> None:
    assert largest_batch(spec(batch_size="auto")).batch_size == 256
    assert largest_batch(spec(batch_size=7)).batch_size == 7
