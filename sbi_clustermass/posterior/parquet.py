"""The Parquet format of mass posteriors: one row per cluster, with grid and prior in the file's metadata.

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from clustermocks.io.atomic import replacing

_FORMAT = b"sbi_clustermass.MassPosteriors/1"
EPISTEMIC = "epistemic_std"


def write(
    path: Path,
    columns: Mapping[str, Any],
    *,
    grid: Float[np.ndarray, "mass"],
    log_prob: Float[np.ndarray, "cluster mass"],
    log_prior: Float[np.ndarray, "mass"],
    leakage: float,
) -> None:
    """Write the columns, and log densities in float32; the file appears whole or not at all."""
    values = pa.array(log_prob.ravel(), pa.float32())
    table = pa.table({**columns, "log_prob": pa.FixedSizeListArray.from_arrays(values, grid.size)})
    header = {b"format": _FORMAT, b"grid": grid.astype("<f8").tobytes()}
    header |= {b"log_prior": log_prior.astype("<f8").tobytes(), b"leakage": str(leakage).encode()}
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(header), temporary, compression="zstd")


def read(path: Path) -> dict[str, Any]:
    """Read a file of posteriors, as the arguments of `MassPosteriors.from_log_prob`."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file, or damaged ({error}).") from error
    header = table.schema.metadata or {}
    if header.get(b"format") != _FORMAT:
        raise ValueError(f"{path}: a Parquet file, but not mass posteriors of a format this version reads.")
    grid, log_prior = (np.frombuffer(header[key], "<f8") for key in (b"grid", b"log_prior"))
    log_prob = table["log_prob"].combine_chunks().flatten().to_numpy().reshape(-1, grid.size)
    return {
        "grid": grid,
        "log_prob": log_prob.astype(float),
        "log_prior": log_prior,
        "names": tuple(table["name"].to_pylist()),
        "leakage": float(header.get(b"leakage", b"0")),
        "epistemic_std": table[EPISTEMIC].to_numpy() if EPISTEMIC in table.column_names else None,
    }
