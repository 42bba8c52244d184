# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Your first mass
#
# This tutorial turns a table of galaxies, with right ascension, declination and redshift, into the mass of their
# cluster, its error, one word on its use, and the reasons. On the command line, one command does all of this:
#
# ```sh
# clustermass infer cluster.csv
# ```
#
# Here it is done step by step. Masses are $M_{200c}$ in $h^{-1} M_\odot$, distances comoving $h^{-1}$ Mpc, velocities
# km/s, as everywhere in this package ([the glossary](../glossary.md) explains each).

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np

from clustermocks import MDPL2, HaloModel, Observation
from clustermocks.observation import observed_redshift
from sbi_clustermass import MassEstimator, TableOptions
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.observations import MassResult, infer_tables
from sbi_clustermass.observations.tables import read_table
from sbi_clustermass.posterior import plots

# %% [markdown]
# ## A table
#
# You have a table; this page makes one, so that the true mass is known. It is of a mock cluster of
# $10^{14.7}\,h^{-1} M_\odot$ at redshift 0.117, among its neighbours. As in spectroscopic surveys, the field is wider
# and deeper than the part that is used in the end. Nothing in the table says which galaxy is a member.

# %%
TRUTH, REDSHIFT, CENTRE = 14.7, 0.117, (150.0, 20.0)
field = HaloModel(observation=Observation(redshift=REDSHIFT, aperture=4.0, v_cut=6000.0))
R_proj, v_los = field.simulate([TRUTH], seed=5).galaxies(0)

around = np.random.default_rng(5).uniform(0, 2 * np.pi, len(R_proj))
radius = np.degrees(R_proj / MDPL2.comoving_distance(REDSHIFT))
dec = CENTRE[1] + radius * np.sin(around)
ra = CENTRE[0] + radius * np.cos(around) / np.cos(np.radians(dec))
z = observed_redshift(REDSHIFT, v_los)

table = Path("cluster.csv")
np.savetxt(table, np.column_stack([ra, dec, z]), delimiter=",", header="ra,dec,z", comments="", fmt="%.6f")
print(*table.read_text().splitlines()[:4], f"... {len(z)} rows", sep="\n")

# %% [markdown]
# ## Read it
#
# Columns are recognised by their names, units and UCDs; `TableOptions` holds the facts that the table does not contain.
# We know the centre of this cluster and give it. Its redshift is estimated, as the biweight of its galaxies, by the
# function that also centred the mocks on which the network was trained.
#
# `resolve_model(None)` is the small estimator that ships with the package. It was trained on mock clusters at redshifts
# of 0.01 to 1.3 that are observed as published tables are, each group in another way, and so contains in its errors
# that depth and completeness of a table are not known. Its `observation` is the widest cylinder of which it knows.

# %%
estimator = MassEstimator.load(resolve_model(None), device="cpu")
options = TableOptions(centre=CENTRE)
cluster = read_table(table, options=options, observation=estimator.observation, cosmology=estimator.cosmology)
print(f"{cluster.n_galaxies} of {cluster.counts.rows} galaxies are in the cylinder")
print(f"redshift {cluster.redshift:.4f} ± {cluster.redshift_error:.4f}, {cluster.redshift_source}")
print(f"centre   {cluster.ra:.3f} {cluster.dec:+.3f}, {cluster.centre_source}")

# %% [markdown]
# ## Infer the mass

# %%
print(estimator)

# %%
(mass,) = infer_tables([table], estimator, options)
assert isinstance(mass, MassResult)  # a table that gives no mass would be a NoMassResult, with the reason
low, median, high = mass.percentiles
print(f"log10 M200c = {median:.2f}, 68 % between {low:.2f} and {high:.2f}; the truth is {TRUTH}")
print(f"velocity dispersion {mass.dispersion.value:.0f} km/s, from which M-sigma has {mass.log10_mass_m_sigma:.2f}")
print(mass.verdict, *mass.reasons, sep="\n")

# %% [markdown]
# The upper panel shows the galaxies in the cylinder over the kernel density of the cluster. The lower panel shows the
# posterior: everything that the galaxies and the training prior say about the mass. Quote its median and its 16th and
# 84th percentiles, or keep the whole posterior.

# %% mystnb={"image": {"alt": "Galaxies in phase space over their kernel density; below, the mass posterior."}}
plots.clusters(mass.cluster.catalogue, mass.posterior, [0])

# %% [markdown]
# ## Doubt it
#
# A mass must not follow how a cluster was observed. Somebody may have kept only the bright galaxies, removed
# interlopers, or cut the field. Try each on your own table: the mass should move by less than its error bar. Here half
# of the galaxies are removed at random, then all beyond 0.8 $h^{-1}$ Mpc.

# %%
inside = R_proj < 0.8
half = np.random.default_rng(1).random(len(z)) < 0.5
for name, kept in {"all": np.ones(len(z), bool), "half of them": half, "a small field": inside}.items():
    changed = Path(f"{name.replace(' ', '-')}.csv")
    rows = np.column_stack([ra, dec, z])[kept]
    np.savetxt(changed, rows, delimiter=",", header="ra,dec,z", comments="", fmt="%.6f")
    (answer,) = infer_tables([changed], estimator, options)
    assert isinstance(answer, MassResult)
    low, median, high = answer.percentiles
    print(f"{name}: {median:.2f} ({low:.2f} to {high:.2f}), {answer.verdict}", *answer.reasons, sep="\n  ")

# %% [markdown]
# Where to go from here:
#
# - [Prepare a table](../howto/prepare-a-table.md) and [choose centre and redshift](../howto/centre-and-redshift.md) for
#   a table of your own, and [read the verdict](../howto/read-the-warnings.md);
# - [Train for my survey](../howto/train-for-my-survey.md) where your data are not like those of the mocks;
# - [Assumptions and limits](../assumptions.md), before you publish a number.
