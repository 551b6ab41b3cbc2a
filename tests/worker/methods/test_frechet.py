"""The Frechet distance against cases with a closed form, and what its features see."""

import pytest
import torch

from worker.methods.frechet import Gaussian, RandomFeatures


def gaussian(mean: list[float], deviations: list[float]) -> Gaussian:
    return Gaussian(torch.tensor(mean).double(), torch.diag(torch.tensor(deviations).double().square()))


def test_of_independent_numbers_it_is_the_sum_of_squared_differences_of_means_and_deviations() -> None:
    first, second = gaussian([1.0, -2.0], [2.0, 0.5]), gaussian([4.0, -2.0], [1.0, 3.0])

    assert first.distance(second) == pytest.approx(3.0**2 + 1.0**2 + 2.5**2)
    assert second.distance(first) == pytest.approx(first.distance(second))


def test_it_is_zero_to_itself_and_the_same_in_any_orientation() -> None:
    turned = torch.linalg.qr(torch.randn(5, 5, dtype=torch.double)).Q
    first, second = gaussian([0.0] * 5, [1, 2, 3, 4, 5]), gaussian([1.0] * 5, [5, 1, 4, 2, 3])

    def turn(each: Gaussian) -> Gaussian:
        return Gaussian(turned @ each.mean, turned @ each.covariance @ turned.T)

    assert first.distance(first) == pytest.approx(0.0, abs=1e-9)
    assert turn(first).distance(turn(second)) == pytest.approx(first.distance(second))


def test_of_covariances_that_do_not_commute_it_takes_the_root_of_their_product() -> None:
    factors = torch.randn(2, 4, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    first, second = (Gaussian(torch.zeros(4).double(), factor @ factor.T) for factor in factors)

    roots = torch.linalg.eigvals(first.covariance @ second.covariance).sqrt().real.sum()

    assert first.distance(second) == pytest.approx(
        float(first.covariance.trace() + second.covariance.trace() - 2 * roots)
    )


def test_fewer_examples_than_features_are_enough() -> None:
    features = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))

    assert Gaussian.fitted(features).distance(Gaussian.fitted(features)) == pytest.approx(0.0, abs=1e-6)
    assert Gaussian.fitted(features[:1]).distance(Gaussian.fitted(features)) > 1


def test_random_features_tell_two_clusters_from_a_cloud_of_the_same_mean_and_covariance() -> None:
    random = torch.Generator().manual_seed(0)
    clusters = torch.randn(4_000, 2, generator=random) * 0.1
    clusters[:2_000, 0] += 1
    clusters[2_000:, 0] -= 1
    cloud = torch.randn(4_000, 2, generator=random) @ torch.linalg.cholesky(clusters.T.cov()).T
    features = RandomFeatures(2)
    half = features.gaussian([clusters[::2]])

    apart, alike = half.distance(features.gaussian([cloud])), half.distance(features.gaussian([clusters[1::2]]))

    assert Gaussian.fitted(clusters).distance(Gaussian.fitted(cloud)) < 0.01
    assert apart > 10 * alike


def test_features_do_not_depend_on_how_examples_are_cut_into_batches_nor_on_the_run() -> None:
    examples = torch.randn(20, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    whole = RandomFeatures(6).gaussian([examples])
    torch.manual_seed(2)
    parts = RandomFeatures(6).gaussian(torch.split(examples, 7))

    torch.testing.assert_close(whole.mean, parts.mean)
    torch.testing.assert_close(whole.covariance, parts.covariance)
