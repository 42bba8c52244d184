"""Perturbations of catalogues: differences between mocks and data, such as errors, incompleteness and cleaning.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s]. Functions are pure,
and the same seed gives the same change. A galaxy that a change moves out of the cylinder is lost, and none enters,
because only those inside are known. The richness cut is applied afterwards. Attempts that failed the cuts before are
kept as failed, so that P(selected | mass) is that of the changed survey; but after `select` the attempts of the result
are its own clusters.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from clustermocks import Catalogue, RadialCompleteness
from clustermocks.catalogue.provenance import Change, Cleaning
from clustermocks.catalogue.ragged import with_column
from clustermocks.io.registry import lookup
from clustermocks.kinematics.padding import rows_of_runs
from clustermocks.mocks.spectroscopy import with_redshift
from clustermocks.observation import centre_velocities, in_cylinder, subtract_velocity

CLEANINGS = get_args(Cleaning)


# ---- fewer galaxies -------------------------------------------------------------------------------------------------


def thinned(catalogue: Catalogue, share: float, seed: int) -> Catalogue:
    """Keep each galaxy with probability `share` [1]; with one seed, a smaller share keeps a subset of a larger one's.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    _check("thinned", "share [1]", share, most=1)
    change = Change("thinned", "thinned to {share:g}", {"share": share})
    return _selected(catalogue, np.random.default_rng(seed).random(_n_galaxies(catalogue)) < share, change)


def within_aperture(catalogue: Catalogue, R_max: float) -> Catalogue:
    """Keep the galaxies of a smaller field; the catalogue still states its former aperture.

    Args:
        catalogue: Clusters.
        R_max: Radius of the field [comoving h^-1 Mpc].

    Raises:
        ValueError: `R_max` is not positive.
    """
    _check("within_aperture", "R_max [h^-1 Mpc]", R_max)
    change = Change("within_aperture", "field of {R_max:g} h^-1 Mpc", {"R_max": R_max})
    return _selected(catalogue, catalogue.galaxy_column("R_proj") < R_max, change)


def with_radial_incompleteness(catalogue: Catalogue, completeness: RadialCompleteness, seed: int) -> Catalogue:
    """Keep galaxies with a redshift, whose probability changes from the centre to the edge of the aperture."""
    R_proj, rng = catalogue.galaxy_column("R_proj"), np.random.default_rng(seed)
    seen = with_redshift(completeness, R_proj, catalogue.observation.aperture, rng)
    change = Change(
        "with_radial_incompleteness",
        "completeness {centre:g} to {edge:g}",
        {"centre": completeness.centre, "edge": completeness.edge},
    )
    return _selected(catalogue, seen, change)


def cleaned(catalogue: Catalogue, how: Cleaning = "members") -> Catalogue:
    """Remove interlopers.

    Args:
        catalogue: Clusters.
        how: "members" keeps the true members in the cylinder; the others are methods for data: 3- or 2.5-sigma
            clipping, the shifting gapper (Fadda et al. 1996), caustics (Diaferio 1999).

    Raises:
        ValueError: `how` is unknown, or "members" was asked of observed clusters, whose members are unknown.
    """
    lookup("cleaning", how, dict.fromkeys(CLEANINGS))
    if how != "members":
        from clustermocks.kinematics import membership as interlopers

        change = Change("cleaned", "cleaned by {how}", {"how": how})
        return _selected(catalogue, interlopers.members(catalogue, how), change)
    if "is_member" not in catalogue.columns:
        raise ValueError("cleaned: membership is unknown: only mocks have it.\n  try:    how='clipping'")
    return _selected(catalogue, catalogue.galaxy_column("is_member"), Change("true_members", "true members"))


# ---- other distances and velocities ---------------------------------------------------------------------------------


def with_velocity_errors(catalogue: Catalogue, sigma: float, seed: int) -> Catalogue:
    """Add a Gaussian error of `sigma` [km/s] to every velocity, without recentring.

    Raises:
        ValueError: `sigma` is negative.
    """
    _check("with_velocity_errors", "sigma [km/s]", sigma, zero=True)
    errors = np.random.default_rng(seed).standard_normal(_n_galaxies(catalogue))
    change = Change("with_velocity_errors", "errors of {sigma:g} km/s", {"sigma": sigma})
    return _with_columns(catalogue, change, v_los=catalogue.galaxy_column("v_los") + sigma * errors)


def with_redshift_offset(catalogue: Catalogue, dv: float) -> Catalogue:
    """Raise the assumed redshift of each cluster by a velocity `dv` [km/s], so that all galaxies seem to approach."""
    velocity = subtract_velocity(catalogue.galaxy_column("v_los"), dv)
    change = Change("with_redshift_offset", "redshift off by {dv:g} km/s", {"dv": dv})
    return _with_columns(catalogue, change, v_los=velocity)


def with_centre_offset(catalogue: Catalogue, offset: float, seed: int) -> Catalogue:
    r"""Measure distances from a point that lies `offset` [comoving h^-1 Mpc] from the centre.

    $R'^2 = R^2 + d^2 - 2 R d \cos\phi$, with a uniform angle for each galaxy, even where its position is known. This
    spreads clumps on the sky over a circle, and leaves the crescent of the new aperture outside the old one empty. The
    result has no sky positions.

    Raises:
        ValueError: `offset` is negative.
    """
    _check("with_centre_offset", "offset [h^-1 Mpc]", offset, zero=True)
    R_proj = _distances_from_offset(catalogue.galaxy_column("R_proj"), offset, np.random.default_rng(seed))
    change = Change("with_centre_offset", "centre off by {offset:g} h^-1 Mpc", {"offset": offset})
    return _with_columns(catalogue.without_sky(), change, R_proj=R_proj)


def about_another_centre(catalogue: Catalogue, shift: Float[np.ndarray, "cluster 2"]) -> Catalogue:
    """The same galaxies of each cluster, with distances and angles from a point beside its centre.

    Args:
        catalogue: Clusters with sky positions; a cluster keeps the galaxies that come to lie outside its aperture.
        shift: Position of the new centre, on the axes of `Catalogue.sky_positions` [comoving h^-1 Mpc].

    Raises:
        ValueError: Sky positions are unknown.
    """
    x, y = (catalogue.sky_positions() - shift[catalogue.cluster_of_galaxy]).T
    about = catalogue.galaxy_columns | {"R_proj": np.hypot(x, y), "position_angle": np.arctan2(y, x)}
    return catalogue.with_galaxies(about, catalogue.cluster_of_galaxy)


def in_wrong_units(catalogue: Catalogue, factor: float, *, aperture: float | None = None) -> Catalogue:
    """Multiply distances by a factor: .6777 or 1.476 for a forgotten h, .895 for physical lengths at redshift .117.

    Args:
        catalogue: Clusters.
        factor: Factor on every R_proj [1].
        aperture: Aperture of the result [h^-1 Mpc]; by default that of the catalogue. With a factor below 1, galaxies
            that enter it are only known if the catalogue has a wider aperture than the result.

    Raises:
        ValueError: `factor` or `aperture` is not positive.
    """
    _check("in_wrong_units", "factor", factor)
    observation = catalogue.observation
    observation = observation if aperture is None else replace(observation, aperture=aperture)
    changed = replace(catalogue, observation=observation)
    change = Change("in_wrong_units", "R times {factor:g}", {"factor": factor})
    return _with_columns(changed, change, R_proj=factor * catalogue.galaxy_column("R_proj"))


def recentred(catalogue: Catalogue) -> Catalogue:
    """Subtract the velocity of each cluster as measured from its galaxies in the cylinder, as for observed tables."""
    v_los = _recentred_velocities(
        catalogue.galaxy_column("v_los").astype(float), catalogue.cluster_of_galaxy, catalogue
    )
    return _with_columns(catalogue, Change("recentred", "recentred"), v_los=v_los)


def shuffled_velocities(catalogue: Catalogue, seed: int, *, between: bool = False) -> Catalogue:
    """Permute velocities among the galaxies of each cluster, or with `between` among those of all clusters."""
    cluster, rng = catalogue.cluster_of_galaxy, np.random.default_rng(seed)
    key = rng.random(len(cluster))
    order = np.argsort(key) if between else np.lexsort((key, cluster))
    text = "velocities shuffled" + (" between clusters" if between else "")
    change = Change("shuffled_velocities", text, {"between": between})
    return _with_columns(catalogue, change, v_los=catalogue.galaxy_column("v_los")[order])


def without_signs(catalogue: Catalogue) -> Catalogue:
    """Replace velocities by their absolute values, so that all galaxies seem to recede."""
    change = Change("without_signs", "velocities without signs")
    return _with_columns(catalogue, change, v_los=np.abs(catalogue.galaxy_column("v_los")))


# ---- two clusters as one --------------------------------------------------------------------------------------------


def merged(catalogue: Catalogue, dv: ArrayLike, seed: int, *, separation: float = 0.0) -> Catalogue:
    """Add to each cluster the members of the one next in mass, as in a merger of equals.

    The two are `dv` and `separation` apart and centred in the cylinder on the sky; velocities are recentred as those of
    data are. Only the first keeps its interlopers. The mass is the sum of both. The result has no sky positions.

    Args:
        catalogue: Mock clusters, at least two.
        dv: Relative velocity along the line of sight [km/s], one for all or one for each cluster.
        seed: Seed of the position angles of galaxies.
        separation: Separation on the sky [comoving h^-1 Mpc].

    Raises:
        ValueError: There are fewer than two clusters, or membership is unknown.
    """
    if len(catalogue) < 2 or "is_member" not in catalogue.columns:
        raise ValueError("merged: needs two mock clusters or more, whose members are known.")
    catalogue = catalogue.without_sky()
    partner, cluster = _next_in_mass(catalogue.log10_mass), catalogue.cluster_of_galaxy
    n, first = catalogue.n_galaxies, np.cumsum(catalogue.n_galaxies) - catalogue.n_galaxies
    added = rows_of_runs(first[partner], n[partner])
    member = catalogue.galaxy_column("is_member")[added]
    row = np.concatenate([cluster, np.repeat(np.arange(len(catalogue)), n[partner])[member]])
    order = np.argsort(row, kind="stable")
    source = np.concatenate([np.arange(len(cluster)), added[member]])[order]
    side = np.repeat([-0.5, 0.5], [len(cluster), len(row) - len(cluster)])[order]
    apart = np.broadcast_to(np.asarray(dv, float), len(catalogue))
    galaxies = {name: values[source] for name, values in catalogue.galaxy_columns.items()}
    galaxies["R_proj"] = _distances_from_offset(galaxies["R_proj"], separation / 2, np.random.default_rng(seed))
    v_los = subtract_velocity(galaxies["v_los"], side * apart[row[order]])
    galaxies["v_los"] = _recentred_velocities(v_los, row[order], catalogue)
    mass = np.log10(10**catalogue.log10_mass + 10 ** catalogue.log10_mass[partner])
    heavier = replace(catalogue, clusters=with_column(catalogue.clusters, "log10_mass", pa.array(mass)))
    change = Change("merged", "merger at {dv:.0f} km/s", {"dv": float(apart.mean()), "separation": separation})
    return _within_cylinder(heavier, galaxies, row[order], change)


def _next_in_mass(log10_mass: Float[np.ndarray, "cluster"]) -> Int[np.ndarray, "cluster"]:
    """Index of the next heavier cluster, and for the heaviest of the next lighter one."""
    order = np.argsort(log10_mass, kind="stable")
    partner = np.empty(len(order), int)
    partner[order] = np.append(order[1:], order[-2])
    return partner


# ---- assembly of the changed catalogue ------------------------------------------------------------------------------


def _check(function: str, name: str, value: float, *, zero: bool = False, most: float = inf) -> None:
    """Refuse a value that is not positive, unless `zero` allows 0, or larger than `most`."""
    if not (0 < value <= most or (zero and value == 0)):
        least, limit = "0 or more" if zero else "above 0", f" and at most {most:g}" if most < inf else ""
        raise ValueError(f"{function}: {name} must be {least}{limit}; found {value!r}.")


def _n_galaxies(catalogue: Catalogue) -> int:
    return int(catalogue.n_galaxies.sum())


def _distances_from_offset(
    R_proj: Float[np.ndarray, "galaxy"], offset: float, rng: np.random.Generator
) -> Float[np.ndarray, "galaxy"]:
    cosine = np.cos(rng.uniform(0, 2 * np.pi, len(R_proj)))
    return np.sqrt(np.maximum(R_proj.astype(float) ** 2 + offset**2 - 2 * R_proj * offset * cosine, 0))


def _recentred_velocities(
    v_los: Float[np.ndarray, "galaxy"], cluster: Int[np.ndarray, "galaxy"], catalogue: Catalogue
) -> Float[np.ndarray, "galaxy"]:
    everyone, v_cut = np.ones(len(v_los), bool), catalogue.observation.v_cut
    return subtract_velocity(v_los, centre_velocities(v_los, cluster, everyone, n=len(catalogue), v_cut=v_cut)[cluster])


def _with_columns(catalogue: Catalogue, change: Change, **columns: Float[np.ndarray, "galaxy"]) -> Catalogue:
    """Replace distances or velocities of the galaxies."""
    return _within_cylinder(catalogue, catalogue.galaxy_columns | columns, catalogue.cluster_of_galaxy, change)


def _within_cylinder(
    catalogue: Catalogue, galaxies: Mapping[str, np.ndarray], cluster: Int[np.ndarray, "galaxy"], change: Change
) -> Catalogue:
    """Put the galaxies that lie in the cylinder into the clusters, judged by their float32 values as stored."""
    R_proj, v_los = (np.asarray(galaxies[name], np.float32) for name in ("R_proj", "v_los"))
    inside = in_cylinder(R_proj, v_los, catalogue.observation)
    kept = {name: values[inside] for name, values in galaxies.items()}
    return catalogue.with_galaxies(kept, cluster[inside], change=change)


def _selected(catalogue: Catalogue, keep: Bool[np.ndarray, "galaxy"], change: Change) -> Catalogue:
    galaxies = {name: values[keep] for name, values in catalogue.galaxy_columns.items()}
    return catalogue.with_galaxies(galaxies, catalogue.cluster_of_galaxy[keep], change=change)
