"""Estimators that are told redshift, velocity error and cleaning, and one that is not."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from sbi.inference import NPE

from clustermocks import MDPL2, CosmologyPrior, FlatMasses, HaloModel, Observation, SurveyPrior
from clustermocks.catalogue.ragged import with_column
from sbi_clustermass import (
    MassEstimator,
    StackedAffine,
    Tabulated,
    Training,
    TrialMasses,
    as_tensors,
    mass_prior,
    train,
)
from sbi_clustermass.diagnostics.comparison.score import log_prob_of_truth
from sbi_clustermass.estimator.misspecification.feature_distance import SPACES, features_of
from sbi_clustermass.flows.density_estimator import columns_of
from tests.estimator.test_warnings import observed, warnings_of

FLOWS = {
    "tabulated": Tabulated(embedding=TrialMasses(14.5, 2.0, trials=21)),
    "stacked_affine": StackedAffine(hidden=(16,)),
}


@pytest.fixture(scope="module")
def surveys():
    """Mocks of many redshifts and fields."""
    prior = SurveyPrior().narrowed(v_cut=(2000.0, 4000.0))
    return HaloModel().simulate(FlatMasses(13.5, 15.5).draw(1000, seed=1), seed=1, surveys=prior)


@pytest.fixture(scope="module", params=FLOWS)
def told(request, surveys):
    """An estimator trained for some updates."""
    return train(surveys, flow=FLOWS[request.param], training=Training(max_updates=100), device="cpu", seed=1)


def test_mocks_of_many_surveys_make_an_estimator_that_takes_conditions(told, surveys, tmp_path):
    assert told.takes_conditions
    told.save(tmp_path)
    again = MassEstimator.load(tmp_path, device="cpu")
    some = surveys.select(np.arange(40))
    np.testing.assert_array_equal(again.posterior(some).log_prob, told.posterior(some).log_prob)
    # the table is linear between knots and the grid fine; a Gaussian is exact at both
    found = told.posterior(some)
    truth = [np.interp(m, found.grid, q) for m, q in zip(some.log10_mass, found.log_prob, strict=True)]
    np.testing.assert_allclose(log_prob_of_truth(told, some), truth, atol=0.02)


@pytest.mark.parametrize("space", SPACES)
def test_features_for_the_alarm_are_found_and_the_image_is_that_of_the_galaxies_alone(told, surveys, space):
    some = surveys.select(np.arange(40))
    moved = replace(some, clusters=with_column(some.clusters, "redshift", pa.array(np.full(40, 0.7))))
    here, there = (features_of(told.network, each, space) for each in (some, moved))
    assert np.isfinite(here).all()
    assert np.array_equal(here, there) == (space == "image")


def test_by_choice_it_takes_none(surveys):
    plain = train(
        surveys, flow=FLOWS["tabulated"], training=Training(max_updates=100), conditions=False, device="cpu", seed=1
    )
    assert not plain.takes_conditions
    with pytest.raises(ValueError, match="observed with aperture"):
        plain.posterior(replace(surveys, observation=replace(surveys.observation, aperture=2.0)))


def test_parts_read_into_files_give_the_same_network(surveys, tmp_path):
    parts = [surveys.select(np.arange(start, len(surveys), 2)) for start in (0, 1)]
    whole = surveys.select(np.concatenate([np.arange(start, len(surveys), 2) for start in (0, 1)]))
    one, other = (
        train(mocks, flow=FLOWS["tabulated"], training=Training(max_updates=20), support=(13.5, 15.5), seed=1)
        for mocks in (whole, parts)
    )
    some = surveys.select(np.arange(10))
    np.testing.assert_array_equal(one.posterior(some).log_prob, other.posterior(some).log_prob)


def test_a_smaller_field_and_window_are_welcome_and_a_larger_one_is_not(told, surveys):
    inside = Observation(redshift=0.3, aperture=1.0, v_cut=3000.0, min_galaxies=surveys.observation.min_galaxies)
    told.posterior(replace(surveys, observation=inside))
    with pytest.raises(ValueError, match=r"observed with aperture 4"):
        told.posterior(replace(surveys, observation=replace(inside, aperture=4.0)))


def test_only_a_redshift_outside_the_prior_is_warned_of(told, surveys):
    for inside in (0.02, 0.5, 1.2):
        assert not any("redshift" in text for text in warnings_of(told, observed(surveys, redshift=inside)))
    (text,) = [text for text in warnings_of(told, observed(surveys, redshift=1.7)) if "redshift" in text]
    assert "0.010 to 1.300" in text
    (text,) = [text for text in warnings_of(told, observed(surveys, redshift=np.nan)) if "redshift" in text]
    assert "unknown" in text


def test_stock_npe_takes_conditions_as_further_columns(surveys):
    theta, x = as_tensors(surveys.select(np.arange(200)), conditions=True)
    inference = NPE(mass_prior(13.5, 15.5), density_estimator=FLOWS["stacked_affine"], show_progress_bars=False)
    network = inference.append_simulations(theta, x).train(max_num_epochs=1, training_batch_size=50)
    assert columns_of(network).conditions
    samples = inference.build_posterior(network).sample((10,), x=x[:1], show_progress_bars=False)
    assert samples.shape == (10, 1)
    assert torch.isfinite(samples).all()


@pytest.fixture(scope="module")
def universes():
    """Mocks of many cosmologies."""
    masses = FlatMasses(13.5, 15.5).draw(1000, seed=1)
    return HaloModel.ho2019().simulate(masses, seed=1, cosmologies=CosmologyPrior(number=8))


@pytest.fixture(scope="module", params=FLOWS)
def in_any(request, universes):
    """An estimator trained on them for some updates."""
    return train(universes, flow=FLOWS[request.param], training=Training(max_updates=100), device="cpu", seed=1)


def test_mocks_of_many_cosmologies_make_an_estimator_that_is_told_the_cosmology(in_any, universes, tmp_path):
    assert in_any.takes_cosmology
    in_any.save(tmp_path)
    again, some = MassEstimator.load(tmp_path, device="cpu"), universes.select(np.arange(40))
    found = in_any.posterior(some).log_prob
    np.testing.assert_array_equal(again.posterior(some).log_prob, found)
    assert not np.allclose(in_any.posterior(some.in_cosmology(replace(MDPL2, Om0=0.4))).log_prob, found, atol=1e-4)
    observed_ones = replace(some, clusters=some.clusters.drop_columns(["Om0", "sigma8"]))
    np.testing.assert_array_equal(
        in_any.posterior(observed_ones).log_prob, in_any.posterior(some.in_cosmology(MDPL2)).log_prob
    )  # without a statement it is the one by which lengths were measured
    with pytest.raises(ValueError, match="observed with aperture"):  # one field was simulated
        in_any.posterior(replace(some, observation=replace(some.observation, aperture=1.0)))


def test_other_parameters_and_members_do_without_the_cosmology(universes):
    estimator = train(
        universes,
        flow=FLOWS["tabulated"],
        parameters=("log10_mass", "log10_c200c"),
        training=Training(max_updates=20),
        training_given_mass=Training(max_updates=20),
        device="cpu",
        seed=1,
    )
    assert estimator.takes_cosmology
    assert np.isfinite(estimator.joint(universes.select(np.arange(5)), n=3, seed=1).samples).all()


def test_a_network_of_mocks_of_many_cosmologies_need_not_be_told_theirs(universes):
    plain = train(
        universes, flow=FLOWS["tabulated"], training=Training(max_updates=20), conditions=False, device="cpu", seed=1
    )
    assert not plain.takes_cosmology
    assert not plain.takes_conditions
