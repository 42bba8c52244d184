"""What a trained estimator consists of, and its files.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. A saved estimator is a folder with `estimator.json`,
`estimator.safetensors` and, for parts that it may have, `alarm.safetensors`, `given_mass.safetensors` and
`membership.safetensors`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from clustermocks import Cosmology, Observation
from clustermocks.catalogue.parameters import MASS
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator import storage
from sbi_clustermass.estimator.card import Card, counts_galaxies
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.density_estimator import columns_of
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior import Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History

if TYPE_CHECKING:
    from sbi_clustermass.estimator.concentration_prior import ConcentrationPrior
    from sbi_clustermass.estimator.given_mass import GivenMass
    from sbi_clustermass.estimator.membership.membership import Membership
    from sbi_clustermass.estimator.misspecification.alarm import Alarm

# fields that an estimator and its card share
_IN_CARD = ("prior", "observation", "cosmology", "richness", "histories", "provenance", "recalibration")


@dataclass(frozen=True)
class TrainedEstimator:
    """Networks, prior, observation and provenance of `MassEstimator`, whose docstring describes the fields."""

    network: EmbedOnce | Ensemble
    flow: Flow
    prior: EffectivePrior
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    histories: tuple[History, ...]
    provenance: Provenance
    alarm: "Alarm | None" = None
    recalibration: Recalibration | None = None
    given_mass: "GivenMass | None" = None
    membership: "Membership | None" = None

    def __repr__(self) -> str:
        clusters = self.provenance.training_clusters or "?"
        masses = f"log10_mass {self.prior.low} to {self.prior.high}"
        members = f"{len(self.histories)} x " if len(self.histories) > 1 else ""
        others = "".join(f", {name}" for name in self.parameters[1:])
        return f"{type(self).__name__}({members}{self.flow.name}, {clusters} training clusters, {masses}{others})"

    @property
    def history(self) -> History:
        """History of the training of the first network."""
        return self.histories[0]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what is inferred, the mass first."""
        return (MASS, *(() if self.given_mass is None else self.given_mass.parameters))

    @property
    def given_mass_or_prior(self) -> "GivenMass | ConcentrationPrior":
        """What gives the other parameters at each mass: a network, or else the concentrations of haloes."""
        from sbi_clustermass.estimator.concentration_prior import ConcentrationPrior

        return ConcentrationPrior(self.cosmology) if self.given_mass is None else self.given_mass

    @property
    def members(self) -> tuple[Self, ...]:
        """Each network of an ensemble as an estimator of its own of the mass, without alarm and recalibration."""
        networks = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        pairs = zip(networks, self.histories, strict=True)
        own = replace(self, alarm=None, recalibration=None, given_mass=None, membership=None)
        return tuple(replace(own, network=network, histories=(history,)) for network, history in pairs)

    @property
    def counts_galaxies(self) -> bool:
        """Whether the embedding has the number of galaxies as an input."""
        return counts_galaxies(self.flow.config())

    @property
    def takes_conditions(self) -> bool:
        """Whether the network is told redshift, velocity error and cleaning."""
        return columns_of(self.network).conditions

    @property
    def takes_any_field(self) -> bool:
        """Whether the mocks had fields of any size, as those of a `SurveyPrior`: not if only cosmologies differ."""
        return self.takes_conditions and (bool(self.provenance.mocks.surveys) or not self.takes_cosmology)

    @property
    def takes_cosmology(self) -> bool:
        """Whether the network is told Om0 and sigma8: those of `Catalogue.in_cosmology`, or else those of lengths."""
        return columns_of(self.network).cosmology

    @property
    def takes_sky(self) -> bool:
        """Whether the network is told where on the sky galaxies lie, and not only how far from the centre."""
        return columns_of(self.network).sky

    @property
    def is_truncated(self) -> bool:
        """Whether the loss was that of the density truncated to the support."""
        return self.provenance.truncated

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest log10 mass of a posterior [dex]; the density is zero outside."""
        return self.prior.low, self.prior.high

    def to(self, device: str) -> Self:
        """Move the networks to a device, in place; "auto" takes CUDA if it is available."""
        if self.given_mass is not None:
            self.given_mass.network.to(resolve_device(device))
        return replace(self, network=self.network.to(resolve_device(device)))

    def save(self, folder: str | Path) -> None:
        """Write the estimator into a folder: arrays as safetensors, everything else as JSON.

        Raises:
            OSError: The folder cannot be written.
        """
        shape = (self.network.condition_shape[0], self.network.condition_shape[1])
        shared = {name: getattr(self, name) for name in _IN_CARD}
        card = Card(flow=self.flow.config(), condition_shape=shape, **shared)
        parts = storage.Parts(alarm=self.alarm, given_mass=self.given_mass, membership=self.membership)
        storage.save(as_path(folder), card, self.network, parts)

    @classmethod
    def load(cls, folder: str | Path = storage.SHIPPED, *, device: str = "auto") -> Self:
        """Read a saved estimator. Nothing is unpickled, so that a file from a stranger can do no harm.

        Args:
            folder: Folder that `save` wrote; by default, and as "default", the estimator that ships with the package.
            device: "auto" takes CUDA if it is available.

        Raises:
            FileNotFoundError: The folder or a file in it is missing.
            ValueError: A file is damaged, truncated or of another kind, or the files do not belong together.
        """
        card, flow, network, parts = storage.load(storage.model_folder(folder))
        shared = {name: getattr(card, name) for name in _IN_CARD}
        return cls(network=network, flow=flow, **parts._asdict(), **shared).to(device)
