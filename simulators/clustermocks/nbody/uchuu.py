"""Uchuu-UM: UniverseMachine galaxies in the Uchuu simulation, HDF5 in three files a snapshot.

`*_data1.h5` has id, upid, Mvir [h^-1 Msun] and stellar masses [Msun]; `*_data2.h5` x, y, z [comoving h^-1 Mpc];
`*_data3.h5` vx, vy, vz [peculiar km/s] and Mpeak [h^-1 Msun]. There is no M200c: hosts come from the release's Rockstar
catalogues (`RockstarHDF5`), by the same ids.

References:
    Aung et al. 2023, MNRAS 519, 1648; the release's description of its data structure.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import pyarrow as pa

from clustermocks.nbody import hdf5
from clustermocks.nbody.schema import ROWS, Kind, Reader, as_table, check_kind, match_columns, with_hosts

_FILES = {
    "data1": {"id": "id", "upid": "upid", "halo_mass": "Mvir", "stellar_mass": "obs_sm"},
    "data2": {"x": "x", "y": "y", "z": "z"},
    "data3": {"vx": "vx", "vy": "vy", "vz": "vz", "peak_mass": "Mpeak"},
}


@final
@dataclass(frozen=True)
class UchuuUM(Reader):
    """Three HDF5 files a snapshot; give the path of `*_data1.h5`, the others lie in the same folder.

    Attributes:
        rows: Rows in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("galaxies",)
    rows: int = ROWS

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        if "data1" not in path.name:
            raise ValueError(f"{path}: give the file whose name ends in data1.h5; data2 and data3 lie beside it.")
        with ExitStack() as stack:
            data = {}
            for label, wanted in _FILES.items():
                part_path = path.with_name(path.name.replace("data1", label))
                file = stack.enter_context(hdf5.opened(part_path))
                data |= hdf5.datasets(file, match_columns(part_path, list(file), wanted, {}))
            for block in hdf5.stream(data, self.rows):
                yield as_table("galaxies", with_hosts(block))
