"""UniverseMachine galaxies: `sfr_catalog_A.bin`, and the text form of the same catalogue, A the scale factor.

Positions are comoving [h^-1 Mpc] and may lie a little outside the box; velocities physical and peculiar [km/s].
Halo masses are [h^-1 Msun] in the binary form and [Msun] in the text form; stellar masses are [Msun] in both. Rows with
bit 4 of `flags` set are to be ignored; orphans (their id exceeds 10^15) are galaxies like the others and stay. There is
no M200c: hosts come from the halo catalogue, by the same ids.

References:
    Behroozi et al. 2019, MNRAS 488, 3143; field list of the catalogues' first data release.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pyarrow as pa

from clustermocks.io.paths import as_path
from clustermocks.nbody import text
from clustermocks.nbody.schema import ROWS, Kind, Reader, as_table, check_kind, match_columns, with_hosts

_FLOATS_BEFORE = ("vmp", "lvmp", "mp", "m", "v", "r", "rank1", "rank2", "ra", "rarank", "A_UV")
_FLOATS_AFTER = ("sm", "icl", "sfr", "obs_sm", "obs_sfr", "obs_uv", "empty")
LAYOUT = np.dtype(
    [
        *((name, "<i8") for name in ("id", "descid", "upid")),
        ("flags", "<i4"),
        ("uparent_dist", "<f4"),
        ("pos", "<f4", (6,)),
        *((name, "<f4") for name in _FLOATS_BEFORE + _FLOATS_AFTER),
    ]
)
IGNORED = 16
_AXES = ("x", "y", "z", "vx", "vy", "vz")
_TEXT = {
    **{name: name for name in ("id", "upid", "flags", *_AXES)},
    "halo_mass": "M",
    "peak_mass": "MP",
    "stellar_mass": "obs_SM",
}


@final
@dataclass(frozen=True)
class UniverseMachineBinary(Reader):
    """`sfr_catalog_A.bin`: structures of 128 bytes, little-endian, one after another.

    The stellar mass is the observed one (`obs_sm`), random and systematic errors included.

    Attributes:
        rows: Rows in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("galaxies",)
    rows: int = ROWS

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        path = as_path(path)
        size = path.stat().st_size
        if not size or size % LAYOUT.itemsize:
            raise ValueError(
                f"{path}: {size} bytes are not a whole number of {LAYOUT.itemsize}-byte rows: truncated, or not a "
                "sfr_catalog_*.bin. Copy the file again."
            )
        return self._blocks(path)

    def _blocks(self, path: Path) -> Iterator[pa.Table]:
        with path.open("rb") as file:
            while len(block := np.fromfile(file, LAYOUT, self.rows)):
                axes = {name: block["pos"][:, i] for i, name in enumerate(_AXES)}
                masses = {"halo_mass": block["m"], "peak_mass": block["mp"], "stellar_mass": block["obs_sm"]}
                yield _galaxies({**axes, **masses, **{name: block[name] for name in ("id", "upid", "flags")}})


@final
@dataclass(frozen=True)
class UniverseMachineText(Reader):
    """Text form, `sfr_catalog_A.txt`: columns named in the first line; also compressed (`.gz`).

    Attributes:
        h: Hubble constant of the simulation [100 km/s/Mpc], which takes halo masses from Msun to h^-1 Msun. It is
            not used where the header says that they are in Msun/h.
        rows: Rows in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("galaxies",)
    h: float = 0.678
    rows: int = ROWS

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        columns = match_columns(path, text.column_names(path), _TEXT, {})
        notes = [line.lower().replace(" ", "") for line in text.header(path)]
        per_h = any("msun/h" in line for line in notes if line.startswith(("m:", "**notethathalomasses")))
        factor = 1.0 if per_h else self.h
        for block in text.stream(path, columns, self.rows):
            yield _galaxies({**block, **{name: factor * block[name] for name in ("halo_mass", "peak_mass")}})


def _galaxies(columns: Mapping[str, np.ndarray]) -> pa.Table:
    kept = (columns["flags"] & IGNORED) == 0
    return as_table("galaxies", with_hosts({name: v[kept] for name, v in columns.items() if name != "flags"}))
