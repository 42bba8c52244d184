"""A cluster's answer as lines for a terminal.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING

from sbi_clustermass.observations.mass_table import row_of
from sbi_clustermass.observations.model_stamp import Stamp
from sbi_clustermass.observations.results import Answer, Mass

if TYPE_CHECKING:
    from sbi_clustermass.observations.mass_table import Cell
    from sbi_clustermass.observations.tables import ClusterTable, Counts

WIDTH = 25  # of a line's label


def lines_of(answer: Answer, stamp: Stamp) -> list[str]:
    """What there is to say of a cluster: its mass and what it rests on, or why there is none."""
    if not isinstance(answer, Mass):
        return [f"{answer.name}: no mass. {answer.reason}" if answer.cluster else answer.reason]
    cluster, row = answer.cluster, row_of(answer, stamp)
    return [
        cluster.name,
        *(labelled(*pair) for pair in _of_mass(answer, row).items()),
        labelled("galaxies", counts_of(cluster.counts)),
        labelled("redshift", redshift_of(cluster)),
        labelled("centre", centre_of(cluster)),
        *(labelled(*pair) for pair in _of_dispersion(answer).items()),
        *(labelled("assumed", note) for note in cluster.notes),
        *(labelled("warning", warning) for warning in answer.warnings),
    ]


def labelled(label: str, text: str) -> str:
    """A line of a report."""
    return f"  {label:<{WIDTH}}{text}"


def counts_of(counts: "Counts") -> str:
    """What became of a cluster's rows."""
    said = "".join(f", {count} {words}" for words, count in counts.elsewhere.items() if count)
    dropped = f"{counts.dropped} dropped without a usable position or velocity"
    return f"{counts.used} used of {counts.rows} rows, {dropped}{said}"


def redshift_of(cluster: "ClusterTable") -> str:
    """A cluster's redshift, and where it comes from."""
    if isnan(cluster.redshift):
        return cluster.redshift_source
    error = "" if isnan(cluster.redshift_error) else f" +- {cluster.redshift_error:.4f}"
    return f"{cluster.redshift:.4f}{error}, {cluster.redshift_source}"


def centre_of(cluster: "ClusterTable") -> str:
    """A cluster's centre, and where it comes from."""
    if isnan(cluster.ra):
        return cluster.centre_source
    error = "" if isnan(cluster.centre_error) else f" +- {cluster.centre_error:.2f} h^-1 Mpc"
    return f"{cluster.ra:.4f} {cluster.dec:+.4f} deg{error}, {cluster.centre_source}"


def _of_mass(mass: Mass, row: "Mapping[str, Cell]") -> dict[str, str]:
    low, _, high = mass.percentiles
    per_h = f"{_between(row, 'M200c_per_h')} in h^-1 Msun"
    return {
        "log10 M200c [h^-1 Msun]": f"{mass.mean:.2f} +- {mass.std:.2f}  (mean; 16 %: {low:.2f}, 84 %: {high:.2f})",
        "M200c [10^14 Msun]": f"{_between(row, 'M200c')}  for h = {row['h']:g}; {per_h}",
        "r200c [Mpc]": "needs a redshift" if isnan(mass.cluster.redshift) else f"{_between(row, 'r200c')}  physical",
    }


def _between(row: "Mapping[str, Cell]", stem: str) -> str:
    return f"{row[stem]:.2f} ({row[f'{stem}_p16']:.2f} to {row[f'{stem}_p84']:.2f})"


def _of_dispersion(mass: Mass) -> dict[str, str]:
    found = mass.dispersion
    m_sigma = "needs a redshift" if isnan(mass.cluster.redshift) else f"{mass.log10_mass_m_sigma:.2f}"
    left = f"{found.n_galaxies} galaxies after 3-sigma clipping"
    return {
        "velocity dispersion": f"{found.value:.0f} +- {found.error:.0f} km/s by the gapper, {left}",
        "M-sigma log10 M200c": f"{m_sigma} (Evrard et al. 2008)",
    }
