"""The provenance of a catalogue: its simulator, the settings, and the changes since.

Velocities are in [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final

from clustermocks.io.settings import to_json
from clustermocks.kinematics.cleaning_method import CleaningMethod

Range = tuple[float, float]
Cleaning = Literal["members", CleaningMethod]  # of `clustermocks.perturbations.cleaned`


@final
@dataclass(frozen=True)
class Change:
    """A change made to the galaxies of a catalogue.

    Attributes:
        name: Name of the function that made it, such as "cleaned".
        text: Sentence fragment for a reader, with the settings in braces: "cleaned by {how}".
        settings: Arguments of the function.
    """

    name: str
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text.format(**self.settings)


@final
@dataclass(frozen=True)
class Provenance:
    """How a catalogue was made.

    Attributes:
        simulator: Name of the simulator, such as "HaloModel"; empty if unknown.
        settings: Fields of the simulator in JSON's types, as `clustermocks.simulators.simulator_of` reads them, without
            observation and cosmology, which a catalogue stores as its own.
        revision: Revision of the simulator's code.
        seed: Seed of the simulation.
        lines_of_sight: Fewest and most lines of sight through a halo.
        sample: "all" galaxies in the cylinder, or true "members" only.
        changes: Changes since the simulation, in their order.
        completeness: Lowest and highest share of a cluster's galaxies that were kept [1].
        velocity_error: Smallest and largest standard deviation of the velocity errors that were added [km/s].
        redshifts: Redshifts of the simulated shells, rising; empty if there is only one.
        priors: Priors over surveys and physics from which settings were drawn, in JSON's types; empty if fixed.
        thinned_to: Fewest and most galaxies of clusters whose richness was drawn independently of their mass.
        notes: Further facts by name, as text for a reader.
    """

    simulator: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    revision: int | None = None
    seed: int | None = None
    lines_of_sight: tuple[int, int] | None = None
    sample: Literal["all", "members"] = "all"
    changes: tuple[Change, ...] = ()
    completeness: Range | None = None
    velocity_error: Range | None = None
    redshifts: tuple[float, ...] = ()
    priors: Mapping[str, Any] = field(default_factory=dict)
    thinned_to: tuple[int, int] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_simulator(cls, name: str, simulator: object, seed: int, **facts: Any) -> Self:
        """Describe a simulation.

        Args:
            name: Name of the simulator.
            simulator: Its settings, a dataclass.
            seed: Seed of the simulation.
            **facts: Further fields of the provenance.
        """
        settings = {k: v for k, v in to_json(simulator).items() if k not in ("observation", "cosmology")}
        return cls(name, settings, seed=int(seed), **facts)

    def changed(self, change: Change) -> Self:
        """Return the provenance with a further change."""
        return replace(self, changes=(*self.changes, change))

    @property
    def cleaning(self) -> str:
        """How interlopers were removed, such as "clipping"; empty if they were not."""
        return next((change.settings["how"] for change in self.changes if change.name == "cleaned"), "")

    @property
    def surveys(self) -> Mapping[str, Any]:
        """Prior over surveys from which the observation was drawn, in JSON's types; empty if it is fixed."""
        return self.priors.get("surveys") or {}

    def same_sample(self, other: Self) -> bool:
        """Whether two catalogues differ at most in their seeds and lines of sight."""
        return replace(self, seed=other.seed, lines_of_sight=other.lines_of_sight) == other
