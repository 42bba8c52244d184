"""Membership of galaxies: the exact probability of a model with a known likelihood, calibration, files, refusals."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from clustermocks import FlatMasses, SphericalJeans
from clustermocks.spherical_jeans.galaxies import JeansGalaxies
from sbi_clustermass import MassEstimator
from sbi_clustermass.baselines.jeans_densities import log_uniform, trial_halos
from sbi_clustermass.estimator.membership.membership import Membership
from sbi_clustermass.estimator.membership.network import MembershipNetwork


def _spoil(layer):
    for weight in layer.parameters(recurse=False):
        weight.data.fill_(np.nan)


def exact(model, mocks):
    """Probability of membership where galaxies are independent given the mass: a ratio of expected densities."""
    found = []
    for i, mass in enumerate(mocks.log10_mass):
        R_proj, v_los = (each.astype(float) for each in mocks.galaxies(i))
        settings = {"observation": model.observation, "cosmology": model.cosmology}
        (halo,) = trial_halos(float(mass), model.galaxies, virial=True, **settings)
        with np.errstate(divide="ignore"):
            inside = float(model.mean_number(mass)) * halo.inside * np.exp(halo.log_members(R_proj, v_los))
        outside = model.background * np.exp(log_uniform(model.observation))
        found.append(inside / (inside + outside))
    return np.concatenate(found)


@pytest.mark.slow
def test_at_the_true_mass_it_is_the_exact_probability_of_a_model_with_a_known_one():
    model = SphericalJeans(background=25.0, galaxies=JeansGalaxies(number_scatter=0.0))
    mocks = model.simulate(FlatMasses(13.8, 15.0).draw(6000, seed=1), seed=1)
    test = model.simulate(FlatMasses(13.8, 15.0).draw(200, seed=2), seed=2)
    membership = Membership.fit(mocks, richness=False, conditions=False, seed=1)
    found = membership.probabilities(test, test.log10_mass[None])[:, 1]
    difference = found - exact(model, test)
    assert abs(difference.mean()) < 0.01  # a network of 6000 clusters, of some 300 000 galaxies
    assert np.sqrt((difference**2).mean()) < 0.05


def test_it_tells_members_and_is_calibrated_on_other_mocks(with_membership, others):
    """A network of 1500 mocks: rough, but right on average and better than the share of members."""
    some = others.select(np.arange(600))
    found = with_membership.memberships(some)
    for column, name in enumerate(("within_r200c", "is_member", "is_bound")):
        truth = some.galaxy_column(name)
        assert found[:, column].mean() == pytest.approx(truth.mean(), abs=0.03)  # .3 of a cluster over 600: .012
        assert np.mean((found[:, column] - truth) ** 2) < 0.8 * truth.var()


def test_inside_r200c_is_never_more_probable_than_inside_the_virial_radius(with_membership, mocks):
    found = with_membership.memberships(mocks.select(np.arange(50)))
    assert (found[:, 0] <= found[:, 1]).all()
    assert ((found > 0) & (found < 1)).all()


def test_the_mass_is_averaged_over_its_posterior_and_clusters_keep_their_order(with_membership, mocks):
    some = mocks.select(np.arange(30)[::-1])
    posteriors = with_membership.posterior(some)
    masses = posteriors.quantile((np.arange(16) + 0.5) / 16)
    singly = [
        np.mean(
            [with_membership.membership.probabilities(some.select([i]), m[None, i : i + 1]) for m in masses], axis=0
        )
        for i in range(len(some))
    ]
    np.testing.assert_allclose(with_membership.memberships(some, posteriors), np.concatenate(singly), atol=1e-5)


def test_a_saved_membership_gives_the_same_probabilities(with_membership, mocks, tmp_path):
    with_membership.save(tmp_path)
    again, some = MassEstimator.load(tmp_path, device="cpu"), mocks.select(np.arange(20))
    np.testing.assert_array_equal(again.memberships(some), with_membership.memberships(some))
    assert again.provenance.membership_clusters == len(mocks)
    replace(again, membership=None).save(tmp_path)
    assert MassEstimator.load(tmp_path).membership is None
    assert not (tmp_path / "membership.safetensors").exists()


@pytest.mark.parametrize("harm", ["missing", "cut short", "of another"])
def test_a_membership_that_is_not_the_saved_one_is_refused(with_membership, tmp_path, harm):
    with_membership.save(tmp_path)
    path = tmp_path / "membership.safetensors"
    if harm == "missing":
        path.unlink()
    elif harm == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        shutil.copy(tmp_path / "estimator.safetensors", path)
    with pytest.raises((ValueError, FileNotFoundError), match=r"membership\.safetensors"):
        MassEstimator.load(tmp_path)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (MembershipNetwork(richness=True, conditions=True), "do not fit"),
        (MembershipNetwork(richness=False, conditions=False).apply(_spoil), "not a finite number"),
    ],
    ids=["another shape", "no numbers"],
)
def test_weights_of_another_shape_or_that_are_no_numbers_are_refused(estimator, tmp_path, network, message):
    replace(estimator, membership=Membership(network)).save(tmp_path)
    with pytest.raises(ValueError, match=message):
        MassEstimator.load(tmp_path)


def test_without_a_membership_or_its_truths_one_message_says_so(estimator, mocks):
    with pytest.raises(ValueError, match="does not know members from interlopers"):
        estimator.memberships(mocks)
    columns = {name: mocks.galaxy_column(name) for name in ("R_proj", "v_los", "is_member")}
    with pytest.raises(ValueError, match="no within_r200c, is_bound"):
        estimator.with_membership(mocks.with_galaxies(columns, mocks.cluster_of_galaxy))
    with pytest.raises(ValueError, match="50 mocks are too few"):
        estimator.with_membership(mocks.select(np.arange(50)))
