"""Quality flags of archives and conditions of users exclude rows; photometric redshifts give no mass."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from sbi_clustermass.observations.tables import TableError, TableOptions, Unreadable, read_clusters, read_table
from sbi_clustermass.observations.tables.cluster import spread_velocities
from sbi_clustermass.observations.tables.rows import Fate
from tests.observations.tables.conftest import CENTRE, REDSHIFT

GIVEN = {"redshift": REDSHIFT, "centre": CENTRE}
BAD = np.arange(240) % 6 == 0  # 40 rows


def read(path, **options):
    return read_table(path, options=TableOptions(**GIVEN, **options))


# ---- flags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good", "bad", "words"),
    [
        ("zWarning", "0", "4", "zWarning != 0"),  # SDSS
        ("ZWARNING_NOQSO", "0", "128", "ZWARNING_NOQSO != 0"),  # BOSS
        ("ZWARN", "0", "5", "ZWARN != 0"),  # DESI
        ("COADD_FIBERSTATUS", "0", "8", "COADD_FIBERSTATUS != 0"),
        ("nQ", "4", "2", "nQ < 3"),  # GAMA
        ("Q", "3", "1", "Q < 3"),  # WiggleZ, 6dFGS
        ("quality", "5", "2", "quality < 3"),  # 2dFGRS
        ("qop", "4", "6", "qop < 3 or 6 (stars)"),  # OzDES
        ("ZQUALITY", "4", "-1", "ZQUALITY < 3"),  # DEEP2: -1 is a star
        ("class", "GALAXY", "STAR", "class is STAR"),
        ("SPECTYPE", "QSO", "STAR", "SPECTYPE is STAR"),
        ("OBJTYPE", "TGT", "SKY", "OBJTYPE is SKY"),
        ("Type", "G", "GClstr", "Type is GClstr"),  # NED
        ("Redshift Flag", "SLS", "PHOT", "Redshift Flag is PHOT: no certain spectroscopic redshifts"),
        ("Redshift Flag", "", "PUN", "Redshift Flag is PUN: no certain spectroscopic redshifts"),
        ("Redshift Flag", "S1L", "SLS?", "Redshift Flag is SLS?: no certain spectroscopic redshifts"),
        ("z_type", "spec", "phot", "z_type is phot: photometric redshifts"),
        ("z_source", "s", "p", "z_source is p: photometric redshifts"),
        ("good_z", "True", "False", "good_z is false"),
        ("reliable", "1", "0", "reliable is false"),
        ("is_phot", "no", "yes", "is_phot is true"),
        ("ZCAT_PRIMARY", "True", "False", "ZCAT_PRIMARY is false"),  # DESI
        ("specPrimary", "1", "0", "specPrimary is false"),  # SDSS
        ("is_star", "0", "1", "is_star is true"),
        ("z_ok", "1", "0", "z_ok is false"),
        ("rvz_nature", "s", "p", "rvz_nature is p: photometric redshifts"),  # SIMBAD
        ("z_source", "NED", "phot", "z_source is phot: photometric redshifts"),
    ],
)
def test_rows_with_a_bad_flag_are_dropped_and_counted_and_change_nothing_else(columns, write, name, good, bad, words):
    flagged = {**columns, name: np.where(BAD, bad, good)}
    table, without = read(write(flagged)), read(write({key: values[~BAD] for key, values in columns.items()}))
    assert f"40 rows dropped: {words}" in table.warnings
    assert (table.counts.excluded, table.counts.dropped, table.counts.used) == (40, 40, without.counts.used)
    assert (table.fates.fate == Fate.EXCLUDED).tolist() == BAD.tolist()
    np.testing.assert_array_equal(table.catalogue.galaxies(0), without.catalogue.galaxies(0))


@pytest.mark.parametrize("condition", ["ZWARN >= 0", "ZWARN == 0 or ZWARN == 4", "zwarn in [0, 4]"])
def test_a_condition_on_a_flag_replaces_its_rule(columns, write, condition):
    path = write({**columns, "ZWARN": np.where(BAD, 4, 0)})
    assert read(path, where=condition).counts.excluded == 0
    assert read(path).counts.excluded == 40


def test_a_condition_on_another_column_leaves_the_rule(columns, write):
    path = write({**columns, "ZWARN": np.where(BAD, 4, 0), "mag": np.linspace(14, 20, 240)})
    table = read(path, where="mag < 17")
    assert table.counts.excluded == np.sum(BAD | (np.linspace(14, 20, 240) >= 17))
    assert any(f"{np.sum(np.linspace(14, 20, 240) >= 17)} rows dropped: not met: mag < 17" in w for w in table.warnings)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("zflg", [2, 3, 4]),  # VIPERS and VVDS: no scale that rises
        ("QF", [1, 2, 3, 9]),  # CLASH-VLT
        ("qual", ["A", "B", "C"]),
        ("Q", [1, 2]),  # a scale that ends at 2
        ("z_conf", [0.5, 0.9]),
        ("zStatus", [0, 4, 9]),  # SDSS until DR7
        ("u_z", ["", ":"]),  # VizieR
    ],
)
def test_a_flag_of_unknown_meaning_is_named_and_drops_nothing(columns, write, name, values):
    table = read(write({**columns, name: np.resize(values, 240)}))
    assert table.counts.excluded == 0
    assert any(f"column {name} (" in warning and "--where" in warning for warning in table.warnings)


@pytest.mark.parametrize(("name", "values"), [("Member", [0, 1]), ("Mm", ["Y", "N"]), ("is_member", [True, False])])
def test_a_selection_of_members_is_named_and_not_used(columns, write, name, values):
    table = read(write({**columns, name: np.resize(values, 240)}))
    assert table.counts.excluded == 0
    assert any(f"column {name} (" in warning and "interlopers count" in warning for warning in table.warnings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZWARN", "0"),
        ("u_z", ""),
        ("Member", "1"),
        ("nQ", "4"),
        ("Redshift Flag", ""),
        ("zflg", "3"),
        ("axis_q", "0.4"),
    ],
)
def test_a_flag_that_is_good_everywhere_is_not_mentioned(columns, write, name, value):
    plain = read(write(columns)).warnings
    assert read(write({**columns, name: np.full(240, value)})).warnings == plain


def test_a_row_without_a_flag_is_kept(columns, write):
    assert read(write({**columns, "nQ": np.where(BAD, "", "4")})).counts.excluded == 0


def test_each_cluster_of_a_table_counts_its_own_flagged_rows(columns, write):
    names = np.where(np.arange(240) < 120, "A", "B")
    path = write({"cluster": names, **columns, "ZWARN": np.where(np.arange(240) < 30, 1, 0)})
    found = {each.name: each for each in read_clusters(path, options=TableOptions(**GIVEN))}
    assert [found[name].counts.excluded for name in "AB"] == [30, 0]
    assert "30 rows dropped: ZWARN != 0" in found["A"].warnings


def test_a_table_of_bad_rows_only_names_the_rule_and_the_way_out(columns, write):
    with pytest.raises(TableError, match=r"240 with ZWARN != 0\n  try:    --where CONDITION"):
        read(write({**columns, "ZWARN": np.full(240, 4)}))


# ---- conditions -----------------------------------------------------------------------------------------------------

COLUMNS = {"n": np.arange(240), "mag": np.linspace(14, 20, 240), "class": np.resize(["GALAXY", "QSO"], 240)}


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("n < 100", lambda t: t["n"] < 100),
        ("10 <= n < 100", lambda t: (t["n"] >= 10) & (t["n"] < 100)),
        ("n < 100 and mag > 15", lambda t: (t["n"] < 100) & (t["mag"] > 15)),
        ("(n < 100) & (mag > 15)", lambda t: (t["n"] < 100) & (t["mag"] > 15)),
        ("n < 100 & mag > 15", lambda t: (t["n"] < 100) & (t["mag"] > 15)),
        ("n < 20 OR mag > 19", lambda t: (t["n"] < 20) | (t["mag"] > 19)),
        ("not n < 20", lambda t: t["n"] >= 20),
        ("!(n < 20)", lambda t: t["n"] >= 20),
        ("n <> 20 AND class = 'QSO'", lambda t: (t["n"] != 20) & (t["class"] == "QSO")),
        ('class == "GALAXY"', lambda t: t["class"] == "GALAXY"),
        ('class in ["GALAXY", "STAR"]', lambda t: t["class"] == "GALAXY"),
        ("n not in (1, 2, 3)", lambda t: ~np.isin(t["n"], (1, 2, 3))),
        ("`n` - 2 * mag > 1e2", lambda t: t["n"] - 2 * t["mag"] > 100),
        ("-n > -5", lambda t: t["n"] < 5),
        ("(n & 4) == 0", lambda t: t["n"] & 4 == 0),
        ("(n & 12) != 0 & mag > 15", lambda t: (t["n"] & 12 != 0) & (t["mag"] > 15)),
        ("~(n < 20)", lambda t: t["n"] >= 20),
        ("n < 030", lambda t: t["n"] < 30),
    ],
)
def test_conditions_keep_the_rows_that_numpy_selects(columns, write, condition, kept):
    table = read(write({**columns, **COLUMNS}), where=condition)
    assert (table.fates.fate != Fate.EXCLUDED).tolist() == kept(COLUMNS).tolist()


def test_a_missing_value_meets_no_comparison_nor_its_opposite(columns, write):
    path = write({**columns, "mag": np.where(BAD, "", "17")})
    assert read(path, where="mag < 18").counts.excluded == 40
    with pytest.raises(TableError, match="no row is left"):
        read(path, where="not mag < 18")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("n <", "where: not a condition"),
        ("mag", "mag is no condition: compare it with a value"),
        ("nn < 3", "no column 'nn' for --where"),
        ("class > 3", "class is text, and is compared with a number"),
        ("n in 3", "what follows `in` is a list"),
        ("n & 4 == 0", "n is no condition: compare it with a value"),
        ("(mag & 4) == 0", "mag has no bits: it is no whole number"),
        ("__import__('os')", "not understood|no column|no condition"),
        ("n < 3 if n else 4", "not a condition|not understood|no column"),
    ],
)
def test_a_condition_that_is_none_says_why(columns, write, condition, message):
    with pytest.raises(TableError, match=message):
        read(write({**columns, **COLUMNS}), where=condition)


def test_identifiers_of_64_bits_are_compared_exactly(columns, tmp_path):
    """TARGETID of DESI has 17 digits: floating point would keep or drop its neighbours, too."""
    first = 39_627_000_000_000_001
    Table({**columns, "TARGETID": first + np.arange(240)}).write(tmp_path / "t.fits")
    table = read(tmp_path / "t.fits", where=f"TARGETID > {first + 100}")
    assert (table.fates.fate != Fate.EXCLUDED).tolist() == (np.arange(240) > 100).tolist()


def test_zeros_before_a_number_are_kept_where_names_are_compared(columns, write):
    names = np.where(np.arange(240) < 120, "0012", "012")
    found = list(read_clusters(write({"cluster": names, **columns}), options=TableOptions(where="cluster == 0012")))
    assert [isinstance(each, Unreadable) for each in found] == [False, True]
    assert "another condition" in found[1].reason


def test_odd_names_stand_in_backticks(columns, write):
    path = write({**columns, "my flag (v2)": np.where(BAD, 1, 0)})
    assert read(path, where="`my flag (v2)` == 0").counts.excluded == 40


# ---- photometric redshifts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["photoz", "z_phot", "zphot", "photo_z", "Z_B", "DNF_Z", "zredmagic", "z_lambda", "z_p"]
)
def test_photometric_redshifts_are_named_and_give_no_mass(columns, write, name):
    path = write({"ra": columns["ra"], "dec": columns["dec"], name: columns["z"]})
    for options in (TableOptions(**GIVEN), TableOptions(**GIVEN, columns={"z": name})):
        with pytest.raises(TableError, match=f"photometric redshifts give no mass.*\n.*column {name}"):
            read_table(path, options=options)


def test_photometric_redshifts_beside_spectroscopic_ones_do_no_harm(columns, write):
    table = read(write({**columns, "z_phot": columns["z"] + 0.02}))
    assert table.counts.used == read(write(columns)).counts.used


@pytest.mark.parametrize(("suffix", "form"), [("ecsv", "ascii.ecsv"), ("vot", "votable"), ("fits", "fits")])
def test_a_description_may_say_that_redshifts_are_photometric(columns, tmp_path, suffix, form):
    table = Table(columns)
    table["z"].description = "Photometric redshift (BPZ)"
    table.write(tmp_path / f"t.{suffix}", format=form)
    if suffix == "fits":  # which astropy writes without descriptions, and archives with them
        fits.setval(tmp_path / "t.fits", "TCOMM3", value="Photometric redshift", ext=1)
    with pytest.raises(TableError, match="photometric redshifts give no mass"):
        read(tmp_path / f"t.{suffix}")


def test_redshifts_with_the_errors_of_photometry_are_dropped(columns, write):
    table = read(write({**columns, "z_err": np.where(BAD, 0.03, 1e-4)}))
    assert table.counts.excluded == 40
    assert "40 rows dropped: velocity error above 1000 km/s: photometric redshifts" in table.warnings
    with pytest.raises(TableError, match="240 with velocity error above 1000 km/s"):
        read(write({**columns, "z_err": np.full(240, 0.03)}))


@pytest.mark.parametrize("mark", [9.99, 99, 9999, -1, 0])
def test_a_mark_for_a_missing_error_is_no_large_error(columns, write, mark):
    assert read(write({**columns, "z_err": np.where(BAD, mark, 1e-4)})).counts.excluded == 0


@pytest.mark.parametrize("seed", range(5))
def test_redshifts_that_scatter_as_photometry_does_give_no_mass(columns, write, seed):
    scattered = columns["z"] + np.random.default_rng(seed).normal(0, 0.03, 240)
    [found] = read_clusters(write({**columns, "z": scattered}), options=TableOptions(centre=CENTRE))
    assert not isinstance(found, Unreadable)
    assert "photometric redshifts?" in (found.reason or "")


@pytest.mark.parametrize("dispersion", [200, 700, 1500])
@pytest.mark.parametrize("n", [40, 200])
def test_velocities_of_a_cluster_among_as_many_others_crowd(dispersion, n):
    """No false alarm in 200 clusters, also of the largest known dispersion (for 1500 km/s without interlopers)."""
    rng, others = np.random.default_rng(n + dispersion), n if dispersion < 1500 else 0
    for _ in range(200):
        R = np.concatenate([rng.exponential(0.7, n), 3 * np.sqrt(rng.uniform(size=others))])
        v = np.concatenate([rng.normal(0, dispersion, n), rng.uniform(-5000, 5000, others)])
        assert spread_velocities(R, v) is None
