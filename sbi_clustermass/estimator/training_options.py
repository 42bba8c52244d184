"""Settings of a whole training: the options of `clustermass train`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, final

from cyclopts import Parameter, Token

from clustermocks.catalogue.parameters import MASS
from clustermocks.catalogue.provenance import Cleaning
from clustermocks.io.settings import check_ranges


def _names(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(name.strip() for name in tokens[0].value.split(","))


@final
@dataclass(frozen=True)
class TrainingOptions:
    """Settings of a whole training, by names and numbers: the options of `clustermass train`.

    Where the default depends on the mocks, the setting is None: `run_training` takes the first one that is named below,
    and `sbi_clustermass.tailored.train_for` the one "with --for".

    Attributes:
        flow: Density estimator: stacked_affine, maf, maf_rqs, nsf, made, mdn, tabulated, zuko_maf, zuko_nice, zuko_nsf,
            zuko_gf, zuko_naf or zuko_bpf. By default stacked_affine; tabulated with --for.
        embedding: Network that summarises the galaxies for the flow: kde, learned_kde, cnn, cnn_3d, deep_sets,
            attention, summary or trial_masses. By default kde; trial_masses with --for.
        parameters: Parameters to infer, separated by commas: log10_mass, optionally followed by log10_c200c
            (concentration of the mass), beta (velocity anisotropy) or both. The mocks must contain them.
        richness: Whether the network may use the number of galaxies, which is right only if redshifts are as complete
            as in the mocks. Always with --for, because its mocks are of any completeness.
        sky: Whether deep_sets, attention or summary also takes where on the sky galaxies lie, besides how far from the
            centre; cnn_3d always does. Tables then need ra and dec.
        members: Number of networks to train, as an ensemble. By default 1; 3 with --for.
        completeness: Smallest fraction of its galaxies to which a cluster is thinned at random. By default 1, no
            thinning; with --for, that of the prior over surveys.
        velocity_error: Largest standard deviation of the velocity errors that are added [km/s]. By default 0; with
            --for about those in the table.
        cleaning: How interlopers are removed from the mocks, as was done to the data; by default they are kept.
        conditions: Whether the network takes redshift, velocity error and cleaning as inputs; by default it does if the
            mocks are of many surveys.
        learning_rate: Learning rate of Adam. By default it depends on the embedding, as do the next two settings.
        patience: Number of weight updates without a better validation loss after which training stops.
        max_updates: Largest number of weight updates.
        min_galaxies: Smallest number of galaxies of a training cluster: the cut of a survey. By default that of the
            mocks.
        pure: Whether to train on true members only.
        plain_loss: Whether to use the loss of the paper, which ignores the ends of the prior and is biased near them.
        alarm: Number of mocks, at most a tenth, that are held out of the training to recognise clusters that are unlike
            all mocks; 0 for no such warnings.
        membership: Number of mocks, taken from the beginning of the set, from which a further network learns which
            galaxies are members, for `clustermass infer --members`: a few ten thousand; 0 for none.
        recalibrate: Whether the widths of posteriors are corrected with the mocks that --alarm holds out.
        seed: Seed: the same seed gives the same result.
        device: auto, cpu or cuda.
        notes: Further facts for the estimator's provenance, as text by name.

    Raises:
        ValueError: A number is out of range.
    """

    flow: str | None = None
    embedding: str | None = None
    parameters: Annotated[tuple[str, ...], Parameter(converter=_names, n_tokens=1, metavar="NAME,...")] = (MASS,)
    richness: bool = False
    sky: bool = False
    members: int | None = None
    completeness: float | None = None
    velocity_error: float | None = None
    cleaning: Cleaning | None = None
    conditions: bool | None = None
    learning_rate: float | None = None
    patience: int | None = None
    max_updates: int | None = None
    min_galaxies: int | None = None
    pure: bool = False
    plain_loss: bool = False
    alarm: int = 3000
    membership: int = 0
    recalibrate: bool = False
    seed: int = 1
    device: str = "auto"
    notes: Annotated[Mapping[str, str], Parameter(parse=False)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, completeness=(0, 1), velocity_error=(0, inf, "km/s"), alarm=(0, inf), seed=(0, inf))
        check_ranges(self, membership=(0, inf))
        if self.membership and self.pure:
            raise ValueError("--membership takes mocks with interlopers; with --pure all galaxies are members.")
        check_ranges(self, members=(1, inf), patience=(1, inf), max_updates=(1, inf), min_galaxies=(1, inf))
