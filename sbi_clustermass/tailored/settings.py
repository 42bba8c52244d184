"""Settings of mocks and training for a survey: the user's wishes, and the choices.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import dataclass
from typing import NamedTuple, final

from clustermocks import HaloModel
from clustermocks.catalogue.provenance import Cleaning


class Choice(NamedTuple):
    """A chosen setting, its value and the reason, as text."""

    what: str
    value: str
    why: str


@final
@dataclass(frozen=True)
class Wishes:
    """Settings that the user fixes, whatever the data.

    Attributes:
        n: Number of mocks in all shells.
        richness: Whether the network sees the number of galaxies, so that the completeness must be right.
        cleaning: How interlopers were removed from the data, and are removed from the mocks; None to keep them.
        fibre_collision: Smallest angle between two galaxies with redshifts [arcsec].
        completeness: Lowest share of the mocks' galaxies in the training [1]; by default measured from the data.
        velocity_error: Largest velocity error in the training [km/s]; by default measured from the data.
        min_galaxies: Fewest galaxies of a cluster; by default measured from the data.
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
        model: Simulator, at the median redshift.
        redshifts: Redshift of each shell [1].
        shares: Share of the mocks in each shell, equal to that of the clusters [1].
        n: Number of mocks in all shells.
        low: Lowest log10 mass [dex].
        high: Highest log10 mass [dex].
        completeness: Lowest and highest share of a mock's galaxies in the training [1].
        velocity_error: Smallest and largest velocity error that is added in the training [km/s].
        richness: Whether the network sees the number of galaxies.
        cleaning: How interlopers are removed from the mocks; None to keep them.
        because: Each choice with its reason.
        cautions: Sentences about what no choice can correct.
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
