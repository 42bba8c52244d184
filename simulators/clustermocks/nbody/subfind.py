"""Group catalogues of Gadget-4, and of Arepo as IllustrisTNG and CAMELS write them: `fof_subhalo_tab_NNN.hdf5`.

FOF groups and SUBFIND subhaloes, in one file or several. TNG names a subhalo's group `SubhaloGrNr`, has no
`SubhaloRankInGr` (subhaloes follow one another group by group, the main one first, as `GroupFirstSub` says), and flags
what is no galaxy by `SubhaloFlag` = 0, which is left out here.

In the units that the file states, per h by Gadget's convention: lengths comoving, masses usually 10^10 h^-1 Msun.
`SubhaloVel` is the physical peculiar velocity [km/s]; `GroupVel` is the mean of Gadget's internal velocities, a times
the peculiar one, and is divided by a here. A group's velocity is that of all its particles, not of its main subhalo;
the two differ by tens of km/s, in mergers by hundreds. Stellar masses [Msun] are those of bound stars
(`SubhaloMassType`, type 4), where the file states h.

References:
    Springel et al. 2021, MNRAS 506, 2871, and the code's manual, section on group catalogues; Nelson et al. 2019, ComAC
    6, 2, and its data specifications (TNG); Villaescusa-Navarro et al. 2023, ApJS 265, 54 (CAMELS).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import numpy as np
import pyarrow as pa

from clustermocks.io.paths import as_path
from clustermocks.nbody import hdf5
from clustermocks.nbody.schema import ROWS, Kind, as_table, check_kind

if TYPE_CHECKING:
    import h5py

_CM_PER_MPC, _GRAMS_PER_MSUN, _CM_PER_KM = 3.085678e24, 1.989e33, 1e5  # Gadget's own values
_GROUP = {"position": "GroupPos", "velocity": "GroupVel", "M200c": "Group_M_Crit200", "R_vir": "Group_R_TopHat200"}
_SUBHALO = {"position": "SubhaloPos", "velocity": "SubhaloVel", "halo_mass": "SubhaloMass"}
_OPTIONAL = {"rank": "SubhaloRankInGr", "flag": "SubhaloFlag", "types": "SubhaloMassType"}
_STARS = 4


class _Units(NamedTuple):
    """h^-1 Mpc, h^-1 Msun and km/s a unit of the file, the scale factor, and h, NaN where it is not stated."""

    length: float
    mass: float
    velocity: float
    a: float
    h: float


@dataclass
class _Place:
    """How far a catalogue in several files has been read: number of rows, and the group of the last subhalo."""

    done: int
    group: int = -1


@final
@dataclass(frozen=True)
class Subfind:
    """Haloes are FOF groups with M200c and R_vir (Bryan & Norman: `TopHat200`); galaxies are subhaloes.

    Identifiers are places in the whole catalogue. Of a catalogue in several files, give the first; the others are
    found in its folder.

    Attributes:
        unit_length: h^-1 Mpc a unit of length, where the file does not state its units (.001 for kpc); masses are
            then 10^10 h^-1 Msun, velocities km/s.
        first_group: To read one file of several alone: the number of groups in the files before it. In a TNG catalogue
            the file's first subhalo then counts as its group's main one, which it need not be.
        rows: Rows in memory at a time.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("haloes", "galaxies")
    unit_length: float | None = None
    first_group: int | None = None
    rows: int = ROWS

    def side(self, path: Path) -> float | None:
        """Side that the header states [comoving h^-1 Mpc]."""
        with hdf5.opened(path) as file:
            return _header(path, file, "BoxSize") * self._units(path, file).length

    def read(self, path: Path, kind: Kind) -> Iterator[pa.Table]:
        """Yield tables of at most `rows` rows; see `Reader.read`."""
        check_kind(self, kind, path)
        place = _Place((self.first_group or 0) if kind == "haloes" else 0)
        for file_path in [path] if self.first_group is not None else _all_files(path):
            with hdf5.opened(file_path) as file:
                yield from self._file(file_path, file, kind, place)

    def _file(self, path: Path, file: "h5py.File", kind: Kind, place: _Place) -> Iterator[pa.Table]:
        import h5py

        units, group = self._units(path, file), file.get("Group" if kind == "haloes" else "Subhalo")
        if not isinstance(group, h5py.Group) or not len(group):
            return  # a file of several may hold none
        for block in hdf5.stream(_columns(group, kind), self.rows):
            yield as_table(kind, (_haloes if kind == "haloes" else _galaxies)(block, place, units))

    def _units(self, path: Path, file: "h5py.File") -> _Units:
        a = _header(path, file, "Time")
        stated = [hdf5.number(file, group, "HubbleParam") for group in ("Header", "Parameters")]
        h = next((value for value in stated if value), np.nan)
        if self.unit_length is not None:
            return _Units(self.unit_length, 1e10, 1.0, a, h)
        names = ("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s")
        length, mass, velocity = (hdf5.number(file, "Parameters", name) for name in names)
        if length is None or mass is None or velocity is None:
            raise ValueError(
                f"{path}: does not state its units (Parameters/UnitLength_in_cm and its like).\n"
                "  try:    Subfind(unit_length=0.001) for kpc/h, Subfind(unit_length=1.0) for Mpc/h"
            )
        return _Units(length / _CM_PER_MPC, mass / _GRAMS_PER_MSUN, velocity / _CM_PER_KM, a, h)


def _columns(group: "h5py.Group", kind: Kind) -> "dict[str, h5py.Dataset]":
    """Datasets of one group of a file by our names."""
    names = _GROUP
    if kind == "galaxies":
        names = {**_SUBHALO, **{ours: theirs for ours, theirs in _OPTIONAL.items() if theirs in group}}
        names["host_id"] = "SubhaloGrNr" if "SubhaloGrNr" in group else "SubhaloGroupNr"
    if kind == "galaxies" and "rank" not in names and names["host_id"] == "SubhaloGroupNr":
        names["rank"] = "SubhaloRankInGr"  # which Gadget-4 always writes
    return hdf5.datasets(group, names)


def _header(path: Path, file: "h5py.File", name: str) -> float:
    value = hdf5.number(file, "Header", name)
    if value is None:
        raise ValueError(f"{path}: not a Gadget group catalogue: its Header lacks {name}.")
    return value


def _all_files(path: Path) -> list[Path]:
    """The files of a catalogue, in order, from the path of one of them."""
    path = as_path(path)
    with hdf5.opened(path) as file:
        n = int(_header(path, file, "NumFiles"))
    if n == 1:
        return [path]
    name = re.sub(r"\.\d+(\.[^.]+)$", r".{}\1", path.name)
    paths = [path.with_name(name.format(i)) for i in range(n)]
    there = [p for p in paths if p.is_file()] if "{}" in name else [path]
    if len(there) < n:
        raise ValueError(
            f"{path}: one of {n} files named NAME.0.hdf5, NAME.1.hdf5, ...; of these {len(there)} found.\n"
            "  try:    copy all of them, or Subfind(first_group=...) to read this one alone"
        )
    return paths


def _vectors(block: dict[str, np.ndarray], units: _Units, velocity: float) -> dict[str, np.ndarray]:
    position, v = block["position"].astype(float) * units.length, block["velocity"].astype(float) * velocity
    return {**dict(zip("xyz", position.T, strict=True)), **dict(zip(("vx", "vy", "vz"), v.T, strict=True))}


def _haloes(block: dict[str, np.ndarray], place: _Place, units: _Units) -> dict[str, np.ndarray]:
    ids = place.done + np.arange(len(block["M200c"]))
    place.done += len(ids)
    return {
        **_vectors(block, units, units.velocity / units.a),
        "id": ids,
        "host_id": ids,
        "is_central": np.ones(len(ids), bool),
        "M200c": block["M200c"].astype(float) * units.mass,
        "R_vir": block["R_vir"].astype(float) * units.length,
    }


def _galaxies(block: dict[str, np.ndarray], place: _Place, units: _Units) -> dict[str, np.ndarray]:
    host_id = block["host_id"].astype(np.int64)
    first = np.diff(host_id, prepend=place.group) != 0  # of its group
    ids = place.done + np.arange(len(host_id))
    place.done, place.group = place.done + len(ids), int(host_id[-1])
    columns = {
        **_vectors(block, units, units.velocity),
        "id": ids,
        "host_id": host_id,
        "is_central": block["rank"] == 0 if "rank" in block else first,
        "halo_mass": block["halo_mass"] * units.mass,
    }
    if "types" in block and block["types"].shape[1] > _STARS:
        columns["stellar_mass"] = block["types"][:, _STARS] * (units.mass / units.h)
    kept = block["flag"] != 0 if "flag" in block else slice(None)
    return {name: values[kept] for name, values in columns.items()}
