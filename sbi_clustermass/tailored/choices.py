"""Mocks and a training that suit the clusters at hand, each choice with its reason.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from clustermocks import HaloModel, Observation, RadialCompleteness
from clustermocks.environment import central_threshold
from clustermocks.halo import HaloGalaxies
from sbi_clustermass.diagnostics.perturb import Cleaning
from sbi_clustermass.scaling import redshift_shift
from sbi_clustermass.tailored import reasons
from sbi_clustermass.tailored.look import DataLook

UNKNOWN_ERROR = 100.0  # km/s: of the redshifts of SDSS (30) and 2dFGRS (85: Colless et al. 2001, MNRAS 328, 1039)
SIGNIFICANT = 3.0  # standard errors of a completeness that changes outwards
_APART = 0.03  # dex that the masses of one shell of redshift are off at its ends, at most
_MOST_SHELLS = 8
_LEAST_HALF = 0.1  # dex of depth: a mass function in place of the flat masses of the mocks shifts it by .06
_FEW = 5  # fewest galaxies of a cluster that is worth a mass
_DEEPEST = 6.0


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
        redshifts: Of the shells that are simulated, an equal number of mocks in each [1].
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
    n: int
    low: float
    high: float
    completeness: tuple[float, float]
    velocity_error: tuple[float, float]
    richness: bool
    cleaning: Cleaning | None
    because: tuple[Choice, ...]
    cautions: tuple[str, ...]


def choose(look: DataLook, wishes: Wishes | None = None) -> Choices:
    """Choose settings for clusters that look like this: a pure function of what was measured and wished for."""
    wishes = wishes or Wishes()
    redshifts, radial = _shells(look), _radial(look, wishes)
    depth, completeness = _depth(look, radial, wishes)
    errors, least = _errors(look, wishes), _least(look, wishes)
    model = HaloModel(
        observation=Observation(redshift=round(look.redshift, 4), aperture=look.aperture, min_galaxies=least),
        cosmology=look.cosmology,
        completeness=1.0 if radial == (1.0, 1.0) else RadialCompleteness(*radial),
        fibre_collision=wishes.fibre_collision,
        galaxies=HaloGalaxies(richness=round(HaloGalaxies.richness * depth, 2)),
        tracer_density=round(HaloModel.tracer_density * depth, 5),
    )
    chosen = Choices(
        model=model,
        redshifts=redshifts,
        n=wishes.n,
        low=13.0,
        high=15.6,
        completeness=completeness,
        velocity_error=errors,
        richness=wishes.richness,
        cleaning=wishes.cleaning,
        because=(),
        cautions=(),
    )
    because = tuple(Choice(*each) for each in reasons.because(look, chosen, wishes))
    return replace(chosen, because=because, cautions=reasons.cautions(look, chosen))


def _shells(look: DataLook) -> tuple[float, ...]:
    """Redshifts with equal numbers of the clusters, so many that masses of a shell are off by .03 dex at most."""
    middle = round(look.redshift, 4)
    if not look.redshifts:
        return (middle,)
    low, high = np.quantile(look.redshifts, (0.05, 0.95))
    width = redshift_shift(high, low, look.cosmology)
    n = min(int(np.ceil(width / (2 * _APART))), _MOST_SHELLS)
    if n <= 1:
        return (middle,)
    return tuple(round(float(z), 4) for z in np.quantile(look.redshifts, (np.arange(n) + 0.5) / n))


def _radial(look: DataLook, wishes: Wishes) -> tuple[float, float]:
    """Completeness in the centre and at the edge; what fibres or a cleaning do to the profile is not counted twice."""
    edge, error = look.compared.edge, look.compared.edge_error
    cleaned = look.looks_cleaned and wishes.cleaning is None
    if wishes.fibre_collision or cleaned or abs(edge - 1) < SIGNIFICANT * error:
        return 1.0, 1.0
    return (1.0, round(edge, 2)) if edge < 1 else (round(1 / edge, 2), 1.0)


def _depth(look: DataLook, radial: tuple[float, float], wishes: Wishes) -> tuple[float, tuple[float, float]]:
    """How many times the default's galaxies the mocks have, and which shares of them are kept."""
    found, (centre, edge) = look.compared, radial
    already = np.log10(centre + (edge - centre) * found.mean_R / look.aperture)
    half = max(2 * float(np.hypot(found.depth_error, found.depth_spread)), _LEAST_HALF)
    low, high = (float(10 ** (found.depth - already + side * half)) for side in (-1, 1))
    times = min(max(high, 1.0), deepest(look))
    shares = (max(round(min(low / times, 0.9), 3), 0.02), min(round(high / times, 3), 1.0))
    if wishes.completeness is not None:
        return times, (wishes.completeness, max(shares[1], wishes.completeness))
    return times, (min(shares[0], shares[1]), shares[1])


def deepest(look: DataLook) -> float:
    """How many times the default's galaxies the halo model can have: centrals of haloes above 10^10.5 are the end."""
    times = _DEEPEST
    while times > 1:
        try:
            central_threshold(
                HaloModel.tracer_density * times,
                HaloGalaxies(richness=HaloGalaxies.richness * times),
                look.redshift,
                look.cosmology,
                model=HaloModel().neighbours.mass_function,
            )
        except ValueError:
            times = round(times - 0.1, 1)
            continue
        return times
    return 1.0


def _errors(look: DataLook, wishes: Wishes) -> tuple[float, float]:
    """The table's own errors with room on either side, rounding included; up to 100 km/s where it has none."""
    if wishes.velocity_error is not None:
        return 0.0, wishes.velocity_error
    if look.velocity_error is None:
        return round(look.rounding, 1), round(float(np.hypot(UNKNOWN_ERROR, look.rounding)), 1)
    low, _, high = (float(np.hypot(error, look.rounding)) for error in look.velocity_error)
    return round(0.7 * low, 1), round(1.3 * high, 1)


def _least(look: DataLook, wishes: Wishes) -> int:
    """Ten galaxies, or five where a tenth of the clusters has fewer than ten."""
    if wishes.min_galaxies is not None:
        return wishes.min_galaxies
    return _FEW if look.poor > 0.1 * look.clusters else Observation.min_galaxies
