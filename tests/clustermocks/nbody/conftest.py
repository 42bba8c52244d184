"""Writers of every format, from their documented layouts, and one small synthetic periodic box."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from clustermocks import Catalogue
from clustermocks.nbody import READERS, ArrayBox, Reader
from clustermocks.nbody.schema import with_hosts
from clustermocks.nbody.universemachine import LAYOUT
from tests.paths import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples" / "nbody.py"))
AXES = ("x", "y", "z", "vx", "vy", "vz")
SIDE = 125.0
H = 0.7
# first line of the text catalogues of UniverseMachine's data release
UM_TEXT = ["ID", "DescID", "UPID", "Flags", "Uparent_Dist", "X", "Y", "Z", "VX", "VY", "VZ", "M", "V", "MP", "VMP", "R"]
UM_TEXT += ["Rank1", "Rank2", "RA", "RARank", "SM", "ICL", "SFR", "obs_SM", "obs_SFR", "SSFR", "SM/HM", "obs_UV"]
A = 0.8  # scale factor of the Gadget files

Columns = Mapping[str, np.ndarray]


class Format(NamedTuple):
    """How to write a format, what to read it with, and a column without which it must be refused (None: no names)."""

    write: Callable[[Path, Columns], Path]
    reader: Callable[[int], Reader]
    needed: str | None


def write_text(path: Path, columns: Mapping[str, np.ndarray], *, extra: tuple[str, ...] = ()) -> Path:
    """A text table with a # header."""
    lines = ["#" + " ".join(columns), *(f"#{line}" for line in extra)]
    lines += [" ".join(repr(v.item()) for v in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_hdf5(path: Path, columns: Mapping[str, np.ndarray]) -> Path:
    """An HDF5 file with a data set for each column at its root."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def hlist_columns(columns: Columns) -> dict[str, np.ndarray]:
    """As Rockstar has them: Rvir in kpc/h; another case for some names."""
    n = len(columns["id"])
    names = {**{axis: axis for axis in AXES}, "id": "id", "upid": "upid"}
    theirs = {"scale": np.full(n, 0.5), **{name: columns[ours] for ours, name in names.items()}}
    theirs["Rvir"] = 1000 * columns.get("R_vir", np.ones(n))
    theirs["M200c"] = columns.get("M200c", np.ones(n))
    theirs["mvir"] = columns.get("halo_mass", np.ones(n))
    theirs["Mpeak"], theirs["Macc"] = (columns.get(name, np.ones(n)) for name in ("peak_mass", "accretion_mass"))
    theirs["Vmax\\@Mpeak"] = np.ones(n)
    return theirs


def write_rockstar_hlist(folder: Path, columns: Columns) -> Path:
    """consistent-trees: the header numbers the columns."""
    theirs = {f"{name}({i})": values for i, (name, values) in enumerate(hlist_columns(columns).items())}
    return write_text(folder / "hlist_0.50000.list", theirs, extra=(f"Full box size = {SIDE:.6f} Mpc/h",))


def write_rockstar_hdf5(folder: Path, columns: Columns) -> Path:
    """Uchuu's form of the same columns."""
    return write_hdf5(folder / "halolist_z0p00_0.h5", hlist_columns(columns))


def universemachine_rows(columns: Columns) -> np.ndarray:
    """Structures as UniverseMachine writes them."""
    rows = np.zeros(len(columns["id"]), LAYOUT)
    rows["id"], rows["upid"], rows["flags"] = columns["id"], columns["upid"], columns.get("flags", 0)
    rows["pos"] = np.stack([columns[name] for name in AXES], axis=1)
    rows["m"], rows["mp"], rows["obs_sm"] = (columns[n] for n in ("halo_mass", "peak_mass", "stellar_mass"))
    return rows


def write_universemachine_binary(folder: Path, columns: Columns) -> Path:
    """128 bytes a row."""
    path = folder / "sfr_catalog_0.500000.bin"
    universemachine_rows(columns).tofile(path)
    return path


def write_universemachine_text(folder: Path, columns: Columns, *, extra: tuple[str, ...] = (), h: float = H) -> Path:
    """The text form has halo masses in Msun."""
    n = len(columns["id"])
    theirs = dict.fromkeys(UM_TEXT, np.zeros(n))
    theirs |= {"ID": columns["id"], "UPID": columns["upid"], "Flags": columns.get("flags", np.zeros(n, int))}
    theirs |= {axis.upper(): columns[axis] for axis in AXES}
    theirs |= {"M": columns["halo_mass"] / h, "MP": columns["peak_mass"] / h, "obs_SM": columns["stellar_mass"]}
    return write_text(folder / "sfr_catalog_0.500000.txt", theirs, extra=extra)


def write_uchuu_um(folder: Path, columns: Columns) -> Path:
    """Three files: basic properties, positions, the rest."""
    basic = {"id": "id", "upid": "upid", "Mvir": "halo_mass", "obs_sm": "stellar_mass", "sm": "stellar_mass"}
    write_hdf5(folder / "UM_z0p00_data2.h5", {axis: columns[axis] for axis in AXES[:3]})
    rest = {**{axis: columns[axis] for axis in AXES[3:]}, "Mpeak": columns["peak_mass"]}
    write_hdf5(folder / "UM_z0p00_data3.h5", rest)
    return write_hdf5(folder / "UM_z0p00_data1.h5", {theirs: columns[ours] for theirs, ours in basic.items()})


def write_subfind(folder: Path, columns: Columns, *, n_files: int = 1) -> Path:
    """Gadget-4 with lengths in kpc/h and masses in 10^10 Msun/h; groups and subhaloes need not share files."""
    n = len(columns["id"])
    places = np.array_split(np.arange(n), n_files)
    for i, rows in enumerate(places):
        part = {name: np.asarray(values)[rows] for name, values in columns.items()}
        name = "fof_subhalo_tab_010.hdf5" if n_files == 1 else f"fof_subhalo_tab_010.{i}.hdf5"
        with h5py.File(folder / name, "w") as file:
            file.create_group("Header").attrs.update({"Time": A, "NumFiles": n_files, "BoxSize": 1000 * SIDE})
            units = {"UnitLength_in_cm": 3.085678e21, "UnitMass_in_g": 1.989e43, "UnitVelocity_in_cm_per_s": 1e5}
            file.create_group("Parameters").attrs.update(units)
            _write_groups(file, part)
    return folder / ("fof_subhalo_tab_010.hdf5" if n_files == 1 else "fof_subhalo_tab_010.0.hdf5")


def _write_groups(file: h5py.File, part: Columns) -> None:
    position = 1000 * np.stack([part[axis] for axis in AXES[:3]], axis=1)
    velocity = np.stack([part[axis] for axis in AXES[3:]], axis=1)
    n = len(position)
    groups = {"GroupPos": position, "GroupVel": A * velocity, "Group_M_Crit200": part.get("M200c", np.ones(n)) / 1e10}
    groups["Group_R_TopHat200"] = 1000 * part.get("R_vir", np.ones(n))
    subhaloes = {
        "SubhaloPos": position,
        "SubhaloVel": velocity,
        "SubhaloMass": part.get("halo_mass", np.ones(n)) / 1e10,
    }
    subhaloes["SubhaloGroupNr"] = np.where(part["upid"] == -1, part["id"], part["upid"])
    subhaloes["SubhaloRankInGr"] = np.where(part["upid"] == -1, 0, 3)
    for group, columns in (("Group", groups), ("Subhalo", subhaloes)):
        for name, values in columns.items():
            file[f"{group}/{name}"] = values


@pytest.fixture(scope="session")
def formats() -> dict[str, Format]:
    """A writer for every reader of the registry."""
    made = {
        "rockstar_hlist": Format(write_rockstar_hlist, lambda rows: READERS["rockstar_hlist"](rows=rows), "M200c"),
        "rockstar_hdf5": Format(write_rockstar_hdf5, lambda rows: READERS["rockstar_hdf5"](rows=rows), "M200c"),
        "universemachine_binary": Format(
            write_universemachine_binary, lambda rows: READERS["universemachine_binary"](rows=rows), None
        ),
        "universemachine_text": Format(
            write_universemachine_text, lambda rows: READERS["universemachine_text"](rows=rows, h=H), "obs_SM"
        ),
        "uchuu_um": Format(write_uchuu_um, lambda rows: READERS["uchuu_um"](rows=rows), "obs_sm"),
        "subfind": Format(write_subfind, lambda rows: READERS["subfind"](rows=rows), "Group_M_Crit200"),
    }
    assert set(made) == set(READERS), "every format of the registry needs a writer here"
    return made


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    """Haloes and galaxies at once, with every column a format may have; numbers that single precision holds."""
    rng = np.random.default_rng(4)
    n = 57
    columns = {name: rng.uniform(1, SIDE - 1, n).astype(np.float32).astype(float) for name in AXES[:3]}
    columns |= {name: rng.normal(0, 400, n).astype(np.float32).astype(float) for name in AXES[3:]}
    columns |= {"id": np.arange(n) + 2**53 + 1, "upid": np.where(np.arange(n) % 3 == 0, -1, 2**53 + 1)}
    for name in ("halo_mass", "peak_mass", "accretion_mass", "stellar_mass", "M200c"):
        columns[name] = (10 ** rng.uniform(11, 15, n)).astype(np.float32).astype(float)
    return {**columns, "R_vir": rng.uniform(0.2, 2, n)}


@pytest.fixture(scope="session")
def toy() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Haloes and galaxies of the synthetic box, the first hosts moved onto its faces, an edge and a corner."""
    haloes, galaxies = EXAMPLE["toy_box"](SIDE, 60, 3)
    faces = np.array([[0, 60, 60], [60, SIDE, 60], [60, 60, 0.2], [0.1, SIDE - 0.1, 60], [SIDE, 0, 0]], float)
    heaviest = np.argsort(-haloes["M200c"])[: len(faces)]
    for i, place in zip(heaviest, faces, strict=True):
        own = (galaxies["id"] == haloes["id"][i]) | (galaxies["upid"] == haloes["id"][i])
        for axis, target in zip("xyz", place, strict=True):
            shift = target - haloes[axis][i]
            for columns, which in ((haloes, i), (galaxies, own)):
                columns[axis][which] = np.mod(columns[axis][which] + shift, SIDE).astype(np.float32)
                columns[axis][columns[axis] >= SIDE] = 0.0
    return haloes, galaxies


@pytest.fixture(scope="session")
def boxes() -> Callable[..., tuple[ArrayBox, ArrayBox]]:
    """Haloes and galaxies as boxes in memory."""

    def in_memory(toy: tuple[Columns, Columns]) -> tuple[ArrayBox, ArrayBox]:
        haloes, galaxies = toy
        hosts = {name: haloes[name] for name in (*AXES, "id", "upid", "M200c", "R_vir")}
        return (
            ArrayBox.from_arrays("haloes", SIDE, with_hosts(hosts)),
            ArrayBox.from_arrays("galaxies", SIDE, with_hosts(galaxies)),
        )

    return in_memory


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Assert that two catalogues hold the same clusters, attempts and galaxies."""

    def check(catalogue: Catalogue, other: Catalogue, v_tolerance: float = 0.0) -> None:
        names = ["host_id", "n_galaxies", "n_members"]
        assert catalogue.attempts.select(names).equals(other.attempts.select(names))
        np.testing.assert_array_equal(catalogue.host_id, other.host_id)
        np.testing.assert_array_equal(catalogue.n_galaxies, other.n_galaxies)
        R_proj, v_los, member = (
            [c.galaxy_column(n) for c in (catalogue, other)] for n in ("R_proj", "v_los", "is_member")
        )
        np.testing.assert_array_equal(*member)
        # single precision of the catalogue, and of positions of 125 h^-1 Mpc in double precision
        np.testing.assert_allclose(*R_proj, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(*v_los, atol=v_tolerance, rtol=0)

    return check
