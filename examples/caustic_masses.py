"""Velocity dispersion against caustic mass of observed clusters: a consistency check with the relation of haloes.

`python examples/caustic_masses.py hecs2013.csv`, with the 58 clusters of the Hectospec Cluster Survey (Rines et al.
2013, ApJ 767, 15; VizieR J/ApJ/767/15): redshift, dispersion of the members [km/s] and its errors, and caustic M200c
[1e14 h^-1 Msun]; or `owers2017.tsv`, with the eight of the SAMI survey (Owers et al. 2017, MNRAS 468, 1824, table 1),
whose masses are in 1e14 Msun for h = .7.

Evrard et al. 2008, ApJ 672, 122, find for dark matter log10 sigma = log10 1082.9 + .3361 log10(h(z) M200c / 10^15 Msun)
with a scatter of .0426 in ln sigma. h(z) is H(z) in 100 km/s/Mpc, so that h(z) M200c is E(z) times the mass in
h^-1 Msun; this product is called mass here.

Caustic masses and dispersions come from the same velocities. At fixed true mass the two are not independent, and the
scatter between them is not intrinsic. The errors of the masses are statistical, down to 0 (the last digit is .01): the
fit is repeated with an error of at least .1 dex, closer to the effect of projection on caustic masses.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    NUTS,
    Laplace,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    fit,
)
from sbi_clustermass.report.style import BLUE, GREY, ORANGE, save

if TYPE_CHECKING:
    from arviz import InferenceData

PIVOT = 15.0  # [dex]
EVRARD = {"slope": 0.3361, "sigma": 1082.9, "scatter": 0.0426 / np.log(10)}
FLOORS = {"statistical": 0.0, "0.1 dex at least": 0.1}
MASSES = (13.2, 15.7)  # three errors beyond every cluster [dex]

RELATION = ScalingRelation("log_sigma", intercept=(3.0, 0.3), slope=(0.3, 0.3), scatter=0.1, pivot=PIVOT)
POPULATION = Population(NormalMasses(mean=(14.5, 0.5)), relations=(RELATION,), mass_range=MASSES)


class Layout(NamedTuple):
    """Columns of a table, and the h in the unit of its masses, 1e14 h^-1 Msun.

    Attributes:
        names: Column of the clusters' names.
        columns: Redshift; mass and its error; dispersion and its errors upwards and downwards.
        h: Hubble constant by which masses are multiplied.
    """

    names: str
    columns: tuple[str, ...]
    h: float


TABLES = (
    Layout("name", ("z", "M200c_1e14_Msun_h", "M200_err", "sigma_p_kms", "sigma_errp", "sigma_errm"), 1.0),
    Layout("Name", ("z_clus", "M_200_caustic", "e_M_200_caustic", "sigma_200", "e_sigma_200", "e_sigma_200"), 0.7),
)


class Clusters(NamedTuple):
    """Logs of masses and dispersions [dex], with errors."""

    names: tuple[str, ...]
    mass: np.ndarray
    mass_error: np.ndarray
    log_sigma: np.ndarray
    log_sigma_error: np.ndarray


def read(path: Path) -> Clusters:
    """Read a table; masses are multiplied by E(z)."""
    table = Table.read(path, format="ascii.tab" if path.suffix == ".tsv" else "ascii.csv")
    names, columns, h = next(each for each in TABLES if set(each.columns) <= set(table.colnames))
    z, mass, error, sigma, above, below = (np.asarray(table[column], float) for column in columns)
    rate, error = MDPL2.hubble(z) / 100, np.maximum(error, 0.005)  # half of the last digit
    return Clusters(
        tuple(map(str, table[names])),
        14 + np.log10(rate * h * mass),
        error / mass / np.log(10),
        np.log10(sigma),
        0.5 * (above + below) / sigma / np.log(10),
    )


def observed(clusters: Clusters, floor: float) -> ObservedClusters:
    """Data that are fitted, with errors of the masses of at least `floor` [dex]."""
    error = np.maximum(clusters.mass_error, floor)
    step = min(error.min() / 3, 0.01)
    grid = np.linspace(*MASSES, round((MASSES[1] - MASSES[0]) / step) + 1)
    posteriors = MassPosteriors.from_normal(clusters.mass, error, grid)
    log_sigma = Observable(clusters.log_sigma, clusters.log_sigma_error, same_galaxies=True)
    return ObservedClusters(posteriors, observables={"log_sigma": log_sigma})


def values(idata: "InferenceData") -> dict[str, np.ndarray]:
    """Draws of the slope, of sigma at the pivot [km/s] and of the scatter [dex]."""
    draws = {name: idata["posterior"][RELATION.site(name)].values.ravel() for name in ("slope", "intercept", "scatter")}
    return {"slope": draws["slope"], "sigma": 10 ** draws["intercept"], "scatter": draws["scatter"]}


def show(found: Mapping[str, "InferenceData"]) -> None:
    """Print the fits with the relation of haloes."""
    print("CONSISTENCY CHECK: masses and dispersions are of the same galaxies; the scatter means nothing.")
    print(f"{'errors of the masses':24}{'slope':>16}{'sigma(1e15) [km/s]':>22}{'scatter [dex]':>18}")
    for name, idata in found.items():
        slope, sigma, scatter = ((each.mean(), each.std()) for each in values(idata).values())
        row = f"{slope[0]:.3f} ± {slope[1]:.3f}", f"{sigma[0]:.0f} ± {sigma[1]:.0f}"
        print(f"{name:24}{row[0]:>16}{row[1]:>22}{scatter[0]:>10.3f} ± {scatter[1]:.3f}")
    print(f"{'Evrard et al. 2008':24}{EVRARD['slope']:>16}{EVRARD['sigma']:>22}{EVRARD['scatter']:>18.3f}")


def draw(clusters: Clusters, found: Mapping[str, "InferenceData"]) -> Figure:
    """Plot the clusters, the fitted lines with their 68 %, and the line of haloes."""
    figure = Figure(figsize=(5.4, 4.4), layout="constrained")
    axes, x = figure.subplots(), np.linspace(13.7, 15.25, 50)
    points = clusters.mass, clusters.log_sigma, clusters.log_sigma_error, clusters.mass_error
    axes.errorbar(*points, fmt="o", ms=3, lw=0.7, color=GREY, label="observed, caustic masses")
    for (name, idata), colour in zip(found.items(), (ORANGE, BLUE), strict=True):
        draws = values(idata)
        lines = np.log10(draws["sigma"])[:, None] + draws["slope"][:, None] * (x - PIVOT)
        low, middle, high = np.percentile(lines, [16, 50, 84], axis=0)
        axes.fill_between(x, low, high, color=colour, alpha=0.3, lw=0)
        axes.plot(x, middle, color=colour, label=f"fit, mass errors {name}")
    halo = np.log10(EVRARD["sigma"]) + EVRARD["slope"] * (x - PIVOT)
    axes.plot(x, halo, "k--", lw=1.2, label="dark matter, Evrard et al. 2008")
    axes.set(
        xlabel=r"$\log_{10}\, E(z)\, M_{200c}\ [h^{-1}\,M_\odot]$",
        ylabel=r"$\log_{10}\, \sigma_v\ [\mathrm{km\,s^{-1}}]$",
        title="consistency check: both axes are of the same galaxies",
    )
    axes.title.set_fontsize(10)
    axes.legend(fontsize=8, loc="upper left")
    return figure


def main(path: Path, picture: Path, sampler: NUTS | Laplace) -> dict[str, "InferenceData"]:
    """Fit with both errors, print, and write the picture."""
    clusters = read(path)
    found = {
        name: fit(POPULATION, observed(clusters, floor), counts=False, sampler=sampler, same_galaxies_allowed=True)
        for name, floor in FLOORS.items()
    }
    show(found)
    picture.parent.mkdir(parents=True, exist_ok=True)
    save(draw(clusters, found), picture)
    print(f"picture: {picture}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Velocity dispersion against caustic mass.")
    parser.add_argument("table", type=Path, help="hecs2013.csv or owers2017.tsv")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/caustic_masses.png"))
    parser.add_argument("--fast", action="store_true", help="the Laplace approximation")
    given = parser.parse_args()
    main(given.table, given.picture, Laplace() if given.fast else NUTS(300, 150))
