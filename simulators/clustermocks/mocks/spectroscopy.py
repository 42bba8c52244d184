"""Spectroscopy of galaxies in and around clusters: which are observed, their projected distances and velocities.

Lengths are comoving [h^-1 Mpc], angles in seconds of arc, velocities [km/s]. The line of sight is the third axis.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from clustermocks.haloes.cosmology import Cosmology
from clustermocks.haloes.structure import Haloes
from clustermocks.kinematics.membership import Field, kept_by
from clustermocks.mocks.survey import WHOLE, Footprint, RadialCompleteness, Survey
from clustermocks.observation import (
    centre_velocities,
    in_cylinder,
    line_of_sight_velocity,
    subtract_velocity,
)

_ARCSEC = np.pi / 180 / 3600


class IntrinsicGalaxies(NamedTuple):
    """Galaxies before observation.

    Index of the cluster, position from its centre, line-of-sight peculiar velocity, and whether it is bound.
    """

    cluster: Int[np.ndarray, "galaxy"]
    position: Float[np.ndarray, "galaxy 3"]
    v_peculiar: Float[np.ndarray, "galaxy"]
    is_bound: Bool[np.ndarray, "galaxy"]


class ObservedClusters(NamedTuple):
    """Columns of clusters and of their galaxies, sorted by cluster, and the number of galaxies of each cluster."""

    clusters: Mapping[str, np.ndarray]
    galaxies: Mapping[str, np.ndarray]
    counts: Int[np.ndarray, "cluster"]

    @classmethod
    def concatenate(cls, parts: Sequence["ObservedClusters"]) -> "ObservedClusters":
        """Join parts with the same columns, one after another."""
        return cls(
            {name: np.concatenate([part.clusters[name] for part in parts]) for name in parts[0].clusters},
            {name: np.concatenate([part.galaxies[name] for part in parts]) for name in parts[0].galaxies},
            np.concatenate([part.counts for part in parts]),
        )


class Targets(NamedTuple):
    """Galaxies with a redshift: index among all, distance and angle from the assumed centre, errors of the velocity.

    `v_wrong` is the velocity that a misread spectrum gives instead; NaN where the redshift is right.
    """

    row: Int[np.ndarray, "target"]
    R_proj: Float[np.ndarray, "target"]
    position_angle: Float[np.ndarray, "target"]
    v_error: Float[np.ndarray, "target"]
    v_wrong: Float[np.ndarray, "target"]


def observe(
    survey: Survey, clusters: Haloes, galaxies: IntrinsicGalaxies, rng: np.random.Generator
) -> ObservedClusters:
    """Choose the galaxies of clusters at rest that get a redshift, and measure them."""
    n = len(clusters.R_vir)
    is_member = np.linalg.norm(galaxies.position, axis=1) < clusters.R_vir[galaxies.cluster]
    targets = choose_targets(survey, galaxies.position[:, :2], galaxies.cluster, is_member, rng, n=n)
    return measure(survey, galaxies, is_member, targets, v_cluster=np.zeros(n), r_200c=clusters.r_200c)


def measure(
    survey: Survey,
    galaxies: IntrinsicGalaxies,
    is_member: Bool[np.ndarray, "galaxy"],
    targets: Targets,
    *,
    v_cluster: Float[np.ndarray, "cluster"],
    r_200c: Float[np.ndarray, "cluster"],
) -> ObservedClusters:
    """Measure targets among the galaxies, which are sorted by cluster; the clusters recede at `v_cluster` [km/s].

    Targets that are neither members nor in the cylinder are dropped. `r_200c` [h^-1 Mpc] decides which are inside it.
    """
    observation, n = survey.observation, len(v_cluster)
    row, R_proj, position_angle, v_error, v_wrong = targets
    radius = np.linalg.norm(galaxies.position[row], axis=1)
    cluster, is_member = galaxies.cluster[row], is_member[row]
    z_proj, v_peculiar = galaxies.position[row, 2], galaxies.v_peculiar[row]
    v_los = v_error + line_of_sight_velocity(
        z_proj, v_peculiar, v_cluster[cluster], observation.redshift, survey.cosmology
    )
    v_los = np.where(np.isnan(v_wrong), v_los, v_wrong)
    if survey.rounding:
        step = survey.rounding / (1 + observation.redshift)
        v_los = step * np.round(v_los / step)
    v_centre = np.zeros(n)
    if survey.recentre:
        v_centre = centre_velocities(v_los, cluster, R_proj < observation.aperture, n=n, v_cut=observation.v_cut)
        v_los = subtract_velocity(v_los, v_centre[cluster])
    inside = in_cylinder(R_proj, v_los, observation)
    if survey.cleaning != "none":
        seen = (values[inside] for values in (R_proj, v_los, cluster))
        field = Field(observation.redshift, observation.aperture, observation.v_cut)
        inside[inside] = kept_by(survey.cleaning, *seen, n=n, field=field)
        v_los, v_centre = _recentred(survey, v_los, v_centre, cluster, inside)
        inside &= np.abs(v_los) < observation.v_cut
    kept = inside | is_member
    columns = {
        "R_proj": R_proj,
        "v_los": v_los,
        "position_angle": position_angle,
        "is_member": is_member,
        "within_r200c": radius < r_200c[cluster],
        "is_bound": galaxies.is_bound[row],
        "in_cylinder": inside,
    }
    return ObservedClusters(
        {"velocity_offset": v_centre},
        {name: values[kept] for name, values in columns.items()},
        np.bincount(cluster[kept], minlength=n),
    )


def _recentred(
    survey: Survey,
    v_los: Float[np.ndarray, "target"],
    v_centre: Float[np.ndarray, "cluster"],
    cluster: Int[np.ndarray, "target"],
    inside: Bool[np.ndarray, "target"],
) -> tuple[Float[np.ndarray, "target"], Float[np.ndarray, "cluster"]]:
    """Velocities and centres, measured again from the galaxies that a cleaning left, if the survey recentres."""
    if not survey.recentre:
        return v_los, v_centre
    n, v_cut = len(v_centre), survey.observation.v_cut
    further = centre_velocities(v_los, cluster, inside, n=n, v_cut=v_cut)
    return subtract_velocity(v_los, further[cluster]), v_centre + further


def choose_targets(
    survey: Survey,
    sky: Float[np.ndarray, "galaxy 2"],
    cluster: Int[np.ndarray, "galaxy"],
    is_member: Bool[np.ndarray, "galaxy"],
    rng: np.random.Generator,
    *,
    n: int,
) -> Targets:
    """Members and what lies inside the aperture of n clusters, less what has no fibre or no redshift.

    Positions on the sky are relative to the true centre [comoving h^-1 Mpc]. Random numbers are drawn first for the
    centres, then for footprints, fibres, redshifts and velocities.
    """
    observation = survey.observation
    centre = survey.centre_error * rng.standard_normal((n, 2))
    from_centre = sky - centre[cluster]
    R_proj = np.hypot(*from_centre.T)
    row = np.flatnonzero(is_member | (R_proj < observation.aperture))
    if survey.footprint != WHOLE:
        turn = rng.uniform(0, 2 * np.pi, n)[cluster[row]]
        row = row[in_footprint(survey.footprint, from_centre[row], turn, observation.aperture)]
    least = fibre_distance(survey.fibre_collision, observation.redshift, survey.cosmology)
    row = row[without_collisions(sky[row], cluster[row], least, rng)]
    row = row[with_redshift(survey.completeness, R_proj[row], observation.aperture, rng)]
    if survey.contrast != 1:
        share = np.where(is_member[row], min(survey.contrast, 1), min(1 / survey.contrast, 1))
        row = row[rng.uniform(size=len(row)) < share]
    v_error = survey.velocity_error * rng.standard_normal(len(row))
    if survey.redshift_offset:
        v_error += (survey.redshift_offset * rng.standard_normal(n))[cluster[row]]
    angle = np.arctan2(*from_centre[row, ::-1].T)
    return Targets(row, R_proj[row], angle, v_error, _wrong_velocities(survey, len(row), rng))


def _wrong_velocities(survey: Survey, n: int, rng: np.random.Generator) -> Float[np.ndarray, "target"]:
    wrong = np.full(n, np.nan)
    if survey.wrong_redshifts:
        misread = rng.uniform(size=n) < survey.wrong_redshifts
        wrong[misread] = survey.observation.v_cut * rng.uniform(-1, 1, misread.sum())
    return wrong


def in_footprint(
    footprint: Footprint,
    sky: Float[np.ndarray, "galaxy 2"],
    turn: Float[np.ndarray, "galaxy"],
    aperture: float,
) -> Bool[np.ndarray, "galaxy"]:
    """Which positions, relative to the assumed centre, a footprint contains that is turned by an angle [rad]."""
    x, y = sky.T
    across = np.abs(y * np.cos(turn) - x * np.sin(turn))
    angle = (np.arctan2(y, x) - turn) % (2 * np.pi)
    return (across <= (1 - footprint.flattening) * aperture) & (angle >= np.radians(footprint.sector))


def with_redshift(
    completeness: float | RadialCompleteness,
    R_proj: Float[np.ndarray, "galaxy"],
    aperture: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a redshift, each independently; no random numbers are drawn where all do."""
    if completeness == 1:
        return np.ones(len(R_proj), bool)
    probability = completeness(R_proj, aperture) if isinstance(completeness, RadialCompleteness) else completeness
    return rng.uniform(size=len(R_proj)) < probability


def fibre_distance(fibre_collision: float, redshift: float, cosmology: Cosmology) -> float:
    """Distance on the sky [comoving h^-1 Mpc] that an angle [arcsec] spans at a redshift, in a flat universe."""
    return float(fibre_collision * _ARCSEC * cosmology.comoving_distance(redshift))


def without_collisions(
    sky: Float[np.ndarray, "galaxy 2"],
    cluster: Int[np.ndarray, "galaxy"],
    least: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies get a fibre: in random order, each that is far enough from all of its cluster that have one.

    No two of a cluster that are kept are closer than `least` [unit of `sky`], and each that is dropped is closer than
    that to one that is kept.
    """
    if not least or not len(sky):
        return np.ones(len(sky), bool)
    extent = float(np.ptp(sky, axis=0).max()) + 2 * least
    shifted = sky + np.column_stack([cluster * extent, np.zeros(len(sky))])  # clusters side by side
    pairs = KDTree(shifted).query_pairs(least, output_type="ndarray")
    return _first_come(pairs, rng.permutation(len(sky)))


def _first_come(pairs: Int[np.ndarray, "pair 2"], turn: Int[np.ndarray, "galaxy"]) -> Bool[np.ndarray, "galaxy"]:
    """Which galaxies are kept if each, in its turn, excludes all that it is paired with; vectorised over rounds."""
    early, late = np.where((turn[pairs[:, 0]] < turn[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]).T
    kept = np.ones(len(turn), bool)
    while len(early):
        contested = np.zeros(len(turn), bool)
        contested[late] = True
        safe = ~contested[early]  # no earlier one remains: they stay and exclude the later ones
        kept[late[safe]] = False
        left = kept[early] & kept[late]
        early, late = early[left], late[left]
    return kept
