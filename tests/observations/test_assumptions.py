"""The assumptions of a mass, in numbers that another road confirms."""

import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import trapezoid

from clustermocks.haloes.cosmology import mass_function
from sbi_clustermass import Augmentation, Training
from sbi_clustermass.observations.assumptions import explain_cluster, explain_model
from sbi_clustermass.observations.cluster_summary import summary_lines
from sbi_clustermass.observations.inference import under_mass_function


def test_the_posterior_under_the_mass_function_is_given_where_it_is_certain(estimator, results, stamp):
    for mass in results[:5]:
        grid = mass.posterior.grid
        density = mass.posterior.prob[0] / np.exp(mass.posterior.log_prior)
        density = density * mass_function(10**grid, mass.cluster.redshift, estimator.cosmology)
        expected = trapezoid(density * grid, grid) / trapezoid(density, grid)
        found = under_mass_function(mass.posterior, [mass.cluster], estimator)
        assert found.mean[0] == pytest.approx(expected, abs=1e-3)  # trapezia of .01 dex
        median = float(found.quantile(0.5)[0])
        assert median < mass.percentiles[1]  # massive clusters are rare
        printed = "\n".join(explain_cluster(mass, stamp))
        below = trapezoid(np.where(grid <= median, mass.posterior.prob[0], 0), grid)
        assert np.isnan(mass.under_mass_function[1]) == (below < 0.02)
        assert (f"the median is {median:.2f}" in printed) == (below > 0.02)
        assert ("cannot be told" in printed) == (below < 0.02)


def test_the_cylinder_is_given_in_the_units_of_the_sky(estimator, results, stamp):
    printed = "\n".join(explain_cluster(results[0], stamp))
    cosmology = FlatLambdaCDM(H0=100 * stamp.h, Om0=stamp.cosmology.Om0, Tcmb0=0)
    z, aperture = results[0].cluster.redshift, estimator.observation.aperture / stamp.h  # comoving Mpc
    arcmin = aperture / cosmology.kpc_comoving_per_arcmin(z).to_value("Mpc / arcmin")
    assert float(re.search(r"([\d.]+) arcmin", printed)[1]) == pytest.approx(arcmin, abs=0.06)
    assert float(re.search(r"([\d.]+) physical Mpc", printed)[1]) == pytest.approx(aperture / (1 + z), abs=0.006)
    low, high = map(float, re.search(r"redshifts ([\d.]+) to ([\d.]+)", printed).groups())
    beta = estimator.observation.v_cut / 299_792.458
    # 1 + z grows by the relativistic Doppler factor; given to four digits
    assert (1 + high) / (1 + z) == pytest.approx(np.sqrt((1 + beta) / (1 - beta)), abs=1e-4)
    assert (1 + low) / (1 + z) == pytest.approx(np.sqrt((1 - beta) / (1 + beta)), abs=1e-4)


def test_the_model_is_described_with_all_that_its_masses_rest_on(estimator, stamp):
    printed = "\n".join(explain_model(estimator, stamp))
    for words in (
        "R_proj < 1.6 comoving",
        "|v_los| < 2500 km/s",
        "fewer than 10",
        "Om = 0.3071",
        f"{estimator.provenance.training_clusters} clusters by HaloModel at redshift 0.117",
        "flat in log10 mass from 13 to 15.6",
        "does not count",
        "not taught",
        stamp.checksum,
    ):
        assert words in printed


def test_completeness_and_errors_drawn_in_training_are_those_that_are_described(estimator, stamp):
    training = Training(augmentation=Augmentation(completeness=(0.3, 1.0), velocity_error=(0.0, 150.0)))
    thinned = replace(estimator, provenance=replace(estimator.provenance, training=training))
    printed = "\n".join(explain_model(thinned, stamp))
    assert "share of galaxies with a redshift (0.3, 1.0), velocity errors (0.0, 150.0) km/s" in printed


def test_without_a_redshift_nothing_is_made_up(estimator, results, stamp):
    blind = replace(results[0], cluster=replace(results[0].cluster, redshift=np.nan), log10_mass_m_sigma=np.nan)
    printed = "\n".join([*summary_lines(blind, stamp), *explain_cluster(blind, stamp)])
    assert "nan" not in printed
    assert printed.count("needs a redshift") == 2


def test_a_table_that_could_not_be_read_has_its_reason_and_no_assumptions(estimator, results, stamp):
    assert "missing.csv: no such file" in "\n".join(summary_lines(results[-1], stamp))
    assert explain_cluster(results[-1], stamp) == []
