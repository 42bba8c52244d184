# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Fit a population
#
# This tutorial infers the mass function behind many clusters, each with its own posterior. A histogram of point
# estimates is not that mass function: it is distorted by the errors (Eddington bias: there are more light haloes that
# look heavy than heavy ones that look light), by the prior of the training set, and by the survey's selection. A
# hierarchical fit takes all three into account.
#
# $$\ln\mathcal{L} = \sum_i \ln\int L_i(m)\,\phi(m)\,V\,dm - \int \phi(m)\,V\,P(\mathrm{selected}|m)\,dm$$
#
# $L_i$ is the posterior of cluster i with the *training prior divided out*. Estimators of this package store their
# training prior for this purpose.

# %%
# %matplotlib inline
import os
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from clustermocks import HaloMassFunction, HaloModel, PowerLawMasses
from clustermocks.selection import fit_selection
from sbi_clustermass import Tabulated, Training, TrialMasses, train
from sbi_clustermass.population import (
    Laplace,
    MassFunction,
    MeasuredSelection,
    Population,
    Survey,
    fit,
    mass_function_band,
    plots,
)

FAST = bool(os.environ.get("CLUSTERMASS_FAST"))  # a smaller version, to see that everything works

# %% [markdown]
# ## The survey and its training set
#
# Survey and training set are cut in the same way: a cluster needs 20 galaxies or more, and no heavier halo in its
# cylinder (`dominant`), as cluster finders require. Training masses reach below those that the survey selects, and
# become rarer with mass, because most of a survey's clusters are near its threshold.

# %%
MODEL, CUT = replace(HaloModel.ho2019(), dominant=True), 20
attempts = PowerLawMasses(12.5, 15.6).draw(3000 if FAST else 40_000, seed=1)
mocks = MODEL.simulate(attempts, seed=1).with_min_galaxies(CUT)

truth = HaloMassFunction(low=12.5, high=15.6)  # Tinker et al. 2008
N_HALOES = 5000 if FAST else 60_000
volume = N_HALOES / truth.number_density()  # [h^-3 Mpc^3]
sky = MODEL.simulate(truth.draw(N_HALOES, seed=2), seed=2).with_min_galaxies(CUT)
print(f"{len(mocks)} clusters to train on, {len(sky)} in a survey of {volume:.2g} h^-3 Mpc^3")

# %% [markdown]
# ## Posteriors

# %%
rule = Training(learning_rate=5e-3, batch_size=200, max_updates=50 if FAST else 800, seed=1)
estimator = train(
    mocks, flow=Tabulated(embedding=TrialMasses(richness=True)), support=(12.5, 15.6), training=rule, device="cpu"
)
posteriors = estimator.posterior(sky)
print(posteriors)

# %% [markdown]
# ## The fit
#
# The selection is measured on all clusters that were *attempted*, kept or not. `MassFunction` is the
# Murray-Robotham-Power form, a power law with a cut-off. `Laplace` is fast and reports its accuracy; `NUTS()`, the
# default, is exact up to the number of draws.

# %%
selection = MeasuredSelection(fit_selection(*mocks.attempted()))
population = Population(MassFunction(), selection=selection, mass_range=(truth.low, truth.high))
survey = Survey.of_volume(volume, sample_variance=False)  # these clusters are drawn from the mean mass function
idata = fit(population, posteriors, survey, sampler=Laplace(seed=1))

for name in ("log10_density", "slope"):
    draws = idata["posterior"][name].values
    print(f"{name:<14} {draws.mean():.3f} ± {draws.std():.3f}")
pivot, step = MassFunction().pivot, 0.01
density = np.log10(truth.density(pivot + np.array([-step, 0, step])))
print(f"put in         {density[1]:.3f} and {(density[2] - density[0]) / (2 * step):.3f}, at 10^{pivot:g}")


# %% [markdown]
# The orange histogram takes point estimates for masses. Below the threshold it lacks the clusters that were not
# selected; the fit accounts for them.


# %%
def beside_the_truth() -> Figure:
    """Draw the fitted mass function over the true one and the histogram of point estimates."""
    grid = np.linspace(13.5, 15.2, 80)
    band = mass_function_band(idata, grid)
    return plots.mass_function(grid, band, truth=truth.density(grid), points=posteriors.mean, volume=volume)


# %% mystnb={"image": {"alt": "Mass function: fitted band, the one put in, and the histogram of point estimates."}}
beside_the_truth()

# %% mystnb={"image": {"alt": "Joint posterior of slope and density of the mass function."}}
plots.corner(idata, ["log10_density", "slope"], truth={"log10_density": density[1]})

# %% [markdown]
# ## Further possibilities
#
# - Cosmology: `Population(CosmologyMassFunction(), ...)` fits Om and sigma8 instead of a shape.
# - Scaling relations: `Population(relations=(ScalingRelation("log_sigma"),), ...)` with `ObservedClusters`. An
#   observable from the galaxies that gave the masses is refused unless its joint calibration is given.
# - Other masses: `MassPosteriors.from_normal(mean, std, grid)` makes posteriors of masses from lensing or X-rays, which
#   are fitted in the same way.
# - The command line: `clustermass posteriors`, then `clustermass population`.
#
# [Populations, measured](../population.md) shows how accurate the error bars are, and from how many clusters a
# network's own errors matter: several thousand.
