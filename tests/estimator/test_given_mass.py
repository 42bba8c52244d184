"""Parameters besides the mass: drawn given the mass, from a density that is normalised in its box."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from clustermocks import FlatMasses, HaloModel, Observation, PhysicsPrior, SphericalJeans
from sbi_clustermass import MDN, MassEstimator, SummaryStatistics, Training, TrialMasses, train
from sbi_clustermass.estimator.storage import GIVEN_MASS

BOX = {"log10_c200c": (0.3, 1.1), "beta": (-0.5, 0.5)}
NAMES = ("log10_mass", *BOX)
SHORT = Training(max_updates=60, validate_every=30, batch_size=100, learning_rate=3e-3)
FLOWS = {
    "mdn": MDN(embedding=SummaryStatistics(), trunk=(32, 16)),
    "mdn_trial_masses": MDN(embedding=TrialMasses(14.5, 2.0, trials=21), trunk=(32, 16)),
}


def drawn(n, seed):
    """Clusters of the twin with concentration and anisotropy spread over the box."""
    rng = np.random.default_rng((seed, 1))  # other numbers than those of the masses
    others = [rng.uniform(low, high, n) for low, high in BOX.values()]
    theta = np.column_stack([FlatMasses(13.8, 15.2).draw(n, seed=seed), *others])
    return SphericalJeans(observation=Observation(min_galaxies=5), background=5.0, free=tuple(BOX)).simulate(
        theta, seed=seed
    )


@pytest.fixture(scope="module")
def clusters():
    return drawn(900, 1)


@pytest.fixture(scope="module", params=FLOWS)
def joint(request, clusters):
    return train(
        clusters, flow=FLOWS[request.param], parameters=NAMES, support=BOX, training=SHORT, training_given_mass=SHORT,
        device="cpu", seed=1,
    )  # fmt: skip


def test_the_mass_is_bit_for_bit_that_of_the_estimator_of_the_mass_alone(joint, clusters):
    alone = train(clusters, flow=joint.flow, training=SHORT, device="cpu", seed=1)
    some = clusters.select(np.arange(40))
    assert joint.parameters == NAMES
    np.testing.assert_array_equal(joint.posterior(some).log_prob, alone.posterior(some).log_prob)


def test_draws_of_the_mass_follow_its_posterior_and_densities_are_those_of_the_draws(joint, clusters):
    some = clusters.select(np.arange(5))
    draws, posterior = joint.joint(some, 2000, seed=1), joint.posterior(some)
    # stratified draws: each quantile is right to a share of 1/2000
    np.testing.assert_allclose(posterior.pit(draws.quantile(0.3)[:, 0]), 0.3, atol=2e-3)
    np.testing.assert_allclose(draws.log_prob[:, 7], joint.log_prob(some, draws.samples[:, 7]), atol=2e-4)  # float32


def test_the_density_given_a_mass_integrates_to_one_over_the_box_and_is_zero_outside(joint, clusters):
    one = clusters.select(np.array([3]))
    edges = stats.norm.cdf(np.linspace(-4.5, 4.5, 61))  # cells that shrink towards the ends, where densities are steep
    axes = [low + (high - low) * (edges[1:] + edges[:-1]) / 2 for low, high in BOX.values()]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 2)
    area = np.outer(np.diff(edges), np.diff(edges)).ravel() * np.prod([np.ptp(ends) for ends in BOX.values()])
    density = np.exp(joint.given_mass.log_prob(one, np.full((1, points.shape[1]), 14.4), points))
    assert (density[0] @ area) == pytest.approx(1, abs=0.01)  # mid-points of cells
    assert joint.log_prob(one, np.array([[14.5, 1.2, 0.0]]))[0] == -np.inf


def test_a_saved_estimator_draws_the_same(joint, clusters, tmp_path):
    joint.save(tmp_path)
    again, some = MassEstimator.load(tmp_path, device="cpu"), clusters.select(np.arange(4))
    np.testing.assert_array_equal(again.joint(some, 10, seed=2).samples, joint.joint(some, 10, seed=2).samples)
    assert again.parameters == NAMES
    assert again.given_mass.training == joint.given_mass.training
    replace(again, given_mass=None).save(tmp_path)
    assert not (tmp_path / GIVEN_MASS).exists()


def test_a_missing_or_foreign_network_given_the_mass_is_named(joint, tmp_path):
    joint.save(tmp_path)
    card = json.loads((tmp_path / "estimator.json").read_text())
    for changes, message in (({"low": [0.3]}, "given_mass cannot be read"), ({"sha256": "0" * 64}, "checksum")):
        damaged = {**card, "given_mass": {**card["given_mass"], **changes}}
        (tmp_path / "estimator.json").write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=message):
            MassEstimator.load(tmp_path)
    (tmp_path / "estimator.json").write_text(json.dumps(card))
    (tmp_path / GIVEN_MASS).unlink()
    with pytest.raises(FileNotFoundError, match=GIVEN_MASS):
        MassEstimator.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": ("log10_mass", "bета")}, "unknown parameter"),
        ({"parameters": ("beta", "log10_mass")}, "'log10_mass' and behind it others"),
        ({"parameters": ("log10_mass", "beta", "beta")}, "each once"),
        ({"parameters": NAMES, "support": {"beta": (0.5, -0.5)}}, "ends that rise"),
        ({"parameters": NAMES[:2], "support": {"beta": (-0.5, 0.5)}}, "unknown parameter with a support"),
        ({"parameters": NAMES, "support": {"beta": (-0.1, 0.5)}}, r"beta: -0.1 to 0.5 leaves out .* of 900"),
    ],
)
def test_parameters_that_cannot_be_inferred_give_one_message(clusters, options, message):
    with pytest.raises(ValueError, match=message):
        train(clusters, flow=FLOWS["mdn"], training=SHORT, training_given_mass=SHORT, device="cpu", **options)


def test_mocks_without_the_parameter_or_with_one_value_of_it_are_refused():
    fixed = SphericalJeans(background=5.0).simulate(FlatMasses(14, 15).draw(300, seed=1), seed=1)
    with pytest.raises(ValueError, match="beta is 0 in all training clusters"):
        train(
            fixed,
            flow=FLOWS["mdn"],
            parameters=("log10_mass", "beta"),
            training=SHORT,
            training_given_mass=SHORT,
            device="cpu",
        )


def test_a_parameter_of_few_values_that_mocks_share_is_warned_of():
    mocks = HaloModel().simulate(FlatMasses(14, 15).draw(500, seed=1), seed=1, physics=PhysicsPrior())
    with pytest.warns(UserWarning, match=r"beta has 20 values in \d+ training clusters"):
        train(
            mocks, flow=FLOWS["mdn"], parameters=("log10_mass", "beta"), training=SHORT, training_given_mass=SHORT,
            device="cpu",
        )  # fmt: skip


def test_an_estimator_of_the_mass_alone_says_how_to_get_more(clusters):
    alone = train(clusters, flow=FLOWS["mdn"], training=SHORT, device="cpu")
    with pytest.raises(ValueError, match="infers the mass alone"):
        alone.joint(clusters, 10, seed=1)


def test_parameters_that_are_added_later_are_those_of_one_training(joint, clusters):
    alone = replace(joint, given_mass=None)
    later = alone.with_parameters(clusters, tuple(BOX), training=joint.given_mass.training)
    with pytest.raises(ValueError, match="unknown parameter"):
        alone.with_parameters(clusters, ("gamma",))
    assert (later.given_mass.low[1], later.given_mass.high[0]) == (-0.5, 1.1)  # the range in the clusters, rounded
    some = clusters.select(np.arange(5))
    again, once = (each.joint(some, 10, seed=1).samples for each in (later, joint))
    np.testing.assert_array_equal(again, once)


def test_wrong_numbers_of_draws_names_and_thetas_are_refused_in_one_message(joint, clusters):
    some = clusters.select(np.arange(3))
    for n in (0, 1, 2.5):
        with pytest.raises(ValueError, match="two draws of each cluster or more"):
            joint.joint(some, n, seed=1)
    with pytest.raises(ValueError, match="sequence of names; found 'beta'"):
        joint.with_parameters(clusters, "beta")
    with pytest.raises(ValueError, match="at least one parameter"):
        joint.with_parameters(clusters, ())
    for ends in ((-np.inf, 1), (-200.0, 1), (0, 1, 2), "ab", (np.nan, 1), 3):
        with pytest.raises(ValueError, match="support of beta: two ends that rise"):
            train(clusters, parameters=NAMES, support={"beta": ends})


def test_thetas_may_be_lists_and_one_that_is_not_a_number_has_no_density(joint, clusters):
    some = clusters.select(np.arange(3))
    theta = some.parameters(NAMES)
    np.testing.assert_array_equal(joint.log_prob(some, theta.tolist()), joint.log_prob(some, theta))
    theta[0, 0] = theta[1, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(joint.log_prob(some, theta)), [True, True, False])


def test_mocks_that_were_observed_in_another_way_do_not_train_further_networks(joint, clusters):
    other = replace(clusters, observation=replace(clusters.observation, aperture=1.0))
    with pytest.raises(ValueError, match="aperture"):
        joint.with_parameters(other, ("beta",), training=SHORT)
    with pytest.raises(ValueError, match="aperture"):
        joint.with_membership(other)
