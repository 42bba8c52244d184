"""Where a table of galaxies comes from: a file, or memory (pandas, polars, Arrow, astropy, a dictionary, records)."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, final

import numpy as np

from clustermocks.io.paths import as_path
from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.files import flatten, read_file
from sbi_clustermass.observations.tables.raw_columns import RawColumn, table_of

if TYPE_CHECKING:
    from astropy.table import Table

TableLike: TypeAlias = Any  # a path, or a table in memory: the libraries that make one are not dependencies
_IN_MEMORY = "table"  # name of a table in memory, which has none of its own
_KINDS = "a path, a DataFrame of pandas or polars, a table of astropy or Arrow, or a dictionary of columns"


@final
@dataclass(frozen=True)
class Source:
    """A table of galaxies.

    Attributes:
        path: Its file; of a table in memory a name that stands for it.
        given: The table in memory.
        in_memory: Whether there is one, rather than a file.
    """

    path: Path
    given: TableLike = None
    in_memory: bool = False

    @classmethod
    def of(cls, given: TableLike) -> Self:
        """Tell a path from a table in memory."""
        if isinstance(given, cls):
            return given
        return cls(as_path(given)) if isinstance(given, (str, Path)) else cls(Path(_IN_MEMORY), given, True)

    def read(self, wanted: str | None, *, ids: Set[str] = frozenset()) -> "Table":
        """Return the table, whose columns are converted one by one; arguments as for `read_file`.

        Raises:
            TableError: As `read_file`, or what was given is no table.
        """
        if not self.in_memory:
            return read_file(self.path, wanted, ids=ids)
        table = _in_memory(self.given)
        if not len(table):
            raise problem(_IN_MEMORY, "the table has no rows.", found=f"columns {', '.join(table.colnames)}")
        return table


def _in_memory(given: TableLike) -> "Table":
    if hasattr(given, "colnames") and hasattr(given, "meta"):  # of astropy
        from astropy.table import Table

        table = Table(given)  # a copy, in which a QTable's quantities may become columns
        flatten(table)
        return table
    if hasattr(given, "column_names") and hasattr(given, "column"):  # of Arrow
        given = {name: given.column(i) for i, name in enumerate(given.column_names)}
    given = _with_index(given)
    names = _names(given)
    if names is None:
        raise problem(_IN_MEMORY, "no table of galaxies.", found=type(given).__name__, advice=_KINDS)
    titles = _titles(names)
    columns = [RawColumn(titles[i], *_lazily(given, i, name)) for i, name in enumerate(names)]
    if not isinstance(given, Mapping):
        return table_of(columns, len(given))
    lengths = {name: np.shape(given[name])[0] if np.ndim(given[name]) else 1 for name in names}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise problem(_IN_MEMORY, "columns of different lengths.", found=found, advice="a value a galaxy in each")
    return table_of(columns, max(lengths.values(), default=0))


def _with_index(given: TableLike) -> TableLike:
    """A DataFrame of pandas with the levels of its index that have names, such as cluster, as columns."""
    names = getattr(getattr(given, "index", None), "names", None) or ()
    named = [name for name in names if name is not None and name not in getattr(given, "columns", names)]
    return given.reset_index(level=named) if named else given


def _titles(names: Sequence) -> list[str]:
    """Names as text; of names of several levels the last that is not blank, or all where two columns share it."""
    parts = [
        [str(part) for part in name if str(part).strip()] if isinstance(name, tuple) else [str(name)] for name in names
    ]
    last = [each[-1] if each else "" for each in parts]
    return [short if last.count(short) == 1 else "_".join(each) for short, each in zip(last, parts, strict=True)]


def _names(given: TableLike) -> list | None:
    """Names of the columns of a dictionary, a DataFrame or an array of records; None for anything else."""
    if isinstance(given, Mapping):
        return list(given)
    if isinstance(given, np.ndarray):
        return None if given.dtype.names is None else list(given.dtype.names)
    return list(given.columns) if hasattr(given, "columns") and hasattr(given, "__len__") else None


def _lazily(given: TableLike, i: int, name: object) -> tuple[Callable[[], np.ndarray], object]:
    """How to get the values of a column, which in pandas may share its name, and its unit, if it is a quantity."""
    column = given.iloc[:, i] if hasattr(given, "iloc") else given[name]
    values = getattr(column, "value", column)
    to_numpy = getattr(values, "to_numpy", lambda: values)
    return lambda: np.asanyarray(to_numpy()), getattr(column, "unit", None)
