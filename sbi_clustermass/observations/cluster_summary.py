"""The result of one cluster as lines for a terminal.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING

from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.mass_table import mass_row
from sbi_clustermass.observations.model_stamp import ModelStamp
from sbi_clustermass.observations.results import ClusterResult, MassResult

if TYPE_CHECKING:
    from sbi_clustermass.observations.mass_table import Cell
    from sbi_clustermass.observations.tables import ObservedCluster

WIDTH = 25  # characters of a line's label


def summary_lines(result: ClusterResult, stamp: ModelStamp) -> list[str]:
    """Summarise a cluster: its mass with the data behind it, or the reason why there is none."""
    if not isinstance(result, MassResult):
        return [f"{result.name}: no mass. {result.reason}" if result.cluster else result.reason]
    cluster = result.cluster
    return [
        f"{cluster.name}: {result.verdict}",
        *(labelled_line(*_reason(each)) for each in result.reasons if each.grade is not Grade.USE),
        *(labelled_line(*pair) for pair in describe_mass(result, stamp).items()),
        labelled_line("galaxies", str(cluster.counts)),
        labelled_line("redshift", describe_redshift(cluster)),
        labelled_line("centre", describe_centre(cluster)),
        *(labelled_line(*pair) for pair in _dispersion_lines(result).items()),
        *(labelled_line("assumed", note) for note in cluster.notes),
        *(labelled_line("note", each.text) for each in result.reasons if each.grade is Grade.USE),
    ]


def labelled_line(label: str, text: str) -> str:
    """Make a line of a report."""
    return f"  {label:<{WIDTH}}{text}"


def describe_redshift(cluster: "ObservedCluster") -> str:
    """Describe a cluster's redshift and its origin."""
    if isnan(cluster.redshift):
        return cluster.redshift_source
    error = "" if isnan(cluster.redshift_error) else f" +- {cluster.redshift_error:.4f}"
    return f"{cluster.redshift:.4f}{error}, {cluster.redshift_source}"


def describe_centre(cluster: "ObservedCluster") -> str:
    """Describe a cluster's centre and its origin."""
    if isnan(cluster.ra):
        return cluster.centre_source
    error = "" if isnan(cluster.centre_error) else f" +- {cluster.centre_error:.2f} h^-1 Mpc"
    return f"{cluster.ra:.4f} {cluster.dec:+.4f} deg{error}, {cluster.centre_source}"


def describe_mass(mass: MassResult, stamp: ModelStamp) -> dict[str, str]:
    """Describe a mass in its units, under both priors, with its modes and the spread of an ensemble, by label."""
    row, (low, median, high) = mass_row(mass, stamp), mass.percentiles
    per_h = f"{_with_range(row, 'M200c_per_h')} in h^-1 Msun"
    lines = {
        "log10 M200c [h^-1 Msun]": f"{median:.2f} ({low:.2f} to {high:.2f})  median, 16 and 84 %",
        "M200c [10^14 Msun]": f"{_with_range(row, 'M200c')}  for h = {row['h']:g}; {per_h}",
        "under the mass function": _abundant(mass, stamp.h),
        "r200c [Mpc]": "needs a redshift" if isnan(mass.cluster.redshift) else f"{_with_range(row, 'r200c')}  physical",
    }
    names = {"log10_c200c": "log10 c200c", "beta": "anisotropy beta"}
    lines |= {names[name]: _with_range(row, name) for name in mass.inferred}
    lines["M500c [10^14 Msun]"] = f"{_with_range(row, 'M500c')}  for h = {row['h']:g}"
    if not isnan(mass.cluster.redshift):
        lines["r500c [Mpc]"] = f"{_with_range(row, 'r500c')}  physical"
    if mass.modes:
        lines["two modes"] = " and ".join(f"{each.log10_mass:.2f} ({each.share:.0%})" for each in mass.modes)
    if not isnan(mass.members_std):
        lines["between networks"] = f"{mass.members_std:.2f} dex, standard deviation of their means"
    return lines


def _reason(reason: Reason) -> tuple[str, str]:
    label, _, text = str(reason).partition(": ")
    return label, text


def _abundant(mass: MassResult, h: float) -> str:
    """The mass with the mass function as prior, in h^-1 Msun and in Msun."""
    _, median, high = mass.under_mass_function
    if isnan(median):
        return "lower, by how much cannot be told" + ("" if isnan(high) else f"; 84 %: {high:.2f}")
    logs, masses = (
        f"{each[1]:.2f} ({'?' if isnan(each[0]) else f'{each[0]:.2f}'} to {each[2]:.2f})"
        for each in (mass.under_mass_function, [10 ** (log - 14) / h for log in mass.under_mass_function])
    )
    return f"{logs} in log10 h^-1 Msun; {masses} in 10^14 Msun"


def _with_range(row: "Mapping[str, Cell]", stem: str) -> str:
    return f"{row[stem]:.2f} ({row[f'{stem}_p16']:.2f} to {row[f'{stem}_p84']:.2f})"


def _dispersion_lines(mass: MassResult) -> dict[str, str]:
    found = mass.dispersion
    m_sigma = "needs a redshift" if isnan(mass.cluster.redshift) else f"{mass.log10_mass_m_sigma:.2f}"
    left = f"{found.n_galaxies} galaxies after 3-sigma clipping"
    return {
        "velocity dispersion": f"{found.value:.0f} +- {found.error:.0f} km/s by the gapper, {left}",
        "M-sigma log10 M200c": f"{m_sigma} (Evrard et al. 2008)",
    }
