"""Distances between samples are those of closed forms, and support distribution machines learn from them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree
from sklearn.metrics.pairwise import rbf_kernel

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.observation import Observation
from sbi_clustermass.baselines.distances import CLOSEST, KINDS, SMOOTHING, SampleDistances, divergences
from sbi_clustermass.baselines.distributions import SupportDistribution, _clipped, _flat_subset

CHOICES = [(1, "knn"), (2, "knn"), (1, "kde"), (2, "kde"), (2, "mmd")]


def error_of(prediction):
    """The errors, which these methods all have."""
    assert prediction.std is not None
    return prediction.std


def gaussian_kl(mean_p, std_p, mean_q, std_q):
    """Kullback-Leibler divergence of two Gaussians with independent components."""
    mean_p, std_p, mean_q, std_q = map(np.atleast_1d, (mean_p, std_p, mean_q, std_q))
    return float(np.sum(np.log(std_q / std_p) + (std_p**2 + (mean_p - mean_q) ** 2) / (2 * std_q**2) - 0.5))


def knn_divergence(p, q, neighbours=4):
    r"""Kullback-Leibler divergence of two samples [nats] (Wang, Kulkarni & Verdu 2009, eq. 5), pair by pair.

    $\frac{d}{n} \sum_i \log \frac{\nu_k(i)}{\rho_k(i)} + \log \frac{m}{n - 1}$, where $\rho_k$ is the distance from
    point i of p to its k-th neighbour in p, and $\nu_k$ that in q.
    """
    nu, rho = (
        KDTree(sample).query(p, k=k)[0].reshape(len(p), k)[:, -1]
        for sample, k in ((q, neighbours), (p, neighbours + 1))  # the first neighbour in p is the point itself
    )
    ratio = np.log(np.maximum(nu, CLOSEST) / np.maximum(rho, CLOSEST))
    return float(p.shape[1] * ratio.mean() + np.log(len(q) / (len(p) - 1)))


def samples(clusters, distances):
    """Every cluster's galaxies in the unit of the distances."""
    for i in range(len(clusters)):
        R, v = clusters.galaxies(i)
        yield np.column_stack([np.abs(v), R])[:, : len(distances.unit)].astype(float) / distances.unit


@pytest.fixture(scope="module")
def some(mocks):
    return mocks.select(np.arange(25))


@pytest.fixture(scope="module")
def halves(mocks):
    return mocks.select(np.arange(700)).split(0.7, seed=1)


@pytest.fixture(scope="module")
def small(halves):
    """A machine trained on few clusters, and the few that it is asked about."""
    train, test = halves
    return SupportDistribution(clusters=60).fit(train), test.select(np.arange(60))


@pytest.mark.parametrize(
    ("p", "q"),
    [(([0.0], [1.0]), ([0.0], [2.0])), (([0.0], [2.0]), ([1.0], [1.5])), (([0, 1], [1, 1]), ([0, 0], [2, 1]))],
)
def test_the_divergence_of_two_gaussian_samples_is_its_closed_form(p, q):
    rng, n, k = np.random.default_rng(2), 4000, 4
    drawn = [rng.normal(mean, std, (n, len(mean))) for mean, std in (p, q)]
    # each log distance has variance psi'(4) = 0.28: d sqrt(2 * 0.28 / n) is 0.012 d; five of these, and 0.02 for the
    # bias where q is sparse
    assert knn_divergence(*drawn, neighbours=k) == pytest.approx(gaussian_kl(*p, *q), abs=0.06 * len(p[0]) + 0.02)


def test_the_divergence_does_not_depend_on_the_unit():
    rng = np.random.default_rng(3)
    p, q = rng.normal(0, 1, (200, 2)), rng.normal(0.3, 1.3, (150, 2))
    assert knn_divergence(7 * p, 7 * q) == pytest.approx(knn_divergence(p, q), rel=1e-9)  # rounding


@pytest.mark.parametrize(("dimensions", "rms"), [(1, 0.01), (2, 0.03)])
def test_divergences_on_the_grid_are_those_of_pairs(dimensions, rms, some):
    distances = SampleDistances.from_training_set(some, "knn", dimensions=dimensions, neighbours=4)
    bags = distances.bags(some)
    points = list(samples(some, distances))
    exact = np.array([[knn_divergence(p, q) for q in points] for p in points])
    apart = ~np.eye(len(some), dtype=bool)
    difference = (divergences(bags, bags) - exact)[apart]
    # linear interpolation between nodes, tens of which lie between two galaxies in 1-D and a few in 2-D; the estimate
    # itself is uncertain by sqrt(2 * 0.28 / 50) = 0.1
    assert np.sqrt(np.mean(difference**2)) < rms
    assert np.std(exact[apart]) > 5 * rms


def test_the_mean_discrepancy_is_the_double_sum_over_galaxies(some):
    distances = SampleDistances.from_training_set(some, "mmd", dimensions=2, neighbours=4)
    bags, points = distances.bags(some), list(samples(some, distances))
    mean = [[rbf_kernel(p, q, gamma=0.5 / SMOOTHING**2).mean() for q in points] for p in points]
    own = np.diag(mean)
    exact = own[:, None] + own - 2 * np.array(mean)
    # interpolation of a Gaussian 0.3 wide between nodes less than 0.1 apart: (0.1 / 0.3)^2 / 8 of its peak, 0.014
    np.testing.assert_allclose(distances.between(bags, bags) ** 2, exact, atol=0.014)


def test_smoothed_divergences_are_never_negative_and_zero_of_oneself(some):
    distances = SampleDistances.from_training_set(some, "kde", dimensions=2, neighbours=4)
    bags = distances.bags(some)
    found = divergences(bags, bags)
    assert found.min() > -1e-12  # Gibbs' inequality, to rounding
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_symmetric_and_see_no_sign_of_velocity(kind, some):
    flipped = Catalogue.from_arrays(
        some.observation,
        some.cosmology,
        clusters={"log10_mass": some.log10_mass, "host_id": some.host_id},
        galaxies={"R_proj": some.galaxy_column("R_proj"), "v_los": -some.galaxy_column("v_los")},
        offsets=np.concatenate([[0], np.cumsum(some.n_galaxies)]),
    )
    distances = SampleDistances.from_training_set(some, kind, dimensions=2, neighbours=4)
    bags = distances.bags(some)
    found = distances.between(bags, bags)
    np.testing.assert_allclose(found, found.T, atol=1e-6)  # a root of rounding
    np.testing.assert_array_equal(distances.between(distances.bags(flipped), bags), found)


def test_a_clipped_kernel_has_no_negative_eigenvalue_and_is_its_own_projection():
    rng = np.random.default_rng(4)
    half = rng.normal(size=(40, 40))
    kernel = half + half.T
    clipped, projection = _clipped(kernel)
    assert np.linalg.eigvalsh(clipped).min() > -1e-10  # rounding of eigenvalues up to 20
    np.testing.assert_allclose(kernel @ projection, clipped, atol=1e-10)
    # the nearest such matrix: what was taken away is the negative part alone
    assert np.linalg.norm(kernel - clipped) == pytest.approx(np.linalg.norm(np.minimum(np.linalg.eigvalsh(kernel), 0)))


def test_the_training_subset_is_flatter_in_mass_than_its_source():
    log10_mass = 13 + np.random.default_rng(5).exponential(0.5, 20_000)
    drawn = log10_mass[_flat_subset(log10_mass, 1000, seed=1)]
    shares = np.histogram(drawn, np.arange(13, 14.51, 0.25))[0] / len(drawn)
    assert shares.max() < 2 * shares.min()  # of the source, a factor of 12
    np.testing.assert_array_equal(_flat_subset(log10_mass[:50], 1000, seed=1), np.arange(50))


@pytest.mark.parametrize(("dimensions", "distance"), CHOICES)
def test_every_machine_beats_a_constant_and_knows_its_error(dimensions, distance, halves):
    train, test = halves
    prediction = SupportDistribution(dimensions, distance, clusters=200).fit(train).predict(test)
    rms = np.sqrt(np.mean((prediction.log10_mass - test.log10_mass) ** 2))
    assert rms < 0.8 * np.std(test.log10_mass)
    assert np.corrcoef(prediction.log10_mass, test.log10_mass)[0, 1] > 0.6
    # an rms of 200 clusters is good to 5 % for Gaussian residuals; three folds are a third smaller; 3 sigma
    assert error_of(prediction) == pytest.approx(rms, rel=0.3)


def test_masses_follow_velocities_where_these_are_all_there_is():
    rng = np.random.default_rng(6)
    log10_mass = rng.uniform(14, 15, 300)
    v_los = 10 ** (2.9 + (log10_mass[:, None] - 15) / 3) * rng.normal(size=(300, 60))
    clusters = Catalogue.from_arrays(
        Observation(v_cut=5000.0),
        MDPL2,
        clusters={"log10_mass": log10_mass, "host_id": np.arange(300)},
        galaxies={"R_proj": np.full(v_los.size, 0.5), "v_los": v_los.ravel()},
        offsets=60 * np.arange(301),
    )
    fitted = SupportDistribution(distance="kde").fit(clusters.select(np.arange(200)))
    test = clusters.select(np.arange(200, 300))
    error = np.std(fitted.predict(test).log10_mass - test.log10_mass)
    # Cramer-Rao: 3 / (sqrt(2 * 60) ln 10) = 0.119 dex; a machine on 200 clusters may lose half, a constant has 0.29
    assert error < 1.5 * 0.119


def test_blocks_change_nothing(small, monkeypatch):
    fitted, test = small
    whole = fitted.predict(test).log10_mass
    monkeypatch.setattr("sbi_clustermass.baselines.distributions.BLOCK", 37)
    np.testing.assert_allclose(fitted.predict(test).log10_mass, whole, atol=1e-9)  # rounding of matrix products


def test_clusters_of_too_few_galaxies_have_no_mass(halves):
    train, test = halves[0], halves[1].select(np.arange(40))
    neighbours = int(np.median(test.n_galaxies))
    fitted = SupportDistribution(neighbours=neighbours, clusters=30).fit(train)
    prediction = fitted.predict(test)
    np.testing.assert_array_equal(np.isnan(prediction.log10_mass), test.n_galaxies <= neighbours)
    np.testing.assert_array_equal(np.isnan(error_of(prediction)), test.n_galaxies <= neighbours)


def test_a_larger_cylinder_than_in_training_is_refused(small):
    fitted, test = small
    wide = replace(test, observation=replace(test.observation, v_cut=4000.0))
    with pytest.raises(ValueError, match=r"4000.0 km/s, trained on 1.6 h\^-1 Mpc and 2500.0 km/s"):
        fitted.predict(wide)


@pytest.mark.parametrize(
    ("fields", "found"), [({"dimensions": 3}, "dimensions=3"), ({"distance": "l2"}, "'l2'"), ({"nu": 0.0}, "nu=0.0")]
)
def test_impossible_choices_are_refused(fields, found):
    with pytest.raises(ValueError, match=found):
        SupportDistribution(**fields)


def test_too_few_clusters_are_refused(mocks):
    with pytest.raises(ValueError, match="found 5 clusters of known mass"):
        SupportDistribution().fit(mocks.select(np.arange(5)))
