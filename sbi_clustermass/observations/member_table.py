"""The rows of observed tables with the probabilities that their galaxies belong to the cluster.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Float

from clustermocks.io.atomic import replacing
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.sanitize import no_formula, one_line
from sbi_clustermass.observations.tables.access import column_of, rows_of, unreadable
from sbi_clustermass.observations.tables.files import read_file
from sbi_clustermass.observations.tables.rows import Fate, RowFates

if TYPE_CHECKING:
    from astropy.table import Table

    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations.writers import Sink

PROBABILITIES = ("p_r200c", "p_r_vir", "p_bound")
COLUMNS = {  # unit and meaning of what stands beside the columns of the table itself
    "cluster_name": ("", "of the cluster"),
    "R_proj": ("Mpc / littleh", "projected distance from the cluster's centre, comoving h^-1 Mpc"),
    "v_los": ("km / s", "velocity relative to the cluster, along the line of sight"),
    "p_r200c": ("", "probability to lie within r200c of the centre, in three dimensions"),
    "p_r_vir": ("", "probability to lie within the virial radius (Bryan & Norman 1998), in three dimensions"),
    "p_bound": ("", "probability to be bound: too slow to get beyond 5 r200c"),
    "not_used": ("", "why the row has no probabilities"),
    "interlopers_removed": ("", "whether the table was cleaned, so that nearly all galaxies left in it are members"),
}
_DECIMALS = {"v_los": 1}  # 4 for all others
_NO_MASS, _NO_CLUSTER = "its cluster has no mass", "of no cluster that could be read"


class _Source(NamedTuple):
    """A file, and the name of the table in it; None for the only one."""

    path: Path
    table: str | None


@final
@dataclass
class MemberRows:
    """Rows of clusters, collected cluster by cluster.

    Attributes:
        estimator: Estimator with a membership.
    """

    estimator: "MassEstimator"
    _found: dict[_Source, list[tuple[RowFates, Mapping[str, np.ndarray]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.estimator.membership is None:
            raise ValueError(
                "--members: this model does not know members from interlopers.\n"
                "  try:    the model that ships, or estimator.with_membership(mocks) and save it"
            )

    def __call__(self, result: ClusterResult) -> None:
        """Add the rows of one cluster; those of a cluster that could not be read come with the rest of its table."""
        if result.cluster is None:
            return
        fates, n = result.cluster.fates, len(result.cluster.fates.number)
        used, probabilities = fates.fate == Fate.USED, np.full((n, 3), np.nan, np.float32)
        why = np.array([each.words for each in Fate], object)[fates.fate]
        if isinstance(result, MassResult):
            probabilities[used] = self.estimator.memberships(result.cluster.catalogue, result.posterior)
        else:
            why[used] = _NO_MASS
        columns = _cells(result.name, fates.R_proj, fates.v_los, probabilities, why)
        columns["interlopers_removed"] = np.full(n, result.cluster.is_cleaned)
        self._found.setdefault(_Source(fates.path, fates.table), []).append((fates, columns))

    def table(self) -> "Table":
        """Build one table of all rows, in the order of files and clusters; rows of no cluster follow each file's."""
        from astropy.table import Table, vstack

        parts = [self._of_file(source, found) for source, found in self._found.items()]
        _agree(parts)
        return vstack(parts, metadata_conflicts="silent") if parts else Table()

    def _of_file(self, source: _Source, found: list[tuple[RowFates, Mapping[str, np.ndarray]]]) -> "Table":
        rows = read_file(*source)
        rows.remove_columns([name for name in rows.colnames if unreadable(rows, name)])
        rest = np.setdiff1d(np.arange(len(rows)), np.concatenate([fates.number for fates, _ in found]))
        nothing = np.full((len(rest), 3), np.nan, np.float32)
        without = _cells("", nothing[:, 0], nothing[:, 1], nothing, np.full(len(rest), _NO_CLUSTER, object))
        without["interlopers_removed"] = np.zeros(len(rest), bool)
        columns = [columns for _, columns in found] + [without]
        out = rows_of(rows, np.concatenate([*(fates.number for fates, _ in found), rest]))
        for name, (unit, description) in COLUMNS.items():
            _add(out, name, np.concatenate([part[name] for part in columns]), unit, description)
        return out


def _cells(
    name: str,
    R_proj: np.ndarray,
    v_los: np.ndarray,
    probabilities: Float[np.ndarray, "row 3"],
    why: np.ndarray,
) -> dict[str, np.ndarray]:
    cells = {"cluster_name": np.full(len(why), name, object), "R_proj": R_proj, "v_los": v_los, "not_used": why}
    return cells | dict(zip(PROBABILITIES, probabilities.T, strict=True))


def _add(table: "Table", name: str, values: np.ndarray, unit: str, description: str) -> None:
    """Add a column; a column of the table itself that has its name keeps it."""
    from astropy.table import MaskedColumn

    free = name if name not in table.colnames else f"{name}_inferred"
    values = values.astype(str) if values.dtype == object else values
    missing = False
    if values.dtype.kind == "f":
        missing, values = np.isnan(values), np.round(values.astype(float), _DECIMALS.get(name, 4))
    table[free] = MaskedColumn(values, mask=missing, unit=unit or None, description=description)


def _agree(tables: "list[Table]") -> None:
    """Make text of a column that some tables have as text and others as numbers, so that they can be stacked."""
    names = {name for table in tables for name in table.colnames}
    for name in names:
        having = [table for table in tables if name in table.colnames]
        if len({(column_of(t, name).dtype.kind in "US", column_of(t, name).shape[1:]) for t in having}) > 1:
            for table in having:
                table[name] = [str(value) for value in column_of(table, name)]


@contextmanager
def members_file(path: Path, estimator: "MassEstimator") -> "Iterator[Sink]":
    """Write the rows of all clusters, with probabilities of membership; the file appears whole at the end.

    Beside the table's own columns (in CSV without those of vectors) stand those of `COLUMNS`; one whose name the table
    has is called NAME_inferred.

    Args:
        path: File of suffix .csv, .ecsv or .parquet.
        estimator: Estimator of the masses.

    Raises:
        ValueError: The estimator has no membership.
    """
    rows = MemberRows(estimator)
    yield rows
    table = rows.table()
    if len(table):
        with replacing(path) as temporary:
            _WRITERS[path.suffix](table, temporary)


def _csv(table: "Table", path: Path) -> None:
    table.remove_columns([name for name in table.colnames if column_of(table, name).ndim > 1])
    table.rename_columns(table.colnames, list(map(no_formula, table.colnames)))
    _clean(table, no_formula).write(path, format="ascii.csv", overwrite=True)


def _ecsv(table: "Table", path: Path) -> None:
    _clean(table, one_line).write(path, format="ascii.ecsv", delimiter=",", overwrite=True)


def _parquet(table: "Table", path: Path) -> None:
    _clean(table, one_line).write(path, format="parquet", overwrite=True)


_WRITERS = {".csv": _csv, ".ecsv": _ecsv, ".parquet": _parquet}


def _clean(table: "Table", text: Callable[[str], str]) -> "Table":
    """Make the text of a table harmless, in place."""
    from astropy.table import MaskedColumn

    for name in table.colnames:
        column = column_of(table, name)
        if column.dtype.kind in "US" and column.ndim == 1:
            values = [text(str(value)) for value in np.asarray(column.astype(str))]
            kept = {"mask": getattr(column, "mask", False), "unit": column.unit, "description": column.description}
            table.replace_column(name, MaskedColumn(values, **kept))
    return table
