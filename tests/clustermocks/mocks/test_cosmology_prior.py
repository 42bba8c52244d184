"""Mocks of a cosmology that their observer does not know."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.stats import kstest

from clustermocks import MDPL2, Catalogue, CosmologyPrior, FlatMasses, HaloModel, PhysicsPrior, SurveyPrior
from clustermocks.mocks.run import MockRun
from tests.tables import same_rows

MODEL = replace(HaloModel.ho2019(), dominant=True)
HERE = CosmologyPrior(Om0=(MDPL2.Om0, MDPL2.Om0), sigma8=(MDPL2.sigma8, MDPL2.sigma8))
DENSE = CosmologyPrior(Om0=(0.4, 0.4), sigma8=(0.7, 0.7))
MASSES = FlatMasses(13.0, 15.0).draw(600, seed=1)


def test_the_models_own_cosmology_gives_the_models_own_mocks():
    fixed, drawn = MODEL.simulate(MASSES, seed=2), MODEL.simulate(MASSES, seed=2, cosmologies=HERE)
    assert same_rows(drawn.clusters.drop(["Om0", "sigma8"]), fixed.clusters)
    assert same_rows(drawn.attempts.drop(["Om0", "sigma8"]), fixed.attempts)
    assert drawn.cosmology == fixed.cosmology == MDPL2


def test_an_observer_takes_the_angles_of_another_cosmology_for_other_lengths():
    z, aperture = MODEL.observation.redshift, MODEL.observation.aperture
    true, assumed = (FlatLambdaCDM(H0=100, Om0=Om0).comoving_distance(z).value for Om0 in (0.4, MDPL2.Om0))
    seen = MODEL.simulate(MASSES, seed=2, cosmologies=DENSE)
    field = replace(MODEL.observation, aperture=aperture * true / assumed)
    inside = replace(MODEL, cosmology=replace(MDPL2, Om0=0.4, sigma8=0.7), observation=field).simulate(MASSES, seed=2)
    assert seen.observation == MODEL.observation
    np.testing.assert_array_equal(seen.galaxy_column("v_los"), inside.galaxy_column("v_los"))
    np.testing.assert_allclose(
        seen.galaxy_column("R_proj"), inside.galaxy_column("R_proj") * assumed / true, rtol=1e-5
    )  # astropy counts photons: their share of the density, 9e-5 at most, moves a ratio of distances by 1e-6
    assert aperture * 0.999 < seen.galaxy_column("R_proj").max() < aperture


def test_haloes_are_those_of_the_true_cosmology():
    masses = np.full(1500, 13.3)
    few, many = (
        MODEL.simulate(masses, seed=3, cosmologies=CosmologyPrior(Om0=(Om0, Om0), sigma8=(0.8, 0.8)))
        for Om0 in (0.22, 0.4)
    )
    ratio = [mocks.attempts["n_galaxies"].to_numpy() - mocks.attempts["n_members"].to_numpy() for mocks in (few, many)]
    assert ratio[1].mean() > 1.3 * ratio[0].mean()  # haloes of 10^13 are 1.7 times as many by the mass function
    lengths = [np.median(mocks.column("concentration")) for mocks in (few, many)]
    assert lengths[1] > lengths[0]  # haloes form earlier where there is more matter (Diemer & Joyce 2019)


def test_cosmologies_fill_the_ranges_and_attempts_know_theirs():
    prior = CosmologyPrior(number=200)
    rng = np.random.default_rng(1)
    drawn = {prior.draw(MDPL2, rng) for _ in range(3000)}
    assert len(drawn) == 200  # one is missed with a chance of 200 (1 - 1/200)^3000 = 6e-5
    for name, law in prior.laws.items():
        values = np.sort([getattr(one, name) for one in drawn])
        low, high = getattr(prior, name)
        assert law.lowest < low < values[0] < values[-1] < high
        # evenly: half as far from a uniform distribution as random numbers of a median deviation .83 / sqrt(200)
        assert kstest(values, "uniform", (low, high - low)).statistic < 0.03
    mocks = MODEL.simulate(np.full(1000, 13.5), seed=1, cosmologies=CosmologyPrior(number=3))
    for name in prior.laws:
        by_host = dict(zip(mocks.attempts["host_id"].to_numpy(), mocks.attempts[name].to_numpy(), strict=True))
        assert [by_host[host] for host in mocks.host_id] == list(mocks.column(name))
        assert len(by_host) == 1000
        assert 1 < len(set(by_host.values())) <= 3


def test_neither_workers_nor_a_folder_matter(tmp_path):
    prior = CosmologyPrior(number=2)
    one = MODEL.simulate(MASSES, seed=5, cosmologies=prior)
    stored = MODEL.simulate_to(tmp_path, MASSES, seed=5, cosmologies=prior, n_jobs=2).load()
    assert same_rows(stored.clusters, one.clusters)
    assert same_rows(stored.attempts, one.attempts)


def test_every_survey_is_seen_from_its_assumed_cosmology():
    survey = SurveyPrior().narrowed(redshift=(0.1, 0.3), aperture=(0.5, 1.5), tracer_density=0.0245)
    mocks = HaloModel(dominant=True).simulate(
        FlatMasses(14.0, 15.0).draw(300, seed=1), seed=1, surveys=survey, physics=PhysicsPrior(), cosmologies=DENSE
    )
    farthest = np.array([mocks.galaxies(i)[0].max() for i in range(len(mocks))]) / mocks.column("aperture")
    assert farthest.max() < 1 + 1e-6  # float32
    assert np.median(farthest) > 0.9  # of tens of galaxies, spread to the edge
    assert set(mocks.column("Om0")) == {0.4}


def test_without_a_prior_of_cosmologies_nothing_is_written_about_them():
    for priors in ({}, {"physics": PhysicsPrior()}):
        mocks = MODEL.simulate(MASSES[:20], seed=1, **priors)
        assert isinstance(mocks, Catalogue)
        assert "cosmologies" not in mocks.provenance.priors
        assert "Om0" not in mocks.columns + tuple(mocks.attempts.column_names)
    fixed = MockRun(MODEL, MASSES, np.ones(len(MASSES), int), 1)
    assert not any("cosmologies" in name for name in fixed.settings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"Om0": (0.05, 0.3)}, "Om0 .* must lie within 0.1 to 0.7"), ({"number": 0}, "number must be 1 to 10000")],
)
def test_a_wrong_prior_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CosmologyPrior(**wrong)
