"""Rockstar haloes with consistent-trees' columns: hlist text files, and the HDF5 form of the Uchuu release.

Units are those of the files' own headers (Behroozi et al. 2013, ApJ 762, 109; ApJ 763, 18): positions comoving
[h^-1 Mpc], velocities physical and peculiar [km/s], masses [h^-1 Msun], radii comoving [h^-1 kpc]. The number of a
column differs between versions: columns are found by name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pyarrow as pa

from clustermocks.nbody import hdf5, text
from clustermocks.nbody.schema import ROWS, Kind, Reader, as_table, check_kind, match_columns, with_hosts

_PLACE = {name: name for name in ("id", "upid", "x", "y", "z", "vx", "vy", "vz")}
WANTED: dict[str, dict[str, str]] = {
    "haloes": {**_PLACE, "M200c": "M200c", "R_vir": "rvir"},
    "galaxies": {**_PLACE, "halo_mass": "mvir"},
}
OPTIONAL: dict[str, dict[str, str]] = {"haloes": {}, "galaxies": {"peak_mass": "Mpeak", "accretion_mass": "Macc"}}


@final
@dataclass(frozen=True)
class RockstarHlist:
    r"""Text `hlist_A.list` of consistent-trees, A the scale factor; also compressed (`.gz`).

    Haloes are hosts with M200c; as galaxies, each halo and subhalo is one tracer (Ho et al. 2019 cut M_acc > 10^11
    h^-1 Msun: `accretion_mass`). M200c counts unbound particles only where Rockstar ran with strict masses.

    Attributes:
        rows: Rows in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("haloes", "galaxies")
    rows: int = ROWS

    def side(self, path: Path) -> float | None:
        """Side that the header states, `Full box size = 250.000000 Mpc/h` [comoving h^-1 Mpc]."""
        found = [re.match(r"Full box size = ([\d.eE+]+) Mpc/h", line) for line in text.header(path)]
        stated = [float(match[1]) for match in found if match]
        return stated[0] if stated else None

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        columns = match_columns(path, text.column_names(path), WANTED[kind], OPTIONAL[kind])
        return (_converted(kind, block) for block in text.stream(path, columns, self.rows))


@final
@dataclass(frozen=True)
class RockstarHDF5(Reader):
    """HDF5 `halolist_*.h5` of the Uchuu release: a dataset for each column of an hlist, at the root of the file.

    Attributes:
        rows: Rows in memory at a time.

    References:
        Ishiyama et al. 2021, MNRAS 506, 4210; columns by their names in consistent-trees.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("haloes", "galaxies")
    rows: int = ROWS

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        with hdf5.opened(path) as file:
            columns = match_columns(path, list(file), WANTED[kind], OPTIONAL[kind])
            for block in hdf5.stream(hdf5.datasets(file, columns), self.rows):
                yield _converted(kind, block)


def _converted(kind: Kind, columns: Mapping[str, np.ndarray]) -> pa.Table:
    table = with_hosts(columns)
    if "R_vir" in table:
        table["R_vir"] = np.asarray(table["R_vir"], float) / 1000
    return as_table(kind, table)
