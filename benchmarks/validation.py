"""Flows and their rivals on the same mock clusters, and whether the error bars are true.

    python benchmarks/validation.py [ho2019] [realistic] [--quick] [--seed 1] [--out runs/validation]

`ho2019` are the published mocks' choices, masses 10^13.5 to 10^15.3; `realistic` all galaxies, 10^13.0 to 10^15.6. For
each: 20 000 clusters to train on, flat in log10 mass, 20 000 for the test, drawn from the mass function, both
contaminated; and sets in which the number of galaxies is independent of the mass (`clustermocks.without_richness`). An
hour on two cores; finished steps are kept in --out, and the same command continues. `--quick` takes a twentieth of the
clusters and 100 updates, which tests that everything runs, not how good it is.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel, without_richness
from clustermocks.io.atomic import replacing
from sbi_clustermass import NSF, DeepSets, KDEImage, MassEstimator, StackedAffine, Tabulated, TrialMasses, train
from sbi_clustermass.baselines import RIVALS
from sbi_clustermass.diagnostics import richness_r2
from sbi_clustermass.diagnostics.validation import Validation, trust_section, validation_table
from sbi_clustermass.flows import Flow
from sbi_clustermass.report import Section, markdown, save_sections
from sbi_clustermass.training.defaults import default_training

CONSOLE = Console(soft_wrap=True, highlight=False)
FEW = 10  # galaxies: least number to which clusters are thinned
SMALLER = 20
BEST, PAPER = "tabulated+trial_masses", "stacked_affine+kde"
BLIND = ("constant", "m_sigma", "m_sigma_inverse", "richness", "aperture")  # rivals on members and on thinned clusters


@final
@dataclass(frozen=True)
class Setting:
    """Preset of the mocks, with the settings that depend on it.

    Attributes:
        name: Name of the preset.
        model: The simulator.
        low: Lowest log10 mass [dex].
        high: Highest log10 mass [dex].
        most: Largest number of galaxies to which clusters are thinned; clusters of the lowest masses must have as many.
    """

    name: str
    model: HaloModel
    low: float
    high: float
    most: int

    @property
    def middle(self) -> float:
        """Middle of the range [dex]."""
        return 0.5 * (self.low + self.high)

    def flows(self) -> dict[str, Flow]:
        """Flows of the paper, with either reading of its bandwidth, and the best of ours."""
        trials = TrialMasses(
            self.middle, self.high - self.low, trials=round((self.high - self.low) / 0.025) + 1, edge=True
        )
        return {
            "stacked_affine+kde": StackedAffine(),
            "stacked_affine+kde(.15)": StackedAffine(embedding=KDEImage(0.15)),
            "nsf+deep_sets": NSF(embedding=DeepSets()),
            "tabulated+trial_masses": Tabulated(embedding=trials),
        }


SETTINGS = {
    "ho2019": Setting("ho2019", HaloModel.ho2019(), 13.5, 15.3, 25),
    "realistic": Setting("realistic", HaloModel(), 13.0, 15.6, 30),
}


@final
@dataclass(frozen=True)
class Sets:
    """Sets of clusters of one setting; simulated ones are kept in `folder`."""

    setting: Setting
    folder: Path
    seed: int
    shrink: int

    def flat(self, stream: int = 0, n: int = 40_000) -> Catalogue:
        """Clusters with attempted masses flat in log10."""
        masses = FlatMasses(self.setting.low, self.setting.high).draw(n // self.shrink, 10 * self.seed + stream)
        return self._kept(f"flat-{stream}", lambda: self._simulate(masses, stream))

    def train_set(self) -> Catalogue:
        """20 000 clusters, flat in log10 mass."""
        return some(self.flat(0), 20_000 // self.shrink)

    def test_set(self) -> Catalogue:
        """20 000 clusters from the mass function, between the ends of the training prior."""
        low, high = self.setting.low, self.setting.high
        masses = HaloMassFunction(low=low, high=high).draw(60_000 // self.shrink, 10 * self.seed + 5)
        return some(self._kept("test", lambda: self._simulate(masses, 5)), 20_000 // self.shrink)

    def thinned(self, stream: int) -> Catalogue:
        """Clusters in which the number of galaxies is independent of the mass."""
        low, high = self.setting.low, self.setting.high
        many = self.flat(stream, 120_000)
        return without_richness(many, fewest=FEW, most=self.setting.most, low=low, high=high, seed=self.seed + stream)

    def _simulate(self, masses: np.ndarray, stream: int) -> Catalogue:
        return self.setting.model.simulate(masses, seed=100 * self.seed + stream, n_jobs=2)

    def _kept(self, name: str, make: Callable[[], Catalogue]) -> Catalogue:
        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            CONSOLE.print(f"simulating {self.setting.name}/{name}")
            make().to_parquet(path)
        return Catalogue.from_parquet(path)


def some(catalogue: Catalogue, n: int) -> Catalogue:
    """The first n clusters."""
    return catalogue.select(np.arange(min(n, len(catalogue))))


def trained(sets: Sets, name: str, flow: Flow, clusters: Catalogue, *, members: int = 1) -> MassEstimator:
    """An estimator, trained once and kept."""
    folder = sets.folder / name
    if not (folder / "estimator.json").is_file():
        CONSOLE.print(f"training {sets.setting.name}/{name}")
        rule = replace(default_training(flow.embedding), seed=sets.seed)
        rule = replace(rule, max_updates=100) if sets.shrink > 1 else rule
        support = (sets.setting.low, sets.setting.high)
        train(clusters, flow=flow, support=support, training=rule, members=members).save(folder)
    return MassEstimator.load(folder)


def with_everything(sets: Sets) -> list[Section]:
    """Flows and all rivals on contaminated clusters, whose number of galaxies counts."""
    train_set, setting = sets.train_set(), sets.setting
    estimators = {name: trained(sets, name, flow, train_set) for name, flow in setting.flows().items()}
    several = f"{BEST}, three networks"
    estimators[several] = trained(sets, several, setting.flows()[BEST], train_set, members=3)
    masses = HaloMassFunction(low=setting.low, high=setting.high)
    validation = Validation(estimators, sets.test_set(), masses, train_set, RIVALS)
    sections = validation.sections(announce=lambda what: CONSOLE.print(f"{what} ...", markup=False))
    if sets.shrink == 1:
        CONSOLE.print("trust ...")
        held_out = some(sets.flat(3, 12_000), 6000)
        sections.append(trust_section(several, estimators[several], held_out, seed=sets.seed, model=setting.model))
    return sections


def of_members(sets: Sets) -> Section:
    """Section on true members only: what known membership would allow."""
    setting, name = sets.setting, f"{BEST}, members"
    train_set, test_set = sets.train_set().pure(), sets.test_set().pure()
    estimator = trained(sets, name, setting.flows()[BEST], train_set)
    masses = HaloMassFunction(low=setting.low, high=setting.high)
    rivals = {each: RIVALS[each] for each in (*BLIND, "richness_prior", "jeans_members")}
    results = Validation({name: estimator}, test_set, masses, train_set, rivals).results()
    note = "Members end at the virial radius, so their positions alone reveal much of the mass: see aperture."
    return Section(
        "The same clusters, true members only", tables=(validation_table(results, title="members", note=note),)
    )


def without_number(sets: Sets) -> Section:
    """Section on thinned clusters, as many of every mass, whose number of galaxies is independent of it."""
    train_set, test_set, flows = sets.thinned(1), sets.thinned(2), sets.setting.flows()
    estimators = {
        f"{name}, thinned": trained(sets, f"{name}, thinned", flows[name], train_set) for name in (BEST, PAPER)
    }
    results = Validation(estimators, test_set, None, train_set, {each: RIVALS[each] for each in BLIND}).results()
    r2 = {name: richness_r2(each.network.embedding_net, some(test_set, 1500)) for name, each in estimators.items()}
    note = (
        f"{len(train_set)} clusters to train on, {len(test_set)} for the test, flat in mass, thinned to {FEW} to "
        f"{sets.setting.most} galaxies whatever their mass. R^2 of a linear regression of log N on what the flow sees: "
        f"{', '.join(f'{name} {each}' for name, each in r2.items())}; N itself carries no information about the mass."
    )
    return Section("Without the number of galaxies", tables=(validation_table(results, title="thinned", note=note),))


def main() -> None:
    """Validate in each setting; print the tables over all methods."""
    parser = argparse.ArgumentParser(description="Flows and their rivals on the same mock clusters.")
    parser.add_argument("settings", nargs="*", default=[*SETTINGS], help=", ".join(SETTINGS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of clusters, weights and splits")
    parser.add_argument("--out", type=Path, default=Path("runs/validation"))
    given = parser.parse_args()
    for name in given.settings:
        folder = given.out / name
        folder.mkdir(parents=True, exist_ok=True)
        sets = Sets(SETTINGS[name], folder, given.seed, SMALLER if given.quick else 1)
        sections = [of_members(sets), without_number(sets)]
        first, *rest = with_everything(sets)
        sections = [first, *sections, *rest]
        save_sections(folder / "validation", sections)
        with replacing(folder / "results.md") as temporary:
            temporary.write_text(markdown(sections), encoding="utf-8")
        for section in sections[:3]:
            for table in section.tables:
                print(f"\n{name}: {table.markdown()}", flush=True)


if __name__ == "__main__":
    main()
