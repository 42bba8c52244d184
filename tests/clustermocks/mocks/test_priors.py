"""Priors over surveys and physics: their laws, what they do to mocks, and that masses stay as they were drawn."""

from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import ks_2samp, kstest

from clustermocks import Catalogue, FlatMasses, HaloModel, Observation, PhysicsPrior, SurveyPrior
from clustermocks.mocks.chunk import GROUP
from tests.tables import same_rows

MODEL = replace(HaloModel(dominant=True).with_clustering(), observation=Observation(min_galaxies=0))
PRIORS = {"surveys": SurveyPrior(), "physics": PhysicsPrior()}
PLAIN = SurveyPrior().narrowed(
    redshift=0.117, aperture=1.6, v_cut=2500.0, velocity_error=0.0, rounding=0.0, tracer_density=0.0245, contrast=1.0,
    completeness=1.0, radial_slope=0.0, radial_power=1.0, cored=0, cleaned=0, fibre_distance=0.0,
    wrong_redshifts=0.0, redshift_offset=0.0, sector=0.0, flattening=0.0, centre_error=0.05,
)  # fmt: skip
FORWARD = {"value": lambda x: x, "log": np.log, "root": np.sqrt}


def laws():
    return [(prior, name) for prior in PRIORS.values() for name in prior.laws]


@pytest.mark.parametrize(("prior", "name"), laws(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_number_follows_its_law_and_a_narrower_range_is_the_wider_one_given_that(prior, name):
    law, (low, high) = prior.laws[name], getattr(prior, name)
    shares = np.random.default_rng(1).uniform(size=2000)
    wide = np.array([law.quantile((low, high), share) for share in shares])
    assert (wide >= low).all()
    assert (wide <= high).all()
    if low == high:
        return
    scaled = (FORWARD[law.uniform_in](wide) - FORWARD[law.uniform_in](low)) / np.diff(
        FORWARD[law.uniform_in](np.array([low, high]))
    )
    assert kstest(scaled, "uniform").pvalue > 1e-3  # one seed, thirty laws
    ends = law.quantile((low, high), 0.3), law.quantile((low, high), 0.6)
    narrow = [law.quantile(ends, share) for share in np.random.default_rng(2).uniform(size=2000)]
    assert ks_2samp(narrow, wide[(wide > ends[0]) & (wide < ends[1])]).pvalue > 1e-3


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_every_field_is_a_law_or_a_list_of_cleanings(prior):
    assert {f.name for f in fields(prior)} - {*prior.laws} - {"cleaned", "cored", "stated"} <= {"cleanings"}


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SurveyPrior(redshift=(0.5, 0.2)), r"SurveyPrior: redshift \[1\] must rise .* found \(0.5, 0.2\)"),
        (lambda: SurveyPrior(redshift=(0.1, 3.0)), r"redshift \[1\] must lie within 0.01 to 2, found \(0.1, 3.0\)"),
        (lambda: SurveyPrior(aperture=(np.nan, 1.0)), r"aperture \[h\^-1 Mpc\]"),
        (lambda: SurveyPrior(aperture=1.6), "aperture .* pair"),
        (lambda: SurveyPrior(cleanings=("by eye",)), "by eye"),
        (lambda: PhysicsPrior(anisotropy=(0.0, 0.9)), "PhysicsPrior: anisotropy"),
        (lambda: SurveyPrior().narrowed(redshift=(0.2, 1.5)), r"narrowed: redshift must be a part of \(0.01, 1.3\)"),
        (lambda: SurveyPrior().narrowed(redshift=(0.3, 0.2)), "narrowed: redshift"),
        (lambda: SurveyPrior(cored=1.5), "SurveyPrior: cored must be 0 to 1"),
        (lambda: SurveyPrior().narrowed(cored=0.1), "narrowed: cored must be a part of 0.2"),
        (lambda: SurveyPrior().narrowed(apertures=(1.0, 1.2)), "Did you mean 'aperture'"),
        (lambda: SurveyPrior(cleanings=("clipping",)).narrowed(cleanings=("caustics",)), "narrowed: cleanings"),
    ],
)
def test_impossible_ranges_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@given(st.floats(0, 1), st.floats(0, 1))
def test_narrowing_twice_is_narrowing_once(first, second):
    ends = sorted((0.3 + 2.7 * first, 0.3 + 2.7 * second))
    twice = SurveyPrior().narrowed(aperture=(ends[0], 3.0)).narrowed(aperture=(ends[0], ends[1]))
    assert twice == SurveyPrior().narrowed(aperture=(ends[0], ends[1]))


@pytest.fixture(scope="module")
def mocks():
    return MODEL.simulate(FlatMasses(13.0, 15.6).draw(1500, 1), seed=1, **PRIORS)


def test_every_draw_is_a_column_that_a_group_of_hosts_shares(mocks):
    for prior in PRIORS.values():
        for name in set(prior.laws) - {"outside_core"}:
            groups = mocks.column(name).reshape(-1, GROUP)
            assert (groups == groups[:, :1]).all()
            low, high = getattr(prior, name)
            assert len(np.unique(groups)) == len(groups)
            assert (groups >= low).all()
            assert (groups <= high).all()
    cored = mocks.column("outside_core") < 1
    assert cored.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / 60))  # binomial, 60 surveys
    cleaned = mocks.column("cleaning") != "none"
    assert cleaned.mean() == pytest.approx(0.35, abs=4 * np.sqrt(0.35 * 0.65 / 60))  # binomial, 60 surveys
    assert set(mocks.column("cleaning")) == {"none", *SurveyPrior().cleanings}
    assert (mocks.observation.aperture, mocks.observation.v_cut) == (3.0, 5000.0)


def test_each_cluster_keeps_to_its_own_field_window_and_rounding(mocks):
    cluster = mocks.cluster_of_galaxy
    R_proj, v_los = (mocks.galaxy_column(name) for name in ("R_proj", "v_los"))
    assert (R_proj < mocks.column("aperture")[cluster] * (1 + 1e-6)).all()  # float32
    assert (np.abs(v_los) < mocks.column("v_cut")[cluster] * (1 + 1e-6)).all()
    near = mocks.column("redshift") < 0.02
    assert (mocks.column("v_cut")[near] <= 0.8 * 299_792.458 * mocks.column("redshift")[near]).all()


def test_masses_stay_flat_under_every_condition_though_clusters_are_dominant(mocks):
    assert (mocks.attempts["eligible"].to_numpy()).all()
    assert not (mocks.column("log10_mass_rival") > mocks.log10_mass).any() or (
        # a heavier halo may stand in a field or window that is wider than the cylinder of the criterion
        mocks.column("aperture")[mocks.column("log10_mass_rival") > mocks.log10_mass].min() > 1.6
    )
    np.testing.assert_array_equal(mocks.log10_mass, FlatMasses(13.0, 15.6).draw(1500, 1))
    for name in ("redshift", "aperture", "v_cut", "completeness", "tracer_density"):
        order = np.argsort(mocks.column(name), kind="stable")
        for third in np.array_split(mocks.log10_mass[order], 3):
            assert kstest(third, "uniform", (13.0, 2.6)).pvalue > 1e-3  # 15 looks at one seed


def test_a_line_drawn_again_is_a_line_without_a_heavier_halo():
    masses = np.full(1200, 13.3)
    model = replace(MODEL, dominant=True)
    again = model.simulate(masses, seed=2, surveys=PLAIN)
    once = replace(model, dominant=False).simulate(np.full(2400, 13.3), seed=3)
    kept = once.select(~(once.column("log10_mass_rival") > 13.3))
    draws = again.column("lines_drawn")
    share = len(kept) / len(once)
    assert 1 / draws.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) * 2 / 1200))  # two binomials
    assert 0.2 < share < 0.9
    assert ks_2samp(again.n_galaxies, kept.n_galaxies).pvalue > 1e-3
    assert ks_2samp(again.galaxy_column("v_los")[::7], kept.galaxy_column("v_los")[::7]).pvalue > 1e-3


@pytest.mark.parametrize("model", [replace(MODEL, dominant=False), HaloModel.ho2019()], ids=["clustered", "ho2019"])
def test_a_prior_of_one_point_gives_the_mocks_of_the_fixed_model(model):
    masses = FlatMasses(13.5, 15.0).draw(800, 4)
    point = replace(PLAIN, centre_error=(model.centre_error, model.centre_error))
    fixed, drawn = model.simulate(masses, seed=1), model.simulate(masses, seed=2, surveys=point)
    assert ks_2samp(fixed.n_galaxies, drawn.n_galaxies).pvalue > 1e-3
    for name in ("R_proj", "v_los"):  # galaxies of a cluster are correlated: one of a few
        few = (mocks.galaxy_column(name)[::40] for mocks in (fixed, drawn))
        assert ks_2samp(*few).pvalue > 1e-3
    assert drawn.attempts["n_members"].to_numpy().mean() == pytest.approx(
        fixed.attempts["n_members"].to_numpy().mean(), rel=0.15
    )  # the same masses; a tenth by the scatter of richness


@pytest.mark.parametrize(
    ("redshift", "tracer_density", "richness_factor", "richness_slope"),
    list(product(*(getattr(prior, name) for prior, name in [
        (SurveyPrior(), "redshift"), (SurveyPrior(), "tracer_density"),
        (PhysicsPrior(), "richness_factor"), (PhysicsPrior(), "richness_slope"),
    ]))),
)  # fmt: skip
def test_every_corner_of_the_defaults_can_be_simulated(redshift, tracer_density, richness_factor, richness_slope):
    surveys = SurveyPrior().narrowed(redshift=redshift, tracer_density=tracer_density)
    physics = PhysicsPrior().narrowed(richness_factor=richness_factor, richness_slope=richness_slope)
    mocks = MODEL.simulate([13.0, 15.6], seed=1, surveys=surveys, physics=physics)
    assert len(mocks) == 2


def test_the_number_of_galaxies_goes_with_depth_and_completeness():
    masses = np.full(600, 14.5)
    counts = {}
    for depth, completeness in product((0.006, 0.024), (0.25, 1.0)):
        prior = replace(PLAIN, tracer_density=(depth, depth), completeness=(completeness, completeness))
        seen = replace(MODEL, dominant=False).simulate(masses, seed=5, surveys=prior)
        counts[depth, completeness] = seen.n_galaxies.mean()
    assert counts[0.006, 1.0] / counts[0.024, 1.0] == pytest.approx(0.25, rel=0.1)  # bright galaxies cluster more
    for depth in (0.006, 0.024):
        assert counts[depth, 0.25] / counts[depth, 1.0] == pytest.approx(0.25, rel=0.05)  # 600 clusters of 20 to 80


def test_physics_moves_what_it_names():
    fixed = PhysicsPrior(
        velocity_bias=(1.0, 1.0), velocity_bias_slope=(0, 0), anisotropy=(0, 0), galaxy_concentration=(2.6, 2.6),
        richness_factor=(1, 1), richness_slope=(0.91, 0.91),
    )  # fmt: skip
    masses = np.full(600, 15.0)

    def seen(**physics) -> Catalogue:
        return replace(MODEL, dominant=False).simulate(
            masses, seed=6, surveys=PLAIN, physics=replace(fixed, **physics)
        ).pure()  # fmt: skip

    usual, fast, tilted = seen(), seen(velocity_bias=(1.05, 1.05)), seen(velocity_bias_slope=(0.1, 0.1))
    spread = usual.galaxy_column("v_los").std()  # Hubble flow and recentring are in it: 1 %
    assert fast.galaxy_column("v_los").std() / spread == pytest.approx(1.05, abs=0.02)
    assert tilted.galaxy_column("v_los").std() / spread == pytest.approx(1.05, abs=0.02)
    assert seen(richness_factor=(1.25, 1.25)).n_galaxies.mean() / usual.n_galaxies.mean() == pytest.approx(
        1.25, abs=0.04
    )
    assert seen(galaxy_concentration=(4.0, 4.0)).galaxy_column("R_proj").mean() < usual.galaxy_column("R_proj").mean()


def test_a_folder_begun_with_other_priors_is_refused_by_what_differs(tmp_path):
    masses = np.full(20, 14.5)
    MODEL.simulate_to(tmp_path / "mocks", masses, seed=1, surveys=SurveyPrior())
    narrow = SurveyPrior().narrowed(redshift=(0.2, 0.3))
    with pytest.raises(ValueError, match=r"surveys.redshift: \(0.01, 1.3\) there, \(0.2, 0.3\) asked for"):
        MODEL.simulate_to(tmp_path / "mocks", masses, seed=1, surveys=narrow)
    with pytest.raises(ValueError, match=r"surveys.redshift: \(0.01, 1.3\) there"):
        MODEL.simulate_to(tmp_path / "mocks", masses, seed=1)


def test_priors_are_in_the_provenance_of_a_file(tmp_path, mocks):
    mocks.select(np.arange(20)).to_parquet(tmp_path / "mocks.parquet")
    back = Catalogue.from_parquet(tmp_path / "mocks.parquet")
    assert tuple(back.provenance.priors["surveys"]["redshift"]) == (0.01, 1.3)
    assert same_rows(back.clusters, mocks.select(np.arange(20)).clusters)
