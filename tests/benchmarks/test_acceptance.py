"""The acceptance table: its statistics against truth made up here, and the table itself on a small sample."""

import numpy as np
import pytest

from benchmarks.acceptance import Check, _Clusters, checks, dispersions, main
from clustermocks import Catalogue, Observation
from clustermocks.haloes.cosmology import MDPL2


def _gaussian_clusters(n, n_galaxies, scatter):
    """Clusters on a known relation, each with n_galaxies velocities."""
    rng = np.random.default_rng(1)
    mass = rng.uniform(13.5, 15.3, n)
    sigma = 10 ** (3.0 + 0.3 * (mass - 15) + scatter * rng.standard_normal(n))
    v_los = (sigma[:, None] * rng.standard_normal((n, n_galaxies))).ravel()
    offsets = np.arange(n + 1) * n_galaxies
    galaxies = {"R_proj": np.full(v_los.size, 0.5), "v_los": v_los}
    return Catalogue.from_arrays(
        Observation(v_cut=20_000.0),
        MDPL2,
        clusters={"log10_mass": mass, "host_id": np.arange(n)},
        galaxies=galaxies,
        offsets=offsets,
    )


def test_dispersions_are_the_unbiased_standard_deviation():
    catalogue = _gaussian_clusters(20, 30, 0.1)
    expected = [catalogue.galaxies(i)[1].astype(float).std(ddof=1) for i in range(20)]
    np.testing.assert_allclose(dispersions(catalogue), expected, rtol=1e-12)  # the same sum in another order


def test_the_relation_put_in_is_found():
    relation = _Clusters.from_catalogue(_gaussian_clusters(3000, 200, 0.08)).relation()
    # 4 sigma of 3000 clusters with scatter .08 (and .02 from 200 velocities) over 1.8 dex of mass
    assert relation.slope == pytest.approx(0.3, abs=4 * 0.083 / 0.52 / np.sqrt(3000))
    assert relation.norm == pytest.approx(3.0, abs=4 * 0.083 * 1.6 / np.sqrt(3000))
    assert relation.scatter == pytest.approx(np.hypot(0.08, 0.0217), rel=4 / np.sqrt(6000))


def test_selection_is_undone_by_weights():
    catalogue = _gaussian_clusters(4000, 100, 0.05)
    rng = np.random.default_rng(2)
    clusters = _Clusters.from_catalogue(catalogue)
    share = np.clip((clusters.log10_mass - 13.3) / 2, 0.1, 1)
    bent = clusters._replace(log10_sigma=clusters.log10_sigma + 0.1 * (clusters.log10_mass - 14.4) ** 2)
    kept = rng.uniform(size=4000) < share
    thinned = _Clusters(*(column[kept] for column in bent._replace(selected=share)))
    # the best line through a curve depends on where the clusters are: .002 is 4 sigma, .02 what no weights would do
    assert thinned.relation().slope == pytest.approx(bent.relation().slope, abs=0.008)


@pytest.mark.slow
def test_the_table_tells_pass_from_fail(capsys):
    assert Check("slope", 0.36, 0.01, 0.366, 0.03).verdict == "pass"
    assert Check("slope", 0.30, 0.01, 0.366, 0.03).verdict == "FAIL"
    assert Check("slope", 0.30, 0.01, 0.366, None).verdict == ""
    status = main(["--n", "1500", "--seed", "3"])
    lines = capsys.readouterr().out.splitlines()
    failed = sum(line.endswith("FAIL") for line in lines)
    assert lines[-1].startswith(f"{failed} of 26 checks failed")
    assert status == (failed > 0)


@pytest.mark.slow
def test_what_passes_keeps_passing():
    verdicts = {check.name: check.verdict for check in checks(20_000, seed=1)}
    assert {name for name, verdict in verdicts.items() if verdict == "FAIL"} <= {
        "M-sigma, contaminated: slope",
        "mass from sigma, contaminated: scatter [dex]",
        "dark matter outside r200c, seen within it and 2.7 sigma",
        "M-sigma, all galaxies: slope",
        "M-sigma, all galaxies: log10 sigma at 10^15",
        "M-sigma, all galaxies: scatter of log10 sigma [dex]",
    }
