"""Changes to catalogues: what goes wrong, or is merely different, between mocks and data.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s]. Functions are pure;
the same seed gives the same change. Only galaxies in the cylinder are known: one that a change carries out of it is
lost, none is gained. The richness cut is applied afterwards. Attempts that had failed the cuts before still fail, and
stay, so that P(selected | mass) is that of the changed survey; but where a catalogue was itself a choice of its
selected clusters (`select`), the result's attempts are its own clusters.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from clustermocks import Catalogue, RadialCompleteness
from clustermocks.catalogue.provenance import Change
from clustermocks.catalogue.ragged import with_column
from clustermocks.io.registry import lookup
from clustermocks.mocks.spectroscopy import with_redshift
from clustermocks.observation import centre_velocities, in_cylinder, subtract_velocity

Cleaning = Literal["members", "clipping", "shifting_gapper"]
CLEANINGS = get_args(Cleaning)


# ---- fewer galaxies -------------------------------------------------------------------------------------------------


def thinned(catalogue: Catalogue, share: float, seed: int) -> Catalogue:
    """Each galaxy kept with probability `share` [1]; with one seed, those of a smaller share are among a larger's.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    _check("thinned", "share [1]", share, most=1)
    change = Change("thinned", "thinned to {share:g}", {"share": share})
    return _kept(catalogue, np.random.default_rng(seed).random(_size(catalogue)) < share, change)


def within_aperture(catalogue: Catalogue, R_max: float) -> Catalogue:
    """Galaxies within a field smaller than the catalogue's aperture, which stays what the cluster is said to fill.

    Args:
        catalogue: Clusters.
        R_max: Radius of the field [comoving h^-1 Mpc].

    Raises:
        ValueError: `R_max` is not positive.
    """
    _check("within_aperture", "R_max [h^-1 Mpc]", R_max)
    change = Change("within_aperture", "field of {R_max:g} h^-1 Mpc", {"R_max": R_max})
    return _kept(catalogue, catalogue.galaxy_column("R_proj") < R_max, change)


def with_radial_incompleteness(catalogue: Catalogue, completeness: RadialCompleteness, seed: int) -> Catalogue:
    """Galaxies that got a redshift, where the probability of one changes from the centre to the aperture's edge."""
    R_proj, rng = catalogue.galaxy_column("R_proj"), np.random.default_rng(seed)
    seen = with_redshift(completeness, R_proj, catalogue.observation.aperture, rng)
    change = Change(
        "with_radial_incompleteness",
        "completeness {centre:g} to {edge:g}",
        {"centre": completeness.centre, "edge": completeness.edge},
    )
    return _kept(catalogue, seen, change)


def cleaned(catalogue: Catalogue, how: Cleaning = "members") -> Catalogue:
    """Galaxies that are left when somebody removes interlopers before a network that expects them is asked.

    Args:
        catalogue: Clusters.
        how: "members" keeps the true ones in the cylinder; "clipping" and "shifting_gapper" are an observer's ways.

    Raises:
        ValueError: Another `how`; or "members" of observed clusters, whose members nobody knows.
    """
    lookup("cleaning", how, dict.fromkeys(CLEANINGS))
    if how != "members":
        from clustermocks.kinematics import membership as interlopers

        change = Change("cleaned", "cleaned by {how}", {"how": how})
        return _kept(catalogue, interlopers.members(catalogue, how), change)
    if "is_member" not in catalogue.columns:
        raise ValueError("cleaned: membership is unknown: only mocks have it.\n  try:    how='clipping'")
    return _kept(catalogue, catalogue.galaxy_column("is_member"), Change("true_members", "true members"))


# ---- the same galaxies elsewhere ------------------------------------------------------------------------------------


def with_velocity_errors(catalogue: Catalogue, sigma: float, seed: int) -> Catalogue:
    """A Gaussian error of `sigma` [km/s] on every velocity; the cluster's own velocity is not measured again.

    Raises:
        ValueError: `sigma` is negative.
    """
    _check("with_velocity_errors", "sigma [km/s]", sigma, zero=True)
    errors = np.random.default_rng(seed).standard_normal(_size(catalogue))
    change = Change("with_velocity_errors", "errors of {sigma:g} km/s", {"sigma": sigma})
    return _moved(catalogue, change, v_los=catalogue.galaxy_column("v_los") + sigma * errors)


def with_redshift_offset(catalogue: Catalogue, dv: float) -> Catalogue:
    """Clusters whose redshift was taken too high by a velocity `dv` [km/s]; all galaxies seem to approach."""
    velocity = subtract_velocity(catalogue.galaxy_column("v_los"), dv)
    change = Change("with_redshift_offset", "redshift off by {dv:g} km/s", {"dv": dv})
    return _moved(catalogue, change, v_los=velocity)


def with_centre_offset(catalogue: Catalogue, offset: float, seed: int) -> Catalogue:
    r"""Distances from a point that lies `offset` [comoving h^-1 Mpc] from the centre.

    $R'^2 = R^2 + d^2 - 2 R d \cos\phi$ with an angle drawn evenly for each galaxy: catalogues keep no positions. Clumps
    on the sky are thereby spread over their circle, and the crescent of the new aperture that the old one did not reach
    stays empty.

    Raises:
        ValueError: `offset` is negative.
    """
    _check("with_centre_offset", "offset [h^-1 Mpc]", offset, zero=True)
    R_proj = _from_elsewhere(catalogue.galaxy_column("R_proj"), offset, np.random.default_rng(seed))
    change = Change("with_centre_offset", "centre off by {offset:g} h^-1 Mpc", {"offset": offset})
    return _moved(catalogue, change, R_proj=R_proj)


def in_wrong_units(catalogue: Catalogue, factor: float, *, aperture: float | None = None) -> Catalogue:
    """Distances times a factor: .6777 or 1.476 for a forgotten h, .895 for the physical length at redshift .117.

    Args:
        catalogue: Clusters.
        factor: On every R_proj [1].
        aperture: Of the result [h^-1 Mpc], that of the catalogue by default. What a factor below 1 brings in from
            outside is only there in a catalogue that was observed in a wider aperture than the result's.

    Raises:
        ValueError: `factor` or `aperture` is not positive.
    """
    _check("in_wrong_units", "factor", factor)
    observation = catalogue.observation
    observation = observation if aperture is None else replace(observation, aperture=aperture)
    changed = replace(catalogue, observation=observation)
    change = Change("in_wrong_units", "R times {factor:g}", {"factor": factor})
    return _moved(changed, change, R_proj=factor * catalogue.galaxy_column("R_proj"))


def recentred(catalogue: Catalogue) -> Catalogue:
    """Velocities relative to the cluster's as its galaxies in the cylinder tell it: how tables without it are read."""
    v_los = _about_their_centre(catalogue.galaxy_column("v_los").astype(float), catalogue.cluster_of_galaxy, catalogue)
    return _moved(catalogue, Change("recentred", "recentred"), v_los=v_los)


def shuffled_velocities(catalogue: Catalogue, seed: int, *, between: bool = False) -> Catalogue:
    """Velocities that belong to other galaxies: of the same cluster, or of the whole catalogue with `between`."""
    cluster, rng = catalogue.cluster_of_galaxy, np.random.default_rng(seed)
    key = rng.random(len(cluster))
    order = np.argsort(key) if between else np.lexsort((key, cluster))
    text = "velocities shuffled" + (" between clusters" if between else "")
    change = Change("shuffled_velocities", text, {"between": between})
    return _moved(catalogue, change, v_los=catalogue.galaxy_column("v_los")[order])


def without_signs(catalogue: Catalogue) -> Catalogue:
    """Velocities without their signs: all galaxies seem to recede."""
    change = Change("without_signs", "velocities without signs")
    return _moved(catalogue, change, v_los=np.abs(catalogue.galaxy_column("v_los")))


# ---- two clusters as one --------------------------------------------------------------------------------------------


def merged(catalogue: Catalogue, dv: ArrayLike, seed: int, *, separation: float = 0.0) -> Catalogue:
    """Each cluster with the members of the one next in mass on top of it: equal clusters that are about to merge.

    The two stand `dv` and `separation` apart, their middle in the middle of the cylinder on the sky; the velocity of
    the whole is measured as that of data is. Only the first brings its interlopers. The mass is that of both together.

    Args:
        catalogue: Mock clusters, at least two.
        dv: Relative velocity along the line of sight [km/s], one for all or one for each cluster.
        seed: Of the angles of galaxies about the middle.
        separation: On the sky [comoving h^-1 Mpc].

    Raises:
        ValueError: Fewer than two clusters, or membership is unknown.
    """
    if len(catalogue) < 2 or "is_member" not in catalogue.columns:
        raise ValueError("merged: needs two mock clusters or more, whose members are known.")
    partner, cluster = _next_in_mass(catalogue.log10_mass), catalogue.cluster_of_galaxy
    beside = _of_clusters(catalogue, partner)
    member = catalogue.galaxy_column("is_member")[beside]
    row = np.concatenate([cluster, np.repeat(np.arange(len(catalogue)), catalogue.n_galaxies[partner])[member]])
    order = np.argsort(row, kind="stable")
    source = np.concatenate([np.arange(len(cluster)), beside[member]])[order]
    side = np.repeat([-0.5, 0.5], [len(cluster), len(row) - len(cluster)])[order]
    apart = np.broadcast_to(np.asarray(dv, float), len(catalogue))
    R_proj, v_los, is_member = (values[source] for values in catalogue.galaxy_columns.values())
    R_proj = _from_elsewhere(R_proj, separation / 2, np.random.default_rng(seed))
    v_los = _about_their_centre(subtract_velocity(v_los, side * apart[row[order]]), row[order], catalogue)
    galaxies = {"R_proj": R_proj, "v_los": v_los, "is_member": is_member}
    mass = np.log10(10**catalogue.log10_mass + 10 ** catalogue.log10_mass[partner])
    heavier = replace(catalogue, clusters=with_column(catalogue.clusters, "log10_mass", pa.array(mass)))
    change = Change("merged", "merger at {dv:.0f} km/s", {"dv": float(apart.mean()), "separation": separation})
    return _cut(heavier, galaxies, row[order], change)


def _next_in_mass(log10_mass: Float[np.ndarray, "cluster"]) -> Int[np.ndarray, "cluster"]:
    """Of each cluster the next heavier one; of the heaviest the next lighter."""
    order = np.argsort(log10_mass, kind="stable")
    partner = np.empty(len(order), int)
    partner[order] = np.append(order[1:], order[-2])
    return partner


# ---- putting a catalogue together again -----------------------------------------------------------------------------


def _check(function: str, name: str, value: float, *, zero: bool = False, most: float = inf) -> None:
    """Refuse what is not positive, or 0 where that is allowed, or too much."""
    if not (0 < value <= most or (zero and value == 0)):
        least, limit = "0 or more" if zero else "above 0", f" and at most {most:g}" if most < inf else ""
        raise ValueError(f"{function}: {name} must be {least}{limit}; found {value!r}.")


def _size(catalogue: Catalogue) -> int:
    return int(catalogue.n_galaxies.sum())


def _of_clusters(catalogue: Catalogue, rows: Int[np.ndarray, "some"]) -> Int[np.ndarray, "galaxy"]:
    """Where the galaxies of these clusters stand, one cluster after the other."""
    n, first = catalogue.n_galaxies, np.cumsum(catalogue.n_galaxies) - catalogue.n_galaxies
    start = np.repeat(first[rows], n[rows])
    return start + np.arange(len(start)) - np.repeat(np.cumsum(n[rows]) - n[rows], n[rows])


def _from_elsewhere(
    R_proj: Float[np.ndarray, "galaxy"], offset: float, rng: np.random.Generator
) -> Float[np.ndarray, "galaxy"]:
    cosine = np.cos(rng.uniform(0, 2 * np.pi, len(R_proj)))
    return np.sqrt(np.maximum(R_proj.astype(float) ** 2 + offset**2 - 2 * R_proj * offset * cosine, 0))


def _about_their_centre(
    v_los: Float[np.ndarray, "galaxy"], cluster: Int[np.ndarray, "galaxy"], catalogue: Catalogue
) -> Float[np.ndarray, "galaxy"]:
    everyone, v_cut = np.ones(len(v_los), bool), catalogue.observation.v_cut
    return subtract_velocity(v_los, centre_velocities(v_los, cluster, everyone, n=len(catalogue), v_cut=v_cut)[cluster])


def _moved(catalogue: Catalogue, change: Change, **columns: Float[np.ndarray, "galaxy"]) -> Catalogue:
    """Give the galaxies other distances or velocities."""
    return _cut(catalogue, catalogue.galaxy_columns | columns, catalogue.cluster_of_galaxy, change)


def _cut(
    catalogue: Catalogue, galaxies: Mapping[str, np.ndarray], cluster: Int[np.ndarray, "galaxy"], change: Change
) -> Catalogue:
    """Put those galaxies into the clusters that lie in the cylinder, by their values as stored: in float32."""
    R_proj, v_los = (np.asarray(galaxies[name], np.float32) for name in ("R_proj", "v_los"))
    inside = in_cylinder(R_proj, v_los, catalogue.observation)
    kept = {name: values[inside] for name, values in galaxies.items()}
    return catalogue.with_galaxies(kept, cluster[inside], change=change)


def _kept(catalogue: Catalogue, keep: Bool[np.ndarray, "galaxy"], change: Change) -> Catalogue:
    galaxies = {name: values[keep] for name, values in catalogue.galaxy_columns.items()}
    return catalogue.with_galaxies(galaxies, catalogue.cluster_of_galaxy[keep], change=change)
