"""Distances of flows and embeddings from the exact posterior, in nats, and their scatter on mocks.

    python benchmarks/yardstick.py [--quick] [--seed 1] [--out runs/yardstick] [SETTING ...]

Settings are those of SphericalJeans: mass, independent (the number of galaxies depends on the mass or not), each also
with +background; and `mocks`, HaloModel.ho2019() with interlopers. 12 000 clusters to train on (15 000 mocks), 4000
(5000) for the test. All pairs take hours on one core; finished ones are kept in --out, and the same command continues.
`--quick` takes a twentieth of the clusters and 100 updates, which tests that everything runs, not how good it is.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from clustermocks import FlatMasses, HaloModel
from clustermocks.io.registry import lookup
from sbi_clustermass import EMBEDDINGS, FLOWS, ImageCNN, KDEImage, Training, TrialMasses
from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.diagnostics.comparison import JEANS_SETTINGS, Comparison, ComparisonSetup, compare

PAIRS = (
    *((flow, "summary") for flow in FLOWS),
    *(("mdn", embedding) for embedding in (*EMBEDDINGS, "kde_richness", "cnn_richness")),
    *(("stacked_affine", embedding) for embedding in ("kde", "kde_richness", "deep_sets", "trial_masses")),
    *(("nsf", embedding) for embedding in ("deep_sets", "trial_masses")),
    *(("tabulated", embedding) for embedding in ("kde", "deep_sets", "attention", "trial_masses")),
)
EMBEDDED = {
    **{name: kind() for name, kind in EMBEDDINGS.items()},
    "trial_masses": TrialMasses(14.4, 1.8, trials=73, edge=True),
    "kde_richness": KDEImage(richness=True),
    "cnn_richness": ImageCNN(richness=True),
}
SMALLER = 20


def contests(settings: list[str], *, seed: int, quick: bool) -> Iterator[tuple[str, ComparisonSetup]]:
    """The clusters of each setting; each embedding is trained by its own rule, quickly all by the same short one."""
    rule, shrink = Training(seed=seed, max_updates=100 if quick else 20_000), SMALLER if quick else 1
    for setting in settings:
        yield setting, replace(clusters_of(setting, rule, shrink), by_embedding=not quick)


def clusters_of(setting: str, rule: Training, shrink: int = 1) -> ComparisonSetup:
    """The clusters of a setting, drawn with the seed of the training; `shrink` times fewer."""
    seed = rule.seed
    if setting == "mocks":
        mocks = HaloModel.ho2019().simulate(FlatMasses(13.5, 15.3).draw(24_000 // shrink, seed), seed=seed)
        return ComparisonSetup.from_mocks(mocks, 20_000 // shrink, training=rule)
    return ComparisonSetup.from_jeans(lookup("setting", setting, JEANS_SETTINGS), 16_000 // shrink, training=rule)


def contend(setup: ComparisonSetup, pairs: tuple[tuple[str, str], ...], folder: Path) -> Comparison:
    """Train and score the pairs."""
    return Comparison.joined(
        *(
            compare(
                setup,
                {flow: FLOWS[flow]()},
                {embedding: EMBEDDED[embedding]},
                folder=folder,
                stage=console_stage(Console()),
            )
            for flow, embedding in dict.fromkeys(pairs)
        )
    )


def main() -> None:
    """Print a table for each setting."""
    names = [*JEANS_SETTINGS, "mocks"]
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*", default=names, help=", ".join(names))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of the clusters, the weights and the split")
    parser.add_argument("--out", type=Path, default=Path("runs/yardstick"))
    parser.add_argument("--pairs", help="flow+embedding with commas between them; all by default")
    given = parser.parse_args()
    pairs = tuple((a, b) for a, _, b in (p.partition("+") for p in given.pairs.split(","))) if given.pairs else PAIRS
    for setting, setup in contests(given.settings, seed=given.seed, quick=given.quick):
        folder = given.out / setting
        found = contend(setup, pairs, folder)
        found.write(folder)
        print(f"\n{setting}: {len(setup.train_set)} clusters to train on, {len(setup.test_set)} for the test")
        print(found.markdown(), flush=True)


if __name__ == "__main__":
    main()
