"""Mock clusters of SphericalJeans, drawn galaxy by galaxy in space, without the likelihood.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.provenance import Provenance
from clustermocks.catalogue.ragged import sorted_by_cluster
from clustermocks.haloes.jeans import anisotropy_at, radial_dispersion
from clustermocks.haloes.structure import nfw_radii
from clustermocks.io.parallel import ordered
from clustermocks.observation import in_cylinder
from clustermocks.spherical_jeans.galaxies import Hosts, JeansModel, hosts

_CHUNK = 250  # clusters that share a random stream: part of what a seed means


class _CylinderGalaxies(NamedTuple):
    """Galaxies of a chunk, each with the index of its cluster; R_proj [h^-1 Mpc], v_los [km/s]."""

    cluster: Int[np.ndarray, "galaxy"]
    R_proj: Float[np.ndarray, "galaxy"]
    v_los: Float[np.ndarray, "galaxy"]
    is_member: Bool[np.ndarray, "galaxy"]
    within_r200c: Bool[np.ndarray, "galaxy"]


class _Chunk(NamedTuple):
    """Clusters that shared a random stream, and the direction in which each galaxy lies on the sky [rad]."""

    halo: Hosts
    galaxies: _CylinderGalaxies
    position_angle: Float[np.ndarray, "galaxy"]


def simulate(
    model: JeansModel,
    theta: Float[np.ndarray, "cluster parameter"],
    *,
    seed: int,
    n_jobs: int | None,
    progress: Callable[[int], object] | None,
) -> Catalogue:
    """Simulate one cluster for each theta; see `SphericalJeans.simulate`."""
    parts = np.split(theta, range(_CHUNK, len(theta), _CHUNK))
    streams = np.random.SeedSequence(seed).spawn(len(parts))
    jobs = [(model, part, stream) for part, stream in zip(parts, streams, strict=True)]
    drawn, done = [], 0
    for chunk in ordered(_simulate_chunk, jobs, n_jobs):
        drawn.append(chunk._replace(galaxies=chunk.galaxies._replace(cluster=chunk.galaxies.cluster + done)))
        done += len(chunk.halo.edge)
        if progress is not None:
            progress(done)
    return _catalogue(model, theta, drawn, seed)


def _simulate_chunk(
    model: JeansModel, theta: Float[np.ndarray, "cluster parameter"], stream: np.random.SeedSequence
) -> _Chunk:
    rng, n = np.random.default_rng(stream), len(theta)
    offsets = (
        model.galaxies.mass_concentration_scatter * rng.standard_normal(n),
        model.galaxies.anisotropy_spread * rng.uniform(-1, 1, n),
    )
    redshift, cosmology = model.observation.redshift, model.cosmology
    columns = dict(zip(model.parameters, theta.T, strict=True))
    halo = hosts(columns, model.galaxies, offsets=offsets, redshift=redshift, cosmology=cosmology)
    factor = rng.gamma(model.shape, 1 / model.shape, n) if np.isfinite(model.shape) else np.ones(n)
    number = rng.poisson(factor * model.mean_number(theta[:, 0]))
    background = _background(model, rng.poisson(model.background, n), rng)
    galaxies = sorted_by_cluster(*_members(model, halo, number, rng), background)
    return _Chunk(halo, galaxies, rng.uniform(-np.pi, np.pi, len(galaxies.cluster)))


def _members(
    model: JeansModel, halo: Hosts, number: Int[np.ndarray, "cluster"], rng: np.random.Generator
) -> list[_CylinderGalaxies]:
    """Members in the cylinder: those of `number` that fall into it, or exactly `number` if richness is independent."""
    drawn = [_draw_members(model, halo, number, rng)]
    if model.richness == "mass":
        return drawn
    missing = number
    while (missing := missing - np.bincount(drawn[-1].cluster, minlength=len(number))).any():
        drawn.append(_draw_members(model, halo, missing, rng))
    return drawn


def _draw_members(
    model: JeansModel, halo: Hosts, number: Int[np.ndarray, "cluster"], rng: np.random.Generator
) -> _CylinderGalaxies:
    """Draw `number` galaxies inside R_vir of each halo and keep those in the cylinder."""
    cluster = np.repeat(np.arange(len(number)), number)
    c_galaxy, c_mass = model.galaxies.concentration, halo.c_200c[cluster]
    x = nfw_radii(rng.uniform(size=len(cluster)), c_galaxy * halo.edge[cluster]) / c_galaxy
    sine_squared = 1 - rng.uniform(-1, 1, len(cluster)) ** 2
    anisotropy = halo.anisotropy if isinstance(halo.anisotropy, str) else halo.anisotropy[cluster]
    beta = anisotropy_at(x, c_mass, anisotropy)
    sigma = radial_dispersion(x, c_mass, c_galaxy, anisotropy) * np.sqrt(1 - beta * sine_squared)
    R_proj = x * halo.r_200c[cluster] * np.sqrt(sine_squared)
    v_los = sigma * halo.v_200[cluster] * rng.standard_normal(len(cluster))
    inside = in_cylinder(R_proj, v_los, model.observation)
    members = np.ones(inside.sum(), bool)
    return _CylinderGalaxies(cluster[inside], R_proj[inside], v_los[inside], members, x[inside] < 1)


def _background(model: JeansModel, number: Int[np.ndarray, "cluster"], rng: np.random.Generator) -> _CylinderGalaxies:
    """`number` interlopers for each cluster, uniform in area and velocity."""
    cluster = np.repeat(np.arange(len(number)), number)
    R_proj = model.observation.aperture * np.sqrt(rng.uniform(size=len(cluster)))
    v_los = rng.uniform(-model.observation.v_cut, model.observation.v_cut, len(cluster))
    none = np.zeros(len(cluster), bool)
    return _CylinderGalaxies(cluster, R_proj, v_los, none, none)


def _catalogue(
    model: JeansModel, theta: Float[np.ndarray, "cluster parameter"], chunks: list[_Chunk], seed: int
) -> Catalogue:
    galaxies = sorted_by_cluster(*(chunk.galaxies for chunk in chunks))
    counts = np.bincount(galaxies.cluster, minlength=len(theta))
    columns = {name: getattr(galaxies, name) for name in ("R_proj", "v_los", "is_member", "within_r200c")}
    angles = np.concatenate([np.zeros(0), *(chunk.position_angle for chunk in chunks)])
    clusters = {
        "log10_mass": theta[:, 0],
        "host_id": (seed % 2**31) * 2**32 + np.arange(len(theta)),
        "concentration": np.concatenate([c.halo.c_200c for c in chunks]),
    }
    if not isinstance(model.galaxies.anisotropy, str):
        clusters["anisotropy"] = np.concatenate([c.halo.anisotropy for c in chunks])
    return Catalogue.from_arrays(
        model.observation,
        model.cosmology,
        clusters=clusters,
        galaxies=columns | {"position_angle": angles, "is_bound": galaxies.is_member},  # all orbits end inside R_vir
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        provenance=Provenance.from_simulator("SphericalJeans", model, seed),
    )
