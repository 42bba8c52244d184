"""The Parquet formats of posteriors: one row per cluster, and what all clusters share in the file's metadata.

Masses are log10_mass [dex]; `log_` is natural.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from clustermocks.io.atomic import replacing

_MASSES, _SAMPLES = b"sbi_clustermass.MassPosteriors/1", b"sbi_clustermass.Posteriors/1"
EPISTEMIC = "epistemic_std"


class MassRows(NamedTuple):
    """Rows of a file of mass posteriors, and what all its rows share."""

    columns: Mapping[str, Any]
    grid: Float[np.ndarray, "mass"]
    log_prob: Float[np.ndarray, "cluster mass"]
    log_prior: Float[np.ndarray, "mass"]
    leakage: float


@contextmanager
def mass_file(path: Path) -> Iterator[Callable[[MassRows], None]]:
    """Function that appends rows to a file, with log densities in float32; without rows there will be no file.

    The file appears whole or not at all. Its leakage is the mean over all rows. Rows with other columns, another grid
    or another prior than the first are refused with a ValueError.
    """
    parts: list[tuple[int, float]] = []
    with ExitStack() as stack:
        files: list[pq.ParquetWriter] = []

        def add(rows: MassRows) -> None:
            table = _mass_table(rows)
            if not files:
                temporary = stack.enter_context(replacing(path))
                files.append(stack.enter_context(pq.ParquetWriter(temporary, table.schema, compression="zstd")))
            if not table.schema.equals(files[0].schema, check_metadata=True):
                raise ValueError(f"{path}: parts of the posteriors differ in their columns, masses or prior.")
            files[0].write_table(table)
            parts.append((len(table), rows.leakage))

        yield add
        if files:
            leakage = sum(number * each for number, each in parts) / max(sum(number for number, _ in parts), 1)
            files[0].add_key_value_metadata({b"leakage": str(leakage).encode()})


def _mass_table(rows: MassRows) -> pa.Table:
    header = {b"format": _MASSES, b"grid": rows.grid.astype("<f8").tobytes()}
    header |= {b"log_prior": rows.log_prior.astype("<f8").tobytes()}
    columns = {**rows.columns, "log_prob": _lists(rows.log_prob.astype(np.float32))}
    return pa.table(columns).replace_schema_metadata(header)


def read(path: Path) -> dict[str, Any]:
    """Read a file of posteriors, as the arguments of `MassPosteriors.from_log_prob`."""
    table, header = _read(path, _MASSES, "mass posteriors")
    grid, log_prior = (np.frombuffer(header[key], "<f8") for key in (b"grid", b"log_prior"))
    return {
        "grid": grid,
        "log_prob": _array(table["log_prob"]).astype(float),
        "log_prior": log_prior,
        "names": tuple(table["name"].to_pylist()),
        "leakage": float(header.get(b"leakage", b"0")),
        "epistemic_std": table[EPISTEMIC].to_numpy() if EPISTEMIC in table.column_names else None,
    }


def write_samples(
    path: Path,
    columns: Mapping[str, Any],
    *,
    support: Mapping[str, tuple[float, float]],
    samples: Float[np.ndarray, "cluster sample parameter"],
    log_prob: Float[np.ndarray, "cluster sample"] | None,
) -> None:
    """Write the columns, and those of the samples of each parameter; the file appears whole or not at all."""
    drawn = {name: _lists(samples[..., i]) for i, name in enumerate(support)}
    drawn |= {} if log_prob is None else {"log_prob": _lists(log_prob)}
    _write(path, {**columns, **drawn}, samples_header(support))


def samples_header(support: Mapping[str, tuple[float, float]]) -> dict[bytes, bytes]:
    """Metadata by which a file of samples is known, with the ends of each parameter."""
    return {b"format": _SAMPLES, b"support": json.dumps(support).encode()}


def read_samples(path: Path) -> dict[str, Any]:
    """Read a file of samples, as the arguments of `Posteriors`."""
    table, header = _read(path, _SAMPLES, "posteriors of several parameters")
    support: dict[str, Sequence[float]] = json.loads(header[b"support"])
    low, high = np.array(list(support.values()), float).reshape(-1, 2).T
    return {
        "parameters": tuple(support),
        "samples": np.stack([_array(table[name]) for name in support], axis=-1),
        "low": low,
        "high": high,
        "names": tuple(table["name"].to_pylist()),
        "log_prob": _array(table["log_prob"]) if "log_prob" in table.column_names else None,
        "redshift": table["redshift"].to_numpy() if "redshift" in table.column_names else None,
    }


def _write(path: Path, columns: Mapping[str, Any], header: Mapping[bytes, bytes]) -> None:
    with replacing(path) as temporary:
        pq.write_table(pa.table(dict(columns)).replace_schema_metadata(dict(header)), temporary, compression="zstd")


def _read(path: Path, form: bytes, what: str) -> tuple[pa.Table, dict[bytes, bytes]]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        table, header = pq.read_table(path.absolute()), pq.read_metadata(path.absolute()).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file, or damaged ({error}).") from error
    if header.get(b"format") != form:
        raise ValueError(f"{path}: a Parquet file, but not {what} of a format this version reads.")
    return table, header


def _lists(values: Float[np.ndarray, "cluster n"]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _array(column: pa.ChunkedArray) -> Float[np.ndarray, "cluster n"]:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
