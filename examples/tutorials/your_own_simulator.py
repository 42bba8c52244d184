# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Your own simulator
#
# Any simulator can train an estimator if it draws clusters of a given mass, with each galaxy's distance from the centre
# and velocity: put its arrays into a `Catalogue`.
#
# The simulator of this page is a toy of a few lines, so simple that its exact posterior can be written down and
# compared with the network's. For your simulator that will not be possible, which is the reason for simulation-based
# inference.

# %%
# %matplotlib inline
import os

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import norm

from clustermocks import MDPL2, Catalogue, FlatMasses, Observation, Provenance
from sbi_clustermass import MassPosteriors, Tabulated, Training, TrialMasses, train
from sbi_clustermass.baselines import evrard2008
from sbi_clustermass.diagnostics import coverage, residuals
from sbi_clustermass.posterior import plots
from sbi_clustermass.report.style import BLUE, MASS, ORANGE

FAST = bool(os.environ.get("CLUSTERMASS_FAST"))  # a smaller version, to see that everything works

# %% [markdown]
# ## The simulator
#
# A cluster of mass M has $30\,(M/10^{14})^{0.9}$ members on average. Their surface density falls as $1/(R^2+R_c^2)$;
# their velocities are Gaussian, with the dispersion of Evrard et al. 2008 for M. A uniform background adds 8 galaxies
# to the cylinder on average. Numbers are Poisson.

# %%
OBSERVATION = Observation()  # redshift, aperture, velocity cut and least number of galaxies
BACKGROUND, CORE = 8.0, 0.15  # galaxies; [h^-1 Mpc]
APERTURE, V_CUT = OBSERVATION.aperture, OBSERVATION.v_cut
DISPERSION = evrard2008(OBSERVATION.redshift, MDPL2)


def mean_number(log10_mass: ArrayLike) -> np.ndarray:
    """Expected members in the aperture."""
    return 30 * 10 ** (0.9 * (np.asarray(log10_mass) - 14))


def sigma_v(log10_mass: ArrayLike) -> np.ndarray:
    """Line-of-sight velocity dispersion [km/s]."""
    return 10 ** DISPERSION(np.asarray(log10_mass))


def draw(log10_mass: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R_proj [h^-1 Mpc], v_los [km/s] and membership of one cluster's galaxies."""
    n, background = int(rng.poisson(mean_number(log10_mass))), int(rng.poisson(BACKGROUND))
    R = CORE * np.sqrt((1 + (APERTURE / CORE) ** 2) ** rng.random(n) - 1)
    R_field = APERTURE * np.sqrt(rng.random(background))
    v = np.concatenate([rng.normal(0, sigma_v(log10_mass), n), rng.uniform(-V_CUT, V_CUT, background)])
    inside = np.abs(v) < V_CUT
    return np.concatenate([R, R_field])[inside], v[inside], (np.arange(n + background) < n)[inside]


# %% [markdown]
# ## Into a catalogue
#
# The galaxies of all clusters are concatenated, and `offsets` gives the start of each cluster. Pass *every* cluster
# that was drawn, also those with too few galaxies: the catalogue keeps them as attempts and measures P(selected | mass)
# on them. Only so is the training prior known and a population fit possible.
#
# `host_id` identifies the halo: clusters of one halo, seen along different lines of sight, share it and are never split
# between training and test.


# %%
def simulate(n: int, seed: int) -> Catalogue:
    """Clusters with masses flat in log10 M."""
    masses = FlatMasses(13.5, 15.3).draw(n, seed)
    drawn = [draw(mass, rng) for mass, rng in zip(masses, np.random.default_rng(seed).spawn(n), strict=True)]
    R_proj, v_los, is_member = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return Catalogue.from_arrays(
        OBSERVATION,
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(n)},
        galaxies={"R_proj": R_proj, "v_los": v_los, "is_member": is_member},
        offsets=np.cumsum([0, *(len(R) for R, _, _ in drawn)]),
        provenance=Provenance(simulator="the toy of the tutorial"),
    )


mocks = simulate(1100 if FAST else 8000, seed=1)
train_set, test_set = mocks.split(0.8, seed=1)
print(mocks)

# %% [markdown]
# ## Train
#
# From here on, nothing depends on the simulator. `train` uses the paper's flow by default; `Tabulated` on `TrialMasses`
# needs fewer clusters. `richness=True` lets the network use the number of galaxies, which here is part of the model.

# %%
rule = Training(learning_rate=5e-3, batch_size=200, max_updates=20 if FAST else 800, seed=1)
estimator = train(
    train_set, flow=Tabulated(embedding=TrialMasses(richness=True)), support=(13.5, 15.3), training=rule, device="cpu"
)
posteriors = estimator.posterior(test_set)
mean, scatter = residuals(posteriors.mean, test_set.log10_mass)
print(f"mean residual {mean:+.3f} dex, scatter {scatter:.3f} dex")
share = coverage(posteriors, test_set.log10_mass, 0.68).percent
print(f"68 % intervals hold the truth for {share:.0f} % of the clusters")

# %% mystnb={"image": {"alt": "Inferred against true mass with bands of 68 and 95 per cent, residuals below."}}
plots.masses(posteriors, test_set.log10_mass)

# %% [markdown]
# ## Comparison with the exact posterior
#
# The galaxies of this toy are a Poisson process with the likelihood $\ln L(M) = -\lambda(M) F(M) + \sum_i
# \ln[\lambda(M)\,p(R_i)\,p(v_i|M)+B\,p_B]$, where F is the share of members inside the velocity cut. The prior is flat
# between 13.5 and 15.3, so this is the posterior, up to a constant. (Selection by number is a cut on the data; it
# does not change the posteriors of the clusters that pass.)


# %%
def log_likelihood(catalogue: Catalogue, index: int, grid: np.ndarray) -> np.ndarray:
    """Log likelihood of one cluster's galaxies at each mass, (mass,)."""
    R, v = catalogue.galaxies(index)
    surface = 2 * R / (R**2 + CORE**2) / np.log1p((APERTURE / CORE) ** 2)
    members = mean_number(grid) * surface[:, None] * norm.pdf(v[:, None], scale=sigma_v(grid))
    field = BACKGROUND * 2 * R / APERTURE**2 / (2 * V_CUT)
    inside = norm.cdf(V_CUT, scale=sigma_v(grid)) - norm.cdf(-V_CUT, scale=sigma_v(grid))
    return np.log(members + field[:, None]).sum(0) - mean_number(grid) * inside


some = list(range(200))
table = np.stack([log_likelihood(test_set, i, posteriors.grid) for i in some])
exact = MassPosteriors.from_log_prob(posteriors.grid, table)


def log_q(found: MassPosteriors) -> np.ndarray:
    """Natural log of each posterior density at the true mass, (cluster,)."""
    rows = zip(test_set.log10_mass[some], found.prob, strict=True)
    return np.log([np.interp(mass, found.grid, row) for mass, row in rows])


gap = log_q(exact) - log_q(posteriors[some])
print(f"the network is {gap.mean():.3f} ± {gap.std() / np.sqrt(len(gap)):.3f} nats below the exact posterior")


# %%
def draw_three(chosen: tuple[int, ...]) -> Figure:
    """Draw the network's posterior over the exact one."""
    figure = Figure(figsize=(9.5, 2.9), layout="constrained")
    for axes, i in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        axes.plot(posteriors.grid, posteriors.prob[i], color=BLUE, label="network")
        axes.plot(exact.grid, exact.prob[i], "k--", lw=1.2, label="exact")
        axes.axvline(test_set.log10_mass[i], color=ORANGE, label="true mass")
        axes.set(xlabel=MASS, title=f"{test_set.n_galaxies[i]} galaxies")
    figure.axes[0].legend(fontsize=8)
    return figure


nearest = tuple(int(np.abs(test_set.log10_mass[some] - mass).argmin()) for mass in (13.9, 14.4, 14.9))

# %% mystnb={"image": {"alt": "Posteriors of three clusters, network over exact, with the true masses."}}
draw_three(nearest)

# %% [markdown]
# ## Use it
#
# `estimator.save(folder)` writes a model that `clustermass infer galaxies.csv --model FOLDER` takes. To be right for
# real data, its `Catalogue` must state the observation (aperture, cuts, redshift) and the cosmology behind distances,
# and its simulator must do to galaxies everything that a spectroscopic survey does. In the mocks of this package,
# `HaloModel(completeness=..., velocity_error=..., centre_error=..., recentre=True)` does this; a simulator of your own
# has to do the same, or state in its model card that it does not.
