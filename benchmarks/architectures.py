"""Which flow on which embedding reads tables of any survey best: pairs trained on the same mocks.

`python benchmarks/architectures.py --n 150000` prints, for each pair, the mean natural log of the posterior density at
the true mass on fresh mocks, coverage and the time of training on one core. Every network is told the same conditions.
"""

import argparse
import os
from time import monotonic

os.environ.setdefault("OMP_NUM_THREADS", "1")

from mocks_to_ship import drawn
from rich.console import Console

from clustermocks.mocks.chunk import DRAW
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.diagnostics.calibration import central_level
from sbi_clustermass.diagnostics.comparison.score import log_prob_of_truth
from sbi_clustermass.estimator.train import train
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, training_for
from sbi_clustermass.report import Table

PAIRS = (
    ("tabulated", "trial_masses"),
    ("tabulated", "deep_sets"),
    ("tabulated", "attention"),
    ("nsf", "deep_sets"),
    ("tabulated", "summary"),
    ("stacked_affine", "kde"),
)
_TRAINED, _TESTED = 700, 701  # seeds


def main(n: int, updates: int, pairs: tuple[tuple[str, str], ...]) -> None:
    """Train every pair on the same mocks and print the table."""
    mocks, test = drawn(n, _TRAINED), drawn(n // 5, _TESTED)
    survey, rows = test.column(DRAW), []
    for flow, embedding in pairs:
        options = TrainingOptions(
            flow=flow, embedding=embedding, richness=True, max_updates=updates, patience=updates // 4, seed=1
        )
        start = monotonic()
        own = train(mocks, flow=flow_for(options), training=training_for(options), device="cpu")
        took = monotonic() - start
        inside = central_level(own.posterior(test), test.log10_mass) <= 0.68
        found = mean_of(log_prob_of_truth(own, test), survey)
        share = mean_of(inside.astype(float), survey).percent
        rows.append((f"{flow} on {embedding}", str(found), f"{share:.1f}", f"{took / 60:.0f}"))
    title = f"{len(mocks)} mocks, at most {updates} updates; tested on {len(test)}"
    header = ("pair", "log density at the true mass", "in 68 % [%]", "minutes")
    Console(width=150).print(Table(title, header, tuple(rows)).rich())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=150_000, help="Mocks, before the richness cut.")
    parser.add_argument("--updates", type=int, default=6000, help="Largest number of weight updates.")
    parser.add_argument("--pairs", nargs="+", default=["+".join(pair) for pair in PAIRS], help="flow+embedding.")
    chosen = parser.parse_args()
    main(chosen.n, chosen.updates, tuple(tuple(pair.split("+")) for pair in chosen.pairs))
