"""The likelihood route beside posterior estimation: NLE and NRE on learned summaries, NPE on the same embedding.

    python benchmarks/likelihood_route.py [--quick] [--seed 2] [SETTING ...]

Settings are those of SphericalJeans, whose exact posteriors are known: mass, independent, mass+background,
independent+background (12 000 clusters to train on, 4000 for the test); `mocks`, HaloModel.ho2019() with interlopers
(15 000 and 5000); and two of the clusters of mass+background: `prior`, trained on masses of the mass function, tested
on flat ones under a flat prior, and `products`, several independent observations of one cluster, whose likelihoods are
multiplied. All see the same summary statistics, in at most 2000 updates. `--quick` takes a twentieth of the clusters
and few updates.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import process_time

import numpy as np
from scipy.interpolate import CubicSpline
from yardstick import clusters_of

from clustermocks import Catalogue, FlatMasses, HaloMassFunction
from sbi_clustermass import MDN, SummaryStatistics, Training, train
from sbi_clustermass.baselines import RIVALS, LearnedLikelihood
from sbi_clustermass.diagnostics.comparison import JEANS_SETTINGS, ComparisonSetup
from sbi_clustermass.diagnostics.comparison.score import PosteriorScore
from sbi_clustermass.diagnostics.residuals import mean_of
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.training.defaults import default_training

SMALLER = 20
MASSIVE = 14.7  # exact posterior mean [dex] above which clusters are rare in the mass function
TWIN = "mass+background"  # the clusters of the last two settings
MODEL = JEANS_SETTINGS[TWIN]
OBSERVATIONS = 1, 2, 10, 50  # of one cluster
OBSERVED = 300  # clusters, of masses well inside the support
ROUTES = "nle_imnn", "nle_moments", "nre_moments"
Posterior = Callable[[Catalogue], MassPosteriors]
HEADER = (
    "| route | log q [nats] | below exact [nats] | mean residual [dex] | scatter [dex] | 68 % error | "
    "training [s] | ms/cluster |\n|---|---|---|---|---|---|---|---|"
)


def setup_of(setting: str, *, seed: int, quick: bool) -> ComparisonSetup:
    """Clusters of a setting."""
    shrink, rule = SMALLER if quick else 1, Training(seed=seed)
    return clusters_of(TWIN if setting in OTHER_TABLES else setting, rule, shrink)


def trained(setup: ComparisonSetup, *, quick: bool) -> Iterator[tuple[str, Posterior, float]]:
    """Each route with its posteriors and the seconds of its training."""
    for name in ("npe", *ROUTES):
        start = process_time()
        posterior = _npe(setup, quick) if name == "npe" else _likelihood(RIVALS[name], setup, quick)
        yield name, posterior, process_time() - start


def _short(rule: Training, setup: ComparisonSetup, quick: bool) -> Training:
    updates = 100 if quick else 2000
    return replace(rule, max_updates=updates, patience=500, seed=setup.training.seed)


def _npe(setup: ComparisonSetup, quick: bool) -> Posterior:
    embedding = SummaryStatistics()
    rule, flow = _short(default_training(embedding), setup, quick), MDN(embedding=embedding)
    return train(setup.train_set, flow=flow, support=setup.support, training=rule, device="cpu").posterior


def _likelihood(route: object, setup: ComparisonSetup, quick: bool) -> Posterior:
    assert isinstance(route, LearnedLikelihood)
    rule = _short(route.summaries.training(), setup, quick)
    route = replace(route, support=setup.support, training=rule, epochs=3 if quick else route.epochs)
    fitted = route.fit(setup.train_set, seed=setup.training.seed)

    def posterior(clusters: Catalogue) -> MassPosteriors:
        found = fitted.predict(clusters).posteriors
        assert found is not None
        return found

    return posterior


def compare(setup: ComparisonSetup, *, quick: bool) -> Iterator[str]:
    """Lines of the table of a setting."""
    truth, exact = setup.test_set.log10_mass, None
    yield HEADER
    if setup.exact is not None:
        exact = PosteriorScore.from_posteriors(setup.exact, truth)
        yield f"| exact | {mean_of(exact.log_prob):.3f} | | {_quality(exact)} | | |"
    for name, posterior, seconds in trained(setup, quick=quick):
        start = process_time()
        score = PosteriorScore.from_posteriors(posterior(setup.test_set), truth)
        each = 1e3 * (process_time() - start) / len(truth)
        below = "" if exact is None else str(mean_of(exact.log_prob - score.log_prob))
        yield f"| {name} | {mean_of(score.log_prob):.3f} | {below} | {_quality(score)} | {seconds:.0f} | {each:.2f} |"


def _quality(score: PosteriorScore) -> str:
    return f"{score.residual_mean:.3f} | {score.residual_scatter:.3f} | {score.coverage_error:.3f}"


def under_another_prior(setup: ComparisonSetup, *, quick: bool) -> Iterator[str]:
    """Lines of the table of networks trained on the mass function, under the flat prior of the test."""
    assert setup.exact is not None
    low, high = setup.support
    masses = HaloMassFunction("tinker08", low, high)
    n = len(setup.train_set)
    mocks = MODEL.simulate(masses.draw(2 * n, seed=setup.training.seed + 1), seed=setup.training.seed + 1)
    tilted = replace(setup, train_set=mocks.select(np.arange(min(n, len(mocks)))))
    truth = setup.test_set.log10_mass
    massive = setup.exact.mean > MASSIVE
    exact = setup.exact.log_prob_at(truth)
    rare = int((tilted.train_set.log10_mass > MASSIVE).sum())
    yield f"{len(tilted.train_set)} clusters to train on, {rare} of them above {MASSIVE}"
    yield (
        f"| route | below exact [nats] | above {MASSIVE}: below exact [nats] | mean residual [dex] | 68 % error |\n"
        "|---|---|---|---|---|"
    )
    for name, posterior, _ in trained(tilted, quick=quick):
        flat = posterior(setup.test_set)
        flat = flat.with_prior(np.zeros(len(flat.grid)))
        below = exact - flat.log_prob_at(truth)
        yield f"| {name} | {mean_of(below):.3f} | {_at(flat, below, truth, massive)} |"
    yield f"| exact | | {_at(setup.exact, 0 * exact, truth, massive)} |"


def _at(posteriors: MassPosteriors, below: np.ndarray, truth: np.ndarray, some: np.ndarray) -> str:
    score = PosteriorScore.from_posteriors(posteriors[some], truth[some])
    return f"{mean_of(below[some]):.3f} | {score.residual_mean:.3f} | {score.coverage_error:.3f}"


def observed_often(seed: int, n: int) -> tuple[Catalogue, np.ndarray]:
    """Independent observations of n clusters, as many of each, and the true masses of these clusters."""
    most = max(OBSERVATIONS)
    masses = np.sort(FlatMasses(13.8, 15.0).draw(n, seed=seed))
    found = MODEL.simulate(np.repeat(masses, most + 10), seed=seed)
    cluster = np.searchsorted(masses, found.log10_mass)
    enough = np.flatnonzero(np.bincount(cluster, minlength=n) >= most)
    first = np.searchsorted(cluster, enough)
    return found.select((first[:, None] + np.arange(most)).ravel()), masses[enough]


def multiplied(each: MassPosteriors, n: int) -> MassPosteriors:
    """Posteriors under a flat prior from the first n observations of each cluster, on a finer grid."""
    grid = each.grid
    among_selected = each.log_likelihood() - MODEL.log_selected(grid)
    summed = among_selected.reshape(-1, max(OBSERVATIONS), len(grid))[:, :n].sum(axis=1)
    fine = np.linspace(grid[0], grid[-1], 16 * len(grid))
    return MassPosteriors.from_log_prob(fine, CubicSpline(grid, summed, axis=1)(fine))


def products(setup: ComparisonSetup, *, quick: bool) -> Iterator[str]:
    """Lines of the table of several observations of one cluster."""
    observed, truth = observed_often(setup.training.seed + 1, OBSERVED // (SMALLER if quick else 1))
    grid = np.linspace(*setup.support, 256)
    exact = MassPosteriors.from_log_prob(grid, MODEL.log_likelihood(observed, grid))
    best = [PosteriorScore.from_posteriors(multiplied(exact, n), truth) for n in OBSERVATIONS]
    yield "| route | observations | below exact [nats] | mean residual [dex] | scatter [dex] | 68 % error |"
    yield "|---|---|---|---|---|---|"
    for n, score in zip(OBSERVATIONS, best, strict=True):
        yield f"| exact | {n} | | {_quality(score)} |"
    for name, posterior, _ in trained(setup, quick=quick):
        each = posterior(observed)
        for n, exactly in zip(OBSERVATIONS, best, strict=True):
            score = PosteriorScore.from_posteriors(multiplied(each, n), truth)
            yield f"| {name} | {n} | {mean_of(exactly.log_prob - score.log_prob):.3f} | {_quality(score)} |"


OTHER_TABLES = {"prior": under_another_prior, "products": products}


def main() -> None:
    """Print a table for each setting."""
    names = [*JEANS_SETTINGS, "mocks", *OTHER_TABLES]
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*", default=names, help=", ".join(names))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=2, help="of the clusters, the weights and the split")
    given = parser.parse_args()
    for setting in given.settings:
        setup = setup_of(setting, seed=given.seed, quick=given.quick)
        table = OTHER_TABLES.get(setting, compare)
        print(
            f"\n{setting}: {len(setup.train_set)} clusters to train on, {len(setup.test_set)} for the test", flush=True
        )
        for line in table(setup, quick=given.quick):
            print(line, flush=True)


if __name__ == "__main__":
    main()
