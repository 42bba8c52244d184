"""Warnings quantify the bias of clusters unlike the training set, and a hopeless cluster gets no mass."""

from dataclasses import replace
from typing import Any

import astropy.cosmology
import numpy as np
import pytest

from clustermocks import MDPL2, Catalogue
from clustermocks.catalogue.provenance import Change
from sbi_clustermass import Augmentation, Training
from sbi_clustermass.estimator.mass_bias import error_shift, redshift_shift

FlatLambdaCDM: Any = astropy.cosmology.FlatLambdaCDM  # its signature is hidden from type checkers
SKY = FlatLambdaCDM(H0=67.77, Om0=MDPL2.Om0, Tcmb0=0)


def observed(mocks, *, n=80, sigma=700.0, **columns):
    """One cluster as it would be read from a table."""
    rng = np.random.default_rng(1)
    return Catalogue.from_arrays(
        mocks.observation,
        MDPL2,
        clusters={"log10_mass": np.array([np.nan]), "host_id": np.array([0])}
        | {name: np.array([value]) for name, value in columns.items()},
        galaxies={"R_proj": rng.uniform(0.01, 1.5, n), "v_los": rng.normal(0, sigma, n).clip(-2400, 2400)},
        offsets=np.array([0, n]),
    )


def with_mocks(estimator, **facts):
    """The estimator, had its mocks been made in another way."""
    mocks = replace(estimator.provenance.mocks, **facts)
    return replace(estimator, provenance=replace(estimator.provenance, mocks=mocks))


def warnings_of(estimator, cluster):
    return estimator.warnings(cluster, estimator.posterior(cluster))[0]


@pytest.mark.parametrize("z", [0.02, 0.3, 0.8])
def test_the_shift_with_redshift_is_that_of_e_of_z_by_astropy(z):
    expected = np.log10(SKY.efunc(z) / SKY.efunc(0.117))
    assert redshift_shift(z, 0.117, MDPL2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("sigma", "error", "trained"), [(500.0, 300.0, 0.0), (400.0, 250.0, 100.0)])
def test_the_shift_with_velocity_errors_is_that_of_a_dispersion_with_other_errors(sigma, error, trained):
    own = np.sqrt(sigma**2 - error**2)  # the cluster's
    seen_in_training = np.hypot(own, trained)
    assert error_shift(sigma, error, trained) == pytest.approx(3 * np.log10(sigma / seen_in_training))
    assert error_shift(sigma, trained, trained) == 0
    assert error_shift(200.0, 250.0, 0.0) == np.inf


def test_another_redshift_is_reported_with_its_bias_and_a_far_one_gets_no_mass(estimator, mocks):
    assert not any("redshift" in text for text in warnings_of(estimator, observed(mocks, redshift=0.15)))
    (text,) = [text for text in warnings_of(estimator, observed(mocks, redshift=0.5)) if "redshift" in text]
    assert f"{np.log10(SKY.efunc(0.5) / SKY.efunc(0.117)):+.2f} dex" in text
    with pytest.raises(ValueError, match=r"redshift 1\.600.*too much for a mass"):
        warnings_of(estimator, observed(mocks, redshift=1.6))
    assert not any("redshift" in text for text in warnings_of(estimator, observed(mocks, redshift=np.nan)))


def test_inside_shells_of_redshift_the_bias_of_a_clusters_own_is_reported(estimator, mocks):
    shells = with_mocks(estimator, redshifts=(0.05, 0.1, 0.3))
    (text,) = [text for text in warnings_of(shells, observed(mocks, redshift=0.29)) if "redshift" in text]
    assert "0.050 to 0.300" in text
    assert "not told" in text


def test_velocity_errors_larger_than_any_in_the_training_are_reported_or_refused(estimator, mocks):
    assert not any("errors" in text for text in warnings_of(estimator, observed(mocks, velocity_error=50.0)))
    (text,) = [text for text in warnings_of(estimator, observed(mocks, velocity_error=300.0)) if "errors" in text]
    assert "300 km/s" in text
    with pytest.raises(ValueError, match="too much for a mass"):
        warnings_of(estimator, observed(mocks, sigma=400.0, velocity_error=390.0))
    drawn = replace(estimator.provenance, training=Training(augmentation=Augmentation(velocity_error=(0.0, 310.0))))
    in_mocks = {**estimator.provenance.mocks.settings, "velocity_error": 200.0}
    for trained in (
        replace(estimator, provenance=drawn),
        with_mocks(estimator, velocity_error=(0.0, 310.0)),
        with_mocks(estimator, settings=in_mocks, velocity_error=(0.0, 240.0)),  # in quadrature: 312
    ):
        assert not any("errors" in text for text in warnings_of(trained, observed(mocks, velocity_error=300.0)))


def test_more_galaxies_than_any_mock_has_are_reported_with_both_numbers(estimator, mocks):
    most = estimator.richness[1]
    (text,) = [text for text in warnings_of(estimator, observed(mocks, n=2 * most)) if "galaxies" in text]
    assert f"{2 * most} galaxies" in text
    assert "2.0 times deeper" in text


def test_an_estimator_of_cleaned_mocks_says_so(estimator, mocks):
    changes = (Change("recentred", "recentred"), Change("cleaned", "cleaned by {how}", {"how": "clipping"}))
    cleaned = with_mocks(estimator, changes=changes)
    assert any("cleaned of interlopers by clipping" in text for text in warnings_of(cleaned, observed(mocks)))
