"""A table's galaxies -> distances and velocities relative to the cluster, with redshift and centre found if needed.

Lengths are comoving [h^-1 Mpc], velocities [km/s], angles [deg].
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import Cosmology
from clustermocks.observation import (
    Observation,
    centre_velocity,
    in_cylinder,
    observed_redshift,
    relative_velocity,
    subtract_velocity,
    widest_window,
)
from sbi_clustermass.observations.tables.density_peaks import (
    centre_error,
    densest_point,
    densest_redshift,
    redshift_error,
    separation,
)
from sbi_clustermass.observations.tables.errors import check_centre, check_redshift, problem
from sbi_clustermass.observations.tables.galaxies import UsableGalaxies
from sbi_clustermass.observations.tables.options import TableOptions
from sbi_clustermass.observations.tables.positions import Angles, Distances, Sky
from sbi_clustermass.observations.tables.velocities import Redshifts

Values: TypeAlias = Float[np.ndarray, "galaxy"]

MAX_ITERATIONS = 20
NEAREST = 0.002  # a nearer redshift is no measure of distance; Virgo has 0.0036


@final
@dataclass(frozen=True)
class PhaseSpace:
    """Projected phase space of galaxies about a cluster.

    Attributes:
        R_proj: Projected distances [comoving h^-1 Mpc], (galaxy,).
        v_los: Velocities relative to the cluster [km/s], (galaxy,).
        redshift: Redshift of the cluster [1]; NaN if it is unknown and no distance needs it.
        redshift_source: Origin of the redshift.
        centre: Right ascension and declination [deg]; NaN if the table holds distances only.
        centre_source: Origin of the centre.
        shift: Velocity by which the galaxies were recentred [km/s]; 0 where the redshift is their own.
        redshift_error: Standard error of a redshift that is the galaxies' own [1], else NaN.
        centre_error: Standard error of an estimated centre, along one axis [h^-1 Mpc], else NaN.
    """

    R_proj: Values
    v_los: Values
    redshift: float
    redshift_source: str
    centre: tuple[float, float]
    centre_source: str
    shift: float = 0.0
    redshift_error: float = np.nan
    centre_error: float = np.nan


@final
@dataclass(frozen=True)
class Centring:
    """Usable galaxies of one table, and what their distances and velocities about the cluster depend on."""

    galaxies: UsableGalaxies
    options: TableOptions
    where: str
    observation: Observation
    cosmology: Cosmology

    def seen(self, redshift: float) -> Observation:
        """The cylinder at a redshift: of a near cluster the window ends before the observer."""
        return replace(self.observation, v_cut=widest_window(self.observation.v_cut, redshift))

    def phase_space(self) -> PhaseSpace:
        """Compute distances and velocities about the given redshift, or else about the galaxies' own."""
        return self._with_errors(self._without_errors())

    def _without_errors(self) -> PhaseSpace:
        redshift, source = self._known_redshift
        velocity, position = self.galaxies.velocity, self.galaxies.position
        if redshift is None and isinstance(velocity, Redshifts):
            return self._about_their_own_redshift(velocity)
        if redshift is None and isinstance(position, (Sky, Angles)):
            found = "velocities relative to the cluster, which do not say where it is"
            raise problem(self.where, "the cluster's redshift is needed.", found=found, advice="--redshift Z")
        phase_space = replace(self._from(np.nan if redshift is None else redshift), redshift_source=source)
        if not self.options.recentre:
            return phase_space
        centre = self._centre_velocity(phase_space)
        source = f"{source}, velocities recentred by {round(-centre):+d} km/s"
        v_los = subtract_velocity(phase_space.v_los, centre)
        return replace(phase_space, v_los=v_los, redshift_source=source, shift=-centre)

    def _with_errors(self, phase_space: PhaseSpace) -> PhaseSpace:
        """Add errors of redshift and centre where the galaxies gave them, by resampling the galaxies."""
        seen = self.seen(phase_space.redshift)
        near = in_cylinder(phase_space.R_proj, phase_space.v_los, seen)
        position = self.galaxies.position
        if self._known_redshift[0] is None and isinstance(self.galaxies.velocity, Redshifts):
            phase_space = replace(
                phase_space, redshift_error=redshift_error(phase_space.v_los[near], phase_space.redshift)
            )
        if self.known_centre[0] is None and isinstance(position, Sky):
            sky = position.values[np.abs(phase_space.v_los) < seen.v_cut]
            distance = float(self.cosmology.comoving_distance(phase_space.redshift))
            phase_space = replace(phase_space, centre_error=centre_error(sky, phase_space.centre, distance))
        return phase_space

    def _about_their_own_redshift(self, redshifts: Redshifts) -> PhaseSpace:
        """Iterate biweight redshift, centre and distances until the redshift changes by less than 1 km/s."""
        redshift = densest_redshift(redshifts.values[self._near_axis(redshifts)])
        for _ in range(MAX_ITERATIONS):
            check_redshift(self.where, redshift)
            if redshift < NEAREST:
                found = f"the galaxies' redshifts centre on {redshift:.5f}"
                raise problem(self.where, "no cluster is that near.", found=found, advice="--redshift Z, or check z")
            phase_space = self._from(redshift)
            centre = self._centre_velocity(phase_space)
            if abs(centre) < 1.0:
                break
            redshift = float(observed_redshift(redshift, centre))
        count = in_cylinder(phase_space.R_proj, phase_space.v_los, self.seen(redshift)).sum()
        return replace(phase_space, redshift_source=f"biweight of {count} galaxies")

    def _centre_velocity(self, phase_space: PhaseSpace) -> float:
        inside = phase_space.R_proj < self.observation.aperture
        return centre_velocity(phase_space.v_los[inside], self.seen(phase_space.redshift).v_cut)

    @cached_property
    def _known_redshift(self) -> tuple[float | None, str]:
        if self.options.redshift is not None:
            return self.options.redshift, f"given ({self.options.redshift:g})"
        if self.galaxies.redshift is not None:
            check_redshift(self.where, self.galaxies.redshift)
            return self.galaxies.redshift, f"column ({self.galaxies.redshift:g})"
        return None, "unknown"

    @cached_property
    def known_centre(self) -> tuple[tuple[float, float] | None, str]:
        """Centre that the user or the table gives, and which of the two gave it."""
        if self.options.centre is not None:
            return self.options.centre, "given"
        if self.galaxies.centre is not None:
            check_centre(self.where, self.galaxies.centre)
            return self.galaxies.centre, "column"
        return None, "unknown"

    def _from(self, redshift: float) -> PhaseSpace:
        """Distances and velocities about one redshift."""
        velocity, position = self.galaxies.velocity, self.galaxies.position
        v_los = relative_velocity(velocity.values, redshift) if isinstance(velocity, Redshifts) else velocity.values
        centre, source = self.known_centre
        if not isinstance(position, Sky):
            R_proj = self._comoving(position, redshift)
            return PhaseSpace(R_proj, v_los, redshift, "", centre or (np.nan, np.nan), "distances in the table")
        if centre is None:
            centre, source = self._densest_point(position, v_los, redshift), "densest point of the galaxies"
        R_proj = separation(position.values, centre) * self.cosmology.comoving_distance(redshift)
        return PhaseSpace(R_proj, v_los, redshift, "", centre, source)

    def _densest_point(self, position: Sky, v_los: Values, redshift: float) -> tuple[float, float]:
        window = self.seen(redshift).v_cut
        near = np.abs(v_los) < window
        if not near.any():
            raise no_galaxies(self.where, v_los, f"within {window:g} km/s of redshift {redshift:.4f}")
        return densest_point(position.values[near], float(self.cosmology.comoving_distance(redshift)))

    def _near_axis(self, redshifts: Redshifts) -> Bool[np.ndarray, "galaxy"]:
        """Galaxies inside the aperture, each at its own redshift; all if none is inside or the centre is unknown."""
        z = np.maximum(redshifts.values, 1e-3)
        position, (centre, _) = self.galaxies.position, self.known_centre
        if not isinstance(position, Sky):
            R_proj = self._comoving(position, z)
        elif centre is not None:
            R_proj = separation(position.values, centre) * self.cosmology.comoving_distance(z)
        else:
            return np.ones(len(z), bool)
        inside = R_proj < self.observation.aperture
        return inside if inside.any() else np.ones(len(z), bool)

    def _comoving(self, distances: Distances | Angles, redshift: ArrayLike) -> Values:
        """Distances in comoving h^-1 Mpc: times h unless in h^-1 Mpc, times 1 + z if physical; angles times D_c."""
        if isinstance(distances, Angles):
            return np.deg2rad(distances.values) * self.cosmology.comoving_distance(redshift)
        frame, h = self._frame(distances), self.options.h if distances.h is None else distances.h
        needed = {}
        if h is None:
            needed["the h that its Mpc assume"] = "--h 0.7 (1 if they are h^-1 Mpc)"
        if frame is None:
            needed["whether it is physical or comoving"] = "--distance physical"
        if (frame != "comoving" or self.options.Om) and np.isnan(redshift).any():
            needed["the cluster's redshift"] = "--redshift Z"
        if h is None or needed:
            what = f"to convert {distances.column} to comoving h^-1 Mpc it needs {', '.join(needed)}."
            other = "" if distances.unit_known else f", or its unit: --column 'R_proj={distances.column} [arcmin]'"
            raise problem(self.where, what, advice=" ".join(needed.values()) + other)
        expansion = 1 + np.asarray(redshift) if frame == "physical" else 1
        return distances.values * h * expansion * self.rescaling(redshift)

    def rescaling(self, redshift: ArrayLike) -> Values:
        """Ratio of the distances of one angle in our cosmology and the user's [1]; 1 where the user named none."""
        if self.options.Om is None:
            return np.ones(np.shape(redshift))
        theirs = replace(self.cosmology, Om0=self.options.Om)
        return self.cosmology.comoving_distance(redshift) / theirs.comoving_distance(redshift)

    def _frame(self, distances: Distances) -> str | None:
        named, option = distances.frame, self.options.distance
        if named and option and named != option:
            what, found = "physical or comoving?", f"{distances.column} says {named}, the option says {option}"
            raise problem(self.where, what, found=found, advice="drop the option, or rename the column")
        return named or option


def no_galaxies(where: str, v_los: Values, place: str) -> Exception:
    """Make the error for a cylinder without galaxies."""
    found = f"{len(v_los)} galaxies, the nearest at {v_los[np.argmin(np.abs(v_los))]:+.0f} km/s"
    return problem(where, f"no galaxies {place}.", found=found, advice="check the redshift and the centre")
