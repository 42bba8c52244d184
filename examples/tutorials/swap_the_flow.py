# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Swap the flow
#
# A neural posterior has two parts to choose: an **embedding**, which turns a set of galaxies into numbers, and a
# **flow**, which turns those numbers into a density over mass. Any flow works with any embedding. This tutorial
# compares three combinations on clusters whose exact posterior is known, so that each has a distance from it, in nats.

# %%
# %matplotlib inline
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clustermocks import SphericalJeans
from sbi_clustermass import (
    MDN,
    ClusterNPE,
    KDEImage,
    MassEstimator,
    StackedAffine,
    SummaryStatistics,
    Tabulated,
    Training,
    TrialMasses,
    as_tensors,
    mass_prior,
)
from sbi_clustermass.diagnostics.comparison import Comparison, ComparisonSetup, compare, plots
from sbi_clustermass.report.style import BLUE, GREY, MASS, ORANGE

FAST = bool(os.environ.get("CLUSTERMASS_FAST"))  # a smaller version, to see that everything works

# %% [markdown]
# ## Clusters with a known answer
#
# `SphericalJeans` draws spherical clusters in equilibrium over a uniform background. Its likelihood is a formula, so a
# `ComparisonSetup` made from it contains the exact posterior of every test cluster. A quarter of the clusters are test
# clusters.

# %%
rule = Training(max_updates=20 if FAST else 600, seed=1)
setup = ComparisonSetup.from_jeans(SphericalJeans(background=10.0), 300 if FAST else 6000, training=rule)
assert setup.exact is not None
print(f"{len(setup.train_set)} clusters to train on, {len(setup.test_set)} for the test")

# %% [markdown]
# ## Three ways to see a cluster, three ways to write a density
#
# - `StackedAffine` on `KDEImage` is the paper's choice: an image of the kernel density, and a flow that is a Gaussian
#   in one dimension;
# - `MDN` on `SummaryStatistics` sees dispersions, moments and radii, and answers with a mixture of Gaussians;
# - `Tabulated` on `TrialMasses` measures every galaxy in the units of each trial mass, and tabulates the log density.
#
# `FLOWS` and `EMBEDDINGS` list all of them. Each pair is trained at the learning rate that suits its embedding and is
# kept in a folder, so that the same call does not train it again.

# %%
pairs = {
    ("stacked_affine", "kde"): (StackedAffine(hidden=(64, 16, 64)), KDEImage(), 1e-3),
    ("mdn", "summary"): (MDN(), SummaryStatistics(), 1e-3),
    ("tabulated", "trial_masses"): (Tabulated(), TrialMasses(), 5e-3),
}
kept = Path("compared")
results = [
    compare(setup.with_training(replace(rule, learning_rate=rate)), {flow: build}, {name: embedding}, folder=kept)
    for (flow, name), (build, embedding, rate) in pairs.items()
]
found = Comparison.joined(*results)
for row in found.rows:
    scatter = row.entry.score.residual_scatter
    print(f"{row.entry.name:<24} {row.gap:.2f} nats below the exact posterior, scatter {scatter:.3f} dex")

# %% [markdown]
# A gap of 0.1 nats means that, at the true mass, the network's density is on average a factor $e^{-0.1}$ below the best
# that is possible with these galaxies. These are small networks, trained for seconds; [Flows and embeddings,
# measured](../flows.md) has all pairs, fully trained. From the command line,
# `clustermass compare --jeans mass+background --out runs/compare` does the same.

# %% mystnb={"image": {"alt": "Each pair of flow and embedding with its distance from the exact posterior in nats."}}
plots.comparison(found)

# %% [markdown]
# ## Look at one cluster
#
# Averages over a test set hide the shapes of posteriors. These are the posteriors of three clusters, by the networks
# and exact.

# %%
names = {"paper's": "stacked_affine+kde", "tabulated": "tabulated+trial_masses"}
answers = {name: MassEstimator.load(kept / folder).posterior(setup.test_set) for name, folder in names.items()}
answers["exact"] = setup.exact


def beside_the_truth(which: tuple[int, ...]) -> Figure:
    """Draw posteriors of some test clusters, from both networks and exact."""
    figure = Figure(figsize=(9.5, 2.9), layout="constrained")
    for axes, i in zip(figure.subplots(1, len(which)), which, strict=True):
        for (name, found), colour in zip(answers.items(), (GREY, BLUE, "k"), strict=True):
            axes.plot(found.grid, found.prob[i], color=colour, ls="--" if name == "exact" else "-", label=name)
        axes.axvline(setup.test_set.log10_mass[i], color=ORANGE, label="true mass")
        axes.set(xlabel=MASS, title=f"{setup.test_set.n_galaxies[i]} galaxies")
    figure.axes[0].legend(fontsize=8)
    return figure


chosen = tuple(int(np.abs(setup.test_set.log10_mass - mass).argmin()) for mass in (13.8, 14.4, 15.0))

# %% mystnb={"image": {"alt": "Posteriors of three clusters, two networks and the exact one, with the true masses."}}
beside_the_truth(chosen)

# %% [markdown]
# ## The same flow in stock sbi
#
# A flow of this package is a *builder*, which is what sbi's `NPE` takes as `density_estimator`; `ClusterNPE` is sbi's
# `NPE` with the paper's stopping rule and a loss for the density truncated to the prior's range. Nothing else of this
# package is needed.

# %%
theta, x = as_tensors(setup.train_set)
inference = ClusterNPE(mass_prior(*setup.support), density_estimator=StackedAffine(hidden=(64, 16, 64)))
inference.append_simulations(theta, x)
inference.train(replace(rule, max_updates=20 if FAST else 100))
samples = inference.build_posterior().sample((500,), x=x[:1], show_progress_bars=False)
print(f"log10 M200c {samples.mean():.2f} ± {samples.std():.2f}, truth {theta[0].item():.2f}")

# %% [markdown]
# [Write a flow, an embedding, a baseline](../howto/write-your-own.md) describes what your own must provide. [Use it
# from stock sbi](../howto/stock-sbi.md) shows how to use our flows in sbi, and our estimators as sbi posteriors.
