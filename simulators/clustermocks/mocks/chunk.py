"""One chunk of mock clusters: its galaxies drawn, observed and cut, as flat arrays.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. The line of sight is the third axis.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.catalogue.ragged import sorted_by_cluster
from clustermocks.haloes.binding import TURNAROUND, are_bound
from clustermocks.haloes.cosmology import Cosmology
from clustermocks.haloes.environment import (
    MIN_SATELLITE_HOST,
    NeighbourHaloes,
    central_threshold,
    draw_neighbours,
    mean_infall,
)
from clustermocks.haloes.neighbour_numbers import SearchVolume
from clustermocks.haloes.satellites import Satellites, draw_satellites
from clustermocks.haloes.structure import Haloes, draw_haloes, halo_biases, truncation_radii
from clustermocks.mocks.blending import NearbyHaloes, eligible, heaviest_in_cylinder
from clustermocks.mocks.cluster_model import ClusterModel
from clustermocks.mocks.cosmology_prior import seen_from
from clustermocks.mocks.priors import Priors
from clustermocks.mocks.sightlines import Sightlines
from clustermocks.mocks.spectroscopy import IntrinsicGalaxies, ObservedClusters, observe
from clustermocks.observation import Observation, line_of_sight_velocity

VELOCITY_MARGIN = 3000.0  # peculiar velocity and shift of the centre that can bring a galaxy into the window [km/s]
GROUP = 25  # hosts that share a draw from the priors: part of what a seed means
DRAW = "draw_id"  # column of the first host that shares a cluster's draw
MOST_DRAWS = 2000  # of a line of sight to a dominant cluster
_OF_COSMOLOGY = 2**31  # key of its random stream, which no group has
RIVAL_APERTURE, RIVAL_V_CUT = 1.6, 2500.0  # largest cylinder in which a redrawn cluster must be the heaviest


class Surroundings(NamedTuple):
    """Haloes around clusters, log10 mass of the heaviest in each cylinder [dex], and how often lines were drawn."""

    haloes: NeighbourHaloes
    rival: Float[np.ndarray, "cluster"]
    draws: Int[np.ndarray, "cluster"]


def simulate_chunk(
    model: ClusterModel,
    priors: Priors,
    log10_mass: Float[np.ndarray, "host"],
    n_lines: Int[np.ndarray, "host"],
    stream: np.random.SeedSequence,
) -> ObservedClusters:
    """Draw, observe and cut one chunk of hosts, each along some lines of sight; under priors in groups that share one.

    Under priors of surveys or physics a line of sight to a dominant cluster is drawn again until no heavier halo is in
    it: masses are then as they were drawn, under every condition. A cosmology is drawn for the whole chunk.
    """
    if priors.cosmologies is None:
        return _grouped(model, priors, log10_mass, n_lines, stream)
    own = np.random.SeedSequence(stream.entropy, spawn_key=(*stream.spawn_key, _OF_COSMOLOGY))  # the rest is as before
    cosmology = priors.cosmologies.draw(model.cosmology, np.random.default_rng(own))
    seen = _grouped(model, priors, log10_mass, n_lines, stream, cosmology)
    columns = {name: np.full(len(seen.counts), getattr(cosmology, name)) for name in priors.cosmologies.laws}
    return seen._replace(clusters={**seen.clusters, **columns})


def _grouped(
    model: ClusterModel,
    priors: Priors,
    log10_mass: Float[np.ndarray, "host"],
    n_lines: Int[np.ndarray, "host"],
    stream: np.random.SeedSequence,
    cosmology: Cosmology | None = None,
) -> ObservedClusters:
    """One chunk in a cosmology: the model's own, or one of which its observer does not know."""
    if not priors.of_groups:
        return _simulate(model, log10_mass, n_lines, np.random.default_rng(stream), cosmology)
    first = range(0, len(log10_mass), GROUP)
    groups = []
    for start, child in zip(first, stream.spawn(len(first)), strict=True):
        rng, part = np.random.default_rng(child), slice(start, start + GROUP)
        drawn, values = priors.draw(model, rng)
        seen = _simulate(drawn, log10_mass[part], n_lines[part], rng, cosmology, redraw=model.dominant)
        columns = {name: np.full(len(seen.counts), value) for name, value in {**values, DRAW: start}.items()}
        host = seen.clusters["host"] + start
        groups.append(seen._replace(clusters={**seen.clusters, "host": host, **columns}))
    return ObservedClusters.concatenate(groups)


def _simulate(
    model: ClusterModel,
    log10_mass: Float[np.ndarray, "host"],
    n_lines: Int[np.ndarray, "host"],
    rng: np.random.Generator,
    cosmology: Cosmology | None,
    *,
    redraw: bool = False,
) -> ObservedClusters:
    model, stretch = (model, 1.0) if cosmology is None else seen_from(model, cosmology)
    sights = Sightlines.from_counts(n_lines)
    clusters, around, galaxies = populate(model, log10_mass, rng, sights, redraw=redraw)
    seen = observe(model, clusters, galaxies, rng)
    return seen._replace(
        galaxies={**seen.galaxies, "R_proj": stretch * seen.galaxies["R_proj"]},
        clusters={
            "host": sights.host,
            "log10_mass": clusters.log10_mass,
            "concentration": clusters.c_200c,
            **dict(zip(("sight_x", "sight_y", "sight_z"), sights.axes[:, 2].T, strict=True)),
            **seen.clusters,
            "log10_mass_rival": around.rival,
            **({"lines_drawn": around.draws} if redraw else {}),
            "eligible": eligible(around.rival, clusters.log10_mass, dominant=model.dominant),
        },
    )


def populate(
    model: ClusterModel,
    log10_mass: Float[np.ndarray, "host"],
    rng: np.random.Generator,
    sights: Sightlines | None = None,
    *,
    redraw: bool = False,
) -> tuple[Haloes, Surroundings, IntrinsicGalaxies]:
    """Clusters, the haloes around them, and all their galaxies, before they are observed.

    Each line of sight is a cluster of its own: its members are those of its host, rotated; its neighbours are drawn
    for it, with `redraw` again until none of them is a heavier rival. The default is one line for each host.
    """
    sights = Sightlines.from_counts(np.ones(len(log10_mass), int)) if sights is None else sights
    hosts = _haloes(model, log10_mass, rng)
    clusters = Haloes(*(column[sights.host] for column in hosts))
    around = _surroundings(model, clusters, rng, redraw=redraw)
    members = _own_galaxies(model, clusters, sights.through(_members(model, hosts, rng)))
    return clusters, around, sorted_by_cluster(members, _interloper_galaxies(model, clusters, around.haloes, rng))


def _surroundings(model: ClusterModel, clusters: Haloes, rng: np.random.Generator, *, redraw: bool) -> Surroundings:
    observation, n = model.observation, len(clusters.log10_mass)
    haloes = _neighbours(model, clusters, rng)
    draws = np.ones(n, int)
    if redraw:
        narrow = min(observation.aperture, RIVAL_APERTURE), min(observation.v_cut, RIVAL_V_CUT)
        observation = replace(observation, aperture=narrow[0], v_cut=narrow[1])
    rival = _heaviest_neighbour(model, haloes, observation, n=n)
    while redraw and (again := np.flatnonzero(rival > clusters.log10_mass)).size:
        if draws.max() == MOST_DRAWS:
            mass = float(clusters.log10_mass[again[0]])
            raise ValueError(
                f"HaloModel: none of {MOST_DRAWS} lines of sight to a cluster of 10^{mass:.2f} h^-1 Msun is without a "
                "heavier halo.\n  try:    a higher lowest mass, or dominant=False"
            )
        fresh = _neighbours(model, Haloes(*(column[again] for column in clusters)), rng)
        rival[again] = _heaviest_neighbour(model, fresh, observation, n=len(again))
        draws[again] += 1
        kept = ~np.isin(haloes.cluster, again)
        fresh = fresh._replace(cluster=again[fresh.cluster])
        haloes = NeighbourHaloes(*(np.concatenate([a[kept], b]) for a, b in zip(haloes, fresh, strict=True)))
    return Surroundings(haloes, rival, draws)


def _haloes(model: ClusterModel, log10_mass: Float[np.ndarray, "halo"], rng: np.random.Generator) -> Haloes:
    scatter, redshift, cosmology = model.galaxies.concentration_scatter, model.observation.redshift, model.cosmology
    return draw_haloes(log10_mass, rng, concentration_scatter=scatter, redshift=redshift, cosmology=cosmology)


def _expansion(model: ClusterModel) -> float:
    """Hubble flow per comoving distance [km/s / (h^-1 Mpc)]."""
    redshift = model.observation.redshift
    return float(model.cosmology.hubble(redshift) / (1 + redshift))


def _own_galaxies(model: ClusterModel, clusters: Haloes, satellites: Satellites) -> IntrinsicGalaxies:
    """The clusters' own galaxies, indexed by cluster; their Jeans velocity includes the Hubble flow."""
    cluster, separation, velocity = satellites
    v_peculiar = velocity[:, 2] - _expansion(model) * separation[:, 2]
    return IntrinsicGalaxies(cluster, separation, v_peculiar, _are_bound(clusters, cluster, separation, velocity))


def _are_bound(
    clusters: Haloes,
    cluster: Int[np.ndarray, "galaxy"],
    position: Float[np.ndarray, "galaxy 3"],
    velocity: Float[np.ndarray, "galaxy 3"],
) -> Bool[np.ndarray, "galaxy"]:
    r_200c, c_200c, v_200 = (column[cluster] for column in (clusters.r_200c, clusters.c_200c, clusters.v_200))
    return are_bound(position, velocity, r_200c=r_200c, c_200c=c_200c, v_200=v_200)


def _members(model: ClusterModel, hosts: Haloes, rng: np.random.Generator) -> Satellites:
    """The clusters' own galaxies, sorted by host; with "all" also centrals, at rest, and those that orbit beyond R_vir.

    Catalogues of haloes list the latter as centrals, which "satellites" leaves out.
    """
    if model.interlopers == "satellites":
        return sorted_by_cluster(draw_satellites(hosts, rng, model.galaxies))
    n = len(hosts.log10_mass) if model.galaxies.central else 0
    truncation = truncation_radii(hosts.log10_mass, model.observation.redshift, model.cosmology)
    satellites = draw_satellites(hosts, rng, model.galaxies, truncation=truncation)
    satellites = _falling(model, hosts, satellites) if model.neighbours.clustered else satellites
    centrals = Satellites(np.arange(n), np.zeros((n, 3)), np.zeros((n, 3)))
    return sorted_by_cluster(centrals, satellites)


def _falling(model: ClusterModel, hosts: Haloes, satellites: Satellites) -> Satellites:
    """Galaxies with those beyond R_vir on their way in, instead of at rest on average."""
    redshift, cosmology = model.observation.redshift, model.cosmology
    radius = np.linalg.norm(satellites.separation, axis=1)
    outside = np.flatnonzero(radius > hosts.R_vir[satellites.halo])
    radius, clusters = radius[outside], Haloes(*(column[satellites.halo[outside]] for column in hosts))
    bias = halo_biases(clusters.log10_mass, redshift, cosmology)
    infall = mean_infall(radius, clusters, bias, model.neighbours, _search_volume(model, _central_threshold(model)))
    physical = infall + cosmology.hubble(redshift) / (1 + redshift) * radius
    velocity = satellites.v_jeans.copy()
    velocity[outside] += (physical / radius)[:, None] * satellites.separation[outside]
    return satellites._replace(v_jeans=velocity)


def _central_threshold(model: ClusterModel) -> float:
    if model.interlopers == "satellites":
        return np.inf
    redshift, fit = model.observation.redshift, model.neighbours.mass_function
    return central_threshold(model.tracer_density, model.galaxies, redshift, model.cosmology, model=fit)


def _search_volume(model: ClusterModel, threshold: float) -> SearchVolume:
    observation, cosmology = model.observation, model.cosmology
    velocity = observation.v_cut + VELOCITY_MARGIN
    return SearchVolume(
        radius=model.search_radius,
        depth=float(velocity * (1 + observation.redshift) / cosmology.hubble(observation.redshift)),
        min_log10_mass=min(MIN_SATELLITE_HOST, threshold),
        redshift=observation.redshift,
        cosmology=cosmology,
    )


def _neighbours(model: ClusterModel, clusters: Haloes, rng: np.random.Generator) -> NeighbourHaloes:
    """Haloes around each cluster."""
    space = _search_volume(model, _central_threshold(model))
    return draw_neighbours(clusters, rng, neighbours=model.neighbours, space=space)


def _heaviest_neighbour(
    model: ClusterModel, around: NeighbourHaloes, observation: Observation, *, n: int
) -> Float[np.ndarray, "cluster"]:
    """Log10 mass of the heaviest neighbour that reaches into each cluster's cylinder [dex]; NaN where none does."""
    cosmology = model.cosmology
    v_los = line_of_sight_velocity(around.position[:, 2], around.v_peculiar, 0.0, observation.redshift, cosmology)
    rivals = NearbyHaloes(around.cluster, around.log10_mass, np.hypot(*around.position[:, :2].T), v_los)
    return heaviest_in_cylinder(rivals, n=n, observation=observation, cosmology=cosmology)


def _interloper_galaxies(
    model: ClusterModel, clusters: Haloes, around: NeighbourHaloes, rng: np.random.Generator
) -> IntrinsicGalaxies:
    """Galaxies of all neighbouring haloes, indexed by cluster."""
    threshold = _central_threshold(model)
    hosts = np.flatnonzero(around.log10_mass >= MIN_SATELLITE_HOST)
    haloes = _haloes(model, around.log10_mass[hosts], rng)
    inner = draw_satellites(haloes, rng, model.galaxies, relaxed=True)
    satellites = _of_neighbours(model, clusters, around, hosts[inner.halo], inner)
    own = around.log10_mass >= threshold
    if not model.galaxies.central:  # then what has satellites has no central
        own &= around.log10_mass < MIN_SATELLITE_HOST
    centrals = _of_neighbours(model, clusters, around, np.flatnonzero(own), None)
    return sorted_by_cluster(satellites, centrals)


def _of_neighbours(
    model: ClusterModel,
    clusters: Haloes,
    around: NeighbourHaloes,
    halo: Int[np.ndarray, "galaxy"],
    inner: Satellites | None,
) -> IntrinsicGalaxies:
    """Galaxies of given neighbouring haloes, by the index of these: satellites, or else their centrals."""
    cluster, position, v_peculiar = around.cluster[halo], around.position[halo], around.v_peculiar[halo]
    expansion, is_bound = _expansion(model), np.zeros(len(halo), bool)
    if inner is not None:
        position = position + inner.separation
        v_peculiar = v_peculiar + (inner.v_jeans[:, 2] - expansion * inner.separation[:, 2])
    near = np.flatnonzero((position**2).sum(axis=1) < (TURNAROUND * clusters.r_200c[cluster]) ** 2)
    velocity = np.column_stack([around.v_across[halo[near]], around.v_peculiar[halo[near]]])
    velocity += expansion * around.position[halo[near]]
    velocity += 0.0 if inner is None else inner.v_jeans[near]
    is_bound[near] = _are_bound(clusters, cluster[near], position[near], velocity)
    return IntrinsicGalaxies(cluster, position, v_peculiar, is_bound)
