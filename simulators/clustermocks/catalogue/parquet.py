"""Catalogues as Parquet files: the selected clusters, then every attempt; settings in the schema's metadata."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.catalogue.provenance import Provenance
from clustermocks.catalogue.text_provenance import provenance_from_text
from clustermocks.haloes.cosmology import Cosmology
from clustermocks.io.atomic import replacing
from clustermocks.io.settings import from_json, to_json
from clustermocks.observation import Observation

_KEY = b"clustermocks"
_FORMAT = 1
_ATTEMPT = "attempt_"


def write(
    path: Path,
    clusters: pa.Table,
    attempts: pa.Table,
    observation: Observation,
    cosmology: Cosmology,
    provenance: Provenance,
) -> None:
    """Write the parts of a catalogue into one file, which appears whole or not at all."""
    header = {
        "format": _FORMAT,
        "observation": to_json(observation),
        "cosmology": to_json(cosmology),
        "provenance": to_json(provenance),
        "columns": clusters.column_names,
        "n_attempts": attempts.num_rows,
    }
    attempts = attempts.rename_columns([_ATTEMPT + name for name in attempts.column_names])
    parts = [
        rows.add_column(0, "is_cluster", pa.repeat(is_cluster, rows.num_rows))
        for rows, is_cluster in ((clusters, True), (attempts, False))
    ]
    table = pa.concat_tables(parts, promote_options="default")
    table = table.replace_schema_metadata({_KEY: json.dumps(header).encode()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read(path: Path) -> tuple[pa.Table, pa.Table, Observation, Cosmology, Provenance]:
    """Read the parts of a catalogue."""
    table = _table(path)
    header = _header(path, (table.schema.metadata or {}).get(_KEY))
    table = table.replace_schema_metadata(None)
    clusters = table.filter(table["is_cluster"]).select(header["columns"]).combine_chunks()
    attempts = table.filter(~table["is_cluster"].to_numpy())
    attempts = attempts.select([n for n in attempts.column_names if n.startswith(_ATTEMPT)]).combine_chunks()
    attempts = attempts.rename_columns([name.removeprefix(_ATTEMPT) for name in attempts.column_names])
    observation, cosmology = Observation(**header["observation"]), Cosmology(**header["cosmology"])
    if "provenance" in header:
        provenance = from_json(Provenance, header["provenance"])
    else:
        provenance = provenance_from_text(header["metadata"])  # of version 0.1
    return clusters, attempts, observation, cosmology, provenance


def _table(path: Path) -> pa.Table:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        return pq.read_table(path.absolute(), memory_map=True, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file, or damaged ({error}).") from error


def _header(path: Path, raw: bytes | None) -> dict[str, Any]:
    """Read the settings that `write` put into the schema's metadata."""
    if raw is None:
        raise ValueError(f"{path}: a Parquet file, but not a catalogue: it has no clustermocks metadata.")
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{path}: its clustermocks metadata is not JSON ({error}); the file is damaged.") from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != _FORMAT:
        raise ValueError(f"{path}: catalogue format {found!r}; this version reads format {_FORMAT}.")
    return header


def counts(path: Path) -> tuple[int, int] | None:
    """Number of selected and of attempted clusters, from the file's footer; None if the file is incomplete."""
    try:
        metadata = pq.read_metadata(path.absolute())
        attempted = int(json.loads((metadata.metadata or {})[_KEY])["n_attempts"])
    except (pa.ArrowInvalid, OSError, ValueError, KeyError, TypeError):
        return None
    return metadata.num_rows - attempted, attempted
