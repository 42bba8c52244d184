"""One contract for all formats; then what is peculiar to each, and the real files."""

import gzip

import h5py
import numpy as np
import pyarrow as pa
import pytest

from clustermocks.haloes.cosmology import Cosmology, radius_200c
from clustermocks.nbody import READERS, RockstarHlist, Subfind, UchuuUM, UniverseMachineText
from clustermocks.nbody.schema import SCHEMAS, with_hosts
from tests.paths import SHARED

FOLDER = SHARED / "data" / "nbody_formats"
real = pytest.mark.skipif(not FOLDER.is_dir(), reason="the files of N-body codes are not here")
CASES = [(name, kind) for name, reader in READERS.items() for kind in reader.kinds]
SINGLE = 3e-7  # relative: files and schema hold some columns in single precision


def as_subfind(name, rows):
    """Identifiers are places in a Gadget catalogue."""
    if name != "subfind":
        return rows
    return {**rows, "id": np.arange(len(rows["id"])), "upid": np.where(rows["upid"] == -1, -1, 0)}


def read(reader, path, kind):
    return pa.concat_tables(list(reader.read(path, kind)))


def assert_same(table, other):
    assert table.schema == other.schema
    for name in table.column_names:
        np.testing.assert_array_equal(table[name].to_numpy(), other[name].to_numpy(), err_msg=name)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_reader_gives_back_what_was_written_in_our_units(name, kind, formats, rows, tmp_path):
    rows = as_subfind(name, rows)
    table = read(formats[name].reader(1000), formats[name].write(tmp_path, rows), kind)
    assert table.schema == SCHEMAS[kind]
    groups = name == "subfind" and kind == "haloes"  # FOF groups are all distinct
    upid = np.full(len(rows["id"]), -1) if groups else rows["upid"]
    np.testing.assert_array_equal(table["id"], rows["id"])
    np.testing.assert_array_equal(table["is_central"], upid == -1)
    np.testing.assert_array_equal(table["host_id"], np.where(upid == -1, rows["id"], upid))
    for column in SCHEMAS[kind].names[3:]:
        found = table[column].to_numpy()
        if not np.isnan(found).all():
            np.testing.assert_allclose(found, rows[column], rtol=SINGLE, err_msg=column)
    must = {"haloes": ("M200c", "R_vir"), "galaxies": ("halo_mass",)}[kind]
    assert all(np.isfinite(table[column].to_numpy()).all() for column in ("x", "vx", *must))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_reader_holds_a_bounded_number_of_rows(name, kind, formats, rows, tmp_path):
    path = formats[name].write(tmp_path, as_subfind(name, rows))
    tables = list(formats[name].reader(10).read(path, kind))
    assert [len(table) for table in tables] == [10, 10, 10, 10, 10, 7]
    assert_same(pa.concat_tables(tables), read(formats[name].reader(1000), path, kind))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_truncated_file_is_refused_by_name(name, kind, formats, rows, tmp_path):
    path = formats[name].write(tmp_path, as_subfind(name, rows))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=path.name):
        list(formats[name].reader(10).read(path, kind))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_missing_file_and_a_wrong_kind_are_refused(name, kind, formats, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        list(formats[name].reader(10).read(tmp_path / "absent", kind))
    with pytest.raises(ValueError, match="not 'stars'"):
        list(formats[name].reader(10).read(tmp_path / "absent", "stars"))


@pytest.mark.parametrize("name", READERS)
def test_a_file_without_a_needed_column_is_refused_naming_it(name, formats, rows, tmp_path):
    needed, path = formats[name].needed, formats[name].write(tmp_path, as_subfind(name, rows))
    if needed is None:
        pytest.skip("this format has no named columns")
    if path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "a") as file:
            del file[needed if needed in file else f"Group/{needed}"]
    else:
        path.write_text(path.read_text().replace(needed, "other", 1))
    with pytest.raises(ValueError, match=f"no (column|dataset) {needed}"):
        list(formats[name].reader(10).read(path, READERS[name].kinds[0]))


@pytest.mark.parametrize("name", ["universemachine_binary", "universemachine_text", "uchuu_um"])
def test_galaxy_catalogues_without_m200c_say_where_hosts_come_from(name, formats, rows, tmp_path):
    path = formats[name].write(tmp_path, rows)
    with pytest.raises(ValueError, match=r"no M200c.*halo finder"):
        formats[name].reader(10).read(path, "haloes").__next__()


def test_hlist_columns_are_found_by_name_wherever_they_stand_compressed_or_not(formats, rows, tmp_path):
    path = formats["rockstar_hlist"].write(tmp_path, rows)
    expected = read(RockstarHlist(), path, "haloes")
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#Full")]
    turned = tmp_path / "turned.list.gz"
    text = "\n".join(" ".join(line[::-1]) for line in lines).replace("#scale", "scale")
    turned.write_bytes(gzip.compress(f"#{text}\n".encode()))
    assert_same(read(RockstarHlist(), turned, "haloes"), expected)
    turned.write_bytes(turned.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        read(RockstarHlist(), turned, "haloes")


def test_a_text_line_that_is_not_numbers_is_refused_with_its_rows(formats, rows, tmp_path):
    path = formats["rockstar_hlist"].write(tmp_path, rows)
    lines = path.read_text().splitlines()
    lines[13] = lines[13].replace(lines[13].split()[3], "nonsense")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"data rows 11 to 20.*nonsense"):
        list(RockstarHlist(rows=10).read(path, "haloes"))


def test_a_text_without_header_is_not_read_by_position(tmp_path):
    path = tmp_path / "hlist.list"
    path.write_text("1 2 3\n")
    with pytest.raises(ValueError, match="names the columns"):
        RockstarHlist().read(path, "haloes")


@pytest.mark.parametrize("name", ["universemachine_binary", "universemachine_text"])
def test_rows_to_be_ignored_go_and_orphans_stay(name, formats, rows, tmp_path):
    flags = np.where(np.arange(len(rows["id"])) % 5 == 0, 16 + 3, 8)
    table = read(formats[name].reader(20), formats[name].write(tmp_path, {**rows, "flags": flags}), "galaxies")
    np.testing.assert_array_equal(table["id"], rows["id"][flags == 8])  # all above 10^15


def test_text_masses_are_taken_per_h_where_the_header_says_so(formats, rows, tmp_path):
    from_msun = formats["universemachine_text"].write(tmp_path, rows)
    np.testing.assert_allclose(
        read(UniverseMachineText(h=0.7), from_msun, "galaxies")["halo_mass"], rows["halo_mass"], rtol=SINGLE
    )
    lines = from_msun.read_text().splitlines(keepends=True)
    from_msun.write_text("".join([lines[0], "#M: Halo mass (Bryan & Norman 1998 virial mass, Msun/h)\n", *lines[1:]]))
    stated = read(UniverseMachineText(h=0.7), from_msun, "galaxies")["halo_mass"]
    np.testing.assert_allclose(stated, rows["halo_mass"] / 0.7, rtol=SINGLE)


def test_the_binary_layout_is_the_documented_structure():
    from clustermocks.nbody.universemachine import LAYOUT

    # 3 int64, 1 int32, 1 + 6 + 18 float32, the last for alignment: offsets of the C structure
    assert LAYOUT.itemsize == 128
    fields = LAYOUT.fields
    assert fields is not None
    assert [fields[name][1] for name in ("upid", "flags", "pos", "vmp", "m", "sm", "obs_sm")] == [
        16,
        24,
        32,
        56,
        68,
        100,
        112,
    ]


def test_uchuu_files_of_different_length_or_absent_are_refused(formats, rows, tmp_path):
    path = formats["uchuu_um"].write(tmp_path, rows)
    with h5py.File(tmp_path / "UM_z0p00_data2.h5", "a") as file:
        del file["x"]
        file["x"] = rows["x"][:-1]
    with pytest.raises(ValueError, match="differ in length"):
        list(UchuuUM().read(path, "galaxies"))
    with pytest.raises(ValueError, match=r"data1\.h5"):
        list(UchuuUM().read(tmp_path / "UM_z0p00_data2.h5", "galaxies"))
    (tmp_path / "UM_z0p00_data3.h5").unlink()
    with pytest.raises(FileNotFoundError, match="data3"):
        list(UchuuUM().read(path, "galaxies"))


@pytest.mark.parametrize("kind", ["haloes", "galaxies"])
def test_a_gadget_catalogue_in_several_files_is_one(kind, formats, rows, tmp_path):
    rows = as_subfind("subfind", rows)
    whole = read(Subfind(), formats["subfind"].write(tmp_path, rows), kind)
    first = formats["subfind"].write(tmp_path, rows, n_files=3)
    assert_same(read(Subfind(rows=7), first, kind), whole)
    (tmp_path / "fof_subhalo_tab_010.1.hdf5").unlink()
    with pytest.raises(ValueError, match="one of 3 files"):
        read(Subfind(), first, kind)


def test_gadget_units_that_are_not_stated_must_be_given(formats, rows, tmp_path):
    path = formats["subfind"].write(tmp_path, as_subfind("subfind", rows))
    expected = read(Subfind(), path, "haloes")
    with h5py.File(path, "a") as file:
        del file["Parameters"]
    with pytest.raises(ValueError, match="unit_length"):
        read(Subfind(), path, "haloes")
    np.testing.assert_allclose(read(Subfind(unit_length=0.001), path, "haloes")["x"], expected["x"])


@real
def test_the_real_hlist_agrees_with_its_columns_by_number():
    path = FOLDER / "rockstar_hlist_0.07812.list"
    table = read(RockstarHlist(rows=100), path, "haloes")
    raw = np.loadtxt(path)  # M200c is column 40 and upid 6 by this file's own header
    assert len(table) == 436
    for name, column in {"x": 17, "y": 18, "z": 19, "M200c": 40}.items():
        np.testing.assert_array_equal(table[name], raw[:, column])
    np.testing.assert_allclose(table["R_vir"], raw[:, 11] / 1000)
    np.testing.assert_allclose(table["vz"], raw[:, 22], rtol=SINGLE)
    np.testing.assert_array_equal(table["is_central"], raw[:, 6] == -1)
    galaxies = read(RockstarHlist(), path, "galaxies")
    np.testing.assert_allclose(galaxies["peak_mass"], raw[:, 60], rtol=SINGLE)


@real
def test_the_real_gadget_file_is_in_our_units():
    path = FOLDER / "gadget4_subfind.hdf5"
    first_group = 38_115 - 1_904  # of its header: the last of 20 files
    haloes = read(Subfind(first_group=first_group), path, "haloes")
    with h5py.File(path) as file:
        radius = file["Group/Group_R_Crit200"][:]
        first_subhalo = file["Group/GroupFirstSub"][:] - (43_034 - 2_131)
    # this run's cosmology; its definition of the overdensity fixes mass and length units together; rtol: G in 4 digits
    mass = haloes["M200c"].to_numpy()
    np.testing.assert_allclose(radius_200c(mass, 0.0, Cosmology(Om0=0.3089)), radius, rtol=1e-3)
    assert 13 < np.log10(mass.max()) < 14.5
    galaxies = read(Subfind(first_group=first_group), path, "galaxies").to_pandas()
    first = galaxies.iloc[first_subhalo[first_subhalo >= 0][:500]]
    np.testing.assert_array_equal(first["host_id"], haloes["id"].to_numpy()[first_subhalo >= 0][:500])
    assert first["is_central"].all()
    assert len(galaxies) == 2131


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32", "float64"])
def test_minus_one_is_no_parent_in_any_type(kind):
    kind = np.dtype(kind)
    none = np.array([-1]).astype(kind) if kind.kind != "u" else np.array([np.iinfo(kind).max], kind)
    found = with_hosts({"id": np.arange(3), "upid": np.concatenate([none, np.array([0], kind), none])})
    np.testing.assert_array_equal(found["host_id"], [0, 0, 2])
    np.testing.assert_array_equal(found["is_central"], [True, False, True])
    if kind.kind == "i":
        largest = with_hosts({"id": np.arange(1), "upid": np.array([np.iinfo(kind).max], kind)})
        assert largest["is_central"].all()


@pytest.mark.parametrize("kind", ["uint64", "uint32"])
def test_an_hdf5_file_of_unsigned_parents_has_its_distinct_haloes(kind, formats, rows, tmp_path):
    path = formats["rockstar_hdf5"].write(tmp_path, rows)
    with h5py.File(path, "r+") as file:
        small = rows["upid"] % (2**31)
        del file["upid"]
        file["upid"] = np.where(rows["upid"] == -1, np.iinfo(kind).max, small).astype(kind)
    table = read(formats["rockstar_hdf5"].reader(1000), path, "haloes")
    np.testing.assert_array_equal(table["is_central"], rows["upid"] == -1)
