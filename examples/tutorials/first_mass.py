# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Your first mass, in five minutes
#
# This tutorial turns a DataFrame of galaxies into the mass of their cluster, with its error, a verdict on its use, and
# the reasons for that verdict. A path of a file or a table of astropy works in the same way. On the command line,
# `clustermass infer cluster.csv` does the same.
#
# Masses are $M_{200c}$ in $h^{-1} M_\odot$ unless a label says otherwise, distances are comoving $h^{-1}$ Mpc, and
# velocities are km/s ([the glossary](../glossary.md) explains each).

# %%
# %matplotlib inline
import numpy as np
import pandas as pd

from clustermocks import MDPL2, HaloModel, Observation
from clustermocks.observation import observed_redshift
from sbi_clustermass import TableOptions, infer
from sbi_clustermass.posterior import plots

# %% [markdown]
# ## A table
#
# The package ships no observations. This page therefore simulates a cluster of $10^{14.6}\,h^{-1} M_\odot$ at redshift
# 0.09 among its neighbours, so that the answer is known, and observes it as a spectroscopic survey does: the field is
# wider and deeper than the part that is used in the end, a third of the galaxies has no spectrum, and one spectrum in
# ten gave a wrong redshift, which the survey flags. Replace this cell by `galaxies = pd.read_csv("my_cluster.csv")`.

# %%
TRUTH, REDSHIFT, RA, DEC = 14.6, 0.09, 150.0, 20.0
rng = np.random.default_rng(9)
field = HaloModel(observation=Observation(redshift=REDSHIFT, aperture=2.5, v_cut=5000.0))
R_proj, v_los = field.simulate([TRUTH], seed=9).galaxies(0)
observed = rng.random(len(R_proj)) < 2 / 3
R_proj, v_los = R_proj[observed], v_los[observed]

angle, radius = rng.uniform(0, 2 * np.pi, len(R_proj)), np.degrees(R_proj / MDPL2.comoving_distance(REDSHIFT))
dec = DEC + radius * np.sin(angle)
failed = rng.random(len(R_proj)) < 0.1
galaxies = pd.DataFrame(
    {
        "RA": RA + radius * np.cos(angle) / np.cos(np.radians(dec)),
        "DEC": dec,
        "Z": np.where(failed, rng.uniform(0.06, 0.12, len(dec)), observed_redshift(REDSHIFT, v_los)),
        "ZWARN": np.where(failed, 4, 0),
    }
)
galaxies.head(4)

# %% [markdown]
# ## The mass
#
# Columns are recognised by their names and units, and flags are applied by the rule of the archive that writes them.
# Nothing in the table says which galaxy is a member, and nothing needs to. Centre and redshift are estimated from the
# galaxies. The estimator is the one that ships with the package; it was trained on mock clusters at redshifts of 0.01
# to 1.3, observed in many ways.

# %%
masses = infer(galaxies)
masses

# %% [markdown]
# The picture shows the galaxies in phase space, the parts of it on which the mass depends, the posterior, and the
# cluster among the mocks. `masses.plot()` returns it as a figure of Matplotlib. The text is the one that
# `clustermass infer` prints:

# %%
print(masses)

# %% [markdown]
# Quote the median and the 16th and 84th percentiles together with the verdict. `masses.posteriors` holds the posterior
# of each cluster on a grid of masses, from which any other number can be computed.

# %%
low, median, high = masses.posteriors.quantile([0.16, 0.5, 0.84])[:, 0]
above = 1 - masses.posteriors.pit(np.array([14.5]))[0]
print(f"log10 M200c = {median:.2f}, 68 % between {low:.2f} and {high:.2f}; the truth is {TRUTH}")
print(f"the mass exceeds 10^14.5 with probability {above:.2f}")

# %% [markdown]
# ## Samples and exports
#
# Draws of the joint posterior of mass, concentration and anisotropy are in `masses.samples`; `masses.to_arviz()` and
# `masses.to_getdist()` export them to ArviZ and GetDist. A table with all numbers is `masses.to_pandas()`, or
# `masses.to_table()` with units; `masses.write("masses.ecsv")` writes it to a file (also .csv and .parquet).

# %%
masses.to_pandas().T.head(8)

# %% mystnb={"image": {"alt": "Joint posterior of mass, concentration and velocity anisotropy."}}
plots.corner(masses.samples, 0, truth={"log10_mass": TRUTH})

# %% [markdown]
# ## Facts that a table does not contain
#
# `TableOptions` states such facts. The table below has distances and velocities. These do not determine the cluster's
# redshift, nor which Hubble constant the distances assume and whether they are physical or comoving. `where` keeps the
# rows that meet a condition on any column.

# %%
published = pd.DataFrame({"R": R_proj / 0.7 / (1 + REDSHIFT), "v": v_los, "mag": rng.uniform(14, 19, len(v_los))})
facts = TableOptions(
    redshift=REDSHIFT, h=0.7, distance="physical", columns={"R_proj": "R [Mpc]", "v_los": "v"}, where="mag < 18"
)
print(infer(published, options=facts))

# %% [markdown]
# ## Many clusters, and a first test
#
# One table may hold many clusters, told apart by a column. Here they are three versions of one, because a mass should
# not depend on how its cluster was observed. Try this on your own table: the mass should move by less than its error if
# half of the galaxies are removed at random, or all beyond 0.8 $h^{-1}$ Mpc.

# %%
cuts = {"all galaxies": R_proj < np.inf, "half of them": rng.random(len(R_proj)) < 0.5, "inner field": R_proj < 0.8}
table = pd.concat([galaxies[kept].assign(cluster=name) for name, kept in cuts.items()])
infer(table, options=TableOptions(id="cluster", centre=(RA, DEC)))

# %% [markdown]
# Where to go from here:
#
# - [Prepare a table](../howto/prepare-a-table.md) and [choose centre and redshift](../howto/centre-and-redshift.md) for
#   a table of your own, and [read the verdict](../howto/read-the-warnings.md);
# - [The gallery](gallery.ipynb) for more pictures, each with its code;
# - [Train for my survey](../howto/train-for-my-survey.md) where your data are not like those of the mocks;
# - [Assumptions and limits](../assumptions.md), before you publish a number.
