"""Blinded fits: moved, shaped as before, brought back by the phrase alone, and without the truth anywhere in them."""

import json

import arviz
import getdist
import numpy as np
import pytest
import torch

from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MassFunction,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    blinded,
    fit,
    mass_function_band,
    predictive_check,
    shrink,
    unblinded,
)
from sbi_clustermass.population.chains import write_cobaya, write_getdist
from sbi_clustermass.population.components import scalar_chains
from sbi_clustermass.population.plots import corner
from sbi_clustermass.population.run_results import relation_picture
from sbi_clustermass.posterior import MassPosteriors
from tests.population.two_modes import TwoModes

RELATIONS = tuple(ScalingRelation(name, (1.5, 0.3), (0.8, 0.3), 0.2) for name in ("richness", "t"))
SURVEY = Survey.of_volume(1e7, sample_variance=False)
PHRASE = "a phrase that nobody else knows"


def sample(seed):
    rng = np.random.default_rng(seed)
    true = 14.2 + rng.exponential(0.25, 60)
    posteriors = MassPosteriors.from_normal(true + 0.12 * rng.standard_normal(60), 0.12, np.linspace(13.0, 15.8, 141))
    values = (1.5 + 0.8 * (true - 14.3) + 0.2 * rng.standard_normal(60) for _ in range(2))
    observables = {name: Observable(each, 0.05) for name, each in zip(("richness", "t"), values, strict=True)}
    return ObservedClusters(posteriors, observables=observables)


POPULATION = Population(CosmologyMassFunction(), RELATIONS, TwoModes(), correlated=True)


def fitted(seed):
    return fit(POPULATION, sample(seed), SURVEY, sampler=Laplace(num_samples=60, rounds=2, seed=1))


pytestmark = pytest.mark.filterwarnings("ignore:population")  # few draws on purpose


@pytest.fixture(scope="module")
def true():
    return fitted(1)


@pytest.fixture(scope="module")
def blind(true):
    return blinded(true, PHRASE)


def test_every_parameter_is_moved_and_keeps_its_shape(true, blind):
    before, after = scalar_chains(true), scalar_chains(blind)
    assert set(before) == set(after)
    for name in before.keys() - {"S8"}:
        shift = after[name] - before[name]
        np.testing.assert_allclose(shift, shift.mean(), atol=1e-12)  # round-off
        assert abs(shift.mean()) > 1e-4, name
    shifts = {name: (after[name] - before[name]).mean() for name in before}
    assert len({round(shift, 6) for shift in shifts.values()}) == len(shifts), "each has its own"
    assert {"correlation_richness_t", "selection_mode[1]"} <= set(shifts)
    for name in ("Om0", "sigma8", "scatter_richness", "scatter_t"):
        assert shifts[name] > 0, "positive parameters stay so"


def test_derived_quantities_are_those_of_the_moved_parameters(blind):
    found = scalar_chains(blind)
    np.testing.assert_allclose(found["S8"], found["sigma8"] * np.sqrt(found["Om0"] / 0.3), rtol=1e-12)


def test_the_phrase_brings_the_chains_back(true, blind, tmp_path):
    blind.to_netcdf(str(tmp_path / "fit.nc"), engine="h5netcdf")
    stored = arviz.from_netcdf(str(tmp_path / "fit.nc"), engine="h5netcdf")
    back = scalar_chains(unblinded(stored, PHRASE))
    for name, values in scalar_chains(true).items():
        np.testing.assert_allclose(back[name], values, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="not the phrase"):
        unblinded(stored, "another phrase")
    with pytest.raises(ValueError, match="not blinded"):
        unblinded(true, PHRASE)
    assert "phrase" not in str(stored.attrs)


def test_fits_with_one_phrase_are_moved_equally(true, blind):
    other = fitted(2)
    moved = scalar_chains(blinded(other, PHRASE))
    for name in ("Om0", "scatter_t", "selection_mode[0]"):
        one = scalar_chains(blind)[name] - scalar_chains(true)[name]
        two = moved[name] - scalar_chains(other)[name]
        assert one.mean() == pytest.approx(two.mean(), rel=1e-9)
    another = scalar_chains(blinded(true, "another phrase"))
    assert abs((another["Om0"] - scalar_chains(blind)["Om0"]).mean()) > 1e-4


def test_offsets_are_spread_over_the_width_of_the_prior(true):
    """Uniform: up to one standard deviation of a normal prior in both directions, of a flat one upwards."""
    before = scalar_chains(true)
    found = {"slope_t": [], "Om0": []}
    for number in range(30):
        after = scalar_chains(blinded(true, f"phrase {number}"))
        for name, shifts in found.items():
            shifts.append(float((after[name] - before[name]).mean()))
    widths = {"slope_t": (-0.3, 0.3), "Om0": (0.0, 0.5 / np.sqrt(12))}
    for name, (low, high) in widths.items():
        shares = (np.sort(found[name]) - low) / (high - low)
        # Kolmogorov's distance of 30 draws exceeds .36 once in 1000 times
        assert np.abs(shares - (np.arange(30) + 0.5) / 30).max() < 0.36


def test_nothing_that_is_kept_depends_on_the_true_parameters(true, blind):
    """Prior densities at the draws, likelihoods of draws, and the fitted selection would give them away."""
    assert "log_likelihood" not in blind.groups()
    assert "log_prior" not in blind["sample_stats"]
    assert "p_selected" not in blind["constant_data"]
    kept = {str(name) for group in blind.groups() for name in blind[group].data_vars}
    expected = {*scalar_chains(true), "lp", "volume", "n_selected", "log10_mass_mean", "log10_mass_std"}
    expected |= {"scatter_correlation", "selection_mode", *POPULATION.named_relations}
    assert kept <= expected, "look whether a new quantity shows the truth"
    assert "log_likelihood" in true.groups(), "the fit itself is left alone"


def test_what_needs_the_true_parameters_is_refused(blind, tmp_path):
    clusters = sample(1)
    for refused in (
        lambda: shrink(blind, POPULATION, clusters, SURVEY),
        lambda: mass_function_band(blind, np.array([14.0])),
        lambda: predictive_check(blind, POPULATION, clusters, SURVEY),
        lambda: relation_picture(blind, RELATIONS[0], clusters),
        lambda: write_cobaya(blind, tmp_path / "cobaya"),
        lambda: blinded(blind, PHRASE),
    ):
        with pytest.raises(ValueError, match="blinded"):
            refused()
    assert not list(tmp_path.iterdir())


def test_getdist_reads_blinded_chains_which_have_no_ranges(blind, tmp_path):
    write_getdist(blind, tmp_path / "chain")
    chain = getdist.loadMCSamples(str(tmp_path / "chain"), no_cache=True)
    assert chain.mean("Om0") == pytest.approx(scalar_chains(blind)["Om0"].mean(), abs=1e-8)
    assert chain.ranges.getUpper("Om0") is None


def test_a_corner_plot_is_marked(true, blind):
    assert corner(blind, ["Om0", "S8"]).get_suptitle() == "blinded"
    assert corner(true, ["Om0", "S8"]).get_suptitle() == ""


def test_an_empty_phrase_is_refused(true):
    with pytest.raises(ValueError, match="empty"):
        blinded(true, " ")


def test_slope_is_computed_from_the_moved_mass_function():
    posteriors = MassPosteriors.from_normal(np.linspace(14.0, 14.9, 40), 0.1, np.linspace(13.0, 15.8, 141))
    population = Population(MassFunction(), selection=TwoModes())
    found = blinded(fit(population, posteriors, SURVEY, sampler=Laplace(num_samples=60, seed=1)), PHRASE)
    parameters = {name: torch.as_tensor(values) for name, values in scalar_chains(found).items()}
    expected = MassFunction().derived(parameters)["slope"]
    np.testing.assert_allclose(scalar_chains(found)["slope"], expected.numpy(), rtol=1e-12)
    assert json.loads(found.attrs["model"])["masses"]["name"] == "mrp"
