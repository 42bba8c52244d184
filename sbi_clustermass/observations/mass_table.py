"""The columns of a table of masses, with names, units and meanings, and a cluster's row of them.

Masses are M200c; each column states its unit. New columns come at the end; names do not change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, final

import numpy as np

from clustermocks.haloes.cosmology import radius_200c
from sbi_clustermass.estimator.verdict import Grade
from sbi_clustermass.observations.results import ClusterResult, MassResult

if TYPE_CHECKING:
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.tables import ObservedCluster

Cell: TypeAlias = str | float | int
_UNIT = 1e14  # unit of the linear masses
_LOG = "log10 of M200c [h^-1 Msun]"
_MF = "with the mass function (Tinker et al. 2008) at this redshift as prior"


@final
@dataclass(frozen=True)
class MassColumn:
    """Column of the table of masses.

    Attributes:
        name: Name in the file.
        kind: Kind of its values; missing numbers are NaN, missing text is empty.
        description: Meaning of the column.
        unit: Unit as astropy writes it, "" for none.
    """

    name: str
    kind: Literal["text", "number", "count"]
    description: str
    unit: str = ""


def _three(stem: str, description: str, unit: str) -> tuple[MassColumn, ...]:
    """Columns of a quantity's median, 16th and 84th percentile."""
    return (
        MassColumn(stem, "number", f"{description}: median of the posterior", unit),
        MassColumn(f"{stem}_p16", "number", f"{description}: 16th percentile", unit),
        MassColumn(f"{stem}_p84", "number", f"{description}: 84th percentile", unit),
    )


COLUMNS = (
    MassColumn("name", "text", "of the cluster: its table's column of names, or the file's name"),
    MassColumn("log10_mass", "number", f"{_LOG}: mean of the posterior", "dex"),
    MassColumn("log10_mass_std", "number", f"{_LOG}: standard deviation of the posterior", "dex"),
    MassColumn("log10_mass_p2_5", "number", f"{_LOG}: 2.5th percentile", "dex"),
    MassColumn("log10_mass_p16", "number", f"{_LOG}: 16th percentile", "dex"),
    MassColumn("log10_mass_p50", "number", f"{_LOG}: median, the point estimate", "dex"),
    MassColumn("log10_mass_p84", "number", f"{_LOG}: 84th percentile", "dex"),
    MassColumn("log10_mass_p97_5", "number", f"{_LOG}: 97.5th percentile", "dex"),
    *_three("M200c_per_h", "M200c in 10^14 h^-1 Msun", "1e14 solMass / littleh"),
    *_three("M200c", "M200c in 10^14 Msun, for the h in column h", "1e14 solMass"),
    *_three("r200c", "r200c in physical Mpc, for the h in column h", "Mpc"),
    *_three("r200c_comoving", "r200c in comoving h^-1 Mpc", "Mpc / littleh"),
    MassColumn(
        "h", "number", "Hubble constant of the two columns without h^-1: the user's, or the model's [100 km/s/Mpc]"
    ),
    MassColumn("n_galaxies", "count", "richness: galaxies in the cylinder, all of them used"),
    MassColumn("velocity_dispersion", "number", "gapper in the cluster's frame, after 3-sigma clipping", "km / s"),
    MassColumn("velocity_dispersion_error", "number", "its standard error, by 100 bootstrap resamplings", "km / s"),
    MassColumn("n_dispersion", "count", "galaxies left by the clipping"),
    MassColumn("log10_mass_m_sigma", "number", f"{_LOG} of that dispersion by Evrard et al. 2008, to compare", "dex"),
    MassColumn("redshift", "number", "of the cluster"),
    MassColumn("redshift_error", "number", "its standard error, where it is the galaxies' own"),
    MassColumn("redshift_source", "text", "how the redshift was found"),
    MassColumn("ra", "number", "right ascension of the centre", "deg"),
    MassColumn("dec", "number", "declination of the centre", "deg"),
    MassColumn("centre_error", "number", "standard error of an estimated centre, comoving h^-1 Mpc", "Mpc / littleh"),
    MassColumn("centre_source", "text", "how the centre was found"),
    MassColumn("velocity_error", "number", "median error of the galaxies' velocities, where they have one", "km / s"),
    MassColumn("n_rows", "count", "rows of the table; the counts below and n_galaxies add up to it"),
    MassColumn("n_dropped", "count", "rows without a usable position, velocity or weight"),
    MassColumn("n_duplicates", "count", "rows of a galaxy that another row stands for"),
    MassColumn("n_outside_aperture", "count", "galaxies farther out than the mocks' aperture"),
    MassColumn("n_outside_velocity", "count", "galaxies beyond the velocity cut"),
    MassColumn("n_without_error", "count", "galaxies used that have no velocity error"),
    MassColumn("n_warnings", "count", "sentences in column warnings"),
    MassColumn("warnings", "text", "why the mass needs care or is not to be used; sentences between semicolons"),
    MassColumn("reason", "text", "why there is no mass"),
    MassColumn("model", "text", "name of the model's folder"),
    MassColumn("model_checksum", "text", "first 12 digits of the SHA-256 of the model's estimator.json"),
    MassColumn("version", "text", "of sbi_clustermass"),
    MassColumn("log10_mass_mf_p16", "number", f"{_LOG}, {_MF}: 16th percentile", "dex"),
    MassColumn("log10_mass_mf_p50", "number", f"{_LOG}, {_MF}: median", "dex"),
    MassColumn("log10_mass_mf_p84", "number", f"{_LOG}, {_MF}: 84th percentile", "dex"),
    MassColumn("two_modes_low", "number", f"{_LOG}: median of the lighter of two modes", "dex"),
    MassColumn("two_modes_high", "number", f"{_LOG}: median of the heavier of two modes", "dex"),
    MassColumn("two_modes_low_share", "number", "probability of the lighter of two modes"),
    MassColumn("members_std", "number", "standard deviation between the means of an ensemble's networks", "dex"),
    MassColumn("verdict", "text", "use, care or do not use; of a cluster without a mass, do not use"),
    MassColumn("reasons", "text", "reasons for the verdict with their size, the worst first, and notes"),
    *_three("log10_c200c", "log10 of the concentration c200c of the mass, if it is inferred", "dex"),
    *_three("beta", "velocity anisotropy of the galaxies, if it is inferred", ""),
    *_three("log10_m500c", "log10 of M500c [h^-1 Msun], with the concentration marginalised", "dex"),
    *_three("M500c", "M500c in 10^14 Msun, for the h in column h", "1e14 solMass"),
    *_three("r500c", "r500c in physical Mpc, for the h in column h", "Mpc"),
)


def mass_row(result: ClusterResult, stamp: "ModelStamp") -> dict[str, Cell]:
    """Make a cluster's row, in the order of `COLUMNS`; without a mass its numbers are NaN, its counts the table's.

    Args:
        result: Mass of the cluster, or none.
        stamp: Model behind the mass, and the h of columns in Mpc and Msun.
    """
    found: dict[str, Cell] = {column.name: _NOTHING[column.kind] for column in COLUMNS}
    found |= {"name": result.name, "h": stamp.h}
    found |= {"model": stamp.model, "model_checksum": stamp.checksum, "version": stamp.version}
    if result.cluster is not None:
        found |= _cluster_cells(result.cluster)
    if isinstance(result, MassResult):
        return found | _mass_cells(result) | _scale_cells(result, stamp) | _beyond_cells(result, stamp)
    return found | {"reason": result.reason, "verdict": str(Grade.DO_NOT_USE)}


_MODES = ("two_modes_low", "two_modes_high", "two_modes_low_share")
_NOTHING: dict[str, Cell] = {"text": "", "number": np.nan, "count": 0}


def _cluster_cells(cluster: "ObservedCluster") -> dict[str, Cell]:
    return {
        "n_galaxies": cluster.n_galaxies,
        "redshift": cluster.redshift,
        "redshift_error": cluster.redshift_error,
        "redshift_source": cluster.redshift_source,
        "ra": cluster.ra,
        "dec": cluster.dec,
        "centre_error": cluster.centre_error,
        "centre_source": cluster.centre_source,
        "velocity_error": cluster.velocity_error,
        "n_rows": cluster.counts.rows,
        "n_dropped": cluster.counts.dropped,
        "n_duplicates": cluster.counts.duplicates,
        "n_outside_aperture": cluster.counts.outside_aperture,
        "n_outside_velocity": cluster.counts.outside_velocity,
        "n_without_error": cluster.counts.used_without_error,
    }


def _mass_cells(mass: MassResult) -> dict[str, Cell]:
    names = ("p2_5", "p16", "p50", "p84", "p97_5")
    return {
        "log10_mass": mass.mean,
        "log10_mass_std": mass.std,
        **{f"log10_mass_{name}": value for name, value in zip(names, mass.quantiles, strict=True)},
        "velocity_dispersion": mass.dispersion.value,
        "velocity_dispersion_error": mass.dispersion.error,
        "n_dispersion": mass.dispersion.n_galaxies,
        "log10_mass_m_sigma": mass.log10_mass_m_sigma,
        "n_warnings": len(mass.warnings),
        "warnings": "; ".join(mass.warnings),
        **dict(zip(_MODES, (*(m.log10_mass for m in mass.modes), *(m.share for m in mass.modes[:1])), strict=False)),
        **{f"log10_mass_mf_{name}": v for name, v in zip(names[1:4], mass.under_mass_function, strict=True)},
        "members_std": mass.members_std,
        "verdict": str(mass.verdict),
        "reasons": "; ".join(map(str, mass.reasons)),
    }


def _scale_cells(mass: MassResult, stamp: "ModelStamp") -> dict[str, Cell]:
    """Linear masses and radii; percentiles of a rising function are that function of the percentiles."""
    low, middle, high = mass.percentiles
    redshift = mass.cluster.redshift
    linear = 10.0 ** np.array([middle, low, high])
    comoving = np.asarray(radius_200c(linear, redshift, stamp.cosmology))
    scales = {
        "M200c_per_h": linear / _UNIT,
        "M200c": linear / _UNIT / stamp.h,
        "r200c": comoving / stamp.h / (1 + redshift),
        "r200c_comoving": comoving,
    }
    return _cells(scales)


def _beyond_cells(mass: MassResult, stamp: "ModelStamp") -> dict[str, Cell]:
    """What the draws say of the parameters besides the mass, and of M500c."""
    draws, per_mpc = mass.draws, 1 / stamp.h / (1 + mass.cluster.redshift)
    log10_m500c = draws.log10_m500c[0]
    values = {name: draws.column(name)[0] for name in mass.inferred} | {
        "log10_m500c": log10_m500c,
        "M500c": 10**log10_m500c / _UNIT / stamp.h,
        "r500c": draws.radius_500c(stamp.cosmology)[0] * per_mpc,
    }
    return _cells({name: np.quantile(value, [0.5, 0.16, 0.84]) for name, value in values.items()})


def _cells(rows: Mapping[str, np.ndarray]) -> dict[str, Cell]:
    """Cells of a median, 16th and 84th percentile for each stem."""
    ends = ("", "_p16", "_p84")
    return {f"{stem}{end}": float(v) for stem, row in rows.items() for end, v in zip(ends, row, strict=True)}
