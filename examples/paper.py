"""The results of Kodi Ramanah et al. 2020 (arXiv:2003.05951) on our own mocks, a picture or a table each.

    python examples/paper.py [--fast] [--out runs/paper] [--seed 1] [--clusters FOLDER]

Simulates the paper's sets with `HaloModel.ho2019()` (20 000 clusters flat in mass to train on and 20 000 as the mass
function has them to test on, contaminated and pure), trains the paper's flow on each by the paper's rule, for both
readings of its kernel width (`KDEImage`), and writes results.md, report.html and the pictures. Files that
exist already are used again, so that an interrupted run continues. `--fast` runs a small version.

With `--clusters`, the tables of observed galaxies named in `OBSERVED` are read, and a network trained on the realistic
sample, `HaloModel()`, is compared with the paper's.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import final

import numpy as np
from kodi_ramanah_2020 import (
    Sample,
    Sets,
    individuals,
    mass_functions,
    nearest,
    phase_space,
    predictions,
    real_clusters,
    richness_scaling,
    robustness,
    saliency_maps,
)
from kodi_ramanah_2020.mock_sets import HIGH, LOW, flat, test_set, training_set
from kodi_ramanah_2020.published import Kind
from rich.console import Console

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel
from clustermocks.io.atomic import replacing
from sbi_clustermass import (
    KDEImage,
    MassEstimator,
    MassPosteriors,
    StackedAffine,
    Training,
    baselines,
    read_cluster,
    train,
)
from sbi_clustermass.cli.progress import stage
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.observations.tables.options import TableOptions
from sbi_clustermass.report import Section, load_sections, markdown, save_sections, write

TITLE = "Kodi Ramanah et al. 2020 on our mocks"
MASSES = HaloMassFunction(low=LOW, high=HIGH)
FACTORS = (sqrt(0.15), 0.15)  # H = .15 covariance as printed; the factor itself, as in its first author's later code
PAPERS_RULE = Training(truncated=False, cooldown=0.0)
REALISTIC = (13.0, 15.6)
RIVALS = {
    "M-sigma": "m_sigma_inverse_prior",
    "M-sigma, shifting gapper": "m_sigma_shifting_gapper",
    "virial theorem": "virial",
    "projected mass": "projected_mass",
    "number of galaxies": "richness_prior",
}
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
        learning_rate: Learning rate of Adam.
    """

    training_hosts: int = 10_500
    test_hosts: int = 7_000
    most: int = 20_000
    hidden: tuple[int, ...] = (512, 64, 512)
    max_updates: int = 20_000
    learning_rate: float = 1e-4


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

    def network(self, name: str, mocks: Catalogue, factor: float, rule: Training) -> MassEstimator:
        """Return the paper's flow trained on one training set."""
        path, size = self.folder / "networks" / name, self.size
        if (path / "estimator.json").is_file():
            return MassEstimator.load(path)
        rule = replace(rule, max_updates=size.max_updates, learning_rate=size.learning_rate, seed=self.seed)
        with stage(f"training {name}", None, self.console) as advance:
            estimator = train(
                mocks,
                flow=StackedAffine(hidden=size.hidden, embedding=KDEImage(factor)),
                support=REALISTIC if rule.truncated else (LOW, HIGH),
                training=rule,
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


def mock_sections(experiment: Experiment, pairs: tuple[Sets, Sets]) -> Iterator[Section]:
    """Yield figures 1, 2, 4, 5, 6, 7 and 9, and save the first estimator in the run's folder."""
    yield phase_space(pairs[0].test, nearest(pairs[0].test)[1]).section()
    yield mass_functions(pairs, MASSES).section()
    networks, samples = {}, []
    for pair in pairs:
        for factor in FACTORS:
            name = f"{pair.kind}-{factor:.3g}"
            networks[name] = experiment.network(name, pair.training, factor, PAPERS_RULE)
            samples.append(experiment.sample(name, pair.kind, networks[name], pair.test))
    first, paper = samples[0], next(iter(networks.values()))
    paper.save(experiment.folder)
    weighed = replace(first, name=f"{first.name}, mass-function prior", posteriors=reweighted(first.posteriors, MASSES))
    yield individuals([samples[2], first]).section()
    yield predictions([*samples[:2], weighed, *samples[2:]]).section()
    with stage("fitting rivals", None, experiment.console):
        fitted = {
            name: baselines.RIVALS[key].fit(pairs[0].training, seed=experiment.seed) for name, key in RIVALS.items()
        }
        rivals = {name: method.predict(first.clusters).log10_mass for name, method in fitted.items()}
    yield richness_scaling(samples, rivals).section()
    three = nearest(first.clusters)
    with stage("taking galaxies away, adding velocity errors", None, experiment.console):
        yield robustness(paper, first.clusters, three, seed=experiment.seed).section()
    yield saliency_maps(paper, first.clusters, three).section()


def observed_section(experiment: Experiment, clusters: Path) -> Section:
    """Return figure 8 and Table 1, by the paper's networks and by one trained on the realistic sample."""
    realistic = experiment.network("realistic", experiment.realistic(), FACTORS[0], Training())
    networks = experiment.folder / "networks"
    papers = {f"factor {factor:.3g}": networks / f"contaminated-{factor:.3g}" for factor in FACTORS}
    estimators = {name: MassEstimator.load(path) for name, path in papers.items()}
    return real_clusters({**estimators, "realistic mocks": realistic}, observed(clusters)).section()


def made_by(size: Size, seed: int, *, with_clusters: bool) -> Section:
    """Return the command that reproduces the run."""
    options = " --fast" * (size == FAST) + " --clusters FOLDER" * with_clusters
    text = [f"`{size}`, seed {seed}. The same versions on the same kind of machine give the same numbers."]
    return Section("Command", text, commands=[f"python examples/paper.py --seed {seed}{options}"])


def main(folder: Path, size: Size = FULL, *, seed: int = 1, clusters: Path | None = None) -> list[Section]:
    """Make what is missing, and write pictures, results.md and report.html.

    Args:
        folder: Folder of the run.
        size: Sizes of mocks and networks.
        seed: Seed of the run.
        clusters: Folder with tables of observed galaxies.
    """
    experiment = Experiment(folder, size, seed, Console())
    experiment.begin()
    sections = list(mock_sections(experiment, experiment.sets()))
    if clusters is not None:
        sections.insert(-1, observed_section(experiment, clusters))
    sections.append(made_by(size, seed, with_clusters=clusters is not None))
    save_sections(folder / "paper", sections)
    sections = load_sections(folder / "paper")  # with pictures as they were written: drawn once
    with replacing(folder / "results.md") as temporary:
        temporary.write_text(f"# {TITLE}\n\n{markdown(sections, pictures='paper')}", encoding="utf-8")
    write(folder / "report.html", TITLE, sections)
    experiment.console.print(f"wrote {folder / 'results.md'}, report.html and {folder / 'paper'}/", soft_wrap=True)
    return sections


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="everything small")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), help="folder of the run")
    parser.add_argument("--seed", type=int, default=1, help="of everything")
    parser.add_argument("--clusters", type=Path, help="folder with tables of observed galaxies")
    given = parser.parse_args()
    main(given.out, FAST if given.fast else FULL, seed=given.seed, clusters=given.clusters)
