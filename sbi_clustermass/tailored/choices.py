"""Settings of mocks and training that suit a survey, each with its reason.

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
from sbi_clustermass.tailored.settings import Choice, Choices, Wishes
from sbi_clustermass.tailored.survey_properties import SurveyProperties

UNKNOWN_ERROR = 100.0  # km/s: SDSS has errors of 30, 2dFGRS of 85 (Colless et al. 2001, MNRAS 328, 1039)
SIGNIFICANT = 3.0  # standard errors above which a radial change of completeness is believed
_APART = 0.03  # largest bias of a mass at the ends of a shell of redshift [dex]
_MOST_SHELLS = 8  # enough for that from redshift 0 to 2
_LEAST_HALF = 0.1  # half width of the range of depths [dex]; the mass function of real clusters shifts depth by .06
_FEW = 5  # fewest galaxies of a cluster whose mass can be inferred
_DEEPEST = 6.0


def choose(survey: SurveyProperties, wishes: Wishes | None = None) -> Choices:
    """Choose settings for clusters with these properties; a pure function of measurements and wishes."""
    wishes = wishes or Wishes()
    shells, radial = _shells(survey), _radial(survey, wishes)
    depth, completeness = _depth(survey, radial, wishes, deepest(shells, survey.cosmology))
    chosen = Choices(
        model=_model(survey, wishes, radial, depth),
        redshifts=tuple(shells),
        shares=tuple(shells.values()),
        n=wishes.n,
        low=13.0,
        high=15.6,
        completeness=completeness,
        velocity_error=_errors(survey, wishes),
        richness=wishes.richness,
        cleaning=wishes.cleaning,
        because=(),
        cautions=(),
    )
    because = tuple(Choice(*each) for each in reasons.because(survey, chosen, wishes))
    return replace(chosen, because=because, cautions=reasons.cautions(survey, chosen))


def _model(survey: SurveyProperties, wishes: Wishes, radial: tuple[float, float], depth: float) -> HaloModel:
    least = _least(survey, wishes)
    return HaloModel(
        observation=Observation(redshift=round(survey.redshift, 4), aperture=survey.aperture, min_galaxies=least),
        cosmology=survey.cosmology,
        completeness=1.0 if radial == (1.0, 1.0) else RadialCompleteness(*radial),
        fibre_collision=wishes.fibre_collision,
        galaxies=HaloGalaxies(richness=round(HaloGalaxies.richness * depth, 2)),
        tracer_density=round(HaloModel.tracer_density * depth, 5),
    )


def _shells(survey: SurveyProperties) -> dict[float, float]:
    """Redshifts of the shells, and the share of the clusters that is nearest to each.

    For the middle 90 % of the clusters the shell's redshift biases no mass by more than .03 dex, unless that would take
    more than 8 shells. No shell is without clusters.
    """
    if not survey.redshifts:
        return {round(survey.redshift, 4): 1.0}
    low, high = np.quantile(survey.redshifts, (0.05, 0.95))
    inside = [z for z in survey.redshifts if low <= z <= high]
    apart = max(_APART, redshift_shift(high, low, survey.cosmology) / (2 * _MOST_SHELLS))
    shells: list[list[float]] = [[inside[0]]]
    for z in inside[1:]:
        if redshift_shift(z, shells[-1][0], survey.cosmology) <= 2 * apart:
            shells[-1].append(z)
        else:
            shells.append([z])
    return {_middle(shell, apart, survey.cosmology): len(shell) / len(inside) for shell in shells}


def _middle(shell: list[float], apart: float, cosmology: Cosmology) -> float:
    """Median redshift, or the one of equal mass bias at both ends if the median is too far from one of them."""
    low, median, high = shell[0], float(np.median(shell)), shell[-1]
    if redshift_shift(high, median, cosmology) <= apart and redshift_shift(median, low, cosmology) <= apart:
        return round(median, 4)
    grid = np.linspace(low, high, 201)
    off = [redshift_shift(z, low, cosmology) for z in grid]
    return round(float(np.interp(off[-1] / 2, off, grid)), 4)


def _radial(survey: SurveyProperties, wishes: Wishes) -> tuple[float, float]:
    """Completeness in the centre and at the edge, unless fibre collisions or a cleaning explain the profile."""
    edge, error = survey.comparison.edge, survey.comparison.edge_error
    cleaned = survey.looks_cleaned and wishes.cleaning is None
    if wishes.fibre_collision or cleaned or abs(edge - 1) < SIGNIFICANT * error:
        return 1.0, 1.0
    return (1.0, round(edge, 2)) if edge < 1 else (round(1 / edge, 2), 1.0)


def _depth(
    survey: SurveyProperties, radial: tuple[float, float], wishes: Wishes, most: float
) -> tuple[float, tuple[float, float]]:
    """Density of galaxies in units of the default mocks', and the range of the shares that are kept."""
    found, (centre, edge) = survey.comparison, radial
    already = np.log10(centre + (edge - centre) * found.mean_R / survey.aperture)
    half = max(2 * float(np.hypot(found.depth_error, found.depth_spread)), _LEAST_HALF)
    low, high = (float(10 ** (found.depth - already + side * half)) for side in (-1, 1))
    times = min(max(high, 1.0), most)
    shares = (max(round(min(low / times, 0.9), 3), 0.02), min(round(high / times, 3), 1.0))
    if wishes.completeness is not None:
        return times, (wishes.completeness, max(shares[1], wishes.completeness))
    return times, (min(shares[0], shares[1]), shares[1])


def deepest(redshifts: Iterable[float], cosmology: Cosmology) -> float:
    """Largest density of galaxies, in units of the default's, that the halo model can have at all these redshifts.

    It is limited by the number of haloes above 10^10.5: to 5.4 at redshift .1, 5 at .94, 3.8 at 2.
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


def _errors(survey: SurveyProperties, wishes: Wishes) -> tuple[float, float]:
    """Range of the table's errors, widened by 30 % and with rounding; up to 100 km/s if the table has none."""
    if wishes.velocity_error is not None:
        return 0.0, wishes.velocity_error
    if survey.velocity_error is None:
        return round(survey.rounding, 1), round(float(np.hypot(UNKNOWN_ERROR, survey.rounding)), 1)
    low, _, high = (float(np.hypot(error, survey.rounding)) for error in survey.velocity_error)
    return round(0.7 * low, 1), round(1.3 * high, 1)


def _least(survey: SurveyProperties, wishes: Wishes) -> int:
    """Fewest galaxies: ten, or five if more than a tenth of the clusters has fewer than ten."""
    if wishes.min_galaxies is not None:
        return wishes.min_galaxies
    return _FEW if survey.poor > 0.1 * survey.clusters else Observation.min_galaxies
