"""Catalogues of any size, streamed into a folder of Parquet files: `StoredBox`, in the units of `schema`."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clustermocks.io.atomic import new_folder
from clustermocks.io.paths import as_path
from clustermocks.nbody.boxes import FORMAT, HEADER, StoredBox, check_side, part_path, wrapped
from clustermocks.nbody.schema import SCHEMAS, Kind, Reader

SLAB_WIDTH = 50.0  # [h^-1 Mpc]; a cylinder reaches over about one slab on either side
MAX_SLABS = 64
ROW_GROUP = 50_000


def convert(
    reader: Reader,
    source: str | Path | Iterable[str | Path],
    folder: str | Path,
    *,
    kind: Kind,
    side: float | None = None,
    minimum: Mapping[str, float] | None = None,
) -> StoredBox:
    """Stream a catalogue of any size into a folder of Parquet files, a bounded number of rows in memory at a time.

    Args:
        reader: The format.
        source: The file, or all files of one snapshot.
        folder: Folder to write; it must not exist, and appears whole or not at all.
        kind: "haloes" or "galaxies".
        side: Side of the periodic box [comoving h^-1 Mpc]; may be left out where the files state it (Rockstar, Gadget).
        minimum: Least value of some columns, in the units of `Reader`: {"stellar_mass": 10**9.5}, {"M200c": 1e13}.

    Returns:
        The box, ready for `observe_box`.

    Raises:
        FileNotFoundError: No such source file.
        FileExistsError: The folder exists.
        ValueError: The source is damaged, has impossible values or states another side, or no row passes the minimum.
        OSError: The disk is full, or not writable.

    Example:
        >>> convert(
        ...     RockstarHlist(), "hlist_0.89510.list", "haloes", kind="haloes", side=1000.0
        ... )  # doctest: +SKIP
    """
    sources = [as_path(source)] if isinstance(source, str | Path) else [as_path(path) for path in source]
    side = _side(reader, sources, side)
    n_slabs = int(np.clip(side // SLAB_WIDTH, 1, MAX_SLABS))
    with new_folder(as_path(folder)) as temporary:
        counts = _write(_tables(reader, sources, kind, side, minimum or {}), temporary, side, n_slabs)
        if not counts.sum():
            raise ValueError(f"{', '.join(map(str, sources))}: no row of {kind} passes {dict(minimum or {})}.")
        header = {"format": FORMAT, "kind": kind, "side": side, "counts": counts.tolist()}
        made = {"reader": repr(reader), "source": [path.name for path in sources], "minimum": dict(minimum or {})}
        (temporary / HEADER).write_text(json.dumps({**header, **made}), encoding="utf-8")
    return StoredBox.open(folder)


def _side(reader: Reader, sources: list[Path], given: float | None) -> float:
    """Side of the box [comoving h^-1 Mpc], as given, or as the files state it."""
    if not sources:
        raise ValueError("convert: no source files.")
    stated = reader.side(sources[0])
    side = stated if given is None else given
    if side is None:
        raise ValueError(f"{sources[0]}: does not state the side of the box; give side=... [comoving h^-1 Mpc].")
    check_side(side)
    if stated is not None and abs(stated - side) > 1e-3 * stated:
        raise ValueError(f"{sources[0]}: states a box of {stated:g} h^-1 Mpc; side={side:g} was given.")
    return float(side)


def _tables(
    reader: Reader, sources: list[Path], kind: Kind, side: float, minimum: Mapping[str, float]
) -> Iterator[pa.Table]:
    """Rows that pass the cuts, wrapped into the box."""
    unknown = [name for name in minimum if name not in SCHEMAS[kind].names]
    if unknown:
        raise ValueError(f"minimum: {kind} have no column {unknown[0]}. Choose from: {', '.join(SCHEMAS[kind].names)}.")
    for path in sources:
        for table in reader.read(path, kind):
            keep = np.ones(len(table), bool)
            for name, least in minimum.items():
                values = table[name].to_numpy()
                if len(values) and np.isnan(values).all():
                    raise ValueError(f"{path}: {type(reader).__name__} finds no {name} there; cut in another column.")
                keep &= values >= least
            yield wrapped(table.filter(pa.array(keep)), side, str(path))


def _write(tables: Iterable[pa.Table], folder: Path, side: float, n_slabs: int) -> np.ndarray:
    """Write each slab's rows to its own file, in groups; return the number of rows of each.

    The number of groups, not that of their rows, costs memory and reading time.
    """
    counts = np.zeros(n_slabs, np.int64)
    waiting: defaultdict[int, list[pa.Table]] = defaultdict(list)
    writers: dict[int, pq.ParquetWriter] = {}
    try:
        for table in tables:
            slab = np.minimum((table["x"].to_numpy() / side * n_slabs).astype(int), n_slabs - 1)
            counts += np.bincount(slab, minlength=n_slabs)
            for index in map(int, np.unique(slab)):
                waiting[index].append(table.filter(pa.array(slab == index)))
                if sum(map(len, waiting[index])) >= ROW_GROUP:
                    _write_group(folder, index, waiting.pop(index), writers)
        for index, rows in waiting.items():
            _write_group(folder, index, rows, writers)
    finally:
        with _writing(folder):
            for writer in writers.values():
                writer.close()
    return counts


def _write_group(folder: Path, index: int, rows: Sequence[pa.Table], writers: dict[int, pq.ParquetWriter]) -> None:
    group = pa.concat_tables(rows).combine_chunks()
    with _writing(folder):
        if index not in writers:
            path = part_path(folder, index)
            path.parent.mkdir()
            writers[index] = pq.ParquetWriter(path, group.schema, compression="zstd")
        writers[index].write_table(group)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"{folder.parent}: cannot write there, nothing is kept ({error}). Is the disk full?") from error
