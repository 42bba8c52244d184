# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Your own N-body catalogue
#
# If you have an N-body simulation with galaxies, you can train on it instead of on our mocks. Two files go in, haloes
# and galaxies of one snapshot; the result is a `Catalogue` of clusters as an observer sees them, along as many lines of
# sight as you like. The same functions project, cut and recentre observed tables.
#
# No simulation ships with the package, so this page first writes a toy box in the format of consistent-trees. With
# files of your own, begin at "Read it". `examples/nbody.py` does the same with UniverseMachine's binary files.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np

from clustermocks import MDPL2, BoxView, HaloMassFunction, lines_of_sight, observe_box
from clustermocks.haloes.cosmology import concentration, nfw_mass, radius_200c, virial_ratio, virial_velocity
from clustermocks.nbody import READERS, ArrayBox, RockstarHlist, convert
from sbi_clustermass import Tabulated, Training, TrialMasses, train
from sbi_clustermass.diagnostics import residuals
from sbi_clustermass.posterior import plots

FAST = bool(os.environ.get("CLUSTERMASS_FAST"))  # a smaller version, to see that everything works

# %% [markdown]
# ## A toy box
#
# The box has haloes at random places, as many of each mass as in Tinker et al. 2008 above a limit. Each has a central
# galaxy at rest and satellites that follow an NFW profile. The haloes do not cluster, so the box is for practising the
# format; it is not a simulation.

# %%
REDSHIFT, SIDE, N_HOSTS = 0.117, 250.0, 300 if FAST else 900
AXES = ("x", "y", "z", "vx", "vy", "vz")
rng = np.random.default_rng(1)

mass = 10 ** HaloMassFunction(low=13.2, high=15.3, redshift=REDSHIFT).draw(N_HOSTS, 1)
R_vir = virial_ratio(concentration(mass, REDSHIFT, MDPL2), REDSHIFT, MDPL2) * radius_200c(mass, REDSHIFT, MDPL2)
haloes = np.column_stack([rng.uniform(0, SIDE, (N_HOSTS, 3)), rng.normal(0, 300, (N_HOSTS, 3))])

host = np.repeat(np.arange(N_HOSTS), rng.poisson(30 * (mass / 1e14) ** 0.9))
x = np.linspace(0.01, 3.4, 400)  # in scale radii, of the galaxies' concentration of 2.6
radius = np.interp(rng.uniform(0, nfw_mass(x[-1]), len(host)), nfw_mass(x), x) / x[-1] * R_vir[host]
direction = rng.normal(size=(len(host), 3))
direction /= np.linalg.norm(direction, axis=1, keepdims=True)
motion = 0.7 * virial_velocity(mass, REDSHIFT, MDPL2)[host, None] * rng.normal(size=(len(host), 3))
satellites = haloes[host] + np.column_stack([radius[:, None] * direction, motion])
print(f"{N_HOSTS} haloes, {len(host)} satellites in a box of {SIDE:g} h^-1 Mpc")

# %% [markdown]
# The haloes go into a file as consistent-trees writes it, with a header that names the columns, and radii in kpc/h.

# %%
ids = 1000 + np.arange(N_HOSTS)
columns = {"id": ids, "upid": np.full(N_HOSTS, -1), "M200c": mass, "rvir": 1000 * R_vir}
columns |= dict(zip(AXES, haloes.T, strict=True))
header = "#" + " ".join(f"{name}({i})" for i, name in enumerate(columns))
rows = [" ".join(f"{value:.10g}" for value in row) for row in zip(*columns.values(), strict=True)]
folder = Path(tempfile.mkdtemp())
hlist = folder / "hlist_0.89510.list"
hlist.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
print(header)

# %% [markdown]
# ## Read it
#
# `convert` streams a file of any size into a folder of Parquet, slab by slab along x, in constant memory. These formats
# have a reader:

# %%
print(*READERS, sep="\n")

# %%
hosts = convert(RockstarHlist(), hlist, folder / "haloes", kind="haloes", side=SIDE)

# %% [markdown]
# Arrays in memory need no file: use `ArrayBox`. Each galaxy has the id of its host halo. Centrals are galaxies, too.

# %%
everything = np.concatenate([haloes, satellites])
everything[:, :3] %= SIDE
tracers = ArrayBox.from_arrays(
    "galaxies",
    SIDE,
    {
        "id": np.arange(len(everything)),
        "host_id": np.concatenate([ids, ids[host]]),
        "is_central": np.arange(len(everything)) < N_HOSTS,
        **dict(zip(AXES, everything.T, strict=True)),
    },
)

# %% [markdown]
# ## Observe it
#
# `BoxView` holds the choices of the observation: redshift, cylinder, richness cut, errors of centres and velocities,
# fibre collisions, completeness. Three lines of sight through a halo give three clusters that share its `host_id`.

# %%
mocks = observe_box(hosts, tracers, lines_of_sight(3), view=BoxView(min_log10_mass=13.2))
train_set, test_set = mocks.split(0.8, seed=1)
shared = set(train_set.host_id) & set(test_set.host_id)
print(f"{len(mocks)} clusters of {len(set(mocks.host_id))} haloes; {len(shared)} haloes in both sets")

# %% [markdown]
# ## Train
#
# A few hundred haloes are a small training set. Real boxes have tens of thousands, and a folder that is larger than
# memory can be trained on part by part. Masses that follow the mass function are mostly low ones; the training prior is
# measured and stored, and a population fit divides it out. For single clusters, `flatten` selects as many clusters of
# every mass.

# %%
rule = Training(learning_rate=5e-3, batch_size=100, max_updates=100 if FAST else 500, seed=1)
estimator = train(
    train_set, flow=Tabulated(embedding=TrialMasses(richness=False)), support=(13.2, 15.3), training=rule, device="cpu"
)
posteriors = estimator.posterior(test_set)
mean, scatter = residuals(posteriors.mean, test_set.log10_mass)
print(f"mean residual {mean:+.3f} dex, scatter {scatter:.3f} dex")

# %% mystnb={"image": {"alt": "Inferred against true mass of clusters from the box, residuals below."}}
plots.masses(posteriors, test_set.log10_mass)

# %% [markdown]
# On the command line: `mocks.to_parquet("mocks.parquet")`, then `clustermass train mocks.parquet --out runs/nbody`.
