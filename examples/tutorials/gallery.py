# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Gallery
#
# Each of these ten pictures is made by the code above it, which is complete and takes seconds. All clusters are mocks,
# so that their true masses are known. Masses are $M_{200c}$ in $h^{-1} M_\odot$.

# %% [markdown]
# ## The page of a cluster
#
# The page shows galaxies in phase space, the parts of it on which the mass depends, the posterior under two priors, and
# how unusual the cluster is among the mocks of the training set.

# %% mystnb={"image": {"alt": "Phase space, saliency, mass posterior and checks of one cluster."}}
# %matplotlib inline
from clustermocks import HaloModel
from sbi_clustermass import TableOptions, infer

R_proj, v_los = HaloModel().simulate([14.5], seed=2).galaxies(0)
options = TableOptions(redshift=0.117, h=1, distance="comoving")
infer({"R_proj": R_proj, "v_los": v_los}, options=options).plot()

# %% [markdown]
# ## Masses of several clusters
#
# A table with a column of clusters gives a posterior for each: its median, and its 68 and 95 % intervals. Ticks are the
# true masses.

# %% mystnb={"image": {"alt": "Intervals of the masses of twelve clusters."}}
import numpy as np

from clustermocks import FlatMasses, HaloModel
from sbi_clustermass import TableOptions, infer
from sbi_clustermass.posterior import plots

mocks = HaloModel().simulate(np.linspace(13.8, 15.2, 12), seed=1)
names = np.repeat([f"{mass:.2f} dex" for mass in mocks.log10_mass], mocks.n_galaxies)
table = {"R_proj": mocks.galaxy_column("R_proj"), "v_los": mocks.galaxy_column("v_los"), "cluster": names}
masses = infer(table, options=TableOptions(redshift=0.117, h=1, distance="comoving", id="cluster"))
figure = plots.intervals_picture(masses.posteriors)
figure.axes[0].plot(mocks.log10_mass, range(12), "k|", ms=12)
figure

# %% [markdown]
# ## Mass, concentration and anisotropy
#
# `samples` are draws of the joint posterior. Galaxies constrain the mass far better than the other two.

# %% mystnb={"image": {"alt": "Corner plot of mass, concentration and velocity anisotropy of one cluster."}}
from clustermocks import HaloModel
from sbi_clustermass import TableOptions, infer
from sbi_clustermass.posterior import plots

R_proj, v_los = HaloModel().simulate([14.8], seed=3).galaxies(0)
options = TableOptions(redshift=0.117, h=1, distance="comoving")
plots.corner(infer({"R_proj": R_proj, "v_los": v_los}, options=options).samples, 0, truth={"log10_mass": 14.8})

# %% [markdown]
# ## Members, interlopers and posteriors
#
# The network sees the galaxies but not which of them are members. Phase space is shown above, the posterior below.

# %% mystnb={"image": {"alt": "Phase space and mass posterior of three mock clusters."}}
from clustermocks import HaloModel, Observation
from sbi_clustermass import MassEstimator
from sbi_clustermass.posterior import plots

mocks = HaloModel(observation=Observation(min_galaxies=5)).simulate([14.0, 14.5, 15.0], seed=5)
plots.clusters(mocks, MassEstimator.load().posterior(mocks), [0, 1, 2])

# %% [markdown]
# ## Phase space of three masses
#
# Each panel is the mean kernel density of 300 clusters of one mass, as `KDEImage` computes it for the networks of Kodi
# Ramanah et al. (2020). Heavier clusters reach farther in radius and in velocity.

# %% mystnb={"image": {"alt": "Mean kernel density in phase space of clusters of three masses."}}
import torch
from matplotlib.figure import Figure

from clustermocks import HaloModel
from sbi_clustermass import KDEImage

kde = KDEImage(aperture=1.6, v_max=2500.0)
figure = Figure(figsize=(9, 3), layout="constrained")
for axes, mass in zip(figure.subplots(1, 3, sharey=True), (14.0, 14.5, 15.0), strict=True):
    mocks = HaloModel().simulate([mass] * 300, seed=1)
    mean = kde.density(torch.from_numpy(mocks.padded())).mean(0).numpy()
    axes.imshow(mean.T, origin="lower", extent=(0, 1.6, -2500, 2500), aspect="auto", cmap="viridis")
    axes.set(title=f"$10^{{{mass}}}\\,h^{{-1}}M_\\odot$", xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$")
figure.axes[0].set_ylabel(r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$")
figure

# %% [markdown]
# ## Who is a member
#
# The estimator also gives each galaxy its probability to lie inside $r_{200c}$, with the mass marginalised over its
# posterior. Rings mark galaxies of the cluster's own halo, which reaches farther.

# %% mystnb={"image": {"alt": "Galaxies in phase space, coloured by probability of membership; rings mark members."}}
from matplotlib.figure import Figure

from clustermocks import HaloModel, Observation
from sbi_clustermass import MassEstimator

mock = HaloModel(observation=Observation(min_galaxies=5)).simulate([14.7], seed=4)
R_proj, v_los = mock.galaxies(0)
inside_r200c = MassEstimator.load().memberships(mock)[:, 0]
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.plot(R_proj[mock.is_member(0)], v_los[mock.is_member(0)], "o", ms=9, mfc="none", mec="k", label="true members")
points = axes.scatter(R_proj, v_los, c=inside_r200c, s=25, cmap="viridis", vmin=0, vmax=1)
figure.colorbar(points, label=r"probability to lie inside $r_{200c}$")
axes.set(xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$", ylabel=r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$")
axes.legend(loc="upper right")
figure

# %% [markdown]
# ## Inferred and true mass
#
# These are a thousand clusters of known mass. The shipped estimator serves tables of any survey, so its errors are
# wider than those of a network that is trained for one.

# %% mystnb={"image": {"alt": "Inferred against true mass of a thousand clusters, residuals below."}}
from clustermocks import FlatMasses, HaloModel, Observation
from sbi_clustermass import MassEstimator
from sbi_clustermass.posterior import plots

mocks = HaloModel(observation=Observation(min_galaxies=5)).simulate(FlatMasses(13.5, 15.4).draw(1000, seed=1), seed=1)
plots.masses(MassEstimator.load().posterior(mocks), mocks.log10_mass)

# %% [markdown]
# ## Coverage
#
# The curves show how often the truth lies in an interval, against the interval's probability. Here a small network is
# trained for one survey and tested on mocks that it has not seen. The grey band contains the whole curve of 95 % of
# calibrated test sets.

# %% mystnb={"image": {"alt": "Share of true masses inside intervals of each probability, and the difference below."}}
from clustermocks import FlatMasses, HaloModel
from sbi_clustermass import MDN, SummaryStatistics, Training, train
from sbi_clustermass.diagnostics import HeldOut
from sbi_clustermass.diagnostics.calibration_plots import coverage_curve

flat, rule = FlatMasses(13.3, 15.5), Training(learning_rate=3e-3, max_updates=300, seed=1)
mocks, tests = (HaloModel().simulate(flat.draw(n, seed=n), seed=n) for n in (6000, 1000))
estimator = train(mocks, flow=MDN(embedding=SummaryStatistics()), support=(13.3, 15.5), training=rule)
coverage_curve(HeldOut.from_catalogue(estimator.posterior(tests), tests, drawn_from_prior=True))

# %% [markdown]
# ## Eddington bias of a mass function
#
# Masses with errors of 0.2 dex scatter up more often than down, because lighter clusters are more common, and this
# survey keeps those above $10^{14}$. A histogram of point estimates is therefore too high. A hierarchical fit of the
# same posteriors recovers the true mass function.

# %% mystnb={"image": {"alt": "Mass function: fitted band, the one put in, and the histogram of point estimates."}}
import numpy as np
from scipy.special import ndtr

from clustermocks import HaloMassFunction
from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    KnownSelection,
    Laplace,
    MassFunction,
    Population,
    Survey,
    fit,
    mass_function_band,
    plots,
)

haloes, volume = HaloMassFunction(low=13.0, high=15.8), 1e8  # [h^-3 Mpc^3]
true = haloes.draw(round(volume * haloes.number_density()), seed=1)
estimates = true + np.random.default_rng(1).normal(0, 0.2, true.size)
posteriors = MassPosteriors.from_normal(estimates[estimates > 14], 0.2, np.linspace(12.8, 16.5, 150))
selection = KnownSelection(lambda log10_mass: ndtr((log10_mass - 14) / 0.2), of_data=True)
survey = Survey.of_volume(volume, sample_variance=False)
idata = fit(Population(MassFunction(), selection=selection), posteriors, survey, sampler=Laplace(seed=1))
grid = np.linspace(13.7, 15.3, 80)
band = mass_function_band(idata, grid)
plots.mass_function(grid, band, truth=haloes.density(grid), points=posteriors.mean, volume=volume)

# %% [markdown]
# ## A network and the exact posterior
#
# The likelihood of one simulator, spherical clusters in equilibrium, is a formula. The distance of a network from the
# best possible answer is therefore known: [Flows and embeddings, measured](../flows.md) has that of every network. This
# one was trained for seconds.

# %% mystnb={"image": {"alt": "Posteriors of three clusters by a network and exact, with the true masses."}}
from matplotlib.figure import Figure

from clustermocks import SphericalJeans
from sbi_clustermass import MDN, SummaryStatistics, Training, train
from sbi_clustermass.diagnostics.comparison import ComparisonSetup

rule = Training(learning_rate=3e-3, max_updates=300, seed=1)
setup = ComparisonSetup.from_jeans(SphericalJeans(background=10.0), 3000, training=rule)
assert setup.exact is not None
network = train(setup.train_set, flow=MDN(embedding=SummaryStatistics()), support=setup.support, training=rule)
figure = Figure(figsize=(9, 3), layout="constrained")
found = network.posterior(setup.test_set)
for i, axes in enumerate(figure.subplots(1, 3)):
    axes.plot(found.grid, found.prob[i], label="network")
    axes.plot(setup.exact.grid, setup.exact.prob[i], "k--", label="exact")
    axes.axvline(setup.test_set.log10_mass[i], color="tab:orange", label="true mass")
    axes.set(title=f"{setup.test_set.n_galaxies[i]} galaxies", xlabel=r"$\log_{10} M_{200c}$")
figure.axes[0].legend()
figure
