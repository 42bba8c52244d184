"""Conditions behind the galaxies: the units of each redshift, and every embedding and flow that takes them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from clustermocks import MDPL2, Observation
from clustermocks.haloes.cosmology import radius_200c, virial_velocity
from sbi_clustermass.embeddings import EMBEDDINGS, TrialMasses
from sbi_clustermass.embeddings.conditions import CONDITIONED, COSMOLOGICAL, Conditions, reading
from sbi_clustermass.embeddings.sky import SKY, takes_sky
from tests.sky import as_taken

NAMES = pytest.mark.parametrize("name", EMBEDDINGS)


def observed(redshift, *, n=30, error=0.0, cleaned=0.0, scales=(1.0, 1.0), seed=1):
    rng = np.random.default_rng(seed)
    x = np.zeros((1, n + 5, CONDITIONED), np.float32)
    x[0, :n, 0], x[0, :n, 1] = scales[0] * rng.uniform(0, 0.9, n), scales[1] * 600 * rng.standard_normal(n)
    x[0, :n, 2:] = 1, redshift, error, cleaned
    return torch.from_numpy(x)


def read_by(name, columns):
    """The embedding for so many columns, and what it is shown: with positions on the sky if it takes them."""
    own = EMBEDDINGS[name]()
    return reading(own, columns + SKY * takes_sky(own)), partial(as_taken, own)


def scales(redshift, reference=Observation.redshift):
    """r200c and V200 of a mass over those at the reference, by the simulator's own code."""
    return [float(f(1e14, redshift, MDPL2) / f(1e14, reference, MDPL2)) for f in (radius_200c, virial_velocity)]


@pytest.mark.parametrize("redshift", [0.01, 0.117, 0.5, 1.3])
def test_units_are_radius_and_velocity_of_a_mass_at_that_redshift(redshift):
    r, v = Conditions.of(observed(redshift)).units()
    np.testing.assert_allclose([r.item(), v.item()], scales(redshift), rtol=1e-5)  # float32


@NAMES
def test_a_cluster_in_the_units_of_its_redshift_looks_the_same_at_every_redshift(name):
    """Self-similarity: only the condition itself tells the two apart."""
    embedding, shown = read_by(name, CONDITIONED)
    fixed = embedding.counts if isinstance(embedding, TrialMasses) else embedding
    near, far = (fixed(shown(observed(z, scales=scales(z)))).detach().flatten(1) for z in (0.05, 0.9))
    behind = 2 * embedding.trials if isinstance(embedding, TrialMasses) else 3
    # of the conditions the redshift differs, in each trial's units or once
    differ = (near - far).abs() > 1e-3 * (1 + near.abs())
    assert 0 < int(differ.sum()) <= behind


@NAMES
def test_each_condition_reaches_the_features(name):
    torch.manual_seed(0)
    embedding, shown = read_by(name, CONDITIONED)
    plain = shown(observed(0.2))
    for changed in (observed(0.4), observed(0.2, error=200.0), observed(0.2, cleaned=1.0)):
        assert not torch.allclose(embedding(plain), embedding(shown(changed)), rtol=1e-6, atol=1e-6)


@NAMES
def test_padding_carries_no_condition(name):
    torch.manual_seed(0)
    embedding, shown = read_by(name, CONDITIONED)
    x = shown(observed(0.3, error=100.0))
    torch.testing.assert_close(embedding(x), embedding(x[:, :30]), rtol=1e-4, atol=1e-3)  # sums in another order


@NAMES
def test_the_plain_columns_stay_valid(name):
    embedding = EMBEDDINGS[name]()
    assert reading(embedding, 3) is embedding


def test_where_galaxies_end_is_seen_in_units_of_each_trial():
    """A field twice as large in radius is that of a cluster of eight times the mass."""
    counts = TrialMasses(14.5, np.log10(64.0), trials=3).with_conditions().counts
    small, large = (counts(observed(0.117, scales=(s, s)))[0, :, -5:] for s in (1.0, 2.0))
    torch.testing.assert_close(small[0, :2], large[1, :2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(small[1, :2], large[2, :2], rtol=1e-4, atol=1e-4)


def test_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match=r"It needs \(batch, galaxy, 6\)"):
        TrialMasses().with_conditions()(observed(0.1)[..., :3])


def test_a_catalogue_gives_its_conditions(cleaned_survey):
    mocks = cleaned_survey
    x = mocks.padded(conditions=True)
    np.testing.assert_array_equal(x[..., :3], mocks.padded())
    first = x[:, 0, 3:]
    np.testing.assert_allclose(first[:, 0], mocks.column("redshift"), rtol=1e-6)
    stated = mocks.column("stated")
    np.testing.assert_allclose(first[:, 1], np.where(stated, mocks.column("velocity_error"), 0), rtol=1e-6)
    np.testing.assert_array_equal(first[:, 2], stated & (mocks.column("cleaning") != "none"))
    assert (x[x[..., 2] == 0] == 0).all()
    assert 0 < stated.mean() < 1


def test_a_catalogue_of_one_redshift_has_it_for_a_condition(cleaned_survey):
    plain = replace(cleaned_survey, clusters=cleaned_survey.clusters.drop_columns(["redshift", "stated", "cleaning"]))
    first = plain.padded(conditions=True)[:, 0, 3:]
    np.testing.assert_allclose(first[:, 0], plain.observation.redshift, rtol=1e-6)
    np.testing.assert_allclose(first[:, 1], plain.column("velocity_error"), rtol=1e-6)
    assert (first[:, 2] == 0).all()


def in_cosmology(Om0, sigma8):
    x = observed(0.2)
    known = torch.tensor([Om0, sigma8]).expand(*x.shape[:2], 2) * x[..., 2:3]
    return torch.cat([x, known], -1)


@NAMES
def test_the_cosmology_reaches_the_features_and_padding_carries_none(name):
    torch.manual_seed(0)
    embedding, shown = read_by(name, COSMOLOGICAL)
    here = shown(in_cosmology(0.3, 0.8))
    for changed in (in_cosmology(0.25, 0.8), in_cosmology(0.3, 0.9)):
        assert not torch.allclose(embedding(here), embedding(shown(changed)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(embedding(here), embedding(here[:, :30]), rtol=1e-4, atol=1e-3)  # sums in another order


def told(mass, *, conditions, redshift=0.3, error=60.0):
    """A cluster of this mass and its mass: its galaxies, and errors, in the units of its radius and velocity."""
    r, v = (float(f(10**mass, redshift, MDPL2) / f(10**14, redshift, MDPL2)) for f in (radius_200c, virial_velocity))
    x = observed(redshift, error=error * v, scales=(r, v))
    x = x if conditions else x[..., :3]
    return torch.cat([x, mass * (x[..., 2:3] > 0)], -1)


@NAMES
@pytest.mark.parametrize("conditions", [True, False])
def test_a_cluster_in_the_units_of_a_mass_that_is_told_looks_the_same_at_every_mass(name, conditions):
    """Self-similarity: only the mass itself tells the two apart, and padding does not matter."""
    torch.manual_seed(0)
    light, heavy = (told(mass, conditions=conditions) for mass in (13.6, 15.1))
    embedding, shown = read_by(name, light.shape[-1])
    light, heavy = shown(light), shown(heavy)
    with torch.no_grad():
        features = [embedding(x).flatten(1) for x in (light, heavy)]
        shorter = embedding(light[:, :30]).flatten(1)
    torch.testing.assert_close(features[0], shorter, rtol=1e-4, atol=1e-5)  # sums in float32
    torch.testing.assert_close(features[0][:, :-1], features[1][:, :-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features[1][0, -1] - features[0][0, -1], torch.tensor(1.5), rtol=0, atol=1e-5)


def test_shares_of_counts_are_those_of_a_trial_at_the_mass():
    """The counts that the likelihood of a trial mass sees, over the number of galaxies."""
    x, trials = told(14.9, conditions=True), TrialMasses(middle=14.9, span=0.2, trials=3, conditions=True)
    shares = reading(TrialMasses(richness=False), x.shape[-1])(x)
    counts = trials.counts(x[..., :-1])[:, 1]
    torch.testing.assert_close(
        shares[:, :-1], torch.cat([counts[:, :-5] / 30, counts[:, -5:]], 1), rtol=1e-4, atol=1e-5
    )
