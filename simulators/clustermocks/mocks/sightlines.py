"""Several lines of sight through one cluster: the same galaxies in space, each time with another axis pointing away.

Lengths are comoving [h^-1 Mpc], velocities [km/s].
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clustermocks.haloes.satellites import Satellites
from clustermocks.kinematics.padding import rows_of_runs
from clustermocks.observation import lines_of_sight, sky_basis


class Sightlines(NamedTuple):
    """Lines of sight: index of their host, sorted, and as rows the two sky axes and the direction away from us."""

    host: Int[np.ndarray, "line"]
    axes: Float[np.ndarray, "line 3 3"]

    @classmethod
    def from_counts(cls, n_lines: Int[np.ndarray, "host"]) -> "Sightlines":
        """n lines for each host, spread as `observation.lines_of_sight` has them: the first three are orthogonal.

        One line is the third axis.
        """
        return cls(np.repeat(np.arange(len(n_lines)), n_lines), np.concatenate([_axes(int(n)) for n in n_lines]))

    def through(self, galaxies: Satellites) -> Satellites:
        """The galaxies of the hosts (sorted by host) along each line: indexed by line, the third axis along it."""
        if len(self.host) == self.host[-1] + 1:  # one line each
            return galaxies
        n_galaxies = np.bincount(galaxies.halo, minlength=self.host[-1] + 1)
        first, n = (np.cumsum(n_galaxies) - n_galaxies)[self.host], n_galaxies[self.host]
        line, row = np.repeat(np.arange(len(n)), n), rows_of_runs(first, n)
        turned = (np.einsum("gij,gj->gi", self.axes[line], v[row]) for v in (galaxies.separation, galaxies.v_jeans))
        return Satellites(line, *turned)


@lru_cache(maxsize=64)
def _axes(n: int) -> Float[np.ndarray, "n 3 3"]:
    return np.stack([np.stack(sky_basis(direction)) for direction in lines_of_sight(n)])
