r"""Matter density and sigma8 from the number and the significances of clusters found by the South Pole Telescope.

python examples/spt.py SPT2500d.fits, with the table of Bleem et al. 2015, ApJS 216, 27, and Bocquet et al. 2019, ApJ
878, 55 (github.com/SebastianBocquet/SPT_SZ_cluster_likelihood, data/SPT2500d.fits): clusters of xi > 5 and z > .25.

The model is that of Bocquet et al. 2019: masses M500c by Tinker et al. 2008; ln zeta = ln A + B ln(M / 3e14 h^-1 Msun)
+ C ln(E(z) / E(.6)) + ln gamma with normal scatter, gamma the depth of the field; xi normal about zeta, see
`sbi_clustermass.population.significance`. The mass calibration is a prior of A, B and C, of one of two sources:

- simulations: de Haan et al. 2016, ApJ 832, 95, as in their successors' dH16_priors.ini
  (github.com/Piervi03/SPT_and_DESY3_growth_geometry_split).
- calibrated: what Bocquet et al. 2019 find from weak lensing, X-rays *and these counts*. It uses the counts twice: no
  measurement, but a check that the published relation gives the published cosmology here.

Sigma8 follows A, so that neither is a measurement without lensing. Not as in the paper: h, ns and Ob are fixed,
neutrinos are massless, photometric redshifts have no error, a cluster found in two fields counts once, and candidates
without a redshift, at most 6 % of the sample, are left out.
"""

import argparse
from collections.abc import Mapping
from math import log, log10
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    NUTS,
    AboveCut,
    CosmologyMassFunction,
    Laplace,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Significance,
    Survey,
    fit,
    shrink,
)
from sbi_clustermass.report.style import BLUE, GREY, ORANGE, save

if TYPE_CHECKING:
    from arviz import InferenceData

LN10 = log(10)
LEAST_XI, REDSHIFTS = 5.0, np.linspace(0.25, 1.75, 16).tolist()
MASSES = (13.2, 15.8)  # [dex]
NAME = "ln_zeta"
FIELDS = {  # area [deg^2] and gamma, from SPTcluster_data.py next to the table; de Haan et al. 2016 explain them
    "ra5h30dec-55": (82.8711, 1.3267815),
    "ra23h30dec-55": (100.241, 1.3875717),
    "ra21hdec-60": (147.589, 1.2923182),
    "ra3h30dec-60": (222.647, 1.2479916),
    "ra21hdec-50": (189.955, 1.1095432),
    "ra4h10dec-50": (155.547, 1.2668965),
    "ra0h50dec-50": (156.243, 1.1357954),
    "ra2h30dec-50": (155.731, 1.1901025),
    "ra1hdec-60": (145.888, 1.1754438),
    "ra5h30dec-45": (102.657, 1.079883),
    "ra6h30dec-55": (83.2849, 1.1631297),
    "ra3h30dec-42.5": (166.812, 1.1999745),
    "ra23hdec-62.5": (70.4952, 1.1762851),
    "ra21hdec-42.5": (111.217, 1.1490106),
    "ra1hdec-42.5": (108.625, 1.1916442),
    "ra22h30dec-55": (83.6339, 1.1307591),
    "ra23hdec-45": (204.453, 1.1864938),
    "ra6h30dec-45": (102.832, 1.1629247),
    "ra6hdec-62.5": (68.6716, 1.1823912),
}
PRIORS = {  # A, B and C with their errors
    "simulations": ((5.48, 1.61), (1.34, 0.268), (0.49, 0.49)),
    "calibrated": ((5.24, 0.85), (1.534, 0.100), (0.465, 0.407)),
}
SCATTER = 0.18  # of a half-normal prior: the rms of .161 ± .080 (Bocquet et al. 2019) and of .13 ± .13 (de Haan et al.)
LATE = "SPT-CLJ2312-4621"  # from here on M500_marge in the file is that of the preceding confirmed cluster
COLUMNS = {"M500": "at Om = .3 and sigma8 = .8", "M500_marge": "over all cosmologies"}
PUBLISHED = {"Om0": (0.276, 0.047), "sigma8": (0.781, 0.037), "S8_0.2": (0.766, 0.025)}  # Bocquet et al. 2019, abstract


class Clusters(NamedTuple):
    """Confirmed clusters, each once, and the number of candidates without redshift."""

    xi: np.ndarray
    redshift: np.ndarray
    gamma: np.ndarray
    published: dict[str, np.ndarray]  # log10 M500c [h^-1 Msun], NaN where there is none
    unconfirmed: int


def read(path: Path) -> Clusters:
    """Read the table; of a cluster found in two overlapping fields, the row of its larger xi is taken."""
    table = Table.read(path)
    table = table[np.argsort(-table["xi"], kind="stable")]
    table = table[np.sort(np.unique(table["SPT_ID"], return_index=True)[1])]
    table = table[table["xi"] > LEAST_XI]
    found = table[table["redshift"] > REDSHIFTS[0]]
    gamma = np.array([FIELDS[str(name).strip()][1] for name in found["field"]])
    # in 1e14 Msun for h = .7, as follows from the radii in the table
    masses = {label: 14 + np.log10(0.7 * np.asarray(found[name], float)) for name, label in COLUMNS.items()}
    masses[COLUMNS["M500_marge"]][found["SPT_ID"] >= LATE] = np.nan
    xi, redshift = (np.asarray(found[name], float) for name in ("xi", "redshift"))
    return Clusters(xi, redshift, gamma, masses, int((table["redshift"] == 0).sum()))


def sky() -> Survey:
    """Fields of the survey, each in shells of redshift, with the logs of their depths."""
    fields = (Survey.of_sky(area, REDSHIFTS, offsets={NAME: log(gamma)}) for area, gamma in FIELDS.values())
    return Survey.joined(*fields)


def population(prior: str) -> Population:
    """Model with Tinker's masses and the relation, whose slopes are per dex, with one of the priors."""
    A, B, C = PRIORS[prior]
    relation = ScalingRelation(
        NAME,
        intercept=(log(A[0]), A[1] / A[0]),
        slope=(B[0] * LN10, B[1] * LN10),
        evolution=(C[0] * LN10, C[1] * LN10),
        scatter=SCATTER,
        pivot=log10(3e14),
        redshift_pivot=0.6,
    )
    selection = AboveCut(NAME, LEAST_XI, kind=Significance)
    return Population(CosmologyMassFunction(overdensity=500), (relation,), selection, mass_range=MASSES)


def observed(clusters: Clusters) -> ObservedClusters:
    """Data that are fitted: significances and redshifts, without masses.

    Steps of .01 dex resolve the brightest cluster even without scatter: 1 / (xi B ln 10) = .006 dex.
    """
    xi = Significance(clusters.xi, np.log(clusters.gamma))
    return ObservedClusters.without_masses({NAME: xi}, redshift=clusters.redshift, masses=MASSES, step=0.01)


def values(idata: "InferenceData") -> dict[str, np.ndarray]:
    """Draws of cosmology and relation, in the parameters of the paper."""
    draws = {name: array.values.ravel() for name, array in idata["posterior"].data_vars.items()}
    return {
        "Om0": draws["Om0"],
        "sigma8": draws["sigma8"],
        "S8_0.2": draws["sigma8"] * (draws["Om0"] / 0.3) ** 0.2,
        "S8": draws["S8"],
        "A": np.exp(draws[f"intercept_{NAME}"]),
        "B": draws[f"slope_{NAME}"] / LN10,
        "C": draws[f"evolution_{NAME}"] / LN10,
        "scatter": draws[f"scatter_{NAME}"],
    }


def expected(prior: str, clusters: Clusters, idata: "InferenceData", draws: int = 50) -> np.ndarray:
    """Expected number of clusters in each redshift bin, in all fields, averaged over draws."""
    model = population(prior)
    problem = Problem.from_clusters(model, observed(clusters), sky(), counts=True)
    total = np.zeros(len(REDSHIFTS) - 1)
    flat = {name: idata["posterior"][name].values.ravel() for name in model.priors}
    for i in np.linspace(0, len(flat["Om0"]) - 1, draws).astype(int):
        rate = problem.log_selected_rate({name: torch.tensor(value[i]) for name, value in flat.items()}).exp()
        total += (rate @ problem.likelihood.weights).reshape(len(FIELDS), -1).sum(0).numpy()
    return total / draws


# ---- table and picture ----------------------------------------------------------------------------------------------


def show(clusters: Clusters, found: Mapping[str, "InferenceData"], masses: MassPosteriors) -> None:
    """Print the fits with the published cosmology, and the masses compared with the published ones."""
    left_out = f"{clusters.unconfirmed} candidates without redshift left out"
    print(f"{len(clusters.xi)} clusters of xi > 5 and z > .25; {left_out}")
    print(f"{'prior of the relation':22}" + "".join(f"{name:>15}" for name in values(next(iter(found.values())))))
    for name, idata in found.items():
        print(f"{name:22}" + "".join(f"{x.mean():>7.3f} ± {x.std():.3f}" for x in values(idata).values()))
    print(f"{'Bocquet et al. 2019':22}" + "".join(f"{x:>7.3f} ± {error:.3f}" for x, error in PUBLISHED.values()))
    print("log10 M500c with the calibrated prior, over the published [dex]")
    for label, published in clusters.published.items():
        off = masses.mean - published
        print(f"  {label:28}{np.nanmean(off):+.3f} on average, scatter {np.nanstd(off):.3f}")


def draw(clusters: Clusters, found: Mapping[str, "InferenceData"], masses: MassPosteriors) -> Figure:
    """Plot cosmology, counts against redshift, and masses against the published ones."""
    figure = Figure(figsize=(12.5, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for (name, idata), colour in zip(found.items(), (GREY, BLUE), strict=True):
        draws = values(idata)
        left.plot(draws["Om0"], draws["sigma8"], ".", ms=2, alpha=0.4, color=colour, label=f"prior: {name}")
        number = expected(name, clusters, idata)
        middle.stairs(number, REDSHIFTS, color=colour, lw=1.5, label=f"model, prior: {name}")
    (Om0, Om0_error), (sigma8, sigma8_error) = PUBLISHED["Om0"], PUBLISHED["sigma8"]
    left.errorbar(Om0, sigma8, sigma8_error, Om0_error, fmt="o", color=ORANGE, label="Bocquet et al. 2019")
    left.set(xlabel=r"$\Omega_m$", ylabel=r"$\sigma_8$")
    left.legend(fontsize=8)
    draw_numbers(middle, clusters)
    draw_masses(right, clusters, masses)
    return figure


def draw_numbers(axes: Axes, clusters: Clusters) -> None:
    """Plot the number of clusters in each redshift bin, with Poisson errors."""
    number = np.histogram(clusters.redshift, REDSHIFTS)[0]
    centre = np.add(REDSHIFTS[1:], REDSHIFTS[:-1]) / 2
    axes.errorbar(centre, number, np.sqrt(number), fmt="o", ms=4, color=ORANGE, label="clusters")
    axes.set(xlabel="redshift", ylabel=r"clusters of $\xi > 5$", ylim=(0, None))
    axes.legend(fontsize=8)


def draw_masses(axes: Axes, clusters: Clusters, masses: MassPosteriors) -> None:
    """Plot masses with the calibrated prior against those published for it."""
    published = clusters.published["over all cosmologies"]
    axes.errorbar(published, masses.mean, masses.std, fmt=".", lw=0.4, color=BLUE, alpha=0.6)
    axes.axline((14.5, 14.5), slope=1, color="k", ls="--", lw=1)
    axes.set(xlabel=r"published $\log_{10} M_{500c}\ [h^{-1}\,M_\odot]$", ylabel=r"$\log_{10} M_{500c}$, calibrated")


def main(path: Path, picture: Path, sampler: NUTS | Laplace) -> dict[str, "InferenceData"]:
    """Fit with both priors, print, and write the picture."""
    clusters = read(path)
    found = {}
    for name in PRIORS:
        found[name] = fit(population(name), observed(clusters), sky(), sampler=sampler)
    masses = shrink(found["calibrated"], population("calibrated"), observed(clusters), sky())
    show(clusters, found, masses)
    picture.parent.mkdir(parents=True, exist_ok=True)
    save(draw(clusters, found, masses), picture)
    print(f"picture: {picture}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cosmology from the SPT-SZ clusters.")
    parser.add_argument("table", type=Path, help="SPT2500d.fits")
    parser.add_argument("--picture", type=Path, default=Path("runs/examples/spt.png"))
    parser.add_argument(
        "--nuts", action="store_true", help="sample without approximation, which takes ten times as long"
    )
    given = parser.parse_args()
    main(given.table, given.picture, NUTS(1000, 200) if given.nuts else Laplace(500, rounds=4))
