"""Mass posteriors in Parquet: a row a cluster, grid and prior in the file's metadata.

Masses are log10_mass [dex]; `log_` is natural.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.io.atomic import replacing

if TYPE_CHECKING:
    from sbi_clustermass.posterior.posteriors import MassPosteriors

_FORMAT = b"sbi_clustermass.MassPosteriors/1"
_EPISTEMIC = "epistemic_std"


def write(posteriors: "MassPosteriors", path: Path) -> None:
    """As MassPosteriors.to_parquet, which documents it."""
    columns = {
        "name": list(posteriors.names),
        "log10_mass_mean": posteriors.mean,
        "log10_mass_std": posteriors.std,
    }
    levels = (16, 50, 84)
    percentiles = posteriors.quantile(np.array(levels) / 100)
    columns |= {f"log10_mass_p{level}": row for level, row in zip(levels, percentiles, strict=True)}
    if posteriors.epistemic_std is not None:
        columns[_EPISTEMIC] = posteriors.epistemic_std
    values = pa.array(posteriors.log_prob.ravel(), pa.float32())
    table = pa.table({**columns, "log_prob": pa.FixedSizeListArray.from_arrays(values, posteriors.grid.size)})
    header = {b"format": _FORMAT, b"grid": posteriors.grid.astype("<f8").tobytes()}
    header |= {b"log_prior": posteriors.log_prior.astype("<f8").tobytes(), b"leakage": str(posteriors.leakage).encode()}
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(header), temporary, compression="zstd")


def read(path: Path) -> dict[str, Any]:
    """Arguments of MassPosteriors.from_log_prob.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is not Parquet, is damaged, or holds something else.
    """
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
        "epistemic_std": table[_EPISTEMIC].to_numpy() if _EPISTEMIC in table.column_names else None,
    }
