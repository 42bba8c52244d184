"""The card of a saved estimator: everything but the arrays.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, final

from clustermocks import Cosmology, Observation
from clustermocks.catalogue.parameters import MASS, PARAMETERS
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.posterior import Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History, Training

if TYPE_CHECKING:
    from sbi_clustermass.estimator.given_mass import GivenMass

FAR = 100.0  # ends of a parameter's support


@final
@dataclass(frozen=True)
class GivenMassCard:
    """Description of the network of the parameters given the mass; its flow is that of the mass.

    Attributes:
        parameters: Names of the parameters.
        low: Lower end of each one's support.
        high: Upper end.
        training: Settings of the training.
        history: History of the training.
        sha256: Checksum of the file of weights.
    """

    parameters: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    training: Training
    history: History
    sha256: str

    def __post_init__(self) -> None:
        ends = list(zip(self.low, self.high, strict=True))
        known = set(self.parameters) <= PARAMETERS.keys() - {MASS}
        if not known or len(set(self.parameters)) != len(ends) or not all(-FAR < a < b < FAR for a, b in ends):
            raise ValueError(f"it needs the names of parameters and ends that rise, found {self.parameters} in {ends}")

    @classmethod
    def from_part(cls, part: "GivenMass", sha256: str) -> Self:
        """Describe a part of an estimator, whose weights have this checksum."""
        shared = (each.name for each in fields(cls) if each.name != "sha256")
        return cls(**{name: getattr(part, name) for name in shared}, sha256=sha256)


@final
@dataclass(frozen=True)
class Card:
    """Description of a saved estimator. All fields but the flow have the types that an estimator holds.

    Attributes:
        flow: Name and fields of the flow, which is not built yet.
        prior: Effective training prior.
        observation: How the mocks were observed.
        cosmology: Cosmology of the mocks.
        richness: Fewest and most galaxies of a training cluster.
        condition_shape: Shape of the padded observation that the network was built with: galaxies, and 3 columns or,
            with conditions, 6.
        histories: History of each member's training.
        provenance: How the mocks were made, and how the networks were trained.
        weights_sha256: Checksum of the file of weights.
        alarm_sha256: Checksum of the file of the alarm; None where there is none.
        recalibration: Map that corrects the widths of posteriors; None where there is none.
        given_mass: Description of the density of parameters given the mass; None where there is none.
        membership_sha256: Checksum of the file of the membership; None where there is none.
    """

    flow: Mapping[str, Any]
    prior: EffectivePrior
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    condition_shape: tuple[int, int]
    histories: tuple[History, ...]
    provenance: Provenance
    weights_sha256: str = ""
    alarm_sha256: str | None = None
    recalibration: Recalibration | None = None
    given_mass: GivenMassCard | None = None
    membership_sha256: str | None = None


def counts_galaxies(flow: Mapping[str, Any]) -> bool:
    """Whether the embedding of a flow, given by name and fields, has the number of galaxies as an input."""
    embedding = flow.get("embedding")
    return isinstance(embedding, dict) and bool(embedding.get("richness"))
