"""What a user may say about a table that the table does not say itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from sbi_clustermass.tables.errors import problem

MAX_REDSHIFT = 2.0


@final
@dataclass(frozen=True)
class TableOptions:
    """Facts about one table; what is left out is read from the table or estimated from its galaxies.

    Attributes:
        redshift: The cluster's [1].
        centre: The cluster's right ascension and declination [deg].
        h: Hubble constant that distances in Mpc assume [100 km/s/Mpc]; 1 where they are in h^-1 Mpc.
        distance: Whether the table's distances are physical or comoving.
        columns: Names of columns, ours -> theirs, such as {"z": "zspec"}.
        recentre: Whether velocities about a given redshift are shifted to their biweight centre, as the mocks' are.
    """

    redshift: float | None = None
    centre: tuple[float, float] | None = None
    h: float | None = None
    distance: Literal["physical", "comoving"] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    recentre: bool = True

    def __post_init__(self) -> None:
        if self.redshift is not None:
            check_redshift("redshift", self.redshift)
        if self.centre is not None:
            check_centre("centre", self.centre)
        if self.h is not None and not 0.3 < self.h < 1.5:
            advice = f"{self.h / 100:g}" if 30 < self.h < 150 else "0.7, or 1 for distances in h^-1 Mpc"
            raise problem("h", "not a Hubble constant in units of 100 km/s/Mpc.", found=f"{self.h:g}", advice=advice)
        if self.distance not in (None, "physical", "comoving"):
            raise problem("distance", "unknown kind.", found=repr(self.distance), advice="physical or comoving")


def check_redshift(where: str, redshift: float) -> None:
    """Refuse what is not the redshift of a cluster.

    Raises:
        TableError: Not between 0 and 2.
    """
    if not 0 < redshift <= MAX_REDSHIFT:
        advice = (
            f"c z in km/s? Then z is {redshift / 299_792.458:.4f}" if redshift > 100 else "pass the cluster's redshift"
        )
        what = f"the redshift of a cluster lies between 0 and {MAX_REDSHIFT:g}."
        raise problem(where, what, found=f"{redshift:g}", advice=advice)


def check_centre(where: str, centre: tuple[float, float]) -> None:
    """Refuse what is not a point on the sky.

    Raises:
        TableError: Right ascension outside -180 to 360 or declination outside -90 to 90 degrees.
    """
    ra, dec = centre
    if not (-180 <= ra <= 360 and -90 <= dec <= 90):
        what = "a centre is right ascension (0 to 360) and declination (-90 to 90), both in degrees."
        raise problem(where, what, found=f"{ra:g}, {dec:g}", advice="194.95, 27.98 is Coma")
