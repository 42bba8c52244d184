"""Catalogue: what goes in comes out, whatever cuts and files lie between."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from clustermocks import MDPL2, Catalogue, Observation
from clustermocks.catalogue.provenance import Provenance

OBSERVATION = Observation(min_galaxies=3)


def make(seed: int = 0, n: int = 40, min_galaxies: int = 3) -> Catalogue:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, n)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    total = int(counts.sum())
    is_member = rng.random(total) < 0.6
    return Catalogue.from_arrays(
        replace(OBSERVATION, min_galaxies=min_galaxies),
        MDPL2,
        clusters={"log10_mass": rng.uniform(13, 15, n), "host_id": np.arange(n) // 2, "redshift": np.full(n, 0.1)},
        galaxies={
            "R_proj": rng.uniform(0, 1.6, total),
            "v_los": rng.normal(0, 500, total),
            "is_member": is_member,
            "in_cylinder": ~is_member | (rng.random(total) < 0.9),
        },
        offsets=offsets,
        provenance=Provenance("test"),
    )


def test_only_clusters_with_enough_galaxies_are_shown_and_all_attempts_are_kept():
    catalogue = make()
    masses, selected = catalogue.attempted()
    assert len(masses) == 40
    assert selected.sum() == len(catalogue) < 40
    assert catalogue.n_galaxies.min() >= 3
    np.testing.assert_array_equal(masses[selected], catalogue.log10_mass)


@given(st.integers(0, 50))
def test_galaxies_padded_and_flat_columns_hold_the_same_galaxies(seed):
    catalogue = make(seed)
    padded = catalogue.padded(12)
    assert padded.dtype == np.float32
    for i in range(len(catalogue)):
        real = padded[i, :, 2] == 1
        np.testing.assert_array_equal(np.stack(catalogue.galaxies(i)), padded[i, real, :2].T)
        assert real.sum() == catalogue.n_galaxies[i]
        assert not padded[i, ~real].any()
    assert catalogue.n_galaxies.sum() == len(catalogue.galaxy_column("v_los"))


def test_padded_refuses_to_truncate():
    with pytest.raises(ValueError, match="more than width=4"):
        make().padded(4)


def test_parquet_gives_back_the_same_catalogue(tmp_path):
    catalogue = make().select(np.array([5, 2, 2]))
    catalogue.to_parquet(tmp_path / "mocks.parquet")
    again = Catalogue.from_parquet(tmp_path / "mocks.parquet")
    assert again.clusters.equals(catalogue.clusters)
    assert again.attempts.equals(catalogue.attempts)
    assert (again.observation, again.cosmology, again.provenance) == (
        catalogue.observation,
        catalogue.cosmology,
        catalogue.provenance,
    )
    assert [p.name for p in tmp_path.iterdir()] == ["mocks.parquet"]


def test_a_truncated_file_a_foreign_table_and_a_missing_file_say_what_they_are(tmp_path):
    make().to_parquet(tmp_path / "mocks.parquet")
    whole = (tmp_path / "mocks.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="damaged"):
        Catalogue.from_parquet(tmp_path / "half.parquet")
    with pytest.raises(ValueError, match="not a catalogue"):
        Catalogue.from_parquet(tmp_path / "other.parquet")
    with pytest.raises(FileNotFoundError):
        Catalogue.from_parquet(tmp_path / "none.parquet")


def test_pure_keeps_members_only_wherever_they_are_and_cuts_on_their_number():
    catalogue = make(min_galaxies=2)
    pure = catalogue.pure()
    members = dict(
        zip(catalogue.attempts["log10_mass"].to_pylist(), catalogue.attempts["n_members"].to_pylist(), strict=True)
    )
    assert 0 < len(pure) < len(catalogue)
    for mass, n in zip(pure.log10_mass, pure.n_galaxies, strict=True):
        assert n == members[mass] >= 2
    assert pure.galaxy_column("is_member").all()
    np.testing.assert_array_equal(pure.attempted()[1].sum(), len(pure))


@given(st.integers(0, 1000), st.floats(0.2, 0.8))
def test_split_leaves_no_host_on_both_sides_and_loses_nothing(seed, fraction):
    catalogue = make()
    left, right = catalogue.split(fraction, seed=seed)
    assert not set(left.attempts["host_id"].to_pylist()) & set(right.attempts["host_id"].to_pylist())
    assert len(left) + len(right) == len(catalogue)
    assert left.attempts.num_rows + right.attempts.num_rows == catalogue.attempts.num_rows
    for part in (left, right):
        assert part.attempted()[1].sum() == len(part)


def test_concatenating_the_halves_restores_every_cluster():
    catalogue = make()
    whole = Catalogue.concatenate(catalogue.split(0.5, seed=3))
    assert sorted(whole.log10_mass) == sorted(catalogue.log10_mass)
    assert whole.galaxy_column("v_los").sum() == pytest.approx(catalogue.galaxy_column("v_los").sum(), rel=1e-4)
    with pytest.raises(ValueError, match="differ in their observation"):
        Catalogue.concatenate([catalogue, make(min_galaxies=4)])


def test_a_higher_richness_cut_changes_rows_and_attempts_alike_and_a_lower_one_is_refused():
    catalogue = make()
    stricter = catalogue.with_min_galaxies(5)
    assert stricter.n_galaxies.min() >= 5
    assert stricter.attempted()[1].sum() == len(stricter)
    with pytest.raises(ValueError, match="cannot lower"):
        stricter.with_min_galaxies(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 1])}, "offsets must rise"),
        ({"galaxies": {"R_proj": np.array([-1.0, 1.0]), "v_los": np.zeros(2)}}, "not negative"),
        ({"galaxies": {"R_proj": np.array([np.nan, 1.0]), "v_los": np.zeros(2)}}, "finite"),
        ({"galaxies": {"R_proj": np.ones(2)}}, "needs the columns v_los"),
        ({"galaxies": {"R_proj": np.ones(2), "v_los": np.zeros(2), "mass": np.ones(2)}}, "unknown galaxy columns mass"),
        ({"clusters": {"log10_mass": np.array([14.0])}}, "needs the columns host_id"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    good = {
        "clusters": {"log10_mass": np.array([14.0]), "host_id": np.array([1])},
        "galaxies": {"R_proj": np.ones(2), "v_los": np.zeros(2)},
        "offsets": np.array([0, 2]),
    }
    with pytest.raises(ValueError, match=message):
        Catalogue.from_arrays(OBSERVATION, MDPL2, **{**good, **change})


def test_observed_clusters_have_no_members_to_ask_for():
    catalogue = Catalogue.from_arrays(
        OBSERVATION,
        MDPL2,
        clusters={"log10_mass": np.array([np.nan]), "host_id": np.array([0]), "name": np.array(["Coma"])},
        galaxies={"R_proj": np.ones(5), "v_los": np.arange(5.0)},
        offsets=np.array([0, 5]),
    )
    assert catalogue.names == ("Coma",)
    with pytest.raises(ValueError, match="membership is unknown"):
        catalogue.pure()
    with pytest.raises(KeyError, match="There are: log10_mass"):
        catalogue.column("colour")


def test_a_cluster_without_a_setting_of_its_own_has_that_of_the_observation():
    catalogue = make()
    some = np.where(np.arange(len(catalogue)) % 2, np.nan, 1.2)
    table = catalogue.clusters.append_column("aperture", pa.array(some))
    mixed = replace(catalogue, clusters=table)
    np.testing.assert_array_equal(mixed.observation_column("aperture"), np.where(np.isnan(some), 1.6, 1.2))
    np.testing.assert_array_equal(mixed.observation_column("redshift"), np.full(len(catalogue), 0.1))
    np.testing.assert_array_equal(mixed.observation_column("v_cut"), np.full(len(catalogue), 2500.0))
