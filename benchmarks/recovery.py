"""Injection and recovery over many mock surveys, from galaxies to hyperparameters: accuracy of the error bars.

    python benchmarks/recovery.py [--surveys 100] [--seed 11] [--out runs/recovery] [--quick] [MODEL:CLUSTERS ...]

Hyperparameters are drawn from the priors of the model, the density contrast of the survey's volume from linear theory,
and clusters above 10^12.5 from their mass function. Each survey has haloes of its own. They are observed as
HaloModel.ho2019(dominant=True) with 20 galaxies or more, inferred by a trained ensemble, and fitted with a selection
that is measured on 40 haloes for each cluster, afresh for each survey: an error that all shared would be no error of
theirs. A survey at the middle of the priors has about 1000 or 10 000 clusters. Models: cosmology, mrp (mass functions),
relation (mrp, and an observable). If all is right, each parameter's rank in its posterior is uniform, which is tested
by Kolmogorov-Smirnov, coverage and pulls, and drawn in `pp.png`. Posteriors are drawn by importance weights
(`Laplace`, whose Pareto k is printed). `--quick` takes a fiftieth of all, which tests that it runs. An hour on one core
for 100 surveys of 1000; finished steps are kept in --out, and the same command continues.
"""

import argparse
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from mock_surveys import HIGH, LOW, STAGE, LogRate, Observatory
from scipy.stats import kstest

from clustermocks.selection import Selection
from sbi_clustermass import MassPosteriors
from sbi_clustermass.population import (
    CosmologyMassFunction,
    Laplace,
    MassFunction,
    MeasuredSelection,
    Observable,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    fit,
)
from sbi_clustermass.population.masses import Masses
from sbi_clustermass.population.rate_modes import sample_variance
from sbi_clustermass.report.style import GREY, save

LEVELS = (0.5, 0.68, 0.9, 0.95)
ERROR = 0.03  # of the observable [dex]
COSMOLOGY = CosmologyMassFunction(Om0=(0.22, 0.40), sigma8=(0.70, 0.95))
MRP = MassFunction(log10_m_star=(14.22, 0.15), alpha=(-1.91, 0.08), beta=(0.71, 0.08), log10_density=(-4.655, 0.1))
RELATION = ScalingRelation("log_sigma", intercept=(2.9, 0.05), slope=(0.33, 0.05), scatter=0.06)
MASSES: Mapping[str, Masses] = {"cosmology": COSMOLOGY, "mrp": MRP, "relation": MRP}
CASES = ("cosmology:1000", "cosmology:10000", "mrp:1000", "mrp:10000", "relation:1000")
GRID = np.linspace(LOW, HIGH, 311)
ATTEMPTS = 40  # haloes for each cluster of a survey, on which its selection is measured


@final
@dataclass(frozen=True)
class Case:
    """A model and the size of its surveys.

    Attributes:
        name: cosmology, mrp or relation.
        clusters: Number of clusters expected in a survey at the centre of the priors.
    """

    name: str
    clusters: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Parse NAME:CLUSTERS."""
        name, _, clusters = text.partition(":")
        if name not in MASSES or not clusters.isdigit():
            raise SystemExit(f"{text!r} is no MODEL:CLUSTERS, such as {CASES[0]}.")
        return cls(name, int(clusters))

    @property
    def masses(self) -> Masses:
        """Mass function."""
        return MASSES[self.name]

    def population(self, selection: Selection) -> Population:
        """Model that is fitted."""
        relations = (RELATION,) if self.name == "relation" else ()
        return Population(self.masses, relations, selection=MeasuredSelection(selection), mass_range=(LOW, HIGH))

    def volume(self, observatory: Observatory) -> float:
        """Volume that holds so many clusters at the centre of the priors [h^-3 Mpc^3]."""
        centre = self.masses.coordinates.parameters(self.masses.coordinates.centre)
        return self.clusters / observatory.expected(log_rate(self.masses, centre, 1.0))


def log_rate(
    masses: Masses, parameters: Mapping[str, torch.Tensor], volume: float, change: np.ndarray | float = 0.0
) -> LogRate:
    """Natural log of the number of haloes per dex in a volume, with a change of it at each mass of `GRID`."""
    log_phi = masses.log_density(torch.as_tensor(GRID), parameters, torch.tensor([0.117], dtype=torch.float64))
    values = log_phi[0].numpy() + np.log(volume) + change
    return lambda log10_mass: np.interp(log10_mass, GRID, values)


def drawn_truths(population: Population, survey: Survey, n: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Draw hyperparameters, and the density contrast of the survey, from their priors."""
    contrast = sample_variance(survey, GRID)
    priors = {**population.priors, contrast.site: contrast.prior}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [{name: prior.sample() for name, prior in priors.items()} for _ in range(n)]


def recovered(
    population: Population,
    truth: Mapping[str, torch.Tensor],
    found: tuple[Float[np.ndarray, "cluster"], MassPosteriors],
    survey: Survey,
    *,
    seed: int,
) -> dict[str, object]:
    """Fit one survey: each parameter's truth, mean, deviation and rank."""
    true, posteriors = found
    observables = {}
    if population.relations:
        rng = np.random.default_rng(seed)
        a, b, s = (float(truth[RELATION.site(name)]) for name in ("intercept", "slope", "scatter"))
        noise = rng.standard_normal(len(true)) * np.hypot(s, ERROR)
        observables["log_sigma"] = Observable(a + b * (true - RELATION.pivot) + noise, ERROR)
    clusters = ObservedClusters(posteriors, observables=observables)
    draws = 400 if observables or len(true) > 3000 else 1000  # fewer where each takes longer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pareto k is reported
        idata = fit(population, clusters, survey, sampler=Laplace(num_samples=draws, seed=seed))
    derived = {**truth, **population.derived(truth)}
    rows = {}
    for name, values in idata["posterior"].data_vars.items():
        if name not in derived:  # errors of the selection, whose truth is not known
            continue
        drawn, at = values.values.ravel(), float(derived[str(name)])
        row = {"truth": at, "mean": drawn.mean(), "std": drawn.std(), "rank": np.mean(drawn < at)}
        rows[str(name)] = {key: float(value) for key, value in row.items()}
    quality = {name: idata.attrs[name] for name in ("pareto_k", "effective_draws")}
    return {"clusters": len(true), **quality, "parameters": rows}


def run_case(case: Case, observatory: Observatory, *, surveys: int, seed: int, folder: Path) -> list:
    """Observe and fit all surveys of a case; results that exist are read."""
    survey = Survey.of_volume(case.volume(observatory))
    truths = drawn_truths(case.population(observatory.selection), survey, surveys, seed)
    contrast = sample_variance(survey, GRID)
    file = folder / f"{case.name}-{case.clusters}.jsonl"
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    with STAGE(f"{case.name}, {case.clusters} clusters", surveys) as advance:
        for number in range(len(done), surveys):
            change = contrast.log_change(truths[number])[0].numpy()
            rate = log_rate(case.masses, truths[number], survey.shells[0].volume, change)
            own_seed = int(np.random.default_rng((seed, case.clusters, len(case.name), number)).integers(2**31))
            found = observatory.survey(rate, own_seed)
            selection = observatory.measured(ATTEMPTS * case.clusters, own_seed + 1)
            done.append(recovered(case.population(selection), truths[number], found, survey, seed=number))
            with file.open("a") as out:
                out.write(json.dumps(done[-1]) + "\n")
            advance(number + 1)
    return done[:surveys]


def report(case: Case, results: list) -> Mapping[str, Float[np.ndarray, "survey"]]:
    """Print a case's table and return the ranks."""
    names = list(results[0]["parameters"])
    clusters = np.array([one["clusters"] for one in results])
    k, effective = (np.array([one[name] for one in results]) for name in ("pareto_k", "effective_draws"))
    print(f"\n{case.name}: {len(results)} surveys of {clusters.min()} to {clusters.max()} clusters, "
          f"median {np.median(clusters):.0f}; Pareto k above .7 in {np.mean(k > 0.7):.1%}, effective draws "
          f"{effective.min():.0f} or more")  # fmt: skip
    print(
        f"  {'parameter':<22}{'KS p':>7}" + "".join(f"{level:>8.0%}" for level in LEVELS) + "   mean pull   its width"
    )
    ranks = {}
    for name in names:
        rows = [one["parameters"][name] for one in results]
        rank = ranks[name] = np.array([row["rank"] for row in rows])
        pull = np.array([(row["mean"] - row["truth"]) / row["std"] for row in rows])
        shares = [np.mean(np.abs(rank - 0.5) <= level / 2) for level in LEVELS]
        line = f"  {name:<22}{kstest(rank, 'uniform').pvalue:>7.3f}" + "".join(f"{share:>8.3f}" for share in shares)
        print(f"{line}   {pull.mean():+.2f} ± {pull.std() / np.sqrt(len(pull)):.2f}   {pull.std():.2f}")
    n = len(results)
    errors = "".join(f"{np.sqrt(level * (1 - level) / n):>8.3f}" for level in LEVELS)
    print(f"  {'Monte Carlo error':<29}{errors}    KS: above {0.01 / len(names):.4f}")
    return ranks


def picture(ranks: Mapping[str, Mapping[str, Float[np.ndarray, "survey"]]], path: Path) -> None:
    """Make a PP plot of every hyperparameter: share of surveys below a rank, minus that rank."""
    figure = Figure(figsize=(3.4 * len(ranks), 3.4), layout="constrained")
    for axes, (title, case) in zip(figure.subplots(1, len(ranks), squeeze=False)[0], ranks.items(), strict=True):
        n = len(next(iter(case.values())))
        at = np.linspace(0, 1, 200)
        for level, alpha in ((1.36, 0.3), (1.63, 0.15)):  # Kolmogorov's 95 and 99 %
            axes.fill_between(at, -level / np.sqrt(n), level / np.sqrt(n), color=GREY, alpha=alpha, lw=0)
        for name, rank in case.items():
            axes.plot(at, np.searchsorted(np.sort(rank), at) / n - at, lw=1.2, label=name.replace("_", " "))
        axes.axhline(0, color="k", lw=0.8)
        axes.set(title=title, xlabel="rank of the truth", xlim=(0, 1), ylim=(-0.2, 0.2))
        axes.legend(fontsize=6)
    figure.axes[0].set_ylabel("share of surveys below, less the rank")
    save(figure, path)


def main() -> None:
    """Run the cases and print their tables."""
    parser = argparse.ArgumentParser(description="Injection and recovery over many mock surveys.")
    parser.add_argument("cases", nargs="*", default=CASES, help="MODEL:CLUSTERS")
    parser.add_argument("--surveys", type=int, default=100)
    parser.add_argument("--seed", type=int, default=11, help="of the mocks, the truths and the surveys")
    parser.add_argument("--out", type=Path, default=Path("runs/recovery"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    shrink = 50 if given.quick else 1
    given.out.mkdir(parents=True, exist_ok=True)
    observatory = Observatory.build(given.out, seed=given.seed, quick=given.quick)
    cases = [Case.parse(text) for text in given.cases]
    surveys, ranks = max(8, given.surveys // shrink), {}
    for case in cases:
        results = run_case(case, observatory, surveys=surveys, seed=given.seed, folder=given.out)
        ranks[f"{case.name}, {case.clusters}"] = report(case, results)
    picture(ranks, given.out / "pp.png")
    print(f"\nWrote {given.out}/pp.png.")


if __name__ == "__main__":
    main()
