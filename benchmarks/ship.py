"""Make the estimator that ships with the package: simulate, train, measure, publish.

`python benchmarks/ship.py --work FOLDER` takes about half an hour of one core; the same command continues an
interrupted run. It writes sbi_clustermass/estimator/hub/default, and an archive of it into the working folder.
"""

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are too small to share

from mocks_to_ship import REACH, drawn, prepared
from rich.console import Console
from shipped import sections

from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.estimator.hub import SHIPPED
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.hub.model_card import publish
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.preprocessing_checks import PreprocessingChecks
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training
from sbi_clustermass.report import load_sections, save_sections

OPTIONS = TrainingOptions(flow="tabulated", embedding="trial_masses", members=3, seed=1)
TO_TEACH, TO_MEASURE = 6000, 2000  # mocks of each kind
ABOUT = CardMetadata(
    title="Dynamical masses of observed clusters: the estimator that ships with sbi_clustermass",
    author="The sbi_clustermass developers",
    licence="BSD-3-Clause",
    limits=(
        "Mocks are of one redshift. The table under 'How good it is' shows the effect of another redshift.",
        "20 to 100 % of the galaxies have velocities, whatever their distance from the centre: spectroscopy that thins "
        "out with radius is not in the mocks. Brightness is not in them either: bright galaxies are as fast as others.",
    ),
)


def train(work: Path, n: int, console: Console) -> Path:
    """Simulate and train, unless that is done; return the folder of the estimator."""
    mocks, model = work / "mocks.parquet", work / "model"
    if not mocks.exists():
        clusters = drawn(n, seed=1)
        clusters.to_parquet(mocks)
        console.print(f"{len(clusters)} mocks of {n}, {clusters.n_galaxies.max()} galaxies at most")
    if not (model / "estimator.json").exists():
        run_training(OPTIONS, mocks, model, console_stage(console))
    return model


def taught(model: Path, folder: Path) -> MassEstimator:
    """Teach the alarm how tables are prepared, unless that is done; return the estimator."""
    if (folder / "estimator.json").exists():
        return MassEstimator.load(folder, device="cpu")
    estimator = MassEstimator.load(model, device="cpu")
    if estimator.alarm is None:
        raise ValueError(f"{model}: trained on too few mocks for an alarm; give a larger --n.")
    preprocessing = PreprocessingChecks.fit(estimator.posterior, *prepared(TO_TEACH, seed=501), reach=REACH)
    estimator = replace(estimator, alarm=replace(estimator.alarm, preprocessing_checks=preprocessing))
    estimator.save(folder)
    return estimator


def main(work: Path, out: Path, n: int) -> None:
    """Train, measure and publish the estimator."""
    console = Console(width=190)
    taught_folder, measured, published = (work / each for each in ("taught", "measured", SHIPPED.name))
    estimator = taught(train(work, n, console), taught_folder)
    if not measured.is_dir():
        save_sections(measured, sections(estimator, TO_MEASURE))
    found = load_sections(measured)
    for table in found[0].tables:
        console.print(table.rich())
    digest = publish(taught_folder, published, ABOUT, validation=found)
    shutil.copytree(published, out, dirs_exist_ok=True)
    console.print(f"Wrote {out}/, and {published}.zip with sha256 {digest}.", soft_wrap=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="Folder for mocks and checkpoints.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="Folder of the estimator.")
    parser.add_argument("--n", type=int, default=40_000, help="Mocks.")
    chosen = parser.parse_args()
    main(chosen.work, chosen.out, chosen.n)
