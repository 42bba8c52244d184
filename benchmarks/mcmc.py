"""Mass, concentration and anisotropy by a Markov chain on the exact Jeans likelihood, as in MAMPOSSt, and its time.

`python benchmarks/mcmc.py --clusters 100` simulates clusters of `SphericalJeans`, whose likelihood is known, and runs
emcee on each, with flat priors on a box. It prints how far the centres (posterior means) and widths (standard
deviations) of the chains are from those of the exact posterior on a grid, and seconds of one core for a cluster.
`--model FOLDER` adds an estimator that was trained on such clusters, and makes its supports the box.

References:
    Mamon, Biviano & Boue 2013, MNRAS 429, 3079 (MAMPOSSt); Foreman-Mackey et al. 2013, PASP 125, 306 (emcee).
"""

import argparse
import os
from time import process_time
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import emcee
import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console

from clustermocks import Catalogue, SphericalJeans
from sbi_clustermass import JeansTask, MassEstimator, Posteriors
from sbi_clustermass.estimator.given_mass import GivenMass
from sbi_clustermass.report import Table

TWIN = SphericalJeans(background=10.0, free=("log10_c200c", "beta"))
LOW, HIGH = (13.5, 0.3, -0.5), (15.3, 1.1, 0.5)
WALKERS, BURNED = 16, 0.25  # and share of a chain's steps that is thrown away
MASSES, EACH = 32, 8  # draws of the mass, and of the others given each, as `infer` makes them


class Moments(NamedTuple):
    """Means and standard deviations of posteriors, (cluster, parameter), and seconds for a cluster."""

    mean: Float[np.ndarray, "cluster parameter"]
    std: Float[np.ndarray, "cluster parameter"]
    seconds: float


def task_of(estimator: MassEstimator | None) -> JeansTask:
    """The twin with flat priors on the default box, or on the supports of an estimator's parameters."""
    if estimator is None:
        return JeansTask(TWIN, LOW, HIGH)
    if estimator.given_mass is None or estimator.parameters != TWIN.parameters:
        raise ValueError(f"the estimator infers {estimator.parameters}, not {TWIN.parameters}.")
    low, high = estimator.support
    return JeansTask(TWIN, (low, *estimator.given_mass.low), (high, *estimator.given_mass.high))


def simulate(task: JeansTask, clusters: int, seed: int) -> Catalogue:
    """Clusters with parameters from the box that have enough galaxies."""
    theta = np.random.default_rng(seed).uniform(task.low, task.high, (2 * clusters, len(task.low)))
    return task.model.simulate(theta, seed=seed).select(np.arange(clusters))


def exact(task: JeansTask, mocks: Catalogue) -> Moments:
    """Moments of the exact posteriors."""
    start = process_time()
    found = task.reference_joint(torch.from_numpy(mocks.padded()))
    return Moments(found.mean, found.std, (process_time() - start) / len(mocks))


def chains(task: JeansTask, mocks: Catalogue, *, steps: int, seed: int) -> tuple[Moments, float]:
    """Moments of a Markov chain for each cluster, and the median number of independent samples in a chain."""
    start, draws, independent = process_time(), [], []
    for i in range(len(mocks)):
        x = torch.from_numpy(mocks.select(np.array([i])).padded())
        sampler = _run(task, x, steps=steps, seed=seed + i)
        draws.append(sampler.get_chain(discard=round(BURNED * steps), flat=True))
        independent.append(len(draws[-1]) / sampler.get_autocorr_time(tol=0).max())
    mean, std = (np.stack([f(chain, axis=0) for chain in draws]) for f in (np.mean, np.std))
    return Moments(mean, std, (process_time() - start) / len(mocks)), float(np.median(independent))


def _run(task: JeansTask, x: torch.Tensor, *, steps: int, seed: int) -> emcee.EnsembleSampler:
    """Run a chain of one cluster, from walkers anywhere in the box."""
    low, high = np.array(task.low), np.array(task.high)

    def log_prob(theta: np.ndarray) -> np.ndarray:
        found, inside = np.full(len(theta), -np.inf), ((theta > low) & (theta < high)).all(axis=1)
        if inside.any():
            found[inside] = task.reference_log_prob(x, theta[inside])[0]
        return found

    moves = emcee.moves.DEMove()  # DESnookerMove of emcee 3.1.6 draws a Gaussian a tenth too narrow
    sampler = emcee.EnsembleSampler(WALKERS, len(low), log_prob, moves=moves, vectorize=True)
    rng = np.random.RandomState(seed)
    sampler.random_state = rng.get_state()
    sampler.run_mcmc(rng.uniform(low, high, (WALKERS, len(low))), steps)
    return sampler


def amortised(estimator: MassEstimator, given_mass: GivenMass, mocks: Catalogue, seed: int) -> Moments:
    """Moments of an estimator's draws, all clusters at once, and seconds of a second call, which imports nothing."""

    def draws() -> Posteriors:
        seeds = range(seed, seed + len(mocks))
        return given_mass.draw(estimator.posterior(mocks), mocks, MASSES, each=EACH, seeds=seeds)

    found, start = draws(), process_time()
    draws()
    return Moments(found.mean, found.std, (process_time() - start) / len(mocks))


def compared(found: Moments, truth: Moments) -> list[tuple[str, ...]]:
    """Of each parameter the shift of centres in units of the exact width, and the ratio of widths: mean and scatter."""
    shift, ratio = (found.mean - truth.mean) / truth.std, found.std / truth.std
    return [
        (f"{s.mean():+.3f} ± {s.std():.3f}", f"{r.mean():.3f} ± {r.std():.3f}")
        for s, r in zip(shift.T, ratio.T, strict=True)
    ]


def table(names: tuple[str, ...], truth: Moments, found: dict[str, Moments], note: str) -> Table:
    """Table with a row for each parameter and way to its posterior."""
    rows = [
        (name, way, f"{truth.std[:, i].mean():.3f}", *compared(moments, truth)[i], f"{moments.seconds:.2g}")
        for i, name in enumerate(names)
        for way, moments in found.items()
    ]
    header = ("parameter", "by", "exact width", "shift / width", "width / exact", "seconds a cluster")
    return Table("Posteriors of the twin against the exact ones", header, tuple(rows), note)


def main(clusters: int, steps: int, seed: int, *, model: str | None, markdown: bool) -> None:
    """Print the table."""
    estimator = None if model is None else MassEstimator.load(model, device="cpu")
    task = task_of(estimator)
    mocks = simulate(task, clusters, seed)
    truth = exact(task, mocks)
    by_chain, independent = chains(task, mocks, steps=steps, seed=seed)
    note = (
        f"{clusters} clusters, median {np.median(mocks.n_galaxies):.0f} galaxies; chains of {WALKERS} walkers and "
        f"{steps} steps, median {independent:.0f} independent samples. The grid takes {truth.seconds:.2g} s a cluster."
    )
    ways = {"MCMC": by_chain}
    if estimator and estimator.given_mass:
        ways["network"] = amortised(estimator, estimator.given_mass, mocks, seed)
        note += (
            f" The network makes {MASSES * EACH} draws of a cluster, {by_chain.seconds / ways['network'].seconds:.0f} "
            "times as fast as a chain."
        )
    found = table(TWIN.parameters, truth, ways, note)
    print(found.markdown()) if markdown else Console(width=150).print(found.rich())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--steps", type=int, default=300, help="Steps of each chain.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", help="Folder of an estimator of the three parameters, trained on this simulator.")
    parser.add_argument("--markdown", action="store_true", help="Table in Markdown.")
    chosen = parser.parse_args()
    main(chosen.clusters, chosen.steps, chosen.seed, model=chosen.model, markdown=chosen.markdown)
