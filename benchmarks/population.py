"""Speed of the population likelihood, compared with the usual mean over posterior samples in a Pyro model.

    python benchmarks/population.py [--clusters 100000] [--threads 1] [--device cuda] [--quick]

The peer is a Pyro model with a plate over clusters and the mean of phi(m) / prior(m) over 256 samples of each
posterior, value and gradient through Pyro's own trace, as gwpopulation and SOLikeT compute it. The peer evaluates the
MRP function at each sample, and interpolates that of a cosmology between our masses. Then our time is profiled, in
units of a copy of the table, and Om and sigma8 are fitted with sample variance and a measured selection. Peak memory is
that of the process. On a busy machine one thread is faster than two, which wait for each other at each small step.
"""

import argparse
import os
import resource
from collections.abc import Callable
from functools import cache, partial
from math import log
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pyro
import torch
from jaxtyping import Float
from pyro.infer.mcmc.util import initialize_model
from pyro.ops.integrator import potential_grad
from torch import Tensor

from clustermocks import MDPL2, HaloMassFunction
from clustermocks.selection import fit_selection
from sbi_clustermass.population import (
    NUTS,
    CosmologyMassFunction,
    MassFunction,
    MeasuredSelection,
    ObservedClusters,
    Population,
    Problem,
    Survey,
    fit,
)
from sbi_clustermass.population.masses import Masses
from sbi_clustermass.population.parameters import Parameters, sample
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.8, 256)
ERROR, CUT = 0.12, 14.0  # of the mass estimates [dex]
HALOES = HaloMassFunction(low=13.2, high=16.0)  # 6.7 errors below the cut
ATTEMPTS = 400_000  # by which the selection is measured
SAMPLES = 256
REPEATS = 15

Gradient = Callable[[], float]
Tabulate = Callable[["Mocks", Masses], Problem]


class Mocks(NamedTuple):
    """Clusters whose estimated mass exceeds the cut, and their volume [h^-3 Mpc^3]."""

    posteriors: MassPosteriors
    survey: Survey


def observe(n: int, seed: int = 1) -> Mocks:
    """Observe Tinker's haloes until the survey has n clusters."""
    estimates, volume = np.zeros(0), 0.0
    for number in range(1000):
        masses = HALOES.draw(10 * n + 1000, seed=1000 * seed + number)
        found = masses + ERROR * np.random.default_rng([seed, number]).standard_normal(masses.size)
        kept = np.flatnonzero(found > CUT)[: n - len(estimates)]
        estimates = np.append(estimates, found[kept])
        full = len(estimates) == n
        volume += (kept[-1] + 1 if full else masses.size) / HALOES.number_density()
        if full:
            break
    return Mocks(MassPosteriors.from_normal(estimates, ERROR, GRID), Survey.of_volume(volume))


@cache
def measured() -> MeasuredSelection:
    """The cut on mass estimates, measured on 400 000 attempts."""
    rng = np.random.default_rng(2)
    attempted = rng.uniform(HALOES.low, HALOES.high, ATTEMPTS)
    return MeasuredSelection(fit_selection(attempted, attempted + ERROR * rng.standard_normal(ATTEMPTS) > CUT))


def population_of(masses: Masses) -> Population:
    """Population with these masses and the cut on mass estimates."""
    return Population(masses, selection=measured())


def tabulated(mocks: Mocks, masses: Masses, device: str) -> Problem:
    """Tabulate our likelihood of the mocks on a device."""
    return Problem.from_clusters(
        population_of(masses), ObservedClusters(mocks.posteriors), mocks.survey, counts=True, device=device
    )


# ---- value and gradient ---------------------------------------------------------------------------------------------


def ours(problem: Problem) -> Gradient:
    """Evaluate our potential and its gradient at the centre of the priors."""
    start = problem.coordinates.centre

    def run() -> float:
        position = start.clone().requires_grad_()
        value = problem.potential(position)
        value.backward()
        return value.item()

    return run


def usual(problem: Problem, mocks: Mocks) -> tuple[Gradient, Callable[[], float]]:
    """Evaluate the potential of the peer with its gradient at the same position, and its log likelihood alone."""
    model = _usual_model(problem, mocks)
    start = problem.coordinates.parameters(problem.coordinates.centre)
    unconstrained, potential, transforms, _ = initialize_model(model)
    place = {name: transforms[name](start[name]) if name in transforms else start[name] for name in unconstrained}

    def run() -> float:
        return float(potential_grad(potential, place)[1])

    def log_likelihood() -> float:
        conditioned = pyro.poutine.condition(model, data=start)
        with torch.no_grad():
            trace = pyro.poutine.trace(conditioned).get_trace()
        return float(trace.log_prob_sum(lambda name, site: name in ("each", "expected")))

    return run, log_likelihood


def _usual_model(problem: Problem, mocks: Mocks) -> Callable[[], None]:
    """Pyro model of the peer: clusters in a plate, each with the mean over samples of its posterior."""
    masses = torch.as_tensor(mocks.posteriors.sample(SAMPLES, seed=1))
    log_prior = torch.as_tensor(mocks.posteriors.log_prior)[0]  # flat
    log_phi = (
        _interpolated(problem, masses) if problem.population.masses.name == "cosmology" else _direct(problem, masses)
    )

    def model() -> None:
        parameters = sample(problem.population.priors)
        log_volume = problem.survey.log_volumes(parameters)[0]
        with pyro.plate("clusters", len(masses)):
            mean = torch.logsumexp(log_phi(parameters) - log_prior, -1) - log(SAMPLES)
            pyro.factor("each", mean + log_volume)
        pyro.factor("expected", -problem.likelihood.log_expected(problem.log_selected_rate(parameters)).exp())

    return model


def _direct(problem: Problem, masses: Float[Tensor, "cluster sample"]) -> Callable[[Parameters], Tensor]:
    """Natural log of phi at every sample, by its formula."""
    flat, redshift = masses.flatten(), torch.as_tensor(problem.survey.redshift)
    return lambda parameters: problem.population.masses.log_density(flat, parameters, redshift).reshape(masses.shape)


def _interpolated(problem: Problem, masses: Float[Tensor, "cluster sample"]) -> Callable[[Parameters], Tensor]:
    """Natural log of phi at every sample, linear between our masses: that of a cosmology is slow at every sample."""
    grid, redshift = problem.likelihood.log10_mass, torch.as_tensor(problem.survey.redshift)
    left = torch.searchsorted(grid, masses.contiguous()).clamp(1, len(grid) - 1) - 1
    share = (masses - grid[left]) / (grid[left + 1] - grid[left])

    def log_phi(parameters: Parameters) -> Float[Tensor, "cluster sample"]:
        table = problem.population.masses.log_density(grid, parameters, redshift)[0]
        return torch.lerp(table[left], table[left + 1], share)

    return log_phi


# ---- measurements ---------------------------------------------------------------------------------------------------


def seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call [s], after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return float(np.median(times))


def peak_memory() -> float:
    """Peak memory of the process so far [MB]; Linux counts in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_growth(sizes: list[int], tabulate: Tabulate) -> None:
    """Print our time and memory against the number of clusters, in increasing order."""
    before = peak_memory()
    print("growth: value and gradient of the MRP function; peak memory above what was held before, tables included")
    for n in sizes:
        time = seconds(ours(tabulate(observe(n), MassFunction())))
        more = peak_memory() - before
        print(
            f"  {n:9d} clusters  {1e3 * time:8.2f} ms  {1e9 * time / n:7.0f} ns a cluster  {more:6.0f} MB", flush=True
        )


def print_comparison(problem: Problem, mocks: Mocks) -> None:
    """Print our time and that of the peer, and the error of its log likelihood from the noise of the samples."""
    masses = problem.population.masses
    our_time = seconds(ours(problem))
    run, log_likelihood = usual(problem, mocks)
    peer_time = seconds(run, repeats=3)
    at_centre = problem.terms(problem.coordinates.parameters(problem.coordinates.centre))
    difference = log_likelihood() - float(sum(term.sum() for term in at_centre.values()))
    print(
        f"value and gradient, {masses.name}: {len(mocks.posteriors)} clusters, {GRID.size} masses or {SAMPLES} samples"
    )
    print(f"  ours       {1e3 * our_time:8.1f} ms")
    print(f"  usual way  {1e3 * peer_time:8.1f} ms    ratio {peer_time / our_time:6.0f}    (at least 30)")
    print(f"             its log likelihood differs by {difference:.1f} nats: noise of the samples", flush=True)


def print_profile(problem: Problem) -> None:
    """Print the time of each part of our likelihood, in units of a copy of the table."""
    likelihood, population = problem.likelihood, problem.population
    table, there = likelihood.weighted, torch.empty_like(likelihood.weighted)
    rate, weight = table.new_ones(table.shape[1]), table.new_ones(len(table))
    parameters = population.coordinates.parameters(population.coordinates.centre)
    parts = {
        "whole": ours(problem),
        "product forward": lambda: rate @ table.T,
        "product backward": lambda: weight @ table,
        "mass function": lambda: problem.log_rate(parameters),
        "copy of the table": lambda: there.copy_(table),
    }
    times = {name: seconds(run) for name, run in parts.items()}
    rest = times["whole"] - times["product forward"] - times["product backward"] - times["mass function"]
    size = table.numel() * table.element_size() / 1e9
    print(f"where the time goes, {population.masses.name}: a table of {1e3 * size:.0f} MB, read once a product")
    for name, time in {**times, "rest": rest}.items():
        print(f"  {name:<18} {1e3 * time:8.2f} ms    {time / times['copy of the table']:5.2f} copies")
    print(
        f"  copied at {2 * size / times['copy of the table']:.1f} GB/s, multiplied at "
        f"{2 * size / (times['product forward'] + times['product backward']):.1f} GB/s",
        flush=True,
    )


def print_fit(mocks: Mocks, sampler: NUTS, device: str) -> None:
    """Time a fit of a cosmology, and compare it with the truth."""
    import arviz

    start = perf_counter()
    found = fit(population_of(CosmologyMassFunction()), mocks.posteriors, mocks.survey, sampler=sampler, device=device)
    time = perf_counter() - start
    print(f"NUTS of Om and sigma8, {len(mocks.posteriors)} clusters, {sampler.total} draws, warm-up included")
    print(f"  {time:.0f} s    (at most 300)")
    for name in ("Om0", "sigma8", "S8"):
        draws = found["posterior"][name].values
        truth = getattr(MDPL2, name)
        pull, effective = (draws.mean() - truth) / draws.std(), float(arviz.ess(draws))
        print(
            f"  {name:<6} {draws.mean():.4f} ± {draws.std():.4f}, true {truth:.4f}: {pull:+.1f} sigma,"
            f" {effective:.0f} effective draws, {effective / time:.1f} a second"
        )


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description="Population likelihood: ours and the usual way.")
    parser.add_argument(
        "--clusters", type=int, default=100_000, help="to compare and to fit; the growth goes to ten times as many"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of our integrals; the peer's: cpu")
    parser.add_argument("--quick", action="store_true", help="1000 clusters and few draws: shows that all runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    n, device = 1000 if options.quick else options.clusters, options.device
    tabulate = partial(tabulated, device=device)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"population, {device}, {options.threads} threads on {os.cpu_count()} cores; load average {load} at the start",
        flush=True,
    )
    print_growth([max(n // 100, 1), max(n // 10, 1), n, 10 * n], tabulate)
    mocks = observe(n)
    for masses in (MassFunction(), CosmologyMassFunction()):
        problem = tabulate(mocks, masses)
        print_comparison(problem, mocks)
        print_profile(problem)
    print_fit(mocks, NUTS(100, 50, 2) if options.quick else NUTS(), device)


if __name__ == "__main__":
    main()
