"""Bias of Om and sigma8 if posteriors are trained in one cosmology and applied to surveys of another.

    python benchmarks/cosmology_bias.py [--surveys 8] [--clusters 4000] [--seed 21] [--out runs/recovery] [--quick]

Mocks of MDPL2 and of Om +- .05, sigma8 +- .1 are each observed like the surveys of recovery.py, whose trained estimator
and selection are taken from --out (and made, if they are missing). Distances on the sky are converted to h^-1 Mpc in
MDPL2, as the survey's analyst would. Every survey covers the same area, whose volume depends on the true Om and, in the
fit, on the inferred one. Haloes below 10^13, which are one in 4000 selected clusters, are left out. The mean shift of
each parameter, its error over the surveys, the posterior's width, and the shift in units of it are printed.
"""

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from mock_surveys import HIGH, LOW, MIN_GALAXIES, Observatory, draw
from recovery import log_rate

from clustermocks import Catalogue, Cosmology
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MeasuredSelection,
    ObservedClusters,
    Population,
    Survey,
    fit,
)

SHELL = (0.107, 0.127)  # about the mocks' redshift
WIDER = 1.1  # aperture that is simulated, so that what the analyst takes for 1.6 h^-1 Mpc is inside
COSMOLOGIES = {
    "as trained": MDPL2,
    "Om + .05": replace(MDPL2, Om0=MDPL2.Om0 + 0.05),
    "Om - .05": replace(MDPL2, Om0=MDPL2.Om0 - 0.05),
    "sigma8 + .1": replace(MDPL2, sigma8=MDPL2.sigma8 + 0.1),
    "sigma8 - .1": replace(MDPL2, sigma8=MDPL2.sigma8 - 0.1),
}
MASSES = CosmologyMassFunction(Om0=(0.15, 0.50), sigma8=(0.60, 1.10))


def observed(observatory: Observatory, cosmology: Cosmology, masses: np.ndarray, seed: int) -> Catalogue:
    """Observe haloes of another cosmology like an analyst who assumes the training one."""
    assumed = observatory.model.observation
    wide = replace(assumed, aperture=WIDER * assumed.aperture)
    mocks = replace(observatory.model, cosmology=cosmology, observation=wide).simulate(masses, seed=seed)
    z = assumed.redshift
    stretch = float(MDPL2.comoving_distance(z) / cosmology.comoving_distance(z))
    R_proj = mocks.galaxy_column("R_proj") * stretch
    inside = R_proj < assumed.aperture
    cluster = mocks.cluster_of_galaxy
    counts = np.bincount(cluster[inside], minlength=len(mocks))
    return Catalogue.from_arrays(
        replace(assumed, min_galaxies=MIN_GALAXIES),
        MDPL2,
        clusters={"log10_mass": mocks.log10_mass, "host_id": mocks.host_id},
        galaxies={"R_proj": R_proj[inside], "v_los": mocks.galaxy_column("v_los")[inside]},
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def survey_of(observatory: Observatory, cosmology: Cosmology, area: float, rng: np.random.Generator) -> MassPosteriors:
    """Infer the clusters of one survey."""
    volume = Survey.of_sky(area, SHELL, cosmology=cosmology).shells[0].volume
    masses = draw(log_rate(MASSES, as_parameters(cosmology), volume), rng)
    return observatory.estimator.posterior(observed(observatory, cosmology, masses, int(rng.integers(2**31))))


def as_parameters(cosmology: Cosmology) -> dict[str, torch.Tensor]:
    """Om0 and sigma8 as tensors."""
    return {name: torch.tensor(getattr(cosmology, name), dtype=torch.float64) for name in ("Om0", "sigma8")}


def area_for(observatory: Observatory, clusters: int) -> float:
    """Area of a survey that holds so many clusters in the training cosmology [deg^2]."""
    one = Survey.of_sky(1.0, SHELL).shells[0].volume
    return clusters / observatory.expected(log_rate(MASSES, as_parameters(MDPL2), one))


def fitted(observatory: Observatory, posteriors: MassPosteriors, area: float) -> Mapping[str, tuple[float, float]]:
    """Fit Om0, sigma8 and S8: means and standard deviations."""
    population = Population(MASSES, selection=MeasuredSelection(observatory.selection), mass_range=(LOW, HIGH))
    sky = Survey.of_sky(area, SHELL)
    clusters = ObservedClusters(posteriors, redshift=np.full(len(posteriors), 0.117))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = fit(population, clusters, sky, sampler=Laplace(num_samples=300))["posterior"]
    return {str(name): (float(v.mean()), float(v.std())) for name, v in found.data_vars.items()}


def shifts(
    observatory: Observatory, cosmology: Cosmology, area: float, *, surveys: int, seed: int
) -> tuple[dict[str, Float[np.ndarray, "survey"]], dict[str, float], float]:
    """Posterior mean minus truth of every survey, widths of the posteriors, and the mean number of clusters."""
    truth = {name: getattr(cosmology, name) for name in ("Om0", "sigma8", "S8")}
    rows, sizes = [], []
    for number in range(surveys):
        posteriors = survey_of(observatory, cosmology, area, np.random.default_rng((seed, number)))
        rows.append(fitted(observatory, posteriors, area))
        sizes.append(len(posteriors))
    off = {name: np.array([row[name][0] - at for row in rows]) for name, at in truth.items()}
    return off, {name: float(np.mean([row[name][1] for row in rows])) for name in truth}, float(np.mean(sizes))


def main() -> None:
    """Print a line for each cosmology and parameter."""
    parser = argparse.ArgumentParser(description="Bias of Om and sigma8 from a wrong training cosmology.")
    parser.add_argument("--surveys", type=int, default=8, help="of each cosmology")
    parser.add_argument("--clusters", type=int, default=4000, help="expected in the training cosmology, up to 4700")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=Path("runs/recovery"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    observatory = Observatory.build(given.out, seed=11, quick=given.quick)
    clusters, surveys = (500, 2) if given.quick else (given.clusters, given.surveys)
    area = area_for(observatory, clusters)
    print(f"{surveys} surveys of {area:.0f} deg^2 at redshift {SHELL[0]} to {SHELL[1]} in each cosmology")
    print(f"{'mocks':<14}{'clusters':>9}  {'parameter':<8}{'shift':>9}{'error':>8}{'width':>8}{'shift/width':>13}")
    for name, cosmology in COSMOLOGIES.items():
        off, width, size = shifts(observatory, cosmology, area, surveys=surveys, seed=given.seed)
        for parameter, values in off.items():
            mean, error = values.mean(), values.std(ddof=1) / np.sqrt(surveys)
            print(f"{name:<14}{size:>9.0f}  {parameter:<8}{mean:>+9.4f}{error:>8.4f}{width[parameter]:>8.4f}"
                  f"{mean / width[parameter]:>+13.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
