"""SphericalJeans refuses what has no likelihood: impossible parameters, settings and galaxies, each by name."""

import numpy as np
import pytest

from clustermocks import Cosmology, JeansGalaxies, Observation, SphericalJeans

SCATTER = JeansGalaxies(mass_concentration_scatter=0.16, anisotropy=-0.1, anisotropy_spread=0.3)
FREE = SphericalJeans(background=5.0, free=("log10_c200c", "beta"))


@pytest.mark.parametrize("theta", [[14.0, 1e14], [12.0], [np.nan], [[14.0, 0.5]], [], 14.0])
def test_masses_out_of_range_or_shape_are_refused(theta):
    for call in (SphericalJeans().log_selected, lambda t: SphericalJeans().simulate(t, seed=1)):
        with pytest.raises(ValueError, match="log10_mass"):
            call(theta)


@pytest.mark.parametrize("row", [[14.0, 2.0, 0.0], [14.0, 0.6, 0.7], [14.0, np.nan, 0.0], [14.0]])
def test_further_parameters_out_of_range_are_refused(row):
    with pytest.raises(ValueError, match=r"log10_c200c|beta"):
        FREE.log_selected([row])


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"richness": "poisson"}, "richness"),
        ({"background": -1.0}, "background"),
        ({"background": np.nan}, "background"),
        ({"free": ("mass",)}, "free"),
        ({"free": ("beta", "beta")}, "free"),
        ({"free": "beta"}, "free"),
        ({"free": ("beta",), "galaxies": JeansGalaxies(anisotropy=0.2)}, "beta is free"),
        ({"free": ("log10_c200c",), "galaxies": SCATTER}, "log10_c200c is free"),
    ],
)
def test_impossible_models_are_refused_by_name(fields, match):
    with pytest.raises(ValueError, match=match):
        SphericalJeans(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"number": 0.0},
        {"number_slope": np.nan},
        {"number_scatter": 0.6},
        {"concentration": -1.0},
        {"mass_concentration_scatter": -0.1},
        {"anisotropy_spread": np.nan},
        {"anisotropy": 0.6},
        {"anisotropy": "osipkov"},
        {"anisotropy": np.nan},
        {"anisotropy_spread": 0.1, "anisotropy": "mamon_lokas"},
    ],
)
def test_impossible_galaxies_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        JeansGalaxies(**fields)


@pytest.mark.parametrize(
    "galaxy", [[1.7, 0.0, 1], [0.5, 2600.0, 1], [np.nan, 0.0, 1], [0.5, np.inf, 1], [-0.1, 0.0, 1], [0.5, 0.0, 0.5]]
)
def test_galaxies_outside_the_cylinder_are_refused(galaxy):
    with pytest.raises(ValueError, match="galaxies"):
        SphericalJeans().log_likelihood(np.array([[galaxy]]), [14.0])


def test_a_catalogue_observed_otherwise_is_refused():
    mocks = SphericalJeans().simulate([14.5], seed=1)
    for other in (SphericalJeans(observation=Observation(aperture=2.0)), SphericalJeans(cosmology=Cosmology(Om0=0.35))):
        with pytest.raises(ValueError, match="catalogue"):
            other.log_likelihood(mocks, [14.0])
    stricter = mocks.with_min_galaxies(mocks.n_galaxies[0])
    assert np.isfinite(SphericalJeans().log_likelihood(stricter, [14.5])).all()
