"""The shifting gapper: by its definition, counted in loops."""

import numpy as np
from hypothesis import given, strategies as st

from clustermocks.kinematics.shifting_gapper import shifting_gapper
from tests.clustermocks.kinematics.plain import clusters, plain_shifting_gapper


@given(clusters(), st.sampled_from([300.0, 1000.0]), st.sampled_from([3, 15]))
def test_the_shifting_gapper_does_what_it_says(cluster, gap, fewest):
    found = shifting_gapper(*cluster, gap=gap, fewest=fewest)
    np.testing.assert_array_equal(found, plain_shifting_gapper(*cluster, gap, 0.4, fewest))


def test_a_lone_fast_galaxy_goes_and_a_fast_one_among_others_stays():
    R_proj = np.linspace(0.1, 0.3, 21)
    v_los = np.append(np.linspace(-800, 800, 20), 1850.0)
    assert not shifting_gapper(R_proj, v_los)[-1]
    bridge = np.append(v_los, 1400.0)
    assert shifting_gapper(np.append(R_proj, 0.2), bridge).all()


def test_velocity_gaps_count_only_among_galaxies_at_similar_distance():
    """A stray galaxy far out has the company of fast galaxies in the centre in velocity, not in distance."""
    centre = np.column_stack([np.linspace(0.0, 0.2, 40), np.linspace(-1800, 1800, 40)])
    outskirts = np.column_stack([np.linspace(1.2, 1.4, 20), np.linspace(-300, 300, 20)])
    R_proj, v_los = np.vstack([centre, outskirts, [1.3, 1700.0]]).T
    kept = shifting_gapper(R_proj, v_los)
    assert kept[:-1].all()
    assert not kept[-1]
