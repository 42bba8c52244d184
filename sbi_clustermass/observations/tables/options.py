"""Facts about a table that only its user knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from sbi_clustermass.observations.tables.cluster_list import ClusterList
from sbi_clustermass.observations.tables.errors import check_centre, check_redshift, problem


@final
@dataclass(frozen=True)
class TableOptions:
    """Facts about one table; whatever is None is read from the table or estimated from its galaxies.

    Attributes:
        redshift: Redshift of the cluster [1].
        centre: Right ascension and declination of the cluster [deg].
        h: Hubble constant that distances in Mpc assume [100 km/s/Mpc]; 1 where they are in h^-1 Mpc.
        Om: Matter density that distances in Mpc assume, flat LCDM [1]; that of the mocks by default.
        distance: Whether the table's distances are physical or comoving.
        columns: Names of columns, ours -> theirs, such as {"z": "zspec"}; {"id": NAME} names the column of cluster
            names in a table of several.
        clusters: Centres and redshifts from a table of clusters (`read_cluster_list`), matched by name.
        table: Name of the table, where a file holds several.
        recentre: Whether velocities about a given redshift are shifted to their biweight centre, as the mocks' are.
    """

    redshift: float | None = None
    centre: tuple[float, float] | None = None
    h: float | None = None
    Om: float | None = None
    distance: Literal["physical", "comoving"] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    clusters: ClusterList | None = None
    table: str | None = None
    recentre: bool = True

    def __post_init__(self) -> None:
        if self.redshift is not None:
            check_redshift("redshift", self.redshift)
        if self.centre is not None:
            check_centre("centre", self.centre)
        if self.h is not None and not 0.3 < self.h < 1.5:
            advice = f"{self.h / 100:g}" if 30 < self.h < 150 else "0.7, or 1 for distances in h^-1 Mpc"
            raise problem("h", "not a Hubble constant in units of 100 km/s/Mpc.", found=f"{self.h:g}", advice=advice)
        if self.Om is not None and not 0.05 <= self.Om < 1:
            what = "not a matter density in units of the critical one."
            raise problem("Om", what, found=f"{self.Om:g}", advice="0.3, say; flat universes only")
        if self.distance not in (None, "physical", "comoving"):
            raise problem("distance", "unknown kind.", found=repr(self.distance), advice="physical or comoving")
