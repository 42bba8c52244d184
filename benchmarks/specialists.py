"""What one estimator for every survey costs: the shipped one against networks of its kind trained on narrow surveys.

`python benchmarks/specialists.py` (ten minutes of one core a survey) prints the mean natural log of the posterior
density at the true mass on fresh mocks of each survey, by both, and the difference in nats. A specialist knows the
narrower ranges of everything in its survey, also of what no table shows.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from mocks_to_ship import SURVEYS, drawn
from rich.console import Console
from ship import OPTIONS

from clustermocks.mocks.chunk import DRAW
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.diagnostics.comparison.score import log_prob_of_truth
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.train import train
from sbi_clustermass.estimator.training_run import flow_for, training_for
from sbi_clustermass.report import Table

NARROW = {
    "nearby, whole fields, galaxies as faint as in SDSS": SURVEYS.narrowed(
        redshift=(0.03, 0.1), aperture=(1.5, 3.0), velocity_error=(15.0, 60.0), tracer_density=(0.004, 0.03), cleaned=0
    ),
    "one mask of slits, .2 < z < .6, members only": SURVEYS.narrowed(
        redshift=(0.2, 0.6), aperture=(0.4, 1.0), velocity_error=(50.0, 150.0), cleaned=1
    ),
    "grisms, .8 < z < 1.3, few galaxies": SURVEYS.narrowed(
        redshift=(0.8, 1.3), aperture=(0.5, 1.5), velocity_error=(100.0, 300.0), tracer_density=(0.0007, 0.004)
    ),
}
_SEED = 500


def main(model: str | None, n: int) -> None:
    """Train the specialists, one after another, and print the table."""
    shipped, rows = MassEstimator.load(resolve_model(model), device="cpu"), []
    for number, (name, surveys) in enumerate(NARROW.items()):
        mocks, test = (drawn(m, _SEED + 2 * number + i, surveys=surveys) for i, m in enumerate((n, n // 5)))
        own = train(mocks, flow=flow_for(OPTIONS), training=training_for(OPTIONS), device="cpu")
        ours, theirs = (log_prob_of_truth(each, test) for each in (shipped, own))
        survey = test.column(DRAW)
        found = [mean_of(each, survey) for each in (ours, theirs, ours - theirs)]
        rows.append((name, str(len(mocks)), str(len(test)), *map(str, found)))
    header = ("survey", "mocks", "tested on", "shipped", "specialist", "difference")
    Console(width=170).print(Table("Log density at the true mass", header, tuple(rows)).rich())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--n", type=int, default=150_000, help="Mocks of each survey, before the richness cut.")
    chosen = parser.parse_args()
    main(chosen.model, chosen.n)
