"""Settings of mocks and a training for the clusters at hand: what the user asks for, and what was chosen.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import dataclass
from typing import NamedTuple, final

from clustermocks import HaloModel
from clustermocks.perturbations import Cleaning


class Choice(NamedTuple):
    """What was chosen, and why, in words."""

    what: str
    value: str
    why: str


@final
@dataclass(frozen=True)
class Wishes:
    """What the user asks for, whatever the data look like.

    Attributes:
        n: Mocks to simulate, all shells together.
        richness: Whether the number of galaxies may count: the user vouches for the completeness.
        cleaning: How interlopers were removed from the data, and are to be from the mocks; None for not at all.
        fibre_collision: Least angle between two galaxies with redshifts [arcsec].
        completeness: Lowest share of the mocks' galaxies in the training, in place of what the data tell [1].
        velocity_error: Largest velocity error in the training, in place of what the data tell [km/s].
        min_galaxies: Fewest galaxies of a cluster, in place of what the data tell.
    """

    n: int = 40_000
    richness: bool = False
    cleaning: Cleaning | None = None
    fibre_collision: float = 0.0
    completeness: float | None = None
    velocity_error: float | None = None
    min_galaxies: int | None = None


@final
@dataclass(frozen=True)
class Choices:
    """Settings of simulator and training, with their reasons.

    Attributes:
        model: The simulator, at the median redshift.
        redshifts: Of the shells that are simulated [1].
        shares: Of the mocks in each shell, as of the clusters [1].
        n: Mocks, all shells together.
        low: Lowest log10 mass [dex].
        high: Highest log10 mass [dex].
        completeness: Lowest and highest share of a mock's galaxies in the training [1].
        velocity_error: Smallest and largest velocity error that is added in the training [km/s].
        richness: Whether the number of galaxies counts.
        cleaning: How interlopers are removed from the mocks; None for not at all.
        because: Each choice with its reason.
        cautions: What no choice could mend.
    """

    model: HaloModel
    redshifts: tuple[float, ...]
    shares: tuple[float, ...]
    n: int
    low: float
    high: float
    completeness: tuple[float, float]
    velocity_error: tuple[float, float]
    richness: bool
    cleaning: Cleaning | None
    because: tuple[Choice, ...]
    cautions: tuple[str, ...]
