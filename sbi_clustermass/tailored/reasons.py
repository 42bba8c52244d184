"""Reasons for each chosen setting, and cautions about what no setting can correct.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterator

from clustermocks import Observation, RadialCompleteness
from clustermocks.haloes.satellites import HaloGalaxies
from sbi_clustermass.estimator.mass_bias import redshift_shift
from sbi_clustermass.tailored.settings import Choices, Wishes
from sbi_clustermass.tailored.survey_properties import SurveyProperties

Row = tuple[str, str, str]


def because(survey: SurveyProperties, chosen: Choices, wishes: Wishes) -> Iterator[Row]:
    """Yield a row for each setting: its name, its value and the reason."""
    yield _redshift(survey, chosen)
    yield _aperture(survey, chosen)
    yield _depth(survey, chosen)
    yield _profile(survey, chosen, wishes)
    yield _thinning(survey, chosen, wishes)
    yield _errors(survey, chosen, wishes)
    yield _fewest(survey, chosen, wishes)
    yield _interlopers(survey, chosen)
    yield _richness(chosen)
    yield "centres", "wrong by 0.05 h^-1 Mpc on each axis, velocities recentred", "as centres and redshifts of data are"
    low, high = f"{chosen.low:g}", f"{chosen.high:g}"
    yield "masses", f"log10 M200c {low} to {high}, flat", "all clusters; the ends are far from where data can lie"
    yield "mocks", f"{chosen.n}", "as asked"


def _redshift(survey: SurveyProperties, chosen: Choices) -> Row:
    values = ", ".join(f"{z:g}" for z in chosen.redshifts)
    if not survey.redshifts:
        return "redshift", values, "no redshift of a cluster is known: that of the default mocks"
    low, high = survey.redshifts[0], survey.redshifts[-1]
    if survey.clusters == 1 or low == high:
        return "redshift", values, "the cluster's" if survey.clusters == 1 else "the clusters'"
    span = f"{survey.clusters} clusters from {low:.4f} to {high:.4f}, median {survey.redshift:.4f}"
    at = chosen.redshifts[0] if len(chosen.redshifts) == 1 else survey.redshift
    off = max(abs(redshift_shift(z, at, survey.cosmology)) for z in (low, high))
    if len(chosen.redshifts) == 1:
        return "redshift", values, f"{span}: at most {off:.2f} dex of mass by E(z)"
    return "redshift", values, f"{span}; one would be off by up to {off:.2f} dex; mocks in each as clusters"


def _aperture(survey: SurveyProperties, chosen: Choices) -> Row:
    value = f"{chosen.model.observation.aperture:g} h^-1 Mpc"
    if survey.aperture == Observation.aperture:
        few = f"; {survey.narrow} of {survey.clusters} fields end inside" if survey.narrow else ""
        return "aperture", value, f"the fields reach it{few}"
    return (
        "aperture",
        value,
        f"{survey.narrow} of {survey.clusters} fields end inside {Observation.aperture:g} h^-1 Mpc",
    )


def _depth(survey: SurveyProperties, chosen: Choices) -> Row:
    found, times = survey.comparison, chosen.model.galaxies.richness / HaloGalaxies.richness
    measured = f"{10**found.depth:.2f} times the galaxies of mocks that move alike ({found.depth:+.2f} +- "
    measured += f"{found.depth_error:.2f} dex)"
    value = "the default's galaxies" if times < 1.005 else f"{times:.2f} times as many, in clusters and in the field"
    low, _, high = (f"{number:.0f}" for number in survey.richness)
    return "depth", value, f"{low if low == high else f'{low} to {high}'} galaxies in the cylinder: {measured}"


def _profile(survey: SurveyProperties, chosen: Choices, wishes: Wishes) -> Row:
    found, radial = survey.comparison, chosen.model.completeness
    core = f"{found.core} galaxies in the core, mocks {found.core_expected:.0f}"
    measured = f"completeness at the edge {found.edge:.2f} +- {found.edge_error:.2f} of the centre's; {core}"
    if wishes.fibre_collision:
        return "profile", f"fibres {wishes.fibre_collision:g} arcsec apart", f"as asked; {measured}"
    if isinstance(radial, RadialCompleteness):
        return "profile", f"completeness {radial.centre:g} in the centre, {radial.edge:g} at the edge", measured
    return "profile", "completeness the same everywhere", measured


def _thinning(survey: SurveyProperties, chosen: Choices, wishes: Wishes) -> Row:
    low, high = chosen.completeness
    if wishes.completeness is not None:
        why = "as asked"
    elif survey.clusters == 1:
        why = "the depth above, as well as one cluster tells it"
    else:
        why = f"the depth above; clusters scatter by {survey.comparison.depth_spread:.2f} dex beyond the mocks'"
    return "completeness", f"{low:.2f} to {high:.2f} of the mocks' galaxies", why


def _errors(survey: SurveyProperties, chosen: Choices, wishes: Wishes) -> Row:
    low, high = chosen.velocity_error
    value = f"{low:.0f} to {high:.0f} km/s"
    rounded = f"; rounding adds {survey.rounding:.0f} km/s" if survey.rounding > 1 else ""
    if wishes.velocity_error is not None:
        return "velocity errors", value, f"as asked{rounded}"
    if survey.velocity_error is None:
        return "velocity errors", value, f"the table has none: those of surveys are assumed{rounded}"
    return "velocity errors", value, f"median of the table {survey.velocity_error.middle:.0f} km/s{rounded}"


def _fewest(survey: SurveyProperties, chosen: Choices, wishes: Wishes) -> Row:
    value = f"{chosen.model.observation.min_galaxies}"
    if wishes.min_galaxies is not None:
        return "fewest galaxies", value, "as asked"
    poor = f"{survey.poor} of {survey.clusters} clusters have fewer than {Observation.min_galaxies}"
    return "fewest galaxies", value, poor


def _interlopers(survey: SurveyProperties, chosen: Choices) -> Row:
    found = survey.comparison
    measured = f"{found.fast} galaxies faster than 2.5 inner dispersions, mocks {found.fast_expected:.0f}"
    value = "all galaxies" if chosen.cleaning is None else f"removed by {chosen.cleaning}, as asked"
    return "interlopers", value, measured


def _richness(chosen: Choices) -> Row:
    if chosen.richness:
        return "richness", "counts", "as asked: the redshifts are vouched to be as complete as the mocks'"
    return "richness", "does not count", "nobody vouches that redshifts are complete (--richness)"


def cautions(survey: SurveyProperties, chosen: Choices) -> tuple[str, ...]:
    """List what no setting can correct, one sentence each."""
    return tuple(text for check in (_cleaned, _deep, _unread, _spread, _narrow) if (text := check(survey, chosen)))


def _cleaned(survey: SurveyProperties, chosen: Choices) -> str:
    found = survey.comparison
    if not survey.looks_cleaned or chosen.cleaning is not None:
        return ""
    return (
        f"The table looks cleaned of interlopers: {found.fast} galaxies are faster than 2.5 inner dispersions, "
        f"{found.fast_expected:.0f} expected (chance {found.fast_chance:.2g}). Take the galaxies of the whole field, "
        "or train on mocks that were cleaned likewise: --cleaning shifting_gapper."
    )


def _deep(survey: SurveyProperties, chosen: Choices) -> str:
    times = chosen.model.galaxies.richness / HaloGalaxies.richness
    if 10**survey.comparison.depth <= 1.005 * times:
        return ""
    return (
        f"The data are {10**survey.comparison.depth:.1f} times as deep as the default mocks, and mocks can be no more "
        f"than {times:.1f} times: leave out the faintest galaxies."
    )


def _unread(survey: SurveyProperties, chosen: Choices) -> str:
    if not survey.unreadable:
        return ""
    return f"{survey.unreadable} clusters were not measured: {'; '.join(' '.join(r.split()) for r in survey.reasons)}."


def _spread(survey: SurveyProperties, chosen: Choices) -> str:
    if len(chosen.redshifts) == 1:
        return ""
    low, high = (
        redshift_shift(z, survey.redshift, survey.cosmology) for z in (survey.redshifts[0], survey.redshifts[-1])
    )
    return (
        f"The estimator is told no redshift: masses at the lowest are off by {low:+.2f} dex, at the highest by "
        f"{high:+.2f}, and the error bars hold for all together. For each by itself, split the table and train one "
        "estimator a part."
    )


def _narrow(survey: SurveyProperties, chosen: Choices) -> str:
    if not survey.narrow:
        return ""
    end = f"{survey.narrow} of {survey.clusters} fields end inside {Observation.aperture:g} h^-1 Mpc"
    if survey.aperture < Observation.aperture:
        return f"{end}. If the table holds members only, that is why: take all galaxies of the field instead."
    return f"{end}: their masses will come out low, with a warning each. An estimator of their own would help."
