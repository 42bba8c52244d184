"""Tables of masses on disk, written row by row as CSV, ECSV or Parquet, each whole or not at all."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clustermocks.io.atomic import replacing
from clustermocks.io.registry import lookup
from sbi_clustermass.observations.mass_table import COLUMNS, Cell, mass_row
from sbi_clustermass.observations.model_stamp import ModelStamp
from sbi_clustermass.observations.results import ClusterResult
from sbi_clustermass.observations.sanitize import no_formula, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    from astropy.table import Table

Sink: TypeAlias = Callable[[ClusterResult], None]
_ROWS = 1024  # in a group of Parquet
_TYPES = {"text": str, "number": float, "count": int}


def as_table(results: Iterable[ClusterResult], stamp: ModelStamp) -> "Table":
    """Make a table with a row for each cluster, with or without a mass, and units and descriptions of the columns."""
    rows = [mass_row(result, stamp) for result in results]
    return _table({column.name: [_cell(row[column.name], one_line) for row in rows] for column in COLUMNS})


@contextmanager
def table_file(path: Path, stamp: ModelStamp) -> Iterator[Sink]:
    """Write a table of masses, one row a call; the file appears whole at the end, or not at all.

    Args:
        path: File of suffix .csv, .ecsv or .parquet.
        stamp: Model behind the masses.

    Raises:
        ValueError: Another suffix.
    """
    rows_into = lookup("kind of table", path.suffix, SUFFIXES)
    with replacing(path) as temporary, rows_into(temporary) as add:
        yield lambda result: add(mass_row(result, stamp))


Rows: TypeAlias = Callable[[dict[str, Cell]], None]


def _csv(path: Path) -> AbstractContextManager[Rows]:
    return _text(path, ",".join(column.name for column in COLUMNS) + "\n", no_formula)


def _ecsv(path: Path) -> AbstractContextManager[Rows]:
    header = StringIO()
    _blank().write(header, format="ascii.ecsv", delimiter=",")
    return _text(path, header.getvalue(), one_line)


@contextmanager
def _text(path: Path, header: str, clean: Callable[[str], str]) -> Iterator[Rows]:
    """Write rows below a header, with quotes about text: it may hold separators, and astropy takes "" for missing."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        yield lambda row: writer.writerow([_cell(row[column.name], clean) for column in COLUMNS])


@contextmanager
def _parquet(path: Path) -> Iterator[Rows]:
    """Write rows in groups, then copy them behind a complete header.

    astropy's readers look for the longest text of each column in the schema, which is written first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _parquet_schema()
    waiting: list[dict[str, Cell]] = []
    longest = {column.name: 1 for column in COLUMNS if column.kind == "text"}
    rows = path.with_name(f"{path.name}.rows")
    try:
        with pq.ParquetWriter(rows, schema, compression="zstd") as file:

            def write() -> None:
                file.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting.clear()

            def add(row: dict[str, Cell]) -> None:
                waiting.append({name: _cell(value, one_line) for name, value in row.items()})
                longest.update({name: max(n, len(str(waiting[-1][name]))) for name, n in longest.items()})
                if len(waiting) == _ROWS:
                    write()

            yield add
            write()
        schema = schema.with_metadata(
            {"table_meta_yaml": _astropy_yaml()} | {f"table::len::{name}": str(n) for name, n in longest.items()}
        )
        with pq.ParquetFile(rows) as source, pq.ParquetWriter(path, schema, compression="zstd") as file:
            for group in range(source.num_row_groups):
                file.write_table(source.read_row_group(group).replace_schema_metadata(schema.metadata))
    finally:
        rows.unlink(missing_ok=True)


SUFFIXES = {".csv": _csv, ".ecsv": _ecsv, ".parquet": _parquet}


def _cell(value: Cell, clean: Callable[[str], str]) -> Cell:
    return clean(value) if isinstance(value, str) else value


def _astropy_yaml() -> str:
    """Units and descriptions as astropy keeps them in Parquet files."""
    from astropy.table.meta import get_yaml_from_table

    return "\n".join(get_yaml_from_table(_blank()))


def _parquet_schema() -> "pa.Schema":
    import pyarrow as pa

    kinds = {"text": pa.string(), "number": pa.float64(), "count": pa.int64()}
    return pa.schema(
        [pa.field(c.name, kinds[c.kind], metadata={"unit": c.unit, "description": c.description}) for c in COLUMNS]
    )


def _blank() -> "Table":
    """The table without rows."""
    return _table({column.name: [] for column in COLUMNS})


def _table(cells: Mapping[str, Sequence[Cell]]) -> "Table":
    from astropy.table import Column, Table

    table = Table()
    for each in COLUMNS:
        unit, values = each.unit or None, cells[each.name]
        table[each.name] = Column(values, dtype=_TYPES[each.kind], unit=unit, description=each.description)
    return table
