"""Reader of Parquet files, as astropy, pandas, polars and others write them."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sbi_clustermass.observations.tables.errors import problem
from sbi_clustermass.observations.tables.raw_columns import RawColumn, as_text, table_of

if TYPE_CHECKING:
    import pyarrow as pa
    from astropy.table import Table


def read_parquet(path: Path) -> "Table":
    """Read a Parquet file."""
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    if b"clustermocks" in metadata:
        advice = f"clustermass posteriors {path.name} --model FOLDER infers it"
        raise problem(path.name, "a catalogue of clusters, not a table of galaxies.", advice=advice)
    return table_from_arrow(parquet.read_table(path.absolute()))


def table_from_arrow(arrow: "pa.Table") -> "Table":
    """Build a table from the columns of a Parquet file, with units and objects where astropy wrote it."""
    from astropy.table.meta import get_header_from_yaml

    text = (arrow.schema.metadata or {}).get(b"table_meta_yaml", b"").decode()
    header = get_header_from_yaml(text.split("\n")) if text else {}
    units = {each["name"]: each.get("unit") for each in header.get("datatype", ())}
    columns = [
        RawColumn(name, lambda i=i: _numpy(arrow.column(i)), units.get(name))
        for i, name in enumerate(arrow.column_names)
    ]
    return table_of(columns, arrow.num_rows, header.get("meta"))


def _numpy(values: "pa.ChunkedArray") -> np.ndarray:
    """Values of a column; text or a whole number without a value is masked, another number is not a number.

    Bytes are text: astropy writes the names of a FITS table so. Lists of equal length are vectors.

    Raises:
        ValueError: It holds records, or lists of different lengths.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    values = values.cast(kind) if types.is_dictionary(values.type) else values
    if types.is_floating(kind):
        return values.to_numpy()
    if types.is_decimal(kind):
        return values.cast(pa.float64()).to_numpy()
    if types.is_integer(kind) or types.is_boolean(kind):
        filled = np.asarray(values.fill_null(False if types.is_boolean(kind) else 0).to_numpy())
        return np.ma.array(filled, mask=np.asarray(values.is_null())) if values.null_count else filled
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _vectors(values.to_pylist())
    if types.is_nested(kind):
        raise ValueError(f"records or maps, {kind}")
    return _texts(values.to_pylist())


def _vectors(rows: list[list[object] | None]) -> np.ndarray:
    if len({None if row is None else len(row) for row in rows}) > 1:
        raise ValueError("lists of different lengths, or none in some rows")
    return np.array(rows)


def _texts(words: list[object]) -> np.ndarray:
    missing = [word is None for word in words]
    filled = np.array(["" if word is None else as_text(word) for word in words], dtype=str)
    return np.ma.array(filled, mask=missing) if any(missing) else filled
