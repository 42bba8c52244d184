"""Observed clusters, if their tables are present: checks of the examples caustic_masses.py and spt.py."""

import runpy
from collections import Counter

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from colossus.cosmology import cosmology as colossus_cosmology
from colossus.lss import peaks
from scipy.optimize import minimize
from scipy.stats import norm

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population import Laplace, Problem, fit
from tests.clustermocks.haloes.tinker_2008 import multiplicity
from tests.paths import ROOT, SHARED

FOLDER = SHARED / "data" / "tables"
OWERS = FOLDER / "owers2017.tsv"
HECS, SPT = FOLDER / "hecs2013.csv", FOLDER / "spt_bocquet2019.fits"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the tables of observed clusters are not here")
EXAMPLES = ROOT / "examples"
CRITICAL = 2.775e11  # critical density at redshift 0 [h^2 Msun Mpc^-3]


def example(name):
    return runpy.run_path(str(EXAMPLES / name))


# ---- HeCS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hecs():
    return example("caustic_masses.py")


@pytest.fixture(scope="module")
def hecs_run(hecs, tmp_path_factory):
    picture = tmp_path_factory.mktemp("hecs") / "new" / "hecs.png"
    return hecs["main"](HECS, picture, Laplace(num_samples=100)), picture


def test_masses_of_hecs_are_those_of_their_radii_times_the_hubble_rate(hecs):
    table, clusters = Table.read(HECS, format="ascii.csv"), hecs["read"](HECS)
    rate = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0).efunc(np.asarray(table["z"]))
    mass = 4 / 3 * np.pi * 200 * CRITICAL * rate**2 * np.asarray(table["r200_Mpc_h"]) ** 3  # [h^-1 Msun]
    assert len(clusters.mass) == 58
    # radii are printed to .005 of .63 h^-1 Mpc or more, which is 2.4 % of a mass, and masses to .8 %
    np.testing.assert_allclose(10**clusters.mass, rate * mass, rtol=0.035)


def test_errors_of_hecs_are_the_relative_ones_over_ln_10(hecs):
    clusters = hecs["read"](HECS)
    i = clusters.names.index("A267")  # sigma 972 +63 -53 km/s, M200c 4.95 ± .31
    assert clusters.log_sigma[i] == pytest.approx(2.98767, abs=1e-5)
    # the half-width of the logs of 972 + 63 and 972 - 53; differs from 58 / 972 by its cube
    expected = 0.5 * np.log10((972 + 63) / (972 - 53))
    assert clusters.log_sigma_error[i] == pytest.approx(expected, rel=0.01)
    assert clusters.mass_error[i] == pytest.approx(0.5 * np.log10((4.95 + 0.31) / (4.95 - 0.31)), rel=0.01)


def bivariate(clusters, floor, mean, width, intercept, slope, scatter):
    """Log density of each cluster's mass estimate and log sigma: a line through normal masses, with normal errors.

    The mass estimate's own density times that of log sigma given it.
    """
    spread = np.hypot(width, np.maximum(clusters.mass_error, floor))
    share = (width / spread) ** 2
    guess = mean + share * (clusters.mass - mean)
    error = np.sqrt(scatter**2 + clusters.log_sigma_error**2 + slope**2 * width**2 * (1 - share))
    about = norm.logpdf(clusters.log_sigma, intercept + slope * (guess - 15), error)
    return norm.logpdf(clusters.mass, mean, spread) + about


@pytest.mark.parametrize("name", ["statistical", "0.1 dex at least"])
def test_likelihood_of_the_fit_to_hecs_is_the_bivariate_normal(hecs, hecs_run, name):
    clusters, idata = hecs["read"](HECS), hecs_run[0][name]
    low, high = hecs["MASSES"]
    for draw in (0, 40, 80):
        at = {key: array.values[0, draw] for key, array in idata["posterior"].data_vars.items()}
        values = (at["mass_mean"], at["mass_width"], *(at[f"{key}_log_sigma"] for key in ("intercept", "slope")))
        inside = np.diff(norm.cdf([low, high], *values[:2]))[0]  # of the normal masses, which end there
        expected = bivariate(clusters, hecs["FLOORS"][name], *values, at["scatter_log_sigma"])
        expected += np.log((high - low) / inside)
        stored = idata["log_likelihood"]["clusters"].values[0, draw]
        # the masses end four errors of .3 dex below one cluster: 7e-5 of its likelihood; elsewhere the grid leaves 1e-6
        np.testing.assert_allclose(stored, expected, atol=2e-4)


def test_slope_of_hecs_is_that_of_scipys_maximum(hecs, hecs_run):
    clusters = hecs["read"](HECS)

    def lack(x):
        return -bivariate(clusters, 0.1, x[0], np.exp(x[1]), x[2], x[3], np.exp(x[4])).sum()

    best = minimize(lack, [14.5, np.log(0.3), 3.0, 0.33, np.log(0.02)], method="Nelder-Mead", options={"maxiter": 4000})
    draws = hecs["values"](hecs_run[0]["0.1 dex at least"])
    # mean against maximum, and 100 draws: half an error
    assert abs(draws["slope"].mean() - best.x[3]) < 0.5 * draws["slope"].std()
    assert abs(np.log10(draws["sigma"]).mean() - best.x[2]) < 0.5 * np.log10(draws["sigma"]).std()


def test_hecs_agrees_with_the_relation_of_haloes(hecs, hecs_run):
    for idata in hecs_run[0].values():
        draws = hecs["values"](idata)
        for name in ("slope", "sigma"):  # three errors: galaxies may move some per cent faster or slower than matter
            assert abs(draws[name].mean() - hecs["EVRARD"][name]) < 3 * draws[name].std(), name


@pytest.mark.skipif(not OWERS.exists(), reason="the table of Owers et al. 2017 is not here")
def test_eight_clusters_of_sami_agree_with_the_relation_of_haloes_too(hecs, tmp_path):
    table, clusters = Table.read(OWERS, format="ascii.tab"), hecs["read"](OWERS)
    assert clusters.names == tuple(table["Name"])
    mass = 10 ** (clusters.mass - 14) * 1e14
    np.testing.assert_allclose(mass / np.asarray(table["M_200_caustic"], float) / 0.7e14, 1.02, atol=0.02)  # E(z)
    for idata in hecs["main"](OWERS, tmp_path / "owers.png", Laplace(num_samples=100)).values():
        draws = hecs["values"](idata)
        for name in ("slope", "sigma"):
            assert abs(draws[name].mean() - hecs["EVRARD"][name]) < 3 * draws[name].std(), name


def test_hecs_is_called_a_consistency_check_wherever_it_is_shown(hecs, hecs_run, capsys):
    found, picture = hecs_run
    hecs["show"](found)
    printed = capsys.readouterr().out
    assert "CONSISTENCY CHECK" in printed
    assert "1082.9" in printed
    assert all("same galaxies" in idata.attrs["consistency_check"] for idata in found.values())
    title = hecs["draw"](hecs["read"](HECS), found).axes[0].get_title()
    assert "consistency check" in title
    assert picture.stat().st_size > 10_000


# ---- SPT ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spt():
    return example("spt.py")


@pytest.fixture(scope="module")
def clusters(spt):
    return spt["read"](SPT)


def test_each_confirmed_spt_cluster_is_used_once_by_its_larger_significance(spt, clusters):
    """343 clusters of xi > 5 and z > .25: Bocquet et al. 2019, abstract."""
    largest, rows = {}, Table.read(SPT)
    for row in rows:
        if row["xi"] > 5 and row["redshift"] > 0.25 and row["xi"] > largest.get(row["SPT_ID"], (0,))[0]:
            largest[row["SPT_ID"]] = (row["xi"], row["redshift"], spt["FIELDS"][row["field"].strip()][1])
    assert len(clusters.xi) == len(largest) == 343
    found = sorted(zip(clusters.xi, clusters.redshift, clusters.gamma, strict=True))
    np.testing.assert_allclose(found, sorted(largest.values()))
    assert clusters.unconfirmed == 22


def test_spt_clusters_listed_twice_were_found_in_two_fields():
    rows = Table.read(SPT)
    twice = [name for name, number in Counter(rows["SPT_ID"]).items() if number > 1]
    assert len(twice) == 8
    for name in twice:
        pair = rows[rows["SPT_ID"] == name]
        assert len(set(pair["field"])) == len(pair) == 2
        assert np.ptp(pair["RA"]) * np.cos(np.radians(pair["DEC"][0])) < 1 / 60, "one place on the sky, to an arcminute"


def test_published_spt_masses_are_in_solar_masses_for_h_of_07(clusters):
    """Not in h^-1 Msun: the radii in the table hold 500 times the critical density of h = .702, Om = .272."""
    rows = Table.read(SPT)
    rows = rows[(rows["xi"] > 5) & (rows["redshift"] > 0.25)]
    rate = FlatLambdaCDM(H0=100, Om0=0.272).efunc(np.asarray(rows["redshift"]))
    mass = 4 / 3 * np.pi * 500 * CRITICAL * 0.702**2 * rate**2 * (np.asarray(rows["r500"]) / 1000) ** 3
    np.testing.assert_allclose(mass, 1e14 * rows["M500"], rtol=1e-3)  # the critical density, to four digits
    largest = clusters.published["at Om = .3 and sigma8 = .8"].max()
    assert largest == pytest.approx(14 + np.log10(0.7 * rows["M500"].max()), abs=1e-6)  # float32


def test_marginalised_spt_masses_are_left_out_where_the_file_has_them_one_cluster_late(spt, clusters):
    rows = Table.read(SPT)
    rows = rows[rows["M500"] > 0]
    late = np.flatnonzero(rows["SPT_ID"] >= spt["LATE"])
    shifted, as_printed = (np.log10(rows["M500_marge"][late[1:]] / rows["M500"][late[1:] - n]) for n in (1, 0))
    before = np.log10(rows["M500_marge"] / rows["M500"])[: late[0]]
    # a different mean relation, but one relation: its scatter is .01 dex, that of masses of others .2
    assert np.std(before) < 0.02
    assert np.std(shifted) < 0.02
    assert np.std(as_printed) > 0.1
    lost = np.isnan(clusters.published["over all cosmologies"]).sum()
    assert lost == len({name for name, xi, z in rows[late]["SPT_ID", "xi", "redshift"] if xi > 5 and z > 0.25})


def tinker_2008(mass, z):
    """dn/dlnM of M500c by colossus' variance; its own mass function interpolates the fit linearly in overdensity."""
    current = colossus_cosmology.getCurrent()
    radius, overdensity = peaks.lagrangianR(mass), 500 * current.rho_c(z) / current.rho_m(z)
    slope = current.sigma(radius, z, derivative=True) / 3  # d ln sigma / d ln M
    f = multiplicity(current.sigma(radius, z), z, overdensity)
    return f * current.rho_m(0) * 1e9 / mass * -slope  # rho_m is in h^2 Msun kpc^-3


def expected_from_colossus(spt, Om0, sigma8, A, B, C, scatter):
    """Clusters of xi > 5 between the redshifts, by sums over redshift, mass and zeta."""
    h, ns, Ob0 = MDPL2.h, MDPL2.ns, MDPL2.Ob0
    before = colossus_cosmology.current_cosmo
    colossus_cosmology.setCosmology(
        "spt", flat=True, H0=100 * h, Om0=Om0, Ob0=Ob0, sigma8=sigma8, ns=ns, relspecies=False, persistence=""
    )
    astropy, mass, t = FlatLambdaCDM(H0=100, Om0=Om0), np.logspace(13.2, 15.8, 66), np.linspace(-6, 6, 97)
    edges, per_shell = np.array(spt["REDSHIFTS"]), 4
    fine = np.linspace(edges[0], edges[-1], per_shell * (len(edges) - 1) + 1)
    volumes, number = np.diff(astropy.comoving_volume(fine).value) / 41_252.96, []
    for z, volume in zip(0.5 * (fine[1:] + fine[:-1]), volumes, strict=True):
        density = tinker_2008(mass, z)
        zeta = A * (mass / 3e14) ** B * (astropy.efunc(z) / astropy.efunc(0.6)) ** C
        total = 0.0
        for area, gamma in spt["FIELDS"].values():
            scattered = gamma * zeta[:, None] * np.exp(scatter * t)
            mean = np.where(scattered > 2, np.sqrt(scattered**2 + 3), scattered * np.sqrt(7) / 2)
            seen = np.trapezoid(norm.sf(5 - mean) * norm.pdf(t), t, axis=1)
            total += area * volume * np.trapezoid(density * seen, np.log(mass))
        number.append(total)
    colossus_cosmology.current_cosmo = before
    return np.reshape(number, (-1, per_shell)).sum(axis=1)


def test_expected_spt_clusters_are_those_of_colossus_astropy_and_plain_sums(spt, clusters):
    """At the published cosmology and relation, in each shell of redshift, the depths of 19 fields included."""
    (A, _), (B, _), (C, _) = spt["PRIORS"]["calibrated"]
    Om0, sigma8, scatter = 0.276, 0.781, 0.161
    model = spt["population"]("calibrated")
    problem = Problem.from_clusters(model, spt["observed"](clusters), spt["sky"](), counts=True)
    values = {"Om0": Om0, "sigma8": sigma8, "intercept_ln_zeta": np.log(A), "slope_ln_zeta": B * np.log(10)}
    values |= {"evolution_ln_zeta": C * np.log(10), "scatter_ln_zeta": scatter}
    rate = problem.log_selected_rate({name: torch.tensor(value).double() for name, value in values.items()}).exp()
    found = (rate @ problem.likelihood.weights).reshape(19, -1).sum(0).numpy()
    expected = expected_from_colossus(spt, Om0, sigma8, A, B, C, scatter)
    # a shell's mass function is that of its mean redshift: the second derivative over .1 leaves 1 %, where clusters are
    # rare 2 %; colossus' interpolated variance moves the mass function by .5 %
    np.testing.assert_allclose(found, expected, rtol=0.025)
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_nine_spt_fields_give_the_published_cosmology_and_their_own_number_of_clusters(spt, clusters, monkeypatch):
    fields = dict(list(spt["FIELDS"].items())[:9])
    monkeypatch.setitem(spt["sky"].__globals__, "FIELDS", fields)
    inside = np.isin(clusters.gamma, [gamma for _, gamma in fields.values()])
    some = clusters._replace(**{name: getattr(clusters, name)[inside] for name in ("xi", "redshift", "gamma")})
    sampler = Laplace(num_samples=60, rounds=1, seed=1)
    found = fit(spt["population"]("calibrated"), spt["observed"](some), spt["sky"](), sampler=sampler)
    draws = spt["values"](found)
    for name, (value, error) in spt["PUBLISHED"].items():
        # of 208 of the 343 clusters, whose error is 1.3 published ones: off by .8, and by .3 with 20 effective draws
        assert abs(draws[name].mean() - value) < 2 * error, name
        assert 0.3 * error < draws[name].std() < 1.7 * error, name
    number = spt["expected"]("calibrated", some, found, draws=20).sum()
    # a draw is uncertain by sqrt(208), and at least 10 of them are effective: four errors
    assert abs(number - inside.sum()) < 4 * np.sqrt(inside.sum() / 10)


@pytest.fixture(scope="module")
def calibrated(spt, clusters):
    sampler = Laplace(num_samples=60, rounds=2, seed=1)
    return fit(spt["population"]("calibrated"), spt["observed"](clusters), spt["sky"](), sampler=sampler)


@pytest.mark.slow
def test_spt_counts_with_the_published_relation_give_the_published_cosmology(spt, calibrated):
    """Within one published error: the data and the relation are those behind the published numbers."""
    draws = spt["values"](calibrated)
    for name, (value, error) in spt["PUBLISHED"].items():
        assert abs(draws[name].mean() - value) < error, name
        assert 0.3 * error < draws[name].std() < 1.7 * error, name


@pytest.mark.slow
def test_the_spt_model_has_as_many_clusters_as_there_are(spt, clusters, calibrated):
    number = spt["expected"]("calibrated", clusters, calibrated).sum()
    # a draw is uncertain by sqrt(343), and at least 10 of the 60 are effective: four errors
    assert abs(number - 343) < 4 * np.sqrt(343 / 10)


@pytest.mark.slow
def test_the_spt_example_prints_both_priors_and_draws_its_picture(spt, tmp_path, capsys):
    found = spt["main"](SPT, tmp_path / "spt.png", Laplace(num_samples=200, seed=1))
    printed = capsys.readouterr().out
    assert "343 clusters" in printed
    assert "22 candidates" in printed
    assert all(name in printed for name in ("simulations", "calibrated", "Bocquet et al. 2019"))
    assert (tmp_path / "spt.png").stat().st_size > 10_000
    wide, narrow = (spt["values"](found[name])["sigma8"].std() for name in ("simulations", "calibrated"))
    assert wide > narrow, "sigma8 is as uncertain as the mass calibration"
