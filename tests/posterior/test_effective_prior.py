"""log_likelihood() divides out what the training set was drawn from: three training sets give the exact likelihood.

Clusters are of `SphericalJeans`, whose likelihood is known. From 10^13.5 to 10^14.7 the share with 10 galaxies or more
rises from a third to one, so that the three effective priors are far apart. Differences are root mean squares in nats,
over masses by the exact posterior under a flat prior and over clusters, a constant a cluster removed.
"""

import warnings
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from jaxtyping import Float
from scipy.stats import nbinom, poisson
from torch import nn

from clustermocks import FlatMasses, HaloMassFunction, SphericalJeans, flatten
from sbi_clustermass import ClusterNPE, MassPosteriors, StackedAffine, Training, mass_prior
from sbi_clustermass.population import KnownSelection, Laplace, MassFunction, Population, fit
from sbi_clustermass.posterior.prior import fit_effective_prior

LOW, HIGH = 13.5, 14.7
GRID = np.linspace(LOW, HIGH, 128)
MODEL = SphericalJeans(background=1.0)  # without interlopers a likelihood may be zero
KINDS = FLAT, FLATTENED, MASS_FUNCTION = "flat before the cut", "flat after it", "mass function"


def training_set(kind: str, n: int):
    """n selected clusters or somewhat more, of one of three draws."""
    if kind == MASS_FUNCTION:
        return MODEL.simulate(HaloMassFunction(low=LOW, high=HIGH).draw(2 * n, seed=11), seed=12)
    mocks = MODEL.simulate(FlatMasses(LOW, HIGH).draw((3 if kind == FLATTENED else 1) * n, seed=13), seed=14)
    return mocks.select(flatten(mocks.log10_mass, 15, low=LOW, high=HIGH)) if kind == FLATTENED else mocks


@dataclass(frozen=True)
class Compared:
    """The exact log likelihood, and posteriors of the same clusters from each training set."""

    exact: Float[np.ndarray, "cluster mass"]
    found: dict[str, MassPosteriors]

    def rms(self, difference: Float[np.ndarray, "cluster mass"]) -> float:
        """Root mean square of a difference of log densities [nats]."""
        share = np.exp(self.exact - self.exact.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        centred = difference - (share * difference).sum(axis=1, keepdims=True)
        return float(np.sqrt((share * centred**2).sum(axis=1).mean()))

    def from_exact(self) -> dict[str, float]:
        """Errors of each training set's likelihood."""
        return {kind: self.rms(each.log_likelihood() - self.exact) for kind, each in self.found.items()}

    def among_themselves(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Differences of each pair: posteriors, and likelihoods."""
        return {
            (a, b): (
                self.rms(self.found[a].log_prob - self.found[b].log_prob),
                self.rms(self.found[a].log_likelihood() - self.found[b].log_likelihood()),
            )
            for a, b in combinations(self.found, 2)
        }


class LogRichness(nn.Module):
    """Number of galaxies, of which scipy knows the distribution."""

    def forward(self, x):
        return x[..., 2].sum(1, keepdim=True).log()


class Moments(nn.Module):
    """Number of galaxies, their velocity dispersion and mean distance, in logs: little is lost, little to overfit."""

    def forward(self, x):
        number = x[..., 2].sum(1)
        dispersion, distance = (x[..., 1] ** 2).sum(1) / number, x[..., 0].sum(1) / number
        return torch.stack([2 * number.log(), dispersion.log() - 12, 2 * distance.log()], dim=1)


def counts(mocks):
    """Observations of which only the number of galaxies is kept, in the third channel of one galaxy."""
    return torch.as_tensor(mocks.n_galaxies, dtype=torch.float32)[:, None, None] * torch.tensor([0.0, 0.0, 1.0])


def galaxies(mocks):
    """All that is seen."""
    return torch.from_numpy(mocks.padded())


def inferred(mocks, x, embedding: nn.Module, training: Training, observed) -> MassPosteriors:
    """Posteriors of the observed clusters by a network trained on the mocks, seen through an embedding."""
    flow = StackedAffine(blocks=1, hidden=(16,), embedding=embedding)
    inference = ClusterNPE(mass_prior(LOW, HIGH), density_estimator=flow, device="cpu")
    theta = torch.from_numpy(mocks.log10_mass.astype(np.float32))[:, None]
    network = inference.append_simulations(theta, x).train(training)
    with torch.no_grad():
        log_prob = network.log_prob_grid(observed, torch.as_tensor(GRID, dtype=torch.float32))
    log_prior = fit_effective_prior(mocks, (LOW, HIGH)).log_density(GRID)
    return MassPosteriors.from_log_prob(GRID, log_prob.numpy(), log_prior=log_prior)


def exact_on_richness(number: np.ndarray) -> Float[np.ndarray, "cluster mass"]:
    """p(N | mass): negative binomial and Poisson, the mean measured on clusters of which none is rejected."""
    everyone = replace(MODEL, observation=replace(MODEL.observation, min_galaxies=0), background=0.0)
    masses = np.linspace(LOW, HIGH, 5)
    mean = [everyone.simulate(np.full(1500, m), seed=16).n_galaxies.mean() for m in masses]
    mean = np.exp(np.polyval(np.polyfit(masses, np.log(mean), 2), GRID))  # 1500 clusters: .7 per cent
    members = (nbinom.pmf(number[:, None] - b, MODEL.shape, MODEL.shape / (MODEL.shape + mean)) for b in range(12))
    return np.log(sum(poisson.pmf(b, MODEL.background) * pmf for b, pmf in enumerate(members)))


def test_likelihoods_from_three_training_sets_agree_with_the_exact_one_of_the_richness():
    number = np.arange(10, 50)
    observed = torch.as_tensor(number, dtype=torch.float32)[:, None, None] * torch.tensor([0.0, 0.0, 1.0])
    training = Training(learning_rate=2e-2, max_updates=250, batch_size=200, validate_every=50)
    sets = {kind: training_set(kind, 4000) for kind in KINDS}
    found = {kind: inferred(mocks, counts(mocks), LogRichness(), training, observed) for kind, mocks in sets.items()}
    compared = Compared(exact_on_richness(number), found)
    report(compared)
    # the network's noise, (weights that matter / clusters)^1/2, .05; the prior's fit, .03; the Gaussian family, .05;
    # and the steep training set has few of the rich clusters
    assert max(compared.from_exact().values()) < 0.2
    posteriors, likelihoods = compared.among_themselves()[FLAT, MASS_FUNCTION]
    assert posteriors > 0.25, "without the division they differ"
    assert likelihoods < 0.5 * posteriors


@pytest.mark.slow
def test_likelihoods_from_three_training_sets_agree_on_galaxies():
    training = Training(learning_rate=5e-3, patience=600, max_updates=2500, batch_size=400)
    test_set = MODEL.simulate(FlatMasses(LOW, HIGH).draw(500, seed=17), seed=18)
    sets = {kind: training_set(kind, 20_000) for kind in KINDS}
    found = {
        kind: inferred(mocks, galaxies(mocks), Moments(), training, galaxies(test_set)) for kind, mocks in sets.items()
    }
    compared = Compared(MODEL.log_likelihood(test_set, GRID), found)
    report(compared)
    found = compared.among_themselves()
    assert found[FLAT, FLATTENED][1] < 0.1  # noise of the networks and of the prior's fit, .05 each
    posteriors, likelihoods = found[FLAT, MASS_FUNCTION]
    # a Gaussian under a steep prior is another best Gaussian than under a flat one: the likelihood is skew
    assert likelihoods < 0.2
    assert likelihoods < 0.7 * posteriors
    gaps = np.array(list(compared.from_exact().values()))
    assert np.ptp(gaps) < 0.1, "what three moments lose is the same for all"


def report(compared: Compared) -> None:
    """Print the differences; pytest shows them on failure or with -s."""
    print("\nfrom exact [nats]:", {kind: round(value, 3) for kind, value in compared.from_exact().items()})
    for pair, values in compared.among_themselves().items():
        print(" against ".join(pair) + ": posteriors {:.3f}, likelihoods {:.3f}".format(*values))


# ---- and so is the population behind them ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Slope:
    """Posterior of the mass function's slope."""

    mean: float
    std: float

    @classmethod
    def from_posteriors(cls, posteriors: MassPosteriors) -> "Slope":
        """Fit its shape, on the masses on which the clusters were drawn."""
        selection = KnownSelection(lambda log10_mass: np.exp(MODEL.log_selected(log10_mass)), of_data=True)
        population = Population(MassFunction(pivot=14.1), selection=selection, mass_range=(LOW, HIGH))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            slope = fit(population, posteriors, counts=False, sampler=Laplace(seed=1))["posterior"]["slope"].values
        return cls(float(slope.mean()), float(slope.std()))


def slopes(found: dict[str, MassPosteriors]) -> dict[str, Slope]:
    """Of each training set's posteriors, as they are printed on failure."""
    answers = {kind: Slope.from_posteriors(posteriors) for kind, posteriors in found.items()}
    print("\n", answers)
    return answers


def survey_of(n: int):
    """Selected clusters of a mass function."""
    return MODEL.simulate(HaloMassFunction(low=LOW, high=HIGH).draw(n, seed=21), seed=22)


@pytest.mark.slow
def test_three_training_sets_see_one_population_in_the_richness():
    training = Training(learning_rate=1e-2, patience=300, max_updates=500, batch_size=200)
    survey = survey_of(1500)
    found = {}
    for kind in KINDS:
        mocks = training_set(kind, 4000)
        found[kind] = inferred(mocks, counts(mocks), LogRichness(), training, counts(survey))
    answers = slopes(found)
    one = answers[FLAT]
    for kind in (FLATTENED, MASS_FUNCTION):
        # .3 sigma is the promise; 4000 clusters a network and 700 or so in the survey leave .2 of noise
        assert abs(answers[kind].mean - one.mean) < 0.5 * one.std
    undivided = Slope.from_posteriors(replace(found[MASS_FUNCTION], log_prior=found[FLAT].log_prior))
    assert abs(undivided.mean - one.mean) > 2 * one.std, "the mass function would be counted twice"


@pytest.mark.slow
def test_three_training_sets_see_one_population_in_the_galaxies():
    training = Training(learning_rate=5e-3, patience=600, max_updates=2500, batch_size=400)
    survey = survey_of(2500)
    found = {}
    for kind in KINDS:
        mocks = training_set(kind, 20_000)
        found[kind] = inferred(mocks, galaxies(mocks), Moments(), training, galaxies(survey))
    answers = slopes({**found, "exact": MassPosteriors.from_log_prob(GRID, MODEL.log_likelihood(survey, GRID))})
    one = answers[FLAT]
    for kind in (FLATTENED, MASS_FUNCTION):
        assert abs(answers[kind].mean - one.mean) < 0.3 * one.std, "the promise"
    undivided = Slope.from_posteriors(replace(found[MASS_FUNCTION], log_prior=found[FLAT].log_prior))
    assert abs(undivided.mean - one.mean) > 2 * one.std, "and more in a larger survey"
