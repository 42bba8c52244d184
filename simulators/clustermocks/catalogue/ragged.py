"""Galaxies of all clusters: ragged columns of an Arrow table as flat NumPy arrays.

R_proj is comoving [h^-1 Mpc], v_los in [km/s].
"""

from functools import cached_property
from typing import Any, TypeVar, final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from clustermocks.catalogue.schema import GALAXY_TYPES, OBSERVED, TRUTHS

Columns = TypeVar("Columns", bound=tuple[Any, ...])


@final
class Ragged:
    """Galaxies of a table of clusters: those observed, in the cylinder, and for mocks also the members outside it."""

    def __init__(self, clusters: pa.Table) -> None:
        self._clusters = clusters

    @cached_property
    def _lengths(self) -> Int[np.ndarray, "cluster"]:
        return self._clusters["R_proj"].combine_chunks().value_lengths().to_numpy().astype(np.int64)

    def _stored(self, name: str) -> np.ndarray:
        return self._clusters[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)

    @cached_property
    def _visible(self) -> Bool[np.ndarray, "galaxy"]:
        if "in_cylinder" in self._clusters.column_names:
            return self._stored("in_cylinder")
        return np.ones(int(self._lengths.sum()), bool)

    def _offsets_of(self, kept: Bool[np.ndarray, "galaxy"]) -> Int[np.ndarray, "cluster_and_one"]:
        stored = np.concatenate([[0], np.cumsum(self._lengths)])
        return np.concatenate([[0], np.cumsum(kept)])[stored]

    @cached_property
    def offsets(self) -> Int[np.ndarray, "cluster_and_one"]:
        """Offsets into `columns`: the galaxies of cluster i are offsets[i] to offsets[i + 1]."""
        return self._offsets_of(self._visible)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Columns `OBSERVED` and, for mocks, `TRUTHS` of all observed galaxies, (galaxy,)."""
        return {name: self._stored(name)[self._visible] for name in self._names}

    @property
    def _names(self) -> list[str]:
        return [n for n in (*OBSERVED, *TRUTHS) if n in self._clusters.column_names]

    def members_only(self) -> pa.Table:
        """Return the clusters with their true members only, in the cylinder or not."""
        keep = self._stored("is_member")
        offsets, table = pa.array(self._offsets_of(keep), pa.int64()), self._clusters
        for name in self._names:
            values = pa.array(self._stored(name)[keep], type=GALAXY_TYPES[name])
            table = with_column(table, name, pa.LargeListArray.from_arrays(offsets, values))
        return table.drop_columns([n for n in ("in_cylinder",) if n in table.column_names])


def sorted_by_cluster(*parts: Columns) -> Columns:
    """Concatenate galaxies in named tuples of arrays, sorted by the first field, the index of their cluster."""
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return type(parts[0])(*(column[order] for column in joined))


def to_stream(table: pa.Table) -> bytes:
    """Serialise a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_stream(stream: bytes) -> pa.Table:
    """Read the table of `to_stream`."""
    return pa.ipc.open_stream(stream).read_all()


def with_column(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the table with one column replaced."""
    return table.set_column(table.column_names.index(name), name, column)
