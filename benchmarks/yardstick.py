"""How far flows and embeddings stand from the exact posterior, in nats, and how much scatter they leave on mocks.

    python benchmarks/yardstick.py [--quick] [--seed 1] [--out runs/yardstick] [SETTING ...]

Settings are those of SphericalJeans: mass, independent (the number of galaxies follows the mass or not), each also with
+background; and `mocks`, HaloModel.ho2019() with interlopers. 12 000 clusters to train on (15 000 mocks), 4000 (5000)
for the test. Hours on one core for all pairs; what is done is kept in --out, and the same command goes on. `--quick`
takes a twentieth of the clusters and of the updates: it shows that all runs, not how good anything is.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from clustermocks import FlatMasses, HaloModel
from sbi_clustermass import EMBEDDINGS, FLOWS, Training, TrialMasses
from sbi_clustermass.compare import JEANS_SETTINGS, Comparison, Contest, compare

PAPER = Training()
SETS = Training(learning_rate=1e-3, batch_size=100, patience=1000, max_updates=6000)
TRIALS = Training(learning_rate=5e-3, batch_size=200, patience=1000, max_updates=2000)
RULES = {"kde": PAPER, "summary": SETS, "deep_sets": SETS, "attention": SETS, "trial_masses": TRIALS}
PAIRS = (
    *(("stacked_affine", embedding) for embedding in ("kde", "summary", "deep_sets", "trial_masses")),
    *(("nsf", embedding) for embedding in ("kde", "deep_sets", "attention", "trial_masses")),
    *(("mdn", embedding) for embedding in ("kde", "deep_sets", "trial_masses")),
    *(("tabulated", embedding) for embedding in ("kde", "deep_sets", "trial_masses")),
)
EMBEDDED = {**{name: kind() for name, kind in EMBEDDINGS.items()}, "trial_masses": TrialMasses(14.4, 1.8, trials=73)}
SMALLER = 20


def contests(settings: list[str], *, seed: int, shrink: int) -> Iterator[tuple[str, Contest]]:
    """The clusters of each setting, under the paper's training rule."""
    rule = replace(PAPER, seed=seed)
    for setting in settings:
        if setting == "mocks":
            mocks = HaloModel.ho2019().simulate(FlatMasses(13.5, 15.3).draw(24_000 // shrink, seed), seed=seed)
            yield setting, Contest.from_mocks(mocks, 20_000 // shrink, training=rule)
        else:
            yield setting, Contest.from_jeans(JEANS_SETTINGS[setting], 16_000 // shrink, training=rule)


def contend(contest: Contest, pairs: tuple[tuple[str, str], ...], folder: Path, *, shrink: int) -> Comparison:
    """Train and score the pairs, each under the rule of its embedding."""
    results = []
    for flow, embedding in pairs:
        rule = RULES[embedding]
        under = contest.under(
            replace(rule, max_updates=max(rule.max_updates // shrink, 100), seed=contest.training.seed)
        )
        one = {flow: FLOWS[flow]()}, {embedding: EMBEDDED[embedding]}
        results.append(compare(under, *one, folder=folder, console=Console()))
    return Comparison.joined(*results)


def main() -> None:
    """Print a table for each setting."""
    names = [*JEANS_SETTINGS, "mocks"]
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*", choices=[*names, []], default=names)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of the clusters, the weights and the split")
    parser.add_argument("--out", type=Path, default=Path("runs/yardstick"))
    parser.add_argument("--pairs", help="flow+embedding with commas between them; all by default")
    given = parser.parse_args()
    shrink = SMALLER if given.quick else 1
    pairs = tuple((a, b) for a, _, b in (p.partition("+") for p in given.pairs.split(","))) if given.pairs else PAIRS
    for setting, contest in contests(given.settings, seed=given.seed, shrink=shrink):
        folder = given.out / setting
        found = contend(contest, pairs, folder, shrink=shrink)
        found.write(folder)
        print(f"\n{setting}: {len(contest.train_set)} clusters to train on, {len(contest.test_set)} for the test")
        print(found.markdown(), flush=True)


if __name__ == "__main__":
    main()
