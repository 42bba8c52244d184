"""What positions on the sky add to distances and velocities, on mocks and where the exact posterior is known.

    python benchmarks/three_dimensions.py --seed 2 [--settings mocks mass] [--pairs mdn+cnn,mdn+cnn_3d] [--quick]

Each network of (x, y, v) is trained beside the same of (R, v), by the same rule and on the same clusters: those of
`yardstick.py` ("mocks": HaloModel.ho2019(), 15 000 to train on and 5000 for the test) or of SphericalJeans, where
galaxies lie in random directions, so that there is nothing to gain. The second table has the test mocks in thirds of
their substructure, Delta / N of Dressler & Shectman. Finished pairs are kept in --out.
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from yardstick import clusters_of

from clustermocks.kinematics.substructure import dressler_shectman
from sbi_clustermass import (
    FLOWS,
    CubeCNN,
    DeepSets,
    ImageCNN,
    KDEImage,
    MassEstimator,
    SetTransformer,
    SummaryStatistics,
    Training,
    TrialMasses,
)
from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.diagnostics.comparison import JEANS_SETTINGS, Comparison, ComparisonSetup, compare
from sbi_clustermass.diagnostics.comparison.score import Entry
from sbi_clustermass.diagnostics.residuals import Measured

EMBEDDED = {
    "kde": KDEImage(),
    "trial_masses": TrialMasses(14.4, 1.8, trials=73),
    "summary": SummaryStatistics(),
    "summary_sky": SummaryStatistics(sky=True),
    "cnn": ImageCNN(richness=True),
    "cnn_3d": CubeCNN(richness=True),
    "deep_sets": DeepSets(),
    "deep_sets_sky": DeepSets(sky=True),
    "attention": SetTransformer(),
    "attention_sky": SetTransformer(sky=True),
}
IN_3D = {
    "summary_sky": "summary",
    "cnn_3d": "cnn",
    "deep_sets_sky": "deep_sets",
    "attention_sky": "attention",
}  # and the same in two dimensions
PAIRS = ("stacked_affine+kde", "tabulated+trial_masses", *(f"mdn+{each}" for pair in IN_3D.items() for each in pair))
RESAMPLINGS, SMALLER = 200, 40


def setup_of(setting: str, *, seed: int, quick: bool) -> ComparisonSetup:
    """The clusters of a setting; each embedding is trained by its own rule, quickly all by the same short one."""
    rule, shrink = Training(seed=seed, max_updates=20 if quick else 20_000), SMALLER if quick else 1
    return replace(clusters_of(setting, rule, shrink), by_embedding=not quick)


def residuals_of(entry: Entry, setup: ComparisonSetup, folder: Path) -> np.ndarray:
    """Posterior mean minus truth of each test cluster [dex]."""
    estimator = MassEstimator.load(folder / entry.name, device="cpu")
    return estimator.posterior(setup.test_set).mean - setup.test_set.log10_mass


def paired_scatter(first: np.ndarray, second: np.ndarray) -> Measured:
    """Standard deviation of the second residuals minus that of the first [dex], resampled together."""
    rows = np.random.default_rng(0).integers(len(first), size=(RESAMPLINGS, len(first)))
    again = second[rows].std(axis=1) - first[rows].std(axis=1)
    return Measured(second.std() - first.std(), float(again.std(ddof=1)))


def print_pairs(found: Comparison) -> None:
    """One row for each pair."""
    exact = found.exact is not None
    nats = "below exact" if exact else "log q"
    print(f"| flow + embedding | {nats} [nats] | scatter [dex] | 68 % error | training [s] | ms/cluster |")
    print("|---|---|---|---|---|---|")
    for row in found.rows:
        score, entry = row.entry.score, row.entry
        times = f"{entry.training_seconds:.0f}", f"{1e3 * entry.inference_seconds:.2f}"
        cells = entry.name, str(row.gap if exact else row.log_prob), f"{score.residual_scatter:.4f}"
        print("|", *(f"{cell} |" for cell in (*cells, str(score.coverage_error), *times)))
    for failure in found.failures:
        print(failure)


def print_thirds(found: Comparison, setup: ComparisonSetup, folder: Path) -> None:
    """Gain of each network of (x, y, v) over the same of (R, v), in thirds of the substructure."""
    entries = {row.entry.name: row.entry for row in found.rows}
    masses, substructure = setup.test_set.log10_mass, dressler_shectman(setup.test_set)
    edges = np.quantile(substructure, [0, 1 / 3, 2 / 3, 1])
    parts = {"all": masses > 0, "14 to 15": (masses > 14) & (masses < 15)} | {
        f"Delta / N {low:.2f} to {high:.2f}": (substructure >= low) & (substructure <= high)
        for low, high in pairwise(edges)
    }
    print("\n| network | clusters | gain of log q [nats] | scatter in 2-D [dex] | change of scatter in 3-D [dex] |")
    print("|---|---|---|---|---|")
    for name, entry in entries.items():
        flat = entries.get(f"{entry.flow}+{IN_3D.get(entry.embedding)}")
        if flat is None:
            continue
        two, three = (residuals_of(each, setup, folder) for each in (flat, entry))
        for label, part in parts.items():
            gain = mean_of(entry.score.log_prob[part] - flat.score.log_prob[part])
            change = paired_scatter(two[part], three[part])
            print(f"| {name} | {label} | {gain:+.3f} | {two[part].std():.4f} | {change:+.4f} |")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["mocks", "mass"], help=f"mocks, {', '.join(JEANS_SETTINGS)}")
    parser.add_argument("--pairs", default=",".join(PAIRS), help="flow+embedding with commas between them")
    parser.add_argument("--seed", type=int, default=2, help="of the clusters, the weights and the split")
    parser.add_argument("--out", type=Path, default=Path("runs/three_dimensions"))
    parser.add_argument("--quick", action="store_true", help="few clusters and updates, to see that everything runs")
    given = parser.parse_args()
    for setting in given.settings:
        setup, folder = setup_of(setting, seed=given.seed, quick=given.quick), given.out / setting
        pairs = [pair.split("+") for pair in given.pairs.split(",")]
        chosen = [({flow: FLOWS[flow]()}, {name: EMBEDDED[name]}) for flow, name in pairs]
        stage = console_stage(Console())
        found = Comparison.joined(*(compare(setup, *each, folder=folder, stage=stage) for each in chosen))
        print(f"\n{setting}: {len(setup.train_set)} clusters to train on, {len(setup.test_set)} for the test\n")
        print_pairs(found)
        if setting == "mocks":
            print_thirds(found, setup, folder)


if __name__ == "__main__":
    main()
