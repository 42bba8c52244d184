"""Clusters of an N-body simulation as an observer sees them: cylinders through a periodic box, along any line of sight.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities physical [km/s]. The box is one snapshot, put at
one redshift, seen plane-parallel (Ho et al. 2019, ApJ 887, 25, appendix A). Velocities, cylinder and recentring are the
functions of `observation`, the same as for mocks and observed redshifts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks import pillars
from clustermocks.boxview import BoxView
from clustermocks.catalogue import Catalogue
from clustermocks.cosmology import concentration, radius_200c, virial_ratio
from clustermocks.nbody.boxes import Box, StoredBox
from clustermocks.observation import (
    centre_velocities,
    in_cylinder,
    line_of_sight_velocity,
    lines_of_sight,
    subtract_velocity,
)
from clustermocks.pillars import Galaxies, Views
from clustermocks.settings import choices

Lines: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
BLOCK = 200  # clusters observed at once


class _Seen(NamedTuple):
    """Columns of some clusters and their galaxies, and the number of galaxies of each."""

    clusters: dict[str, np.ndarray]
    galaxies: dict[str, np.ndarray]
    counts: np.ndarray


def observe_box(
    haloes: Box | str | Path,
    galaxies: Box | str | Path,
    lines: Lines | None = None,
    *,
    view: BoxView | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Catalogue:
    """Observe every distinct halo above a mass along some lines of sight, with all galaxies that the cylinder catches.

    Boxes in folders are read slab by slab; the result does not depend on the slabs, nor on the order of rows.

    Args:
        haloes: The hosts, in memory (`ArrayBox`) or the folder that `convert` wrote.
        galaxies: The galaxies of the same box, likewise.
        lines: Lines of sight (line, 3) for every host, or a function of a host's log10 mass [dex] that gives them
            (more for massive hosts, say). By default the three axes of the box.
        view: How the box is observed.
        seed: Of centre errors, velocity errors and completeness; each cluster has its own stream.
        progress: Called with the number of clusters done, as they are done.

    Returns:
        The clusters with at least min_galaxies in the cylinder, and all attempts. Lines of sight through one host share
        its host_id, so that splits keep them together; each cluster's direction is in sight_x, sight_y, sight_z.

    Raises:
        ValueError: The box is shorter than the cylinder (the message says which side is needed), the two boxes differ
            in side, no halo is heavy enough, or a part of a folder is damaged.
        FileNotFoundError: No such folder.

    Example:
        >>> mocks = observe_box("haloes", "galaxies", lines_of_sight(3), view=BoxView())  # doctest: +SKIP
    """
    view = BoxView() if view is None else view
    hosts, tracers = _opened(haloes, "haloes"), _opened(galaxies, "galaxies")
    _check_sides(hosts, tracers, view)
    seen, done = [], 0
    for views, found in _found(hosts, tracers, lines, view):
        seen.append(_observe(views, found, view, seed))
        done += len(views.host_id)
        if progress is not None:
            progress(done)
    if not seen:
        raise ValueError(f"no distinct halo has an M200c of 10^{view.min_log10_mass:g} or more: nothing to observe.")
    return _catalogue(seen, view, seed)


def _opened(box: Box | str | Path, kind: str) -> Box:
    opened = StoredBox.open(box) if isinstance(box, str | Path) else box
    if opened.kind != kind:
        raise ValueError(f"observe_box: expected a box of {kind}, found one of {opened.kind}.")
    return opened


def _check_sides(haloes: Box, galaxies: Box, view: BoxView) -> None:
    if haloes.side != galaxies.side:
        raise ValueError(
            f"observe_box: boxes differ in side: haloes {haloes.side:g}, galaxies {galaxies.side:g} h^-1 Mpc."
        )
    if haloes.side < view.needed_side:
        v_cut, margin = view.observation.v_cut, view.velocity_margin
        raise ValueError(
            f"observe_box: the box is {haloes.side:g} h^-1 Mpc long; a cylinder of ±{v_cut:g} km/s, reached by "
            f"galaxies with up to {margin:g} km/s relative to the cluster, needs {view.needed_side:.1f}.\n"
            "  try:    a smaller v_cut; a smaller velocity_margin also fits, but faster interlopers are then missed"
        )


def _found(haloes: Box, galaxies: Box, lines: Lines | None, view: BoxView) -> Iterator[tuple[Views, Galaxies]]:
    """Clusters to observe, some at a time, and the galaxies about them."""
    width, by_host = haloes.side / galaxies.n_slabs, view.members == "halo"
    reach = float(np.hypot(view.half_depth, view.search_radius))
    for index in range(galaxies.n_slabs):
        low, high = index * width, (index + 1) * width
        hosts = _hosts(haloes.between(low, high), view)
        if not len(hosts):
            continue
        table = galaxies.between(low - reach, high + reach)
        if view.interlopers == "satellites":
            table = table.filter(pa.array(~table["is_central"].to_numpy()))
        tracers = pillars.Tracers.of(table, haloes.side)
        views = _views(hosts, lines_of_sight(3) if lines is None else lines, view)
        for start in range(0, len(views.host_id), BLOCK):
            block = Views(*(column[start : start + BLOCK] for column in views))
            yield block, pillars.gather(block, tracers, view.search_radius, view.half_depth, by_host=by_host)


def _hosts(table: pa.Table, view: BoxView) -> pa.Table:
    heavy = table["M200c"].to_numpy() >= 10**view.min_log10_mass
    return table.filter(pa.array(heavy & table["is_central"].to_numpy())).sort_by("id")


def _views(hosts: pa.Table, lines: Lines, view: BoxView) -> Views:
    """Each host once for each of its lines of sight."""
    mass = hosts["M200c"].to_numpy()
    directions = [_unit(lines(float(m)) if callable(lines) else lines) for m in np.log10(mass)]
    repeat = np.repeat(np.arange(len(mass)), [len(d) for d in directions])
    column = {name: hosts[name].to_numpy()[repeat] for name in hosts.column_names}
    return Views(
        host_id=column["id"],
        line=np.concatenate([np.arange(len(d)) for d in directions]),
        direction=np.concatenate(directions),
        log10_mass=np.log10(column["M200c"]),
        R_vir=_virial_radius(hosts, view)[repeat],
        position=np.stack([column[name] for name in ("x", "y", "z")], axis=-1),
        velocity=np.stack([column[name] for name in ("vx", "vy", "vz")], axis=-1).astype(float),
    )


def _unit(lines: ArrayLike) -> Float[np.ndarray, "line 3"]:
    vectors = np.atleast_2d(np.asarray(lines, float))
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or vectors.shape[1] != 3 or not len(vectors) or not (np.isfinite(norm) & (norm > 0)).all():
        raise ValueError(f"observe_box: lines of sight must be finite vectors (line, 3), not 0; found {lines!r}.")
    return vectors / norm


def _virial_radius(hosts: pa.Table, view: BoxView) -> Float[np.ndarray, "host"]:
    """R_vir [comoving h^-1 Mpc]: the catalogue's, else from M200c and its median concentration."""
    R_vir, mass, redshift = hosts["R_vir"].to_numpy().copy(), hosts["M200c"].to_numpy(), view.observation.redshift
    unknown = ~(R_vir > 0)
    if unknown.any():
        median = concentration(mass[unknown], redshift, view.cosmology)
        ratio = virial_ratio(median, redshift, view.cosmology)
        R_vir[unknown] = ratio * radius_200c(mass[unknown], redshift, view.cosmology)
    return R_vir


def _observe(views: Views, found: Galaxies, view: BoxView, seed: int) -> _Seen:
    """Projected distances and velocities as measured; galaxies that are neither members nor in the cylinder go."""
    observation, n = view.observation, len(views.host_id)
    centre, error, kept = _noise(views, found, view, seed)
    found, error = Galaxies(*(column[kept] for column in found)), error[kept]
    cluster = found.cluster
    R_proj = np.hypot(*(found.separation[:, :2] - centre[cluster]).T)
    v_host = np.einsum("ij,ij->i", views.velocity, views.direction)[cluster]
    z_proj, v_galaxy = found.separation[:, 2], found.v_peculiar
    v_los = error + line_of_sight_velocity(z_proj, v_galaxy, v_host, observation.redshift, view.cosmology)
    v_centre = np.zeros(n)
    if view.recentre:
        v_centre = centre_velocities(v_los, cluster, R_proj < observation.aperture, n=n, v_cut=observation.v_cut)
        v_los = subtract_velocity(v_los, v_centre[cluster])
    inside = in_cylinder(R_proj, v_los, observation)
    stays = inside | found.is_member
    clusters = {"log10_mass": views.log10_mass, "host_id": views.host_id, "velocity_offset": v_centre}
    sight = dict(zip(("sight_x", "sight_y", "sight_z"), views.direction.T, strict=True))
    columns = {"R_proj": R_proj, "v_los": v_los, "is_member": found.is_member, "in_cylinder": inside}
    return _Seen(
        {**clusters, **sight, "line": views.line},
        {name: values[stays] for name, values in columns.items()},
        np.bincount(cluster[stays], minlength=n),
    )


def _noise(views: Views, found: Galaxies, view: BoxView, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error of each centre (cluster, 2) and velocity, and which galaxies are kept; a random stream for each cluster."""
    n, n_galaxies = len(views.host_id), len(found.cluster)
    centre, error, kept = np.zeros((n, 2)), np.zeros(n_galaxies), np.ones(n_galaxies, bool)
    if not (view.centre_error or view.velocity_error or view.completeness < 1):
        return centre, error, kept
    edges = np.searchsorted(found.cluster, np.arange(n + 1))
    for i in range(n):
        rng = np.random.default_rng([seed, int(views.host_id[i]) % 2**64, int(views.line[i])])
        part = slice(edges[i], edges[i + 1])
        centre[i] = view.centre_error * rng.standard_normal(2)
        error[part] = view.velocity_error * rng.standard_normal(edges[i + 1] - edges[i])
        kept[part] = rng.uniform(size=edges[i + 1] - edges[i]) < view.completeness
    return centre, error, kept


def _catalogue(seen: list[_Seen], view: BoxView, seed: int) -> Catalogue:
    """All clusters, sorted by host and line of sight."""
    clusters = {name: np.concatenate([s.clusters[name] for s in seen]) for name in seen[0].clusters}
    galaxies = {name: np.concatenate([s.galaxies[name] for s in seen]) for name in seen[0].galaxies}
    counts = np.concatenate([s.counts for s in seen])
    order = np.lexsort([clusters.pop("line"), clusters["host_id"]])
    start = np.concatenate([[0], np.cumsum(counts)])[order]
    counts = counts[order]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], counts)
    return Catalogue.from_arrays(
        view.observation,
        view.cosmology,
        clusters={name: values[order] for name, values in clusters.items()},
        galaxies={name: values[rows] for name, values in galaxies.items()},
        offsets=offsets,
        metadata={"simulator": "N-body box", "seed": str(seed), **choices(view)},
    )
