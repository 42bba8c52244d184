"""Why each setting was chosen, and what no setting could mend, in plain words.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterator

from clustermocks import Observation, RadialCompleteness
from clustermocks.haloes.satellites import HaloGalaxies
from sbi_clustermass.estimator.mass_bias import redshift_shift
from sbi_clustermass.tailored.look import DataLook
from sbi_clustermass.tailored.settings import Choices, Wishes

Row = tuple[str, str, str]


def because(look: DataLook, chosen: Choices, wishes: Wishes) -> Iterator[Row]:
    """What was chosen, the value, why: a row each."""
    yield _redshift(look, chosen)
    yield _aperture(look, chosen)
    yield _depth(look, chosen)
    yield _profile(look, chosen, wishes)
    yield _thinning(look, chosen, wishes)
    yield _errors(look, chosen, wishes)
    yield _fewest(look, chosen, wishes)
    yield _interlopers(look, chosen)
    yield _richness(chosen)
    yield "centres", "wrong by 0.05 h^-1 Mpc on each axis, velocities recentred", "as centres and redshifts of data are"
    low, high = f"{chosen.low:g}", f"{chosen.high:g}"
    yield "masses", f"log10 M200c {low} to {high}, flat", "all clusters; the ends are far from where data can lie"
    yield "mocks", f"{chosen.n}", "as asked"


def _redshift(look: DataLook, chosen: Choices) -> Row:
    values = ", ".join(f"{z:g}" for z in chosen.redshifts)
    if not look.redshifts:
        return "redshift", values, "no redshift of a cluster is known: that of the default mocks"
    low, high = look.redshifts[0], look.redshifts[-1]
    if look.clusters == 1 or low == high:
        return "redshift", values, "the cluster's" if look.clusters == 1 else "the clusters'"
    span = f"{look.clusters} clusters from {low:.4f} to {high:.4f}, median {look.redshift:.4f}"
    at = chosen.redshifts[0] if len(chosen.redshifts) == 1 else look.redshift
    off = max(abs(redshift_shift(z, at, look.cosmology)) for z in (low, high))
    if len(chosen.redshifts) == 1:
        return "redshift", values, f"{span}: at most {off:.2f} dex of mass by E(z)"
    return "redshift", values, f"{span}; one would be off by up to {off:.2f} dex; mocks in each as clusters"


def _aperture(look: DataLook, chosen: Choices) -> Row:
    value = f"{chosen.model.observation.aperture:g} h^-1 Mpc"
    if look.aperture == Observation.aperture:
        few = f"; {look.narrow} of {look.clusters} fields end inside" if look.narrow else ""
        return "aperture", value, f"the fields reach it{few}"
    return "aperture", value, f"{look.narrow} of {look.clusters} fields end inside {Observation.aperture:g} h^-1 Mpc"


def _depth(look: DataLook, chosen: Choices) -> Row:
    found, times = look.compared, chosen.model.galaxies.richness / HaloGalaxies.richness
    told = f"{10**found.depth:.2f} times the galaxies of mocks that move alike ({found.depth:+.2f} +- "
    told += f"{found.depth_error:.2f} dex)"
    value = "the default's galaxies" if times < 1.005 else f"{times:.2f} times as many, in clusters and in the field"
    low, _, high = (f"{number:.0f}" for number in look.richness)
    return "depth", value, f"{low if low == high else f'{low} to {high}'} galaxies in the cylinder: {told}"


def _profile(look: DataLook, chosen: Choices, wishes: Wishes) -> Row:
    found, radial = look.compared, chosen.model.completeness
    core = f"{found.core} galaxies in the core, mocks {found.core_expected:.0f}"
    told = f"completeness at the edge {found.edge:.2f} +- {found.edge_error:.2f} of the centre's; {core}"
    if wishes.fibre_collision:
        return "profile", f"fibres {wishes.fibre_collision:g} arcsec apart", f"as asked; {told}"
    if isinstance(radial, RadialCompleteness):
        return "profile", f"completeness {radial.centre:g} in the centre, {radial.edge:g} at the edge", told
    return "profile", "completeness the same everywhere", told


def _thinning(look: DataLook, chosen: Choices, wishes: Wishes) -> Row:
    low, high = chosen.completeness
    if wishes.completeness is not None:
        why = "as asked"
    elif look.clusters == 1:
        why = "the depth above, as well as one cluster tells it"
    else:
        why = f"the depth above; clusters scatter by {look.compared.depth_spread:.2f} dex beyond the mocks'"
    return "completeness", f"{low:.2f} to {high:.2f} of the mocks' galaxies", why


def _errors(look: DataLook, chosen: Choices, wishes: Wishes) -> Row:
    low, high = chosen.velocity_error
    value = f"{low:.0f} to {high:.0f} km/s"
    rounded = f"; rounding adds {look.rounding:.0f} km/s" if look.rounding > 1 else ""
    if wishes.velocity_error is not None:
        return "velocity errors", value, f"as asked{rounded}"
    if look.velocity_error is None:
        return "velocity errors", value, f"the table has none: those of surveys are assumed{rounded}"
    return "velocity errors", value, f"median of the table {look.velocity_error.middle:.0f} km/s{rounded}"


def _fewest(look: DataLook, chosen: Choices, wishes: Wishes) -> Row:
    value = f"{chosen.model.observation.min_galaxies}"
    if wishes.min_galaxies is not None:
        return "fewest galaxies", value, "as asked"
    said = f"{look.poor} of {look.clusters} clusters have fewer than {Observation.min_galaxies}"
    return "fewest galaxies", value, said


def _interlopers(look: DataLook, chosen: Choices) -> Row:
    found = look.compared
    told = f"{found.fast} galaxies faster than 2.5 inner dispersions, mocks {found.fast_expected:.0f}"
    value = "all galaxies" if chosen.cleaning is None else f"removed by {chosen.cleaning}, as asked"
    return "interlopers", value, told


def _richness(chosen: Choices) -> Row:
    if chosen.richness:
        return "richness", "counts", "as asked: the redshifts are vouched to be as complete as the mocks'"
    return "richness", "does not count", "nobody vouches that redshifts are complete (--richness)"


def cautions(look: DataLook, chosen: Choices) -> tuple[str, ...]:
    """What no choice could mend, a sentence each."""
    return tuple(text for check in (_cleaned, _deep, _unread, _spread, _narrow) if (text := check(look, chosen)))


def _cleaned(look: DataLook, chosen: Choices) -> str:
    found = look.compared
    if not look.looks_cleaned or chosen.cleaning is not None:
        return ""
    return (
        f"The table looks cleaned of interlopers: {found.fast} galaxies are faster than 2.5 inner dispersions, "
        f"{found.fast_expected:.0f} expected (chance {found.fast_chance:.2g}). Take the galaxies of the whole field, "
        "or train on mocks that were cleaned likewise: --cleaned shifting_gapper."
    )


def _deep(look: DataLook, chosen: Choices) -> str:
    times = chosen.model.galaxies.richness / HaloGalaxies.richness
    if 10**look.compared.depth <= 1.005 * times:
        return ""
    return (
        f"The data are {10**look.compared.depth:.1f} times as deep as the default mocks, and mocks can be no more than "
        f"{times:.1f} times: leave out the faintest galaxies."
    )


def _unread(look: DataLook, chosen: Choices) -> str:
    if not look.unreadable:
        return ""
    return f"{look.unreadable} clusters were not measured: {'; '.join(' '.join(r.split()) for r in look.reasons)}."


def _spread(look: DataLook, chosen: Choices) -> str:
    if len(chosen.redshifts) == 1:
        return ""
    low, high = (redshift_shift(z, look.redshift, look.cosmology) for z in (look.redshifts[0], look.redshifts[-1]))
    return (
        f"The estimator is told no redshift: masses at the lowest are off by {low:+.2f} dex, at the highest by "
        f"{high:+.2f}, and the error bars hold for all together. For each by itself, split the table and train one "
        "estimator a part."
    )


def _narrow(look: DataLook, chosen: Choices) -> str:
    if not look.narrow:
        return ""
    end = f"{look.narrow} of {look.clusters} fields end inside {Observation.aperture:g} h^-1 Mpc"
    if look.aperture < Observation.aperture:
        return f"{end}. If the table holds members only, that is why: take all galaxies of the field instead."
    return f"{end}: their masses will come out low, with a warning each. An estimator of their own would help."
