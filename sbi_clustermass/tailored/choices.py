"""Mocks and a training that suit the clusters at hand, each choice with its reason.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from clustermocks import Cosmology, HaloModel, Observation, RadialCompleteness
from clustermocks.haloes.environment import central_threshold
from clustermocks.haloes.satellites import HaloGalaxies
from sbi_clustermass.estimator.mass_bias import redshift_shift
from sbi_clustermass.tailored import reasons
from sbi_clustermass.tailored.look import DataLook
from sbi_clustermass.tailored.settings import Choice, Choices, Wishes

UNKNOWN_ERROR = 100.0  # km/s: of the redshifts of SDSS (30) and 2dFGRS (85: Colless et al. 2001, MNRAS 328, 1039)
SIGNIFICANT = 3.0  # standard errors of a completeness that changes outwards
_APART = 0.03  # dex that the masses of one shell of redshift are off at its ends, at most
_MOST_SHELLS = 8  # enough for that from redshift 0 to 2
_LEAST_HALF = 0.1  # dex of depth: a mass function in place of the flat masses of the mocks shifts it by .06
_FEW = 5  # fewest galaxies of a cluster that is worth a mass
_DEEPEST = 6.0


def choose(look: DataLook, wishes: Wishes | None = None) -> Choices:
    """Choose settings for clusters that look like this: a pure function of what was measured and wished for."""
    wishes = wishes or Wishes()
    shells, radial = _shells(look), _radial(look, wishes)
    depth, completeness = _depth(look, radial, wishes, deepest(shells, look.cosmology))
    chosen = Choices(
        model=_model(look, wishes, radial, depth),
        redshifts=tuple(shells),
        shares=tuple(shells.values()),
        n=wishes.n,
        low=13.0,
        high=15.6,
        completeness=completeness,
        velocity_error=_errors(look, wishes),
        richness=wishes.richness,
        cleaning=wishes.cleaning,
        because=(),
        cautions=(),
    )
    because = tuple(Choice(*each) for each in reasons.because(look, chosen, wishes))
    return replace(chosen, because=because, cautions=reasons.cautions(look, chosen))


def _model(look: DataLook, wishes: Wishes, radial: tuple[float, float], depth: float) -> HaloModel:
    least = _least(look, wishes)
    return HaloModel(
        observation=Observation(redshift=round(look.redshift, 4), aperture=look.aperture, min_galaxies=least),
        cosmology=look.cosmology,
        completeness=1.0 if radial == (1.0, 1.0) else RadialCompleteness(*radial),
        fibre_collision=wishes.fibre_collision,
        galaxies=HaloGalaxies(richness=round(HaloGalaxies.richness * depth, 2)),
        tracer_density=round(HaloModel.tracer_density * depth, 5),
    )


def _shells(look: DataLook) -> dict[float, float]:
    """Redshifts, and the share of the clusters that is nearest to each.

    Of nine clusters in ten, the middle ones, no mass is off by more than .03 dex for its shell's redshift, or by more
    where that would take over 8 shells; there is none where no cluster is.
    """
    if not look.redshifts:
        return {round(look.redshift, 4): 1.0}
    low, high = np.quantile(look.redshifts, (0.05, 0.95))
    inside = [z for z in look.redshifts if low <= z <= high]
    apart = max(_APART, redshift_shift(high, low, look.cosmology) / (2 * _MOST_SHELLS))
    shells: list[list[float]] = [[inside[0]]]
    for z in inside[1:]:
        if redshift_shift(z, shells[-1][0], look.cosmology) <= 2 * apart:
            shells[-1].append(z)
        else:
            shells.append([z])
    return {_middle(shell, apart, look.cosmology): len(shell) / len(inside) for shell in shells}


def _middle(shell: list[float], apart: float, cosmology: Cosmology) -> float:
    """The median redshift, or half way between the ends in mass where that is too far from one of them."""
    low, median, high = shell[0], float(np.median(shell)), shell[-1]
    if redshift_shift(high, median, cosmology) <= apart and redshift_shift(median, low, cosmology) <= apart:
        return round(median, 4)
    grid = np.linspace(low, high, 201)
    off = [redshift_shift(z, low, cosmology) for z in grid]
    return round(float(np.interp(off[-1] / 2, off, grid)), 4)


def _radial(look: DataLook, wishes: Wishes) -> tuple[float, float]:
    """Completeness in the centre and at the edge; what fibres or a cleaning do to the profile is not counted twice."""
    edge, error = look.compared.edge, look.compared.edge_error
    cleaned = look.looks_cleaned and wishes.cleaning is None
    if wishes.fibre_collision or cleaned or abs(edge - 1) < SIGNIFICANT * error:
        return 1.0, 1.0
    return (1.0, round(edge, 2)) if edge < 1 else (round(1 / edge, 2), 1.0)


def _depth(
    look: DataLook, radial: tuple[float, float], wishes: Wishes, most: float
) -> tuple[float, tuple[float, float]]:
    """How many times the default's galaxies the mocks have, and which shares of them are kept."""
    found, (centre, edge) = look.compared, radial
    already = np.log10(centre + (edge - centre) * found.mean_R / look.aperture)
    half = max(2 * float(np.hypot(found.depth_error, found.depth_spread)), _LEAST_HALF)
    low, high = (float(10 ** (found.depth - already + side * half)) for side in (-1, 1))
    times = min(max(high, 1.0), most)
    shares = (max(round(min(low / times, 0.9), 3), 0.02), min(round(high / times, 3), 1.0))
    if wishes.completeness is not None:
        return times, (wishes.completeness, max(shares[1], wishes.completeness))
    return times, (min(shares[0], shares[1]), shares[1])


def deepest(redshifts: Iterable[float], cosmology: Cosmology) -> float:
    """How many times the default's galaxies the halo model can have at all these redshifts.

    Centrals of haloes above 10^10.5 are the end: 5.4 times at redshift .1, 5 at .94, 3.8 at 2.
    """
    times = _DEEPEST
    for z in redshifts:
        while times > 1 and not _possible(times, z, cosmology):
            times = round(times - 0.1, 1)
    return times


def _possible(times: float, redshift: float, cosmology: Cosmology) -> bool:
    galaxies = HaloGalaxies(richness=round(HaloGalaxies.richness * times, 2))
    density, mass_function = round(HaloModel.tracer_density * times, 5), HaloModel().neighbours.mass_function
    try:
        central_threshold(density, galaxies, redshift, cosmology, model=mass_function)
    except ValueError:
        return False
    return True


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
