"""The interval that effects are shown by, against SciPy's."""

import pytest

from tests.support.paired import paired_difference


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    """scipy.stats.ttest_rel(changed, plain).confidence_interval()"""
    changed, plain = [1.0, 2.0, 3.0, 4.0, 5.0], [0.5, 1.0, 2.5, 2.0, 3.5]

    found = paired_difference(changed.__getitem__, plain.__getitem__)

    assert (found.mean, found.low, found.high) == pytest.approx((1.1, 0.2905, 1.9095), abs=1e-3)
