"""Eddington bias: mass errors distort a mass function and a scaling relation, and a hierarchical fit corrects both.

    python examples/eddington.py [--seed 1] [--surveys 1] [--volume 2e8] [--out runs/examples/eddington.png]

Haloes are drawn from Tinker's mass function, their masses estimated with errors that fall from .25 dex to .1 dex as
mass grows, and those of an estimate above 10^14 are kept. At each estimate more haloes have scattered up than down,
because there are more of them below. The naive ways take estimates for masses: a histogram, with a cubic through its
logs, and a least-squares line through an observable, log velocity dispersion from other galaxies. `--surveys 20`
continues with the next 19 seeds and prints mean pulls, (found - true) / error.

Errors of this size always bias density, intercept and scatter; the bias of the slopes depends on how the errors change
with mass. Here both are too steep. Constant errors make both too flat, and errors in between leave one of them right.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr

from clustermocks import HaloMassFunction
from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    NUTS,
    KnownSelection,
    MassFunction,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    fit,
    mass_function_band,
)
from sbi_clustermass.population.sampling import Sampler
from sbi_clustermass.report.style import BLUE, ORANGE, save

if TYPE_CHECKING:
    from arviz import InferenceData

HALOES = HaloMassFunction(low=12.5, high=15.8)
CUT, PIVOT = 14.0, 14.3
GRID = np.linspace(12.8, 15.8, 101)
INTERCEPT, SLOPE, SCATTER, ERROR = 2.85, 0.336, 0.05, 0.03  # of log10 sigma_v [dex]
EDGES = np.linspace(CUT, 15.3, 14)

Found = dict[str, tuple[float, float]]  # value and error, by name


class Mock(NamedTuple):
    """A survey: estimated masses [dex], log10 sigma_v [dex], and the volume [h^-3 Mpc^3]."""

    estimate: Float[np.ndarray, "cluster"]
    log_sigma: Float[np.ndarray, "cluster"]
    volume: float


def mass_error(log10_mass: np.ndarray) -> np.ndarray:
    """Standard deviation of a mass estimate at a true mass [dex]: as 1 / sqrt(galaxies), between two limits."""
    return np.clip(0.15 * 10 ** (-0.5 * (log10_mass - 14.0)), 0.1, 0.25)


def selected(log10_mass: np.ndarray) -> np.ndarray:
    """Probability that a halo's estimate exceeds the cut."""
    return ndtr((log10_mass - CUT) / mass_error(log10_mass))


def observe(volume: float, seed: int) -> Mock:
    """Haloes in a volume, estimated and cut."""
    own, of_masses = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(own)
    masses = HALOES.draw(rng.poisson(volume * HALOES.number_density()), of_masses)
    estimate = masses + mass_error(masses) * rng.standard_normal(masses.size)
    spread = np.hypot(SCATTER, ERROR) * rng.standard_normal(masses.size)
    log_sigma = INTERCEPT + SLOPE * (masses - PIVOT) + spread
    kept = estimate > CUT
    return Mock(estimate[kept], log_sigma[kept], volume)


def truth() -> dict[str, float]:
    """True values."""
    near = PIVOT + np.linspace(-0.3, 0.3, 13)  # a cubic: colossus' function is smooth to .1 %
    cubic = np.polynomial.Polynomial.fit(near - PIVOT, np.log10(HALOES.density(near)), 3).convert().coef
    return {
        "log10_density": float(cubic[0]),
        "slope": float(cubic[1]),
        "intercept_log_sigma": INTERCEPT,
        "slope_log_sigma": SLOPE,
        "scatter_log_sigma": SCATTER,
    }


# ---- naive and hierarchical -----------------------------------------------------------------------------------------


def naive(mock: Mock) -> Found:
    """Naive results: point estimates are taken for masses."""
    return {**histogram_fit(mock.estimate, mock.volume), **least_squares(mock.estimate, mock.log_sigma)}


def histogram_fit(log10_mass: np.ndarray, volume: float) -> Found:
    """Density and slope at the pivot by a cubic through the log of a histogram, with Poisson's likelihood."""
    counts, _ = np.histogram(log10_mass, EDGES)
    x = 0.5 * (EDGES[1:] + EDGES[:-1]) - PIVOT
    powers = np.vander(x, 4, increasing=True) * np.log(10)
    log_mean = np.log(counts + 0.5)
    for _ in range(20):  # Newton's steps
        mean = np.exp(log_mean)
        covariance = np.linalg.inv((powers.T * mean) @ powers)
        found = covariance @ (powers.T @ (mean * log_mean + counts - mean))
        log_mean = powers @ found
    found[0] -= np.log10(volume * (EDGES[1] - EDGES[0]))
    error = np.sqrt(np.diag(covariance))
    return {"log10_density": (found[0], error[0]), "slope": (found[1], error[1])}


def least_squares(log10_mass: np.ndarray, log_sigma: np.ndarray) -> Found:
    """Fit a straight line, and the scatter about it without the known errors."""
    line, covariance = np.polyfit(log10_mass - PIVOT, log_sigma, 1, cov=True)
    variance = np.var(log_sigma - np.polyval(line, log10_mass - PIVOT), ddof=2)
    scatter = np.sqrt(variance - ERROR**2)
    error = np.sqrt(np.diag(covariance))
    return {
        "intercept_log_sigma": (line[1], error[1]),
        "slope_log_sigma": (line[0], error[0]),
        "scatter_log_sigma": (scatter, variance / scatter / np.sqrt(2 * len(log_sigma))),
    }


SAMPLER = NUTS(num_samples=200, num_warmup=100, num_chains=2)
POPULATION = Population(
    MassFunction(),
    relations=(ScalingRelation("log_sigma", intercept=(2.9, 0.3), slope=(0.3, 0.3), scatter=0.2, pivot=PIVOT),),
    selection=KnownSelection(selected, of_data=True),
)


def hierarchical(mock: Mock, sampler: Sampler = SAMPLER) -> "InferenceData":
    """Fit mass function and relation together, with the errors of each cluster and the cut."""
    width = mass_error(GRID)
    log_likelihood = -0.5 * ((mock.estimate[:, None] - GRID) / width) ** 2 - np.log(width)
    posteriors = MassPosteriors.from_log_prob(GRID, log_likelihood)
    clusters = ObservedClusters(posteriors, observables={"log_sigma": Observable(mock.log_sigma, ERROR)})
    return fit(POPULATION, clusters, Survey.of_volume(mock.volume, sample_variance=False), sampler=sampler)


def summary(idata: "InferenceData") -> Found:
    """Mean and standard deviation of the draws of a fit."""
    draws = {name: idata["posterior"][name].values for name in truth()}
    return {name: (float(values.mean()), float(values.std())) for name, values in draws.items()}


def pulls(found: Found) -> dict[str, float]:
    """(found - true) / error of each number."""
    return {name: (found[name][0] - true) / found[name][1] for name, true in truth().items()}


# ---- table and picture ----------------------------------------------------------------------------------------------

NAIVE, FITTED = ORANGE, BLUE
MASS = r"$\log_{10} M_{200c}$ [$h^{-1} M_\odot$]"
MASSES = np.linspace(13.7, 15.3, 81)


def table(seed: int, mock: Mock, ways: dict[str, Found]) -> str:
    """Table of true, naive and hierarchical numbers, with pulls."""
    lines = [f"seed {seed}: {len(mock.estimate)} clusters estimated above 10^{CUT:g}, with pulls in brackets"]
    lines.append(f"  {'':<20}{'true':>9}" + "".join(f"{way:>28}" for way in ways))
    for name, true in truth().items():
        each = [
            f"{found[name][0]:10.4f} ± {found[name][1]:.4f} ({pulls(found)[name]:+5.1f})" for found in ways.values()
        ]
        lines.append(f"  {name:<20}{true:9.4f}" + "".join(f"{text:>28}" for text in each))
    return "\n".join(lines)


def mean_pulls(surveys: list[dict[str, Found]]) -> str:
    """Mean pull of each number over surveys, the error of the mean, and the pulls' standard deviation."""
    lines = [f"pulls over {len(surveys)} surveys: mean ± its error, and standard deviation"]
    for name in truth():
        each = ""
        for way in surveys[0]:
            pull = np.array([pulls(ways[way])[name] for ways in surveys])
            scatter = pull.std(ddof=1)
            each += f"  {way} {pull.mean():+6.2f} ± {scatter / np.sqrt(len(pull)):.2f}, {scatter:.2f}"
        lines.append(f"  {name:<20}{each}")
    return "\n".join(lines)


def draw(picture: Path, mock: Mock, ways: dict[str, Found], idata: "InferenceData") -> None:
    """Draw the picture."""
    figure = Figure(figsize=(11.5, 5), layout="constrained")
    axes = figure.subplot_mosaic([["function", "relation"], ["ratio", "relation"]], height_ratios=[3, 1])
    draw_function(axes["function"], mock, idata, np.ones_like)
    draw_function(axes["ratio"], mock, idata, HALOES.density)
    draw_relation(axes["relation"], mock, ways["naive"], idata)
    legend(axes["function"], "slope", ways, "mass estimates as they are")
    legend(axes["relation"], "slope_log_sigma", ways, "least squares")
    axes["function"].set(yscale="log", ylabel=r"$dn/d\log_{10}M$ [$h^3$ Mpc$^{-3}$ dex$^{-1}$]")
    axes["function"].set_title(f"mass function, with its slopes at $10^{{{PIVOT:g}}}$")
    axes["function"].tick_params(labelbottom=False)
    axes["ratio"].set(ylim=(0.4, 2.2), yticks=(0.5, 1, 1.5, 2), ylabel="over truth", xlabel=MASS)
    axes["relation"].set(title="scaling relation, with its slopes", xlabel=MASS, ylabel=r"$\log_{10}\sigma_v$ [km/s]")
    figure.suptitle(f"{len(mock.estimate)} clusters of estimated mass above $10^{{{CUT:g}}}$, errors 0.1 to 0.25 dex")
    picture.parent.mkdir(parents=True, exist_ok=True)
    save(figure, picture)


def draw_function(axis: Axes, mock: Mock, idata: "InferenceData", over: Callable[[np.ndarray], np.ndarray]) -> None:
    """Plot histogram of estimates, band of the fit and truth, over a density."""
    counts, _ = np.histogram(mock.estimate, EDGES)
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    unit = over(centres) * mock.volume * (EDGES[1] - EDGES[0])
    axis.errorbar(centres, counts / unit, np.sqrt(counts) / unit, fmt="o", ms=4, color=NAIVE, label="naive")
    low, high = mass_function_band(idata, MASSES, percentiles=(16, 84)) / over(MASSES)
    draw_fit(axis, low, high, HALOES.density(MASSES) / over(MASSES))
    axis.axvline(PIVOT, color="0.85", lw=1, zorder=0)


def draw_relation(axis: Axes, mock: Mock, line: Found, idata: "InferenceData") -> None:
    """Plot observable against estimates, the least-squares line, the band of the fit and the truth."""
    axis.plot(mock.estimate, mock.log_sigma, ".", ms=2, color="0.75", zorder=0)
    naive_line = line["intercept_log_sigma"][0] + line["slope_log_sigma"][0] * (MASSES - PIVOT)
    axis.plot(MASSES, naive_line, color=NAIVE, lw=2, label="naive")
    posterior = idata["posterior"]
    slope, intercept = (posterior[f"{name}_log_sigma"].values.reshape(-1, 1) for name in ("slope", "intercept"))
    low, high = np.percentile(intercept + slope * (MASSES - PIVOT), [16, 84], axis=0)
    draw_fit(axis, low, high, INTERCEPT + SLOPE * (MASSES - PIVOT))
    axis.set(ylim=(2.4, 3.3))


def draw_fit(axis: Axes, low: np.ndarray, high: np.ndarray, true: np.ndarray) -> None:
    """Plot a band and the truth."""
    axis.fill_between(MASSES, low, high, color=FITTED, alpha=0.5, lw=0, label="hierarchical")
    axis.plot(MASSES, true, "k--", lw=1, label="true")
    axis.set_xlim(MASSES[0], MASSES[-1])


def legend(axis: Axes, name: str, ways: dict[str, Found], naive_way: str) -> None:
    """Add a legend with one number: naive, fitted and true."""
    titles = {"naive": naive_way, "hierarchical": "hierarchical fit, 68 %"}
    text = {
        way: f"{titles[way]}: {found[name][0]:.3f} ± {found[name][1]:.3f}, off by {pulls(found)[name]:+.1f} σ"
        for way, found in ways.items()
    }
    text["true"] = f"truth: {truth()[name]:.3f}"
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    place = "lower left" if name == "slope" else "upper left"
    shown = [line.replace("-", "−") for line in text.values()]
    axis.legend([handles[way] for way in text], shown, fontsize=9, frameon=False, loc=place)


def main(
    seed: int = 1,
    surveys: int = 1,
    volume: float = 2e8,
    out: Path = Path("runs/examples/eddington.png"),
    sampler: Sampler = SAMPLER,
) -> None:
    """Print the numbers of each survey and their mean pulls, and make the picture of the first.

    Args:
        seed: Seed of the first survey.
        surveys: Number of surveys, with the next seeds.
        volume: Volume of each [h^-3 Mpc^3].
        out: File of the picture.
        sampler: Sampler of the hierarchical fit.
    """
    every = []
    for number in range(surveys):
        mock = observe(volume, seed + number)
        idata = hierarchical(mock, sampler)
        every.append({"naive": naive(mock), "hierarchical": summary(idata)})
        print(table(seed + number, mock, every[-1]), flush=True)
        if number == 0:
            draw(out, mock, every[0], idata)
    if surveys > 1:
        print(mean_pulls(every))
    print(f"wrote {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Eddington bias.", argument_default=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help="of the first survey")
    parser.add_argument("--surveys", type=int, help="how many, with the next seeds")
    parser.add_argument("--volume", type=float, help="of each [h^-3 Mpc^3]")
    parser.add_argument("--out", type=Path, help="picture")
    main(**vars(parser.parse_args()))
