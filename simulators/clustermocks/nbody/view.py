"""How a periodic box of an N-body simulation is observed: the choices, and how long a box they need.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities physical [km/s].
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from clustermocks.io.settings import check_ranges
from clustermocks.mocks.survey import Survey


@final
@dataclass(frozen=True)
class BoxView(Survey):
    """How a box is observed, at the redshift at which the snapshot is put: a `Survey`, with the choices of a box.

    Attributes:
        interlopers: "all" galaxies, or "satellites" only, in clusters and around them, as in Ho et al.'s mocks.
        members: Members are galaxies within "radius" R_vir in three dimensions (Bryan & Norman 1998; the halo's own
            R_vir or, where it is NaN, that of an NFW halo of median concentration), or those of its own "halo" by the
            catalogue's host_id.
        min_log10_mass: Lightest host [dex].
        velocity_margin: Largest velocity relative to the cluster, centring included, that can bring a galaxy from
            beyond the window into it [km/s]: how far the search reaches, and so how long the box must be.
    """

    interlopers: Literal["satellites", "all"] = "all"
    members: Literal["radius", "halo"] = "radius"
    min_log10_mass: float = 13.0
    velocity_margin: float = 3000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("interlopers", ("satellites", "all")), ("members", ("radius", "halo"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"BoxView: {name} must be one of {choices}, found {getattr(self, name)!r}.")
        check_ranges(self, min_log10_mass=(0, 17.0, "dex"), velocity_margin=(0, 20_000.0, "km/s"))

    @classmethod
    def ho2019(cls) -> "BoxView":
        """The published mocks: satellites only, true centres and velocities, hosts above 10^13.5 h^-1 Msun."""
        return cls(interlopers="satellites", recentre=False, centre_error=0.0, min_log10_mass=13.5)

    @property
    def half_depth(self) -> float:
        """Distance along the line of sight from which a galaxy can enter the window [comoving h^-1 Mpc]."""
        redshift = self.observation.redshift
        velocity = self.observation.v_cut + self.velocity_margin
        return float(velocity * (1 + redshift) / self.cosmology.hubble(redshift))

    @property
    def needed_side(self) -> float:
        """Side of the smallest box in which no line of sight meets the same galaxy twice [comoving h^-1 Mpc]."""
        return 2 * float(np.hypot(self.half_depth, self.search_radius))
