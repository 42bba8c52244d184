"""A training set that ends well inside its support is named; one that is sparse there, or cut by richness, is not."""

import warnings

import numpy as np
import pytest

from clustermocks import MDPL2, Catalogue, HaloMassFunction, Observation, flatten
from sbi_clustermass import train
from sbi_clustermass.training import Training
from sbi_clustermass.training.training_set import warn_of_gaps

RANGE = (13.0, 15.6)


def catalogue(masses, poor_below=0.0):
    """Clusters of 12 galaxies, of 2 where they are lighter, under a cut of 10."""
    counts = np.where(masses < poor_below, 2, 12)
    rng = np.random.default_rng(1)
    return Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(masses.size)},
        galaxies={"R_proj": rng.uniform(0, 1.6, counts.sum()), "v_los": rng.normal(0, 500, counts.sum())},
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def flat(n=4000):
    return np.random.default_rng(2).uniform(*RANGE, n)


def test_a_flattened_set_that_ends_inside_its_attempts_is_warned_of_with_the_cure():
    everything = catalogue(flat())
    flattened = everything.select(flatten(everything.log10_mass, 1, low=13.5, high=15.3))
    # 4000 clusters over 2.6 dex: 770 in the half dex below, 460 above
    with warnings.catch_warnings(record=True) as caught:
        warn_of_gaps(flattened, RANGE)
    low, high = (str(each.message) for each in caught)
    assert "end at 13.50, 0.50 dex inside the support 13 to 15.6" in low
    assert "end at 15.30, 0.30 dex inside" in high
    assert "support=(13.5, 15.3)" in low


def test_a_support_beyond_all_attempts_is_warned_of():
    with pytest.warns(UserWarning, match=r"end at 15\.60, 0\.40 dex inside"):
        warn_of_gaps(catalogue(flat()), (13.0, 16.0))


@pytest.mark.parametrize(
    ("mocks", "support"),
    [
        (catalogue(flat()), RANGE),
        (catalogue(flat(), poor_below=13.6), RANGE),  # the cut on richness takes them: the prior knows of it
        (catalogue(flat(150)).select(np.arange(70)), RANGE),
        (catalogue(HaloMassFunction(low=13.0).draw(5000, 1)), (13.0, 16.0)),
        (catalogue(HaloMassFunction(low=13.0).draw(50_000, 1)).select(np.arange(500)), RANGE),
    ],
)
def test_full_selected_and_sparse_ends_are_left_alone(mocks, support):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_gaps(mocks, support)


def test_train_warns():
    everything = catalogue(flat(1000))
    flattened = everything.select(everything.log10_mass < 15.0)
    with pytest.warns(UserWarning, match=r"(?s)end at 15\.00, 0\.60 .*support=\(13, 15\)"):
        train(flattened, training=Training(max_updates=1), seed=1)
