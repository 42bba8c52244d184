"""Clusters of an N-body simulation as an observer sees them: cylinders through a periodic box, along any line of sight.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities physical [km/s]. The box is one snapshot, put at
one redshift, seen plane-parallel (Ho et al. 2019, ApJ 887, 25, appendix A). Velocities, cylinder and recentring are the
functions of `observation`, the same as for mocks and observed redshifts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.provenance import Provenance
from clustermocks.haloes.cosmology import concentration, radius_200c, virial_ratio
from clustermocks.kinematics.padding import rows_of_runs
from clustermocks.mocks.blending import REACH, NearbyHaloes, eligible, heaviest_in_cylinder
from clustermocks.mocks.spectroscopy import IntrinsicGalaxies, ObservedClusters, Targets, choose_targets, measure
from clustermocks.nbody.boxes import Box, StoredBox
from clustermocks.nbody.cylinders import HostViews, PeriodicTree, galaxies_around, in_cylinders
from clustermocks.nbody.view import BoxView
from clustermocks.observation import line_of_sight_velocity, lines_of_sight

Lines: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
BLOCK = 200  # clusters observed at once
_HEAVIEST = 16.0  # log10 M200c [dex]: no halo is heavier


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
        galaxies: The galaxies of the same box, in memory or in a folder.
        lines: Lines of sight (line, 3) for every host, or a function of a host's log10 mass [dex] that gives them
            (more for massive hosts, say). By default the three axes of the box.
        view: How the box is observed.
        seed: Seed of centre errors, velocity errors, fibres and completeness; each cluster has its own stream.
        progress: Called with the number of clusters done, as they are done.

    Returns:
        The clusters with at least min_galaxies in the cylinder, and all attempts. Lines of sight through one host share
        its host_id, so that splits keep them together; each cluster's direction is in sight_x, sight_y, sight_z.
        log10_mass_rival is the mass of the heaviest other halo that reaches into the cylinder, of those heavy enough
        to be hosts; NaN where none does.

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
    for views, found, is_member, rival in _found(hosts, tracers, lines, view):
        seen.append(_observe(views, found, is_member, rival, view, seed))
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


def _found(
    haloes: Box, galaxies: Box, lines: Lines | None, view: BoxView
) -> Iterator[tuple[HostViews, IntrinsicGalaxies, np.ndarray, np.ndarray]]:
    """Some clusters at a time: the galaxies about them, whether these are members, the heaviest halo there [dex]."""
    width = haloes.side / galaxies.n_slabs
    for index in range(galaxies.n_slabs):
        low, high = index * width, (index + 1) * width
        hosts = _hosts(haloes.between(low, high), view)
        if not len(hosts):
            continue
        table = _between(galaxies, low, high, view, view.search_radius)
        if view.interlopers == "satellites":
            table = table.filter(pa.array(~table["is_central"].to_numpy()))
        tracers = PeriodicTree.from_table(table, haloes.side)
        heavy = _hosts(_between(haloes, low, high, view, _reach(view)), view)
        views = _views(hosts, lines_of_sight(3) if lines is None else lines, view)
        for start in range(0, len(views.host_id), BLOCK):
            block = HostViews(*(column[start : start + BLOCK] for column in views))
            found, is_member = galaxies_around(block, tracers, view)
            yield block, found, is_member, _rivals(block, heavy, haloes.side, view)


def _between(box: Box, low: float, high: float, view: BoxView, radius: float) -> pa.Table:
    """Rows that cylinders of this radius about hosts with low <= x < high can meet."""
    reach = float(np.hypot(view.half_depth, radius))
    return box.between(low - reach, high + reach)


def _reach(view: BoxView) -> float:
    """Projected distance from which a halo can reach into the cylinder [comoving h^-1 Mpc]."""
    r_200c = float(radius_200c(10**_HEAVIEST, view.observation.redshift, view.cosmology))
    return view.observation.aperture + REACH * r_200c


def _rivals(views: HostViews, haloes: pa.Table, side: float, view: BoxView) -> Float[np.ndarray, "cluster"]:
    """Log10 mass of the heaviest other halo that reaches into each cylinder [dex]; NaN where none does."""
    observation, cosmology = view.observation, view.cosmology
    tracers = PeriodicTree.from_table(haloes, side)
    cluster, halo, separation = in_cylinders(views, tracers, _reach(view), view.half_depth)
    other = tracers.identity[halo] != views.host_id[cluster]
    cluster, halo, separation = cluster[other], halo[other], separation[other]
    direction = views.direction[cluster]
    v_halo, v_host = (np.einsum("ij,ij->i", v, direction) for v in (tracers.velocity[halo], views.velocity[cluster]))
    v_los = line_of_sight_velocity(separation[:, 2], v_halo, v_host, observation.redshift, cosmology)
    log10_mass = np.log10(haloes["M200c"].to_numpy())[halo]
    rivals = NearbyHaloes(cluster, log10_mass, np.hypot(*separation[:, :2].T), v_los)
    return heaviest_in_cylinder(rivals, n=len(views.host_id), observation=observation, cosmology=cosmology)


def _hosts(table: pa.Table, view: BoxView) -> pa.Table:
    heavy = table["M200c"].to_numpy() >= 10**view.min_log10_mass
    return table.filter(pa.array(heavy & table["is_central"].to_numpy())).sort_by("id")


def _views(hosts: pa.Table, lines: Lines, view: BoxView) -> HostViews:
    """Each host once for each of its lines of sight."""
    mass = hosts["M200c"].to_numpy()
    directions = [_unit(lines(float(m)) if callable(lines) else lines) for m in np.log10(mass)]
    repeat = np.repeat(np.arange(len(mass)), [len(d) for d in directions])
    column = {name: hosts[name].to_numpy()[repeat] for name in hosts.column_names}
    return HostViews(
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


def _observe(
    views: HostViews, found: IntrinsicGalaxies, is_member: np.ndarray, rival: np.ndarray, view: BoxView, seed: int
) -> ObservedClusters:
    targets = _targets(views, found, is_member, view, seed)
    v_host = np.einsum("ij,ij->i", views.velocity, views.direction)
    r_200c = radius_200c(10**views.log10_mass, view.observation.redshift, view.cosmology)
    seen = measure(view, found, is_member, targets, v_cluster=v_host, r_200c=r_200c)
    return seen._replace(
        clusters={
            "log10_mass": views.log10_mass,
            "host_id": views.host_id,
            **seen.clusters,
            **dict(zip(("sight_x", "sight_y", "sight_z"), views.direction.T, strict=True)),
            "line": views.line,
            "log10_mass_rival": rival,
            "eligible": eligible(rival, views.log10_mass, dominant=view.dominant),
        }
    )


def _targets(views: HostViews, found: IntrinsicGalaxies, is_member: np.ndarray, view: BoxView, seed: int) -> Targets:
    """Galaxies with a redshift, each cluster's by a random stream of its own."""
    edges, parts = np.searchsorted(found.cluster, np.arange(len(views.host_id) + 1)), []
    for i, (host_id, line) in enumerate(zip(views.host_id, views.line, strict=True)):
        rng, part = np.random.default_rng([seed, int(host_id) % 2**64, int(line)]), slice(edges[i], edges[i + 1])
        sky, alone = found.position[part, :2], np.zeros(edges[i + 1] - edges[i], int)
        chosen = choose_targets(view, sky, alone, is_member[part], rng, n=1)
        parts.append(chosen._replace(row=chosen.row + edges[i]))
    return Targets(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _catalogue(seen: list[ObservedClusters], view: BoxView, seed: int) -> Catalogue:
    """All clusters, sorted by host and line of sight."""
    clusters, galaxies, counts = ObservedClusters.concatenate(seen)
    order = np.lexsort([clusters["line"], clusters["host_id"]])
    rows = rows_of_runs((np.cumsum(counts) - counts)[order], counts[order])
    return Catalogue.from_arrays(
        view.observation,
        view.cosmology,
        clusters={name: values[order] for name, values in clusters.items() if name != "line"},
        galaxies={name: values[rows] for name, values in galaxies.items()},
        offsets=np.concatenate([[0], np.cumsum(counts[order])]),
        provenance=Provenance.from_simulator("N-body box", view, seed),
    )
