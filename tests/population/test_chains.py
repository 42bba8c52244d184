"""Chains as files of GetDist and Cobaya, read back by GetDist; priors as a file that is read again."""

import json
import warnings

import getdist
import numpy as np
import pytest
import torch
from scipy import stats

from clustermocks import HaloMassFunction
from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MassFunction,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    fit,
)
from sbi_clustermass.population.chains import write_cobaya, write_getdist
from sbi_clustermass.population.plots import corner
from sbi_clustermass.population.priors import described, read_priors, write_priors
from sbi_clustermass.population.run_results import parameter_table
from sbi_clustermass.population.sample_variance import density_covariance
from sbi_clustermass.population.sampling import Draws
from sbi_clustermass.posterior import MassPosteriors
from tests.population.two_modes import TwoModes

RELATION = ScalingRelation("richness", (1.5, 0.3), (0.8, 0.3), 0.2)


POPULATION = Population(CosmologyMassFunction(), (RELATION,), TwoModes())


class TwoChains:
    """Two chains of sixty draws each."""

    total = 240

    def draw(self, potential, start, progress=None):
        """Draw them by weights."""
        positions = Laplace(num_samples=120, rounds=2, seed=1).draw(potential, start).positions
        return Draws(positions.reshape(2, 60, -1))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    true = 14.2 + rng.exponential(0.25, 60)
    posteriors = MassPosteriors.from_normal(true + 0.12 * rng.standard_normal(60), 0.12, np.linspace(13.0, 15.8, 141))
    observable = Observable(1.5 + 0.8 * (true - 14.3) + 0.2 * rng.standard_normal(60), 0.05)
    clusters = ObservedClusters(posteriors, observables={"richness": observable})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few draws on purpose
        return fit(POPULATION, clusters, Survey.of_volume(1e7, sample_variance=False), sampler=TwoChains())


@pytest.mark.parametrize("write", [write_getdist, write_cobaya])
def test_getdist_reads_the_chains_with_means_names_and_ranges(fitted, tmp_path, write):
    write(fitted, tmp_path / "chain")
    found = getdist.loadMCSamples(str(tmp_path / "chain"), no_cache=True)
    assert [chain.numrows for chain in found.getSeparateChains()] == [60, 60]
    means = dict(zip(found.getParamNames().list(), found.getMeans(), strict=True))
    table = parameter_table(fitted)
    for row in table:
        assert means[row["parameter"]] == pytest.approx(row["mean"], abs=1e-8)  # ten digits are written
    assert {"selection_mode[0]", "selection_mode[1]", "S8"} <= set(means)
    derived = {each.name for each in found.getParamNames().names if each.isDerived}
    assert "S8" in derived
    assert not {"Om0", "scatter_richness", "selection_mode[1]"} & derived
    assert (found.ranges.getLower("sigma8"), found.ranges.getUpper("sigma8")) == (0.5, 1.2)
    assert (found.ranges.getLower("scatter_richness"), found.ranges.getUpper("scatter_richness")) == (0.0, None)
    assert found.ranges.getLower("selection_mode[0]") is None
    np.testing.assert_allclose(found.loglikes, -fitted["sample_stats"]["lp"].values.ravel(), rtol=1e-9)


def test_log_prior_is_that_of_scipy(fitted, tmp_path):
    draw = fitted["posterior"].isel(chain=1, draw=3)
    at = {name: draw[name].values for name in draw.data_vars}
    expected = stats.uniform(0.1, 0.5).logpdf(at["Om0"]) + stats.uniform(0.5, 0.7).logpdf(at["sigma8"])
    expected += stats.norm(1.5, 0.3).logpdf(at["intercept_richness"]) + stats.norm(0.8, 0.3).logpdf(
        at["slope_richness"]
    )
    expected += stats.halfnorm(scale=0.2).logpdf(at["scatter_richness"])
    expected += stats.norm(0, [0.1, 0.2]).logpdf(at["selection_mode"]).sum()
    found = fitted["sample_stats"].isel(chain=1, draw=3)
    assert found["log_prior"].item() == pytest.approx(expected, rel=1e-9)
    terms = fitted["log_likelihood"].isel(chain=1, draw=3)
    assert found["lp"].item() - expected == pytest.approx((terms["clusters"].sum() + terms["count"]).item(), rel=1e-9)
    write_cobaya(fitted, tmp_path / "chain")
    rows = np.genfromtxt(tmp_path / "chain.2.txt", names=True, deletechars="")
    assert rows.dtype.names[:2] == ("weight", "minuslogpost")
    np.testing.assert_allclose(rows["minuslogpost"], rows["minuslogprior"] + rows["chi2"] / 2, rtol=1e-8)


def test_priors_in_cobayas_words_are_those_of_the_model(fitted, tmp_path):
    """Cobaya hands every setting to the distribution of that name in scipy.stats."""
    write_cobaya(fitted, tmp_path / "chain")
    params = json.loads((tmp_path / "chain.updated.yaml").read_text())["params"]
    for name in ("slope_richness", "scatter_richness"):
        prior = dict(params[name]["prior"])
        expected = getattr(stats, prior.pop("dist"))(**prior).logpdf(0.37)
        assert float(POPULATION.priors[name].log_prob(torch.tensor(0.37).double())) == pytest.approx(expected)
    assert params["selection_mode[1]"]["prior"] == {"dist": "norm", "loc": 0.0, "scale": 0.2}
    assert params["Om0"]["prior"] == {"min": 0.1, "max": 0.6}
    assert params["S8"]["derived"]


def test_density_contrasts_of_the_shells_are_columns_with_their_marginal_priors(tmp_path):
    rng, drawn = np.random.default_rng(1), HaloMassFunction(low=13.8).draw(1000, seed=1)
    masses = drawn[rng.random(1000) < stats.norm.cdf((drawn - 14.2) / 0.1)][:60]  # the selection of `TwoModes`
    posteriors = MassPosteriors.from_normal(masses + rng.normal(0, 0.1, 60), 0.1, np.linspace(13.0, 15.8, 141))
    clusters = ObservedClusters(posteriors, np.tile([0.15, 0.25], 30))
    survey = Survey.of_sky(300, (0.1, 0.2, 0.3))
    sampler = Laplace(num_samples=60, seed=1)
    found = fit(Population(selection=TwoModes(of_data=False)), clusters, survey, sampler=sampler)
    write_cobaya(found, tmp_path / "chain")
    chain = getdist.loadMCSamples(str(tmp_path / "chain"), no_cache=True)
    priors = json.loads((tmp_path / "chain.updated.yaml").read_text())["params"]
    places, _ = survey.places()
    expected = np.sqrt(np.diag(density_covariance(places, survey.cosmology)))
    for i in range(2):  # the diagonal of the covariance is raised by 1e-5
        name = f"density_contrast[{i}]"
        assert priors[name]["prior"] == {
            "dist": "norm",
            "loc": 0.0,
            "scale": pytest.approx(expected[i], rel=1e-5),
        }  # its diagonal is raised
        assert chain.mean(name) == pytest.approx(found["posterior"]["density_contrast"].values[..., i].mean(), abs=1e-8)


def test_a_corner_plot_takes_components_by_name(fitted):
    figure = corner(fitted, ["Om0", "selection_mode[1]"])
    assert figure.axes[2].get_xlabel() == "Om0"
    assert figure.axes[2].get_ylabel() == "selection mode[1]"


# ---- priors as a file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masses", [MassFunction(alpha=(-1.8, 0.1)), CosmologyMassFunction(Om0=(0.2, 0.4))])
def test_priors_come_back_from_their_file(tmp_path, masses):
    relations = (RELATION, ScalingRelation("t", (0.1, 1), (2, 1), 0.1, evolution=(0.0, 0.3)))
    population = Population(masses, relations, TwoModes())
    write_priors(tmp_path / "priors.json", population, described(population.priors))
    assert read_priors(tmp_path / "priors.json") == (masses, relations)
    found = json.loads((tmp_path / "priors.json").read_text())
    assert found["from_the_survey"]["selection_mode[1]"] == {"dist": "norm", "loc": 0.0, "scale": 0.2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found["masses"].update(name="mpr"), "Did you mean 'mrp'"),
        (lambda found: found["masses"].update(alpha=[-1.9, -0.4]), "must be positive"),
        (lambda found: found["relations"][0].update(slop=[1, 1]), "unknown field 'slop'"),
        (lambda found: found.pop("relations"), "relations"),
    ],
)
def test_a_file_of_priors_with_a_mistake_is_refused_with_its_name(tmp_path, change, words):
    path = tmp_path / "mine.json"
    population = Population(relations=(RELATION,))
    write_priors(path, population, described(population.priors))
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"(?s)mine\.json.*{words}"):
        read_priors(path)
