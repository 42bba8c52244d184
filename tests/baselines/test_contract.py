"""Every rival keeps one contract; a new entry of RIVALS is tested by standing there."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import Catalogue, FlatMasses, Observation, SphericalJeans
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.baselines import (
    BASELINES,
    CNN,
    RIVALS,
    BoostedTrees,
    DropoutCNN,
    JeansLikelihood,
    KernelRidge,
    LearnedLikelihood,
    RandomForest,
    RidgeRegression,
    SupportDistribution,
)
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.training import Training

SAME = 1e-4  # dex: networks work in float32, and in other batches; others agree to rounding


def rebuilt(clusters, *, log10_mass=None, sign=1):
    """The same clusters with other masses, or mirrored velocities; nothing else is handed on."""
    offsets = np.concatenate([[0], np.cumsum(clusters.n_galaxies)])
    galaxies = {name: clusters.galaxy_column(name) for name in ("R_proj", "v_los")}
    mass = clusters.log10_mass if log10_mass is None else log10_mass
    return Catalogue.from_arrays(
        clusters.observation,
        clusters.cosmology,
        clusters={"log10_mass": np.broadcast_to(mass, (len(clusters),)), "host_id": clusters.host_id},
        galaxies={**galaxies, "v_los": sign * galaxies["v_los"]},
        offsets=offsets,
    )


def outcome(prediction: Prediction):
    """Point and error side by side, 0 for an error that is not there."""
    std = np.zeros_like(prediction.log10_mass) if prediction.std is None else prediction.std
    return np.column_stack([prediction.log10_mass, std])


# fields that cost time and change nothing of the contract; networks on the CPU, because a GPU adds up in another order
QUICK = {
    JeansLikelihood: {"step": 0.1},
    SupportDistribution: {"clusters": 80},
    RandomForest: {"trees": 20},
    BoostedTrees: {"most": 60},
    KernelRidge: {"gammas": (1e-2, 0.1)},
    RidgeRegression: {"penalties": (0.1, 1.0, 10.0)},
    CNN: {"device": "cpu"},
    DropoutCNN: {"device": "cpu", "passes": 5},
    LearnedLikelihood: {"training": Training(learning_rate=1e-3, max_updates=100), "epochs": 60},
}


@pytest.fixture(scope="module")
def halves(mocks):
    some = mocks.select(np.arange(140))
    return some.select(np.arange(100)), some.select(np.arange(100, 140))


@pytest.fixture(scope="module", params=RIVALS)
def baseline(request):
    one = RIVALS[request.param]
    return replace(one, **QUICK.get(type(one), {}))


@pytest.fixture(scope="module")
def fitted(baseline, halves):
    return baseline.fit(halves[0], seed=1)


@pytest.fixture(scope="module")
def predicted(fitted, halves):
    return fitted.predict(halves[1])


def test_every_cluster_gets_a_mass_of_a_cluster_and_the_errors_or_posteriors_that_belong_to_it(predicted, halves):
    assert predicted.log10_mass.shape == (len(halves[1]),)
    found = np.isfinite(predicted.log10_mass)
    assert found.mean() > 0.9  # clusters of ten galaxies or more: a method may give up on a few
    assert np.median(np.abs(predicted.log10_mass[found] - 14.3)) < 2  # from 10^13.0 to 10^15.6, or read off a flat line
    if predicted.std is not None:
        np.testing.assert_array_equal(np.isfinite(predicted.std), found)
        assert (predicted.std[found] > 0).all()
    if predicted.posteriors is not None:
        np.testing.assert_allclose(predicted.log10_mass[found], predicted.posteriors.mean[found], atol=1e-9)  # rounding
        np.testing.assert_allclose(predicted.std[found], predicted.posteriors.std[found], atol=1e-9)


def test_the_order_of_clusters_does_not_matter(fitted, predicted, halves):
    order = np.random.default_rng(1).permutation(len(halves[1]))
    shuffled = fitted.predict(halves[1].select(order))
    np.testing.assert_allclose(outcome(shuffled), outcome(predicted)[order], atol=SAME)


def test_masses_of_the_clusters_are_not_looked_at(fitted, predicted, halves):
    blind = fitted.predict(rebuilt(halves[1], log10_mass=np.nan))
    np.testing.assert_allclose(outcome(blind), outcome(predicted), atol=SAME)


def test_a_cluster_seen_from_behind_has_the_same_mass(fitted, predicted, halves):
    mirrored = fitted.predict(rebuilt(halves[1], sign=-1))
    np.testing.assert_allclose(outcome(mirrored), outcome(predicted), atol=SAME)


def test_two_fits_with_one_seed_agree(baseline, predicted, halves):
    again = baseline.fit(halves[0], seed=1).predict(halves[1])
    np.testing.assert_allclose(outcome(again), outcome(predicted), atol=SAME)


@pytest.mark.parametrize("spoilt", ["without masses", "two clusters"])
def test_what_learns_refuses_a_training_set_from_which_it_cannot(baseline, predicted, halves, spoilt):
    massless = spoilt == "without masses"
    some = rebuilt(halves[0].select(np.arange(60 if massless else 2)), log10_mass=np.nan if massless else None)
    try:
        untaught = baseline.fit(some, seed=1)
    except ValueError:
        return
    np.testing.assert_allclose(outcome(untaught.predict(halves[1])), outcome(predicted), atol=SAME)


def test_clusters_of_hardly_any_galaxies_get_no_mass_or_one_but_no_crash(fitted, halves):
    number = np.array([0, 1, 2, 3, 4, 60])
    rng, total = np.random.default_rng(2), int(number.sum())
    poor = Catalogue.from_arrays(
        Observation(min_galaxies=0),
        MDPL2,
        clusters={"log10_mass": np.full(6, np.nan), "host_id": np.arange(6)},
        galaxies={"R_proj": rng.uniform(0.05, 1.5, total), "v_los": rng.normal(0, 600, total)},
        offsets=np.concatenate([[0], np.cumsum(number)]),
    )
    prediction = fitted.predict(poor)
    assert prediction.log10_mass.shape == (6,)
    assert np.isfinite(prediction.log10_mass[5])
    assert not np.isinf(prediction.log10_mass).any()


@pytest.fixture(scope="module")
def clean():
    """Members only, in equilibrium: the number, the distances and the velocities all follow from the mass."""
    return SphericalJeans().simulate(FlatMasses(13.5, 15.3).draw(420, seed=4), seed=5).split(0.6, seed=6)


def test_on_clean_clusters_every_rival_that_looks_at_them_beats_a_constant(baseline, clean):
    train_set, test_set = clean
    if getattr(baseline, "resolved_background", None) == "fitted":  # clean clusters have no interlopers to count
        with pytest.raises(ValueError, match="choose interlopers='none'"):
            baseline.fit(train_set, seed=1)
        return
    predicted = baseline.fit(train_set, seed=1).predict(test_set).log10_mass
    found = np.isfinite(predicted)
    if np.ptp(predicted[found]) < SAME:
        return  # the constant itself
    scatter = np.std((predicted - test_set.log10_mass)[found])
    # .5 dex of flat masses: shot noise of 10 to 300 velocities leaves .29 to .05 dex, distances and numbers less
    assert scatter < 0.8 * np.std(test_set.log10_mass[found])
    assert found.mean() > 0.9


def test_rivals_are_settings_of_the_methods_and_every_method_has_a_rival():
    assert {type(each) for each in RIVALS.values()} == set(BASELINES.values())
