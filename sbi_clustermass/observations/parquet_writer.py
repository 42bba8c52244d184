"""Parquet files that grow by rows, and whose header is known only at the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.io.atomic import replacing


@final
@dataclass
class Growing:
    """A file that takes tables of one schema, one after the other.

    Attributes:
        writer: Of the rows.
        header: What the file's metadata will say; may be changed until the end.
    """

    writer: pq.ParquetWriter
    header: dict[str | bytes, str | bytes] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Write some rows."""
        self.writer.write_table(table)


@contextmanager
def growing(path: Path, schema: pa.Schema, header: Mapping[str | bytes, str | bytes]) -> Iterator[Growing]:
    """A Parquet file that takes its name, with its header, once all rows are in it; or nothing is left of it.

    Rows wait in a second file beside it: a header stands in front of them, and readers look only there.

    Args:
        path: Of the file.
        schema: Of its rows.
        header: Metadata, as far as it is known.
    """
    with replacing(path) as temporary:
        rows = temporary.with_name(f"{temporary.name}.rows")
        try:
            with pq.ParquetWriter(rows, schema, compression="zstd") as writer:
                file = Growing(writer, dict(header))
                yield file
            _copy(rows, temporary, schema.with_metadata(file.header))
        finally:
            rows.unlink(missing_ok=True)


def _copy(rows: Path, path: Path, schema: pa.Schema) -> None:
    with pq.ParquetFile(rows) as source, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in range(source.num_row_groups):
            writer.write_table(source.read_row_group(group).replace_schema_metadata(schema.metadata))
