"""What an ensemble adds to posteriors: on few mocks, and on clusters unlike the mocks.

    python benchmarks/ensembles.py [--quick] [--seed 1] [--seeds 3] [--out runs/ensembles]
        [--kinds ho2019,jeans,box] [--pairs mdn+summary,stacked_affine+kde] [--mocks 1000,3000,10000] [--box BOX.npz]

Trained are one network and an ensemble of five, with every seed on another choice of mocks. Kinds of mocks: `ho2019`,
HaloModel.ho2019(), tested on clusters of the same kind and on three kinds of clusters unlike them; `jeans`, the twin
with a background, of which the exact posterior is known; `box`, dark matter in haloes among clustered neighbours,
tested on more of them and on the haloes of an N-body box (`nbody_box.py` says what file that is), both under the box's
mass function.

Printed are the mean ln q(true mass) and what it gains over that of the one network of the same seed, the share of true
masses in the central 68 and 95 % minus these [points], the median `epistemic_std` and the scatter [dex], seconds of one
core for the training and milliseconds a cluster for the inference. Errors are those of the mean over the seeds, or over
the clusters if these are larger. Finished parts are kept in --out, and the same command continues. `--quick` takes a
twentieth of the clusters and 60 updates instead of 1500, which tests that everything runs.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from jaxtyping import Float
from nbody_box import DENSITY, LOWEST, BoxMasses, box_catalogue

from clustermocks import Catalogue, FlatMasses, HaloModel, RadialCompleteness
from clustermocks.perturbations import with_radial_incompleteness, with_velocity_errors
from sbi_clustermass import EMBEDDINGS, FLOWS, MassEstimator, Training, TrialMasses, train
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.diagnostics.calibration import coverage
from sbi_clustermass.diagnostics.comparison import JEANS_SETTINGS, ComparisonSetup
from sbi_clustermass.flows import Flow
from sbi_clustermass.training.defaults import default_training

ONE, SMALLER = "one network", 20
MEMBERS = {ONE: 1, "ensemble of 5": 5}
SUPPORT, BOX_SUPPORT = (13.5, 15.3), (LOWEST, 15.6)
COLUMNS = ("ln q", "gain", "68 %", "95 %", "epistemic", "scatter", "training s", "ms")


@dataclass(frozen=True)
class Test:
    """Clusters of known mass, with the log prior at a mass if that is not flat, and exact ln q at the true masses."""

    clusters: Catalogue
    log_prior: Callable[[np.ndarray], np.ndarray] | None = None
    exact: Float[np.ndarray, "cluster"] | None = None


@dataclass(frozen=True)
class Kind:
    """Clusters to train on, the support of their masses, and those for the test by name."""

    pool: Catalogue
    support: tuple[float, float]
    tests: Mapping[str, Test]


def ho2019(given: argparse.Namespace) -> Kind:
    """The published mocks, and clusters unlike them: with errors, incomplete, or among clustered neighbours."""
    model, shrink = HaloModel.ho2019(), SMALLER if given.quick else 1
    pool = model.simulate(FlatMasses(*SUPPORT).draw(12_500 // shrink, given.seed), seed=given.seed)
    masses, seed = FlatMasses(*SUPPORT).draw(2000 // shrink, given.seed + 1), given.seed + 1
    same = model.simulate(masses, seed=seed)
    tests = {
        "the same kind": same,
        "velocity errors of 300 km/s": with_velocity_errors(same, 300.0, seed),
        "completeness of .2 at the edge": with_radial_incompleteness(same, RadialCompleteness(1.0, 0.2), seed),
        "clustered neighbours": model.with_clustering().simulate(masses, seed=seed),
    }
    return Kind(pool, SUPPORT, {name: Test(clusters) for name, clusters in tests.items()})


def jeans(given: argparse.Namespace) -> Kind:
    """The tractable twin."""
    n = 13_500 // (SMALLER if given.quick else 1)
    setup = ComparisonSetup.from_jeans(JEANS_SETTINGS["mass+background"], n, training=Training(seed=given.seed))
    exact = setup.exact
    assert exact is not None
    test = Test(setup.test_set, exact=exact.log_prob_at(setup.test_set.log10_mass))
    return Kind(setup.train_set, setup.support, {"the twin": test})


def box(given: argparse.Namespace) -> Kind:
    """Dark matter, and an N-body box."""
    model, shrink = HaloModel.dark_matter(DENSITY).with_clustering(), SMALLER if given.quick else 1
    n = int(1.25 * max(map(int, given.mocks.split(","))))  # some have too few particles
    pool = model.simulate(FlatMasses(*BOX_SUPPORT).draw(n // shrink, given.seed), seed=given.seed)
    clusters = box_catalogue(given.box, given.seed, 1)
    prior, grid = BoxMasses.fit(clusters.attempted()[0]), np.linspace(*BOX_SUPPORT, 521)
    weight, rng = np.exp(prior.log_density(grid)), np.random.default_rng(given.seed + 1)
    drawn = np.interp(rng.uniform(size=3000 // shrink), np.cumsum(weight) / weight.sum(), grid)
    mocks = model.simulate(drawn, seed=given.seed + 1)
    inside = clusters.select(clusters.log10_mass < BOX_SUPPORT[1])
    tests = {"mocks, masses of the box": mocks, "the N-body box": inside}
    return Kind(pool, BOX_SUPPORT, {name: Test(each, prior.log_density) for name, each in tests.items()})


KINDS = {"ho2019": ho2019, "jeans": jeans, "box": box}


def flow_of(pair: str, support: tuple[float, float]) -> Flow:
    """Flow with its embedding, by their names."""
    flow, _, embedding = pair.partition("+")
    if embedding == "trial_masses":
        return FLOWS[flow](embedding=TrialMasses(sum(support) / 2, support[1] - support[0], trials=53))
    return FLOWS[flow](embedding=EMBEDDINGS[embedding]())


def trained(kind: Kind, pair: str, n: int, seed: int, *, quick: bool) -> Iterator[tuple[str, MassEstimator, float]]:
    """Name, estimator and seconds of one network and of an ensemble, of which it is the first member."""
    some = np.random.default_rng(seed).permutation(len(kind.pool))[:n]
    mocks, flow = kind.pool.select(np.sort(some)), flow_of(pair, kind.support)
    training = replace(default_training(flow.embedding), seed=seed, max_updates=60 if quick else 1500, patience=500)
    seconds = 0.0
    with TemporaryDirectory() as folder:
        for name, members in MEMBERS.items():
            start = process_time()
            estimator = train(
                mocks, flow=flow, support=kind.support, training=training, members=members, checkpoint=folder,
                device="cpu",
            )  # fmt: skip
            seconds += process_time() - start
            yield name, estimator, seconds


def scores(estimator: MassEstimator, test: Test) -> dict[str, object]:
    """Scores of the posteriors of some clusters, and ln q of each."""
    start = process_time()
    posteriors = estimator.posterior(test.clusters)
    elapsed, spread = process_time() - start, posteriors.epistemic_std
    if test.log_prior is not None:
        posteriors = posteriors.with_prior(test.log_prior(posteriors.grid))
    true = test.clusters.log10_mass
    found = {f"{level} %": 100 * (coverage(posteriors, true, level / 100).value - level / 100) for level in (68, 95)}
    return {
        "ln q": posteriors.log_prob_at(true).tolist(),
        **found,
        "epistemic": 0.0 if spread is None else float(np.median(spread)),
        "scatter": float((posteriors.mean - true).std()),
        "ms": 1e3 * elapsed / len(true),
    }


def measured(given: argparse.Namespace, kind: str, clusters: Callable[[], Kind], pair: str, n: int, seed: int) -> dict:
    """Scores of all methods by test and method, trained and kept, or read if they are kept."""
    kept = given.out / f"{kind}-{pair}-{n}-{seed}.json"
    if not kept.exists():
        found: dict[str, dict[str, object]] = {}
        made = clusters()
        for method, estimator, seconds in trained(made, pair, n, seed, quick=given.quick):
            for name, test in made.tests.items():
                found.setdefault(name, {})[method] = {**scores(estimator, test), "training s": seconds}
                if test.exact is not None:
                    found[name]["exact"] = {"ln q": test.exact.tolist()}
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


def with_error(over_clusters: list[np.ndarray]) -> str:
    """Mean over seeds, with the larger of its errors: over the seeds, and over the clusters."""
    means = [values.mean() for values in over_clusters]
    of_seeds = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0
    return f"{np.mean(means):+.3f} ± {max(of_seeds, mean_of(np.mean(over_clusters, axis=0)).error):.3f}"


def rows(found: list[dict]) -> Iterator[str]:
    """A row of a table for each test and method, averaged over seeds."""
    for test in found[0]:
        for method in found[0][test]:
            each = [one[test][method] for one in found]
            log_q = [np.array(one["ln q"]) for one in each]
            base = [np.array(one[test].get("exact", one[test][ONE])["ln q"]) for one in found]
            cells = [test, method, with_error(log_q), with_error([a - b for a, b in zip(log_q, base, strict=True)])]
            if method != "exact":
                mean = {name: float(np.mean([one[name] for one in each])) for name in COLUMNS[2:]}
                cells += [f"{mean['68 %']:+.1f}", f"{mean['95 %']:+.1f}", f"{mean['epistemic']:.3f}"]
                cells += [f"{mean['scatter']:.3f}", f"{mean['training s']:.0f}", f"{mean['ms']:.2f}"]
            yield " | ".join(cells)


def main() -> None:
    """Print a table for each kind of mocks, flow and number of mocks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="ho2019,jeans")
    parser.add_argument("--pairs", default="mdn+summary,stacked_affine+kde")
    parser.add_argument("--mocks", default="1000,3000,10000")
    parser.add_argument("--box", help="file of an N-body box, for the kind box")
    parser.add_argument("--seed", type=int, default=1, help="of the clusters, and the first of the trainings")
    parser.add_argument("--seeds", type=int, default=3, help="number of trainings")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/ensembles"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for kind in given.kinds.split(","):
        clusters = cache(lambda kind=kind: KINDS[kind](given))
        for pair in given.pairs.split(","):
            for n in (int(each) // (SMALLER // 4 if given.quick else 1) for each in given.mocks.split(",")):
                seeds = range(given.seed, given.seed + given.seeds)
                found = [measured(given, kind, clusters, pair, n, seed) for seed in seeds]
                print(f"\n{kind}, {pair}, {n} mocks, {given.seeds} seeds\ntest | method | {' | '.join(COLUMNS)}")
                print("\n".join(rows(found)), flush=True)


if __name__ == "__main__":
    main()
