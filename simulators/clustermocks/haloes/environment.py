"""The surroundings of a cluster: neighbouring haloes, clustered around it, falling in, each with its own galaxies.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. Interlopers come in clumps: smooth
ones give too small a scatter of the velocity dispersion (.077 instead of .104 dex on Ho et al. 2019's mocks).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.integrate import cumulative_trapezoid

from clustermocks.haloes.binding import TURNAROUND
from clustermocks.haloes.cosmology import (
    CRITICAL_DENSITY,
    Cosmology,
    Values,
    growth_factor,
    nfw_mass,
    radius_200c,
    radius_ratio,
)
from clustermocks.haloes.density_field import SMOOTHING, DensityField
from clustermocks.haloes.neighbour_numbers import (
    MASSES,
    MAX_NEIGHBOUR,
    SearchVolume,
    clustered_volume,
    halo_numbers,
    linear_correlation,
)
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.haloes.structure import Haloes, halo_biases

MIN_SATELLITE_HOST = 11.7  # log10 M200c; with the default richness satellites then make 8.0e-3 h^3 Mpc^-3, as in MDPL2
_BOOSTED = 2.0  # scale of the non-linear boost, in R200m
_REACH = 1.5  # of a halo's galaxies, in r200c: R_vir is 1.2 to 1.35 of it
_HEAVY = 13.0  # log10 M200c of neighbours that keep others of their kind away
_NEAR = 2 * TURNAROUND  # r200c; nearer haloes can have galaxies that are bound to the cluster
_OVERDRAWN = (3.0, 8.0)  # times as many light and heavy haloes are drawn as there are, and thinned by the field


@final
@dataclass(frozen=True)
class Neighbours:
    """How neighbouring haloes are placed and move.

    Attributes:
        boost: Non-linear boost of the linear correlation function around a cluster, xi = xi_lin (1 + boost
            exp(-(r / 2 R200m)^2)) [1]. Tuned: 1 puts the shares of members in the largest cylinder of Ho et al. 2019
            within .05; with a scale that does not grow with the cluster its most massive ones have too few neighbours.
        exclusion: Haloes keep apart by this many times the larger r200c of the two [1].
        bulk_velocity: Random line-of-sight velocity of a neighbour relative to the cluster, far from it [km/s].
        infall_scatter: Random velocity near it over V200 (r200c / r)^1/2 [1]; the two add in quadrature. Tuned: .5 puts
            the normalisation of the contaminated M-sigma relation within .02 dex of that of Ho et al. 2019.
        mass_function: Fit of their number, as in `HaloMassFunction`: tinker08, despali16, ...; their bias is that of
            Tinker et al. 2010 with any.
        crossing: Density contrast inside a radius at which infall ends because shells cross [1] (Croft et al. 1999:
            50).
        clustered: Whether neighbours also cluster among themselves and move together, in a lognormal density field
            around each cluster (`DensityField`), and whether galaxies of the cluster beyond R_vir fall in. See
            `CLUSTERED` for the other settings that belong to it.
    """

    boost: float = 1.0
    exclusion: float = 1.35
    bulk_velocity: float = 300.0
    infall_scatter: float = 0.5
    mass_function: str = "tinker08"
    crossing: float = 50.0
    clustered: bool = False

    def __post_init__(self) -> None:
        for name in ("boost", "exclusion", "bulk_velocity", "infall_scatter", "crossing"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Neighbours: {name} must be 0 or more, found {getattr(self, name)!r}.")


# Tuned to N-body boxes: to the number of galaxies at 1 to 3 r200c (boost, exclusion), to the scatter of pair velocities
# of 150 km/s at 2 and 330 at 12 h^-1 Mpc beyond linear flows, and to the infall at 2 to 4 r200c
CLUSTERED = Neighbours(boost=0.6, exclusion=1.5, bulk_velocity=150.0, infall_scatter=0.2, crossing=75.0, clustered=True)


class NeighbourHaloes(NamedTuple):
    """Neighbouring haloes: index of their cluster, log10 M200c [dex], position from the cluster, peculiar velocity.

    The velocity across the line of sight, without flows of the density field, is drawn only for haloes near the
    cluster: it decides which are bound to it.
    """

    cluster: Int[np.ndarray, "halo"]
    log10_mass: Float[np.ndarray, "halo"]
    position: Float[np.ndarray, "halo 3"]
    v_peculiar: Float[np.ndarray, "halo"]
    v_across: Float[np.ndarray, "halo 2"]


@lru_cache(maxsize=256)
def central_threshold(
    tracer_density: float, galaxies: HaloGalaxies, redshift: float, cosmology: Cosmology, *, model: str
) -> float:
    """Lightest halo with a central, log10 M200c [dex], so that centrals and satellites add up to tracer_density.

    The density is in [h^3 Mpc^-3], and `model` is the mass function of `Neighbours`. Without centrals
    (`galaxies.central`), haloes that have satellites have none; lighter ones are single galaxies.

    Raises:
        ValueError: if satellites alone exceed the density, or centrals would be needed below 10^10.5.
    """
    table = halo_numbers(redshift, cosmology, model)
    satellites = cumulative_trapezoid(galaxies.mean_number(MASSES), table.count, initial=0.0)
    satellite_density, hosts = (
        float(below[-1] - np.interp(MIN_SATELLITE_HOST, MASSES, below)) for below in (satellites, table.count)
    )
    wanted = tracer_density - satellite_density + (0 if galaxies.central else hosts)
    if not 0 < wanted < table.count[-1]:
        raise ValueError(
            f"HaloModel: tracer_density {tracer_density:.4g} h^3 Mpc^-3 cannot be met: satellites alone make "
            f"{satellite_density:.4g}, with every central above 10^10.5 {satellite_density + table.count[-1]:.4g}. "
            "Choose a value between, or interlopers='satellites'."
        )
    return float(np.interp(table.count[-1] - wanted, table.count, MASSES))


def infall_velocity(
    radius: Values,
    clusters: Haloes,
    bias: Values,
    *,
    mean_xi: Values,
    redshift: float,
    cosmology: Cosmology,
    crossing: float = Neighbours.crossing,
) -> Values:
    r"""Mean radial peculiar velocity towards a cluster (negative) [km/s].

    $v = -\frac13 f H r \Delta (1 + \Delta)^{-1/4} e^{-\Delta/\Delta_c}$ with Delta the mean density contrast inside r:
    the cluster's NFW mass inside R_vir and b times the mean linear xi. The exponential ends the infall where shells
    cross: in N-body boxes the mean velocity is .2 V200 at 1.3 r200, .5 to .6 at 3 r200, then falls. f is Om(z)^.55,
    Delta_c is `crossing`, and the radius [comoving h^-1 Mpc] lies beyond about R_vir.

    References:
        Yahil 1985 (Virgo workshop, ESO); Croft et al. 1999, MNRAS 305, 547 (the exponential).
    """
    edge = np.minimum(radius, clusters.R_vir) / clusters.r_200c
    halo_mass = 10**clusters.log10_mass * nfw_mass(clusters.c_200c * edge) / nfw_mass(clusters.c_200c)
    mean_mass = 4 / 3 * np.pi * radius**3 * cosmology.Om0 * CRITICAL_DENSITY
    contrast = halo_mass / mean_mass + bias * mean_xi
    hubble = cosmology.hubble(redshift) / (1 + redshift)
    growth = cosmology.matter_fraction(redshift) ** 0.55
    return -growth * hubble * radius / 3 * contrast * (1 + contrast) ** -0.25 * np.exp(-contrast / crossing)


def _in_cylinder(n: int, limit: float, depth: float, rng: np.random.Generator) -> Float[np.ndarray, "halo 3"]:
    """Points uniform within a limit of the line of sight, as far as depth in front of the cluster and behind it."""
    R, phi = limit * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([R * np.cos(phi), R * np.sin(phi), rng.uniform(-depth, depth, n)])


def _on_caps(radius: Values, limit: float, rng: np.random.Generator) -> Float[np.ndarray, "halo 3"]:
    """Points at given distances, uniform on the two caps of the sphere that are within limit of the line of sight."""
    lowest = np.sqrt(1 - np.minimum(limit / radius, 1) ** 2)
    cosine = lowest + (1 - lowest) * rng.uniform(size=len(radius))
    phi = rng.uniform(0, 2 * np.pi, len(radius))
    R = radius * np.sqrt(1 - cosine**2)
    side = np.where(rng.uniform(size=len(radius)) < 0.5, -1.0, 1.0)
    return np.column_stack([R * np.cos(phi), R * np.sin(phi), side * cosine * radius])


def _distance(position: Float[np.ndarray, "halo dimension"]) -> Values:
    """Lengths of vectors, five times faster than by `np.linalg.norm`."""
    return np.sqrt(sum(along**2 for along in position.T))


def _draw_masses(
    volume: Values, band: tuple[float, float], in_mass: Values, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "halo"], Values]:
    """Cluster and mass [dex] of haloes in a band of masses: the volume around each cluster times a density, drawn.

    The density below each mass is `in_mass`. Masses are sorted, which makes all that is interpolated in them faster.
    """
    first, last = np.interp(band, MASSES, in_mass)
    cluster = rng.permutation(np.repeat(np.arange(len(volume)), rng.poisson(volume * (last - first))))
    return cluster, np.interp(np.sort(rng.uniform(first, last, len(cluster))), in_mass, MASSES)


def _place(
    clusters: Haloes, bias: Values, rng: np.random.Generator, *, neighbours: Neighbours, space: SearchVolume
) -> tuple[Int[np.ndarray, "halo"], Values, Float[np.ndarray, "halo 3"]]:
    """Cluster, mass and position of haloes of density n(M') [1 + b b' xi(r)]: a uniform and a clustered set.

    Light haloes, which are many, are drawn in a narrower cylinder than heavy ones, which reach farther.
    """
    masses = halo_numbers(space.redshift, space.cosmology, neighbours.mass_function)
    overdensity = 200 * space.cosmology.matter_fraction(space.redshift)
    scale = _BOOSTED * clusters.r_200c * radius_ratio(clusters.c_200c, overdensity)
    drawn = []
    for low, high, overdrawn in ((space.min_log10_mass, _HEAVY, _OVERDRAWN[0]), (_HEAVY, MAX_NEIGHBOUR, _OVERDRAWN[1])):
        times = overdrawn if neighbours.clustered else 1.0
        limit = space.radius + _REACH * float(radius_200c(10**high, space.redshift, space.cosmology))
        cylinder = np.full(len(bias), times * 2 * np.pi * limit**2 * space.depth)
        cluster, log10_mass = _draw_masses(cylinder, (low, high), masses.count, rng)
        drawn.append((cluster, log10_mass, _in_cylinder(len(cluster), limit, space.depth, rng)))

        # boosted at every radius, then thinned to where it is
        distance, inside = clustered_volume(space, limit)
        most = 1 + neighbours.boost
        cluster, log10_mass = _draw_masses(times * most * bias * inside[-1], (low, high), masses.biased, rng)
        radius = np.interp(rng.uniform(0, inside[-1], len(cluster)), inside, distance)
        wanted = 1 + neighbours.boost * np.exp(-((radius / scale[cluster]) ** 2))
        kept = rng.uniform(0, most, len(cluster)) < wanted
        drawn.append((cluster[kept], log10_mass[kept], _on_caps(radius[kept], limit, rng)))
    cluster, log10_mass, position = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    r_200c, radius = radius_200c(10**log10_mass, space.redshift, space.cosmology), _distance(position)
    near = (radius < space.depth) & (_distance(position[:, :2]) < space.radius + _REACH * r_200c)
    near &= _are_apart(clusters, cluster, r_200c, radius, neighbours)
    return cluster[near], log10_mass[near], position[near]


def draw_neighbours(
    clusters: Haloes, rng: np.random.Generator, *, neighbours: Neighbours, space: SearchVolume
) -> NeighbourHaloes:
    """Haloes around each cluster that can put galaxies into the search volume.

    Mean density n(M') [1 + b(M) b(M') xi(r)] outside the exclusion radius; velocities along the line of sight are
    infall plus a random bulk motion, and the flows of the density field where neighbours are clustered.
    """
    bias = halo_biases(clusters.log10_mass, space.redshift, space.cosmology)
    cluster, log10_mass, position = _place(clusters, bias, rng, neighbours=neighbours, space=space)
    flow, radius = np.zeros(len(cluster)), _distance(position)
    if neighbours.clustered:
        rows, position, flow = _clustered(len(bias), cluster, log10_mass, position, rng, space)
        cluster, log10_mass, radius = cluster[rows], log10_mass[rows], _distance(position)
        r_200c = radius_200c(10**log10_mass, space.redshift, space.cosmology)
        apart = _are_apart(clusters, cluster, r_200c, radius, neighbours)
        cluster, log10_mass, radius = cluster[apart], log10_mass[apart], radius[apart]
        position, flow = position[apart], flow[apart]
    around = Haloes(*(field[cluster] for field in clusters))
    infall = mean_infall(radius, around, bias[cluster], neighbours, space)
    near_scatter = neighbours.infall_scatter * (clusters.v_200 * np.sqrt(clusters.r_200c))[cluster] / np.sqrt(radius)
    scatter = np.hypot(neighbours.bulk_velocity, near_scatter)
    v_peculiar = infall * position[:, 2] / radius + flow + scatter * rng.standard_normal(len(radius))
    v_across, near = np.zeros((len(radius), 2)), np.flatnonzero(radius < _NEAR * around.r_200c)
    v_across[near] = (infall[near] / radius[near])[:, None] * position[near, :2]
    v_across[near] += scatter[near, None] * rng.spawn(1)[0].standard_normal((len(near), 2))  # rng itself is as before
    return NeighbourHaloes(cluster, log10_mass, position, v_peculiar, v_across)


def _are_apart(
    clusters: Haloes,
    cluster: Int[np.ndarray, "halo"],
    r_200c: Values,
    radius: Values,
    neighbours: Neighbours,
) -> Bool[np.ndarray, "halo"]:
    return radius > neighbours.exclusion * np.maximum(r_200c, clusters.r_200c[cluster])


def _clustered(
    n: int,
    cluster: Int[np.ndarray, "halo"],
    log10_mass: Values,
    position: Float[np.ndarray, "halo 3"],
    rng: np.random.Generator,
    space: SearchVolume,
) -> tuple[Int[np.ndarray, "drawn"], Float[np.ndarray, "drawn 3"], Values]:
    """Rows of haloes drawn anew from the density field around n clusters, their positions and flows [km/s].

    All are overdrawn and thinned to 1 + b delta where they are. A light halo where the field is denser than that allows
    is drawn several times, at distances along the line of sight that the field does not resolve; a heavy one is not.
    """
    field = DensityField.draw(n, rng, redshift=space.redshift, cosmology=space.cosmology)
    bias, heavy = halo_biases(log10_mass, space.redshift, space.cosmology), log10_mass >= _HEAVY
    weight = field.weight(field.contrast(cluster, position), bias, np.where(heavy, _OVERDRAWN[1], np.inf))
    kept = rng.uniform(0, _OVERDRAWN[1], len(weight)) < weight
    times = np.where(heavy, kept, rng.poisson(weight / _OVERDRAWN[0]))
    rows = np.repeat(np.arange(len(cluster)), times)
    further = np.diff(rows, prepend=-1) == 0
    drawn = position[rows]
    flow = field.velocity(cluster[rows], drawn)
    drawn[further, 2] += SMOOTHING * rng.standard_normal(further.sum())
    return rows, drawn, flow


def mean_infall(radius: Values, clusters: Haloes, bias: Values, neighbours: Neighbours, space: SearchVolume) -> Values:
    """Mean radial velocity `infall_velocity` at distances from clusters of some bias [km/s]."""
    growth = float(growth_factor(space.redshift, space.cosmology)) ** 2
    distances, _, mean_xi = linear_correlation(space.cosmology)
    return infall_velocity(
        radius,
        clusters,
        bias,
        mean_xi=growth * np.interp(radius, distances, mean_xi),
        redshift=space.redshift,
        cosmology=space.cosmology,
        crossing=neighbours.crossing,
    )
