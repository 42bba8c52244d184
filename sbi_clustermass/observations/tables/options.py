"""Facts about a table that only its user knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, final

from cyclopts import Parameter, Token

from sbi_clustermass.observations.tables.cluster_list import ClusterList
from sbi_clustermass.observations.tables.errors import check_centre, check_redshift, problem


def parse_centre(text: str) -> tuple[float, float]:
    """Parse right ascension and declination [deg], given in degrees or in hours and degrees with minutes.

    Raises:
        ValueError: These are not two angles.

    Example:
        >>> parse_centre("194.95,27.98")
        (194.95, 27.98)
    """
    import numpy as np
    from astropy.coordinates import Angle

    parts = [part.strip() for part in text.split(",")] if "," in text else text.split()
    units = ("hourangle", "deg") if any(mark in text for mark in ":hd") else ("deg", "deg")
    try:
        ra, dec = (np.asarray(Angle(part, unit=unit).to("deg")).item() for part, unit in zip(parts, units, strict=True))
    except ValueError as error:
        raise ValueError(
            f"needs RA,DEC: degrees, such as 194.95,27.98, or 12:59:48,+27:58:48; got {text!r}."
        ) from error
    return ra, dec


def _centre(_: object, tokens: Sequence[Token]) -> tuple[float, float]:
    return parse_centre(tokens[-1].value)


def _columns(_: object, tokens: Sequence[Token]) -> Mapping[str, str]:
    pairs = [token.value.partition("=") for token in tokens]
    for ours, equals, theirs in pairs:
        if not (ours and equals and theirs):
            raise ValueError(f"needs OURS=THEIRS, such as z=zspec; got {ours + equals + theirs!r}.")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _clusters(_: object, tokens: Sequence[Token]) -> ClusterList:
    from sbi_clustermass.observations.tables.cluster_list_file import read_cluster_list

    return read_cluster_list(tokens[-1].value)


@final
@dataclass(frozen=True)
class TableOptions:
    """Facts about one table; whatever is None is read from the table or estimated from its galaxies.

    These are options of `clustermass infer` and `train`; a `Parameter` says how the command line reads one.

    Attributes:
        redshift: Redshift of the cluster [1]; estimated if left out. Velocities are recentred on it.
        centre: Right ascension and declination of the cluster [deg], on the command line also as
            12:59:48,+27:58:48; estimated if left out.
        h: Hubble constant that distances in Mpc assume [100 km/s/Mpc], such as 0.7; 1 for h^-1 Mpc. Masses in Msun and
            r200c in Mpc are for the same h; for that of the model, if this is 1 or left out.
        Om: Matter density that distances in Mpc assume, flat LCDM [1]; the model's if left out.
        distance: Kind of the distances in Mpc.
        columns: Names of columns, ours -> theirs, such as {"z": "zspec"}, on the command line z=zspec; may be repeated.
            A unit may follow in brackets: 'R_proj=R [arcmin]', 'cz=v [1e3 km/s]', 'ra=RA [hour]'.
        id: Column that names the cluster of each galaxy, if a table holds several clusters.
        clusters: Table of clusters (id, ra, dec, z) that gives centres and redshifts by name. If the table of galaxies
            has no column of clusters, galaxies around each centre are used. In Python the result of
            `read_cluster_list`.
        table: Name of the table, if a file (FITS, VOTable, HDF5) holds several; its number, counted from 1, if it has
            no name; or both, if two have the same name: GALAXIES#2 is the second table of the file, named GALAXIES.
        cleaned: Whether interlopers were removed from the table before it was published.
        where: Condition that a row must meet to be used, such as 'ZWARN == 0 and SPECTYPE == "GALAXY"'. Known quality
            flags need no condition: the rules of their archives are applied, unless the condition names their column.
        recentre: Whether velocities about a given redshift are shifted to their biweight centre, as the mocks' are.
    """

    redshift: float | None = None
    centre: Annotated[tuple[float, float] | None, Parameter(converter=_centre, n_tokens=1, metavar="RA,DEC")] = None
    h: float | None = None
    Om: float | None = None
    distance: Literal["physical", "comoving"] | None = None
    columns: Annotated[
        Mapping[str, str],
        Parameter(name="--column", converter=_columns, n_tokens=-1, accepts_keys=False, metavar="OURS=THEIRS"),
    ] = field(default_factory=dict)
    id: str | None = None
    clusters: Annotated[
        ClusterList | None, Parameter(converter=_clusters, n_tokens=1, accepts_keys=False, metavar="PATH")
    ] = None
    table: str | None = None
    cleaned: bool = False
    where: str | None = None
    recentre: Annotated[bool, Parameter(parse=False)] = True

    def __post_init__(self) -> None:
        if self.redshift is not None:
            check_redshift("redshift", self.redshift)
        if self.centre is not None:
            check_centre("centre", self.centre)
        if self.where is not None:
            from sbi_clustermass.observations.tables.conditions import Condition

            Condition.parse(self.where)
        if self.h is not None and not 0.3 < self.h < 1.5:
            advice = f"{self.h / 100:g}" if 30 < self.h < 150 else "0.7, or 1 for distances in h^-1 Mpc"
            raise problem("h", "not a Hubble constant in units of 100 km/s/Mpc.", found=f"{self.h:g}", advice=advice)
        if self.Om is not None and not 0.05 <= self.Om < 1:
            what = "not a matter density in units of the critical one."
            raise problem("Om", what, found=f"{self.Om:g}", advice="0.3, say; flat universes only")
        if self.distance not in (None, "physical", "comoving"):
            raise problem("distance", "unknown kind.", found=repr(self.distance), advice="physical or comoving")
