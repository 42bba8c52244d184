"""Bias of Om and sigma8 where the mocks' cosmology is not the true one; and its cure, networks that are told it.

    python benchmarks/cosmology_bias.py [--surveys 20] [--clusters 4000] [--seed 21] [--out runs/cosmology] [--quick]

Training mocks have true cosmologies drawn from a `CosmologyPrior`: HaloModel.ho2019(dominant=True), 20 galaxies or
more, haloes above 10^13. Surveys of MDPL2 and of Om +- .05, sigma8 +- .1 are drawn from their mass functions, each of
hosts of its own, and observed by an analyst who assumes MDPL2. All cover the same area, whose volume depends on the
true Om and, in the fit, on the inferred one. Each is fitted with masses and selection of MDPL2 (`fixed`), and with
those of the cosmology that is found (`fit_self_consistently`). The mean shift of each parameter, the posterior's width,
the shift in units of it with its error over the surveys, and the standard deviation of the pulls are printed.

Half an hour on one core for mocks and training, and half a minute for a survey; all is kept in --out, and the same
command continues.
"""

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from jaxtyping import Float
from mock_surveys import MIN_GALAXIES, STAGE, survey_model

from clustermocks import Catalogue, Cosmology, CosmologyPrior, PowerLawMasses
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.selection_in_cosmologies import SelectionInCosmologies, fit_selection_in_cosmologies
from sbi_clustermass import MassEstimator, Tabulated, TrialMasses, train
from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MeasuredSelection,
    ObservedClusters,
    Population,
    Survey,
    fit,
    fit_self_consistently,
)
from sbi_clustermass.training.defaults import default_training

if TYPE_CHECKING:
    from arviz import InferenceData

LOW, HIGH = 13.0, 15.6
SHELL = (0.107, 0.127)  # about the mocks' redshift
COSMOLOGIES = {
    "as assumed": MDPL2,
    "Om + .05": replace(MDPL2, Om0=MDPL2.Om0 + 0.05),
    "Om - .05": replace(MDPL2, Om0=MDPL2.Om0 - 0.05),
    "sigma8 + .1": replace(MDPL2, sigma8=MDPL2.sigma8 + 0.1),
    "sigma8 - .1": replace(MDPL2, sigma8=MDPL2.sigma8 - 0.1),
}
MASSES = CosmologyMassFunction(Om0=(0.2, 0.42), sigma8=(0.65, 1.0))
SAMPLER = Laplace(num_samples=500)


@final
@dataclass(frozen=True)
class Sizes:
    """Mocks that are attempted in a part, numbers of parts, and weight updates of the training."""

    part: int = 250_000
    parts: int = 12
    parts_to_train_on: int = 5
    updates: int = 12_000


QUICK = Sizes(part=8000, parts=2, parts_to_train_on=1, updates=300)


@final
@dataclass(frozen=True)
class Observatory:
    """Estimator and selection in any cosmology, which all surveys share."""

    estimator: MassEstimator
    selection: SelectionInCosmologies

    @classmethod
    def build(cls, folder: Path, sizes: Sizes) -> "Observatory":
        """Simulate, train and measure the selection; what is in the folder is read."""
        if not (folder / "estimator").exists():
            embedding = TrialMasses(0.5 * (LOW + HIGH), HIGH - LOW, trials=53)
            training = replace(
                default_training(embedding), batch_size=500, max_updates=sizes.updates, patience=sizes.updates
            )
            with STAGE("training", None) as advance:
                train(
                    _mocks(folder, sizes, range(sizes.parts_to_train_on)),
                    flow=Tabulated(embedding=embedding),
                    training=training,
                    support=(LOW, HIGH),
                    seed=1,
                    checkpoint=folder / "checkpoint",
                    progress=lambda look: advance(look.update, str(look)),
                ).save(folder / "estimator")
        attempts = [
            replace(part, clusters=part.clusters.slice(0, 0)) for part in _mocks(folder, sizes, range(sizes.parts))
        ]
        selection = fit_selection_in_cosmologies(Catalogue.concatenate(attempts))
        return cls(MassEstimator.load(folder / "estimator"), selection)

    def parts(self, mocks: Catalogue, cosmology: Cosmology) -> tuple[Population, ObservedClusters]:
        """Population and clusters with masses and selection of a cosmology."""
        selection = MeasuredSelection(self.selection.at(cosmology))
        posteriors = self.estimator.posterior(mocks.in_cosmology(cosmology))
        return Population(MASSES, selection=selection, mass_range=(LOW, HIGH)), ObservedClusters(posteriors)

    def area(self, clusters: int) -> float:
        """Area of a survey that holds so many clusters in the assumed cosmology [deg^2]."""
        grid = np.linspace(LOW, HIGH, 521)
        rate = np.exp(_log_density(MDPL2, grid)) * _volume(1.0, MDPL2)
        return clusters / float(np.trapezoid(rate * self.selection.at(MDPL2)(grid), grid))


def _mocks(folder: Path, sizes: Sizes, parts: range) -> Iterator[Catalogue]:
    for number in parts:
        file = folder / f"mocks-{number:02d}.parquet"
        if not file.exists():
            with STAGE(f"simulating part {number + 1}", sizes.part) as advance:
                masses = PowerLawMasses(LOW, HIGH).draw(sizes.part, seed=1000 + number)
                found = survey_model().simulate(
                    masses, seed=1000 + number, cosmologies=CosmologyPrior(), progress=advance
                )
            found.with_min_galaxies(MIN_GALAXIES).to_parquet(file)
        yield Catalogue.from_parquet(file)


def _volume(area: float, cosmology: Cosmology) -> float:
    return Survey.of_sky(area, SHELL, cosmology=cosmology).shells[0].volume


def _log_density(cosmology: Cosmology, grid: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "mass"]:
    parameters = {name: torch.tensor(getattr(cosmology, name), dtype=torch.float64) for name in ("Om0", "sigma8")}
    redshift = torch.tensor([0.117], dtype=torch.float64)
    return MASSES.log_density(torch.as_tensor(grid), parameters, redshift)[0].numpy()


def survey_of(cosmology: Cosmology, area: float, rng: np.random.Generator) -> Catalogue:
    """Clusters of one survey: a Poisson draw of haloes, observed from the assumed cosmology."""
    grid = np.linspace(LOW, HIGH, 2601)
    rate = np.exp(_log_density(cosmology, grid)) * _volume(area, cosmology)
    below = np.append(0, np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(grid)))
    masses = np.interp(rng.uniform(0, below[-1], rng.poisson(below[-1])), below, grid)
    (Om0, sigma8), seed = (cosmology.Om0, cosmology.sigma8), int(rng.integers(2**31))
    point = CosmologyPrior(Om0=(Om0, Om0), sigma8=(sigma8, sigma8))
    return survey_model().simulate(masses, seed=seed, cosmologies=point).with_min_galaxies(MIN_GALAXIES)


def fitted(observatory: Observatory, mocks: Catalogue, area: float) -> dict[str, Mapping[str, tuple[float, float]]]:
    """Means and standard deviations of Om0, sigma8 and S8, by both fits."""
    sky = Survey.of_sky(area, SHELL, sample_variance=False)  # Poisson draws have none

    def parts(cosmology: Cosmology) -> tuple[Population, ObservedClusters]:
        return observatory.parts(mocks, cosmology)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fits = {
            "fixed": fit(*parts(MDPL2), sky, sampler=SAMPLER),
            "self-consistent": fit_self_consistently(parts, sky, sampler=SAMPLER),
        }
    return {name: _moments(idata) for name, idata in fits.items()}


def _moments(idata: "InferenceData") -> dict[str, tuple[float, float]]:
    draws = {name: idata["posterior"][name].values for name in ("Om0", "sigma8", "S8")}
    return {name: (float(values.mean()), float(values.std())) for name, values in draws.items()}


def report(rows: list[dict]) -> None:
    """Print a line for each fit, cosmology and parameter."""
    print(f"{'fit':<16}{'mocks':<12}{'surveys':>8}{'clusters':>9}  {'parameter':<8}{'shift':>9}{'width':>8}"
          f"{'shift/width':>20}{'sd of pulls':>13}")  # fmt: skip
    for kind in ("fixed", "self-consistent"):
        for name, cosmology in COSMOLOGIES.items():
            some = [row for row in rows if row["mocks"] == name]
            for parameter in ("Om0", "sigma8", "S8") if len(some) > 1 else ():
                mean, std = np.array([row[kind][parameter] for row in some]).T
                off, width, n = mean - getattr(cosmology, parameter), std.mean(), len(some)
                clusters = np.mean([row["clusters"] for row in some])
                error = off.std(ddof=1) / np.sqrt(n) / width
                print(f"{kind:<16}{name:<12}{n:>8}{clusters:>9.0f}  {parameter:<8}{off.mean():>+9.4f}{width:>8.4f}"
                      f"{off.mean() / width:>+12.2f} ± {error:.2f}{(off / std).std(ddof=1):>13.2f}")  # fmt: skip


def main() -> None:
    """Fit all surveys, a line for each, and print the table."""
    parser = argparse.ArgumentParser(description="Bias of Om and sigma8 from the cosmology of the mocks.")
    parser.add_argument("--surveys", type=int, default=20, help="of each cosmology")
    parser.add_argument("--clusters", type=int, default=4000, help="expected in the assumed cosmology, up to 4600")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=Path("runs/cosmology"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    observatory = Observatory.build(given.out, QUICK if given.quick else Sizes())
    clusters, surveys = (500, 2) if given.quick else (given.clusters, given.surveys)
    area, file = observatory.area(clusters), given.out / f"surveys-{clusters}-{given.seed}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(row["mocks"], row["survey"]) for row in rows}
    for number in range(surveys):
        for index, (name, cosmology) in enumerate(COSMOLOGIES.items()):
            if (name, number) in done:
                continue
            mocks = survey_of(cosmology, area, np.random.default_rng((given.seed, index, number)))
            rows.append({"mocks": name, "survey": number, "clusters": len(mocks), **fitted(observatory, mocks, area)})
            with file.open("a") as out:
                out.write(json.dumps(rows[-1]) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    report([row for row in rows if row["survey"] < surveys])


if __name__ == "__main__":
    main()
