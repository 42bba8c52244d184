"""What a table may hold of a galaxy: a position and a velocity, each on the sky or relative to the cluster.

Angles are in degrees, velocities in km/s, distances in Mpc of whatever convention the table follows.
"""

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT

Values: TypeAlias = Float[np.ndarray, "galaxy"]


@final
@dataclass(frozen=True)
class Sky:
    """Where galaxies are.

    Attributes:
        values: Right ascension and declination [deg], (galaxy, 2).
    """

    values: Float[np.ndarray, "galaxy 2"]


@final
@dataclass(frozen=True)
class Distances:
    """How far galaxies are from the cluster's centre, as the table gives it.

    Attributes:
        values: Projected distances in Mpc, of the convention below, (galaxy,).
        per_h: Whether the unit is h^-1 Mpc.
        frame: "comoving" or "physical", None if neither the column's name nor its unit says.
        column: The column's name, for messages.
    """

    values: Values
    per_h: bool
    frame: str | None
    column: str


@final
@dataclass(frozen=True)
class Angles:
    """How far galaxies are from the cluster's centre on the sky [deg], (galaxy,)."""

    values: Values


@final
@dataclass(frozen=True)
class Redshifts:
    """Observed redshifts [1], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and what surveys write for it (0, -9.99, 9999); the most blueshifted galaxies have -0.001."""
        return (self.values > -0.01) & (self.values < 9) & (self.values != 0)

    @property
    def velocities(self) -> Values:
        """c ln(1+z) [km/s]: differences of these are velocities at any redshift."""
        return SPEED_OF_LIGHT * np.log1p(self.values)


@final
@dataclass(frozen=True)
class Velocities:
    """Line-of-sight velocities relative to the cluster [km/s], (galaxy,)."""

    values: Values

    @property
    def usable(self) -> Bool[np.ndarray, "galaxy"]:
        """False for NaN and what is no velocity."""
        return np.abs(self.values) < SPEED_OF_LIGHT

    @property
    def velocities(self) -> Values:
        """The velocities themselves [km/s]."""
        return self.values


Position: TypeAlias = Sky | Distances | Angles
Velocity: TypeAlias = Redshifts | Velocities


@final
@dataclass(frozen=True)
class UsableGalaxies:
    """The usable rows of a table, each galaxy once.

    Attributes:
        position: On the sky, or relative to the centre.
        velocity: From us, or relative to the cluster.
        errors: Of the velocities [km/s], NaN where missing, (galaxy,).
        n_rows: Rows of the table.
        no_position: Rows without a usable position.
        no_velocity: Rows with a position but no usable velocity.
        no_weight: Rows with both, and a weight of 0 or less.
        duplicates: Rows left out because another stands for the same galaxy.
        redshift: The cluster's, where a column of the table gives it.
        centre: The cluster's right ascension and declination [deg], where columns give them.
        warnings: What should make one doubt these numbers.
        notes: What was assumed to read them.
    """

    position: Position
    velocity: Velocity
    errors: Values
    n_rows: int
    no_position: int
    no_velocity: int
    no_weight: int
    duplicates: int
    redshift: float | None
    centre: tuple[float, float] | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
