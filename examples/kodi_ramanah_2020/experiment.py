"""The paper's experiment in one folder: mocks, networks and posteriors, read where they exist and made where not."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel
from clustermocks.io.atomic import replacing
from kodi_ramanah_2020.mass_functions import Sets
from kodi_ramanah_2020.mock_sets import HIGH, LOW, flat, test_set, training_set
from kodi_ramanah_2020.published import Kind
from kodi_ramanah_2020.sample import Sample
from sbi_clustermass import KDEImage, MassEstimator, MassPosteriors, StackedAffine, Training, read_cluster, train
from sbi_clustermass.cli.progress import stage
from sbi_clustermass.flows import Flow
from sbi_clustermass.observations.tables.options import TableOptions

MASSES = HaloMassFunction(low=LOW, high=HIGH)
FACTORS = (sqrt(0.15), 0.15)  # H = .15 covariance as printed; the factor itself, as in its first author's later code
PAPERS_RULE = Training(truncated=False, cooldown=0.0)
REALISTIC = (13.0, 15.6)
OBSERVED = {  # file, redshift and centre
    "Coma": ("coma_phase_space.csv", TableOptions(redshift=0.0235, h=0.7, distance="physical")),
    "A119": ("a119.csv", TableOptions(redshift=0.0442, centre=(14.06715, -1.25537))),
    "A2029": ("a2029.csv", TableOptions(redshift=0.0773, centre=(227.7338, 5.7447))),
    "A2199": ("a2199.csv", TableOptions(redshift=0.0302, centre=(247.1594, 39.5513))),
}


@final
@dataclass(frozen=True)
class Size:
    """Sizes of the mocks and of the networks.

    Attributes:
        training_hosts: Number of haloes of the training set; each is seen from three sides or more.
        test_hosts: Number of haloes of the test set; each is seen from three sides.
        most: Largest number of clusters of a set.
        hidden: Widths of the conditioners' layers.
        max_updates: Largest number of weight updates.
        learning_rate: Smallest learning rate of Adam.
    """

    training_hosts: int = 10_500
    test_hosts: int = 7_000
    most: int = 20_000
    hidden: tuple[int, ...] = (512, 64, 512)
    max_updates: int = 20_000
    learning_rate: float = 1e-4

    def shortened(self, rule: Training, seed: int) -> Training:
        """Return a rule with no more updates than these, and no slower ones."""
        most, rate = min(self.max_updates, rule.max_updates), max(self.learning_rate, rule.learning_rate)
        return replace(rule, max_updates=most, learning_rate=rate, seed=seed)


FULL = Size()
FAST = Size(400, 400, 1000, hidden=(32, 16, 32), max_updates=200, learning_rate=1e-3)


@final
@dataclass(frozen=True)
class Experiment:
    """One run in one folder: mocks, networks and posteriors are read if they exist, and made otherwise.

    Attributes:
        folder: Folder of the run.
        size: Sizes of mocks and networks.
        seed: Seed of the run.
        console: Console for progress.
    """

    folder: Path
    size: Size
    seed: int
    console: Console

    def begin(self) -> None:
        """Create the folder, or check that it belongs to this run.

        Raises:
            ValueError: The folder holds a run of another size or seed.
        """
        text = json.dumps({**asdict(self.size), "seed": self.seed}, indent=1)
        path = self.folder / "settings.json"
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path} is of another size or seed.\n  try:    another --out, or remove the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def sets(self) -> tuple[Sets, Sets]:
        """Return training and test set, contaminated and pure."""
        size, seed = self.size, self.seed
        training = self._kept("training", lambda: training_set(size.training_hosts, seed))
        test = self._kept("test", lambda: test_set(size.test_hosts, seed + 1))
        pure = flat(training.pure(), seed)  # members are fewer, so that the poorest drop out
        training, pure, test = (at_most(size.most, mocks, seed) for mocks in (training, pure, test))
        return Sets("contaminated", training, test), Sets("pure", pure, test.pure())

    def realistic(self) -> Catalogue:
        """Return a training set of the realistic sample."""
        masses = FlatMasses(*REALISTIC).draw(self.size.most, self.seed)
        return self._kept("training-realistic", lambda: HaloModel().simulate(masses, seed=self.seed, n_jobs=-1))

    def _kept(self, name: str, make: Callable[[], Catalogue]) -> Catalogue:
        path = self.folder / "mocks" / f"{name}.parquet"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            with stage(f"simulating the {name} set", None, self.console):
                make().to_parquet(path)
        return Catalogue.from_parquet(path)

    def papers_flow(self, factor: float = FACTORS[0]) -> Flow:
        """Return the paper's flow on an image with this kernel width."""
        return StackedAffine(hidden=self.size.hidden, embedding=KDEImage(factor))

    def network(self, name: str, mocks: Catalogue, flow: Flow, rule: Training) -> MassEstimator:
        """Return a flow trained on one training set."""
        path = self.folder / "networks" / name
        if (path / "estimator.json").is_file():
            return MassEstimator.load(path)
        with stage(f"training {name}", None, self.console) as advance:
            estimator = train(
                mocks,
                flow=flow,
                support=REALISTIC if name == "realistic" else (LOW, HIGH),
                training=self.size.shortened(rule, self.seed),
                mirror=rule.truncated,  # the paper shows every cluster as it is
                checkpoint=self.folder / "checkpoints" / name,
                progress=lambda look: advance(look.update, str(look)),
            )
        estimator.save(path)
        return estimator

    def sample(self, name: str, kind: Kind, estimator: MassEstimator, test: Catalogue) -> Sample:
        """Return a test set with its posteriors."""
        path = self.folder / "networks" / name / "test.parquet"
        if not path.is_file():
            with stage(f"inferring the test set with {name}", None, self.console):
                estimator.posterior(test).to_parquet(path)
        return Sample(name.replace("-", ", factor "), kind, test, MassPosteriors.from_parquet(path))


def at_most(n: int, mocks: Catalogue, seed: int) -> Catalogue:
    """Select n clusters at random, or all if there are fewer."""
    if len(mocks) <= n:
        return mocks
    return mocks.select(np.sort(np.random.default_rng(seed).permutation(len(mocks))[:n]))


def observed(folder: Path) -> dict[str, Catalogue]:
    """Read the tables of `OBSERVED` that exist, one cluster each."""
    found = {name: (folder / file, options) for name, (file, options) in OBSERVED.items()}
    return {name: read_cluster(path, options=options) for name, (path, options) in found.items() if path.is_file()}
