"""Comparison of Arrow tables."""

import numpy as np
import pyarrow as pa


def same_rows(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables are equal, where NaN equals NaN: `pyarrow.Table.equals` says no to that."""

    def same(a: pa.ChunkedArray, b: pa.ChunkedArray) -> bool:
        if pa.types.is_floating(a.type) and a.type == b.type:
            return np.array_equal(a.to_numpy(), b.to_numpy(), equal_nan=True)
        return a.equals(b)

    return first.column_names == second.column_names and all(
        same(first[name], second[name]) for name in first.column_names
    )
