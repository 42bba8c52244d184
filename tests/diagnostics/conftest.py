"""Small random forests, for tests in which the accuracy of sbi's classifiers does not matter."""

from functools import partial

import pytest
from sklearn.ensemble import RandomForestClassifier


@pytest.fixture(scope="module")
def small_forests():
    """Forests of five trees instead of a hundred, on 100 clusters: their accuracy has no mark."""
    import sbi.utils.metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sbi.utils.metrics, "RandomForestClassifier", partial(RandomForestClassifier, n_estimators=5))
        patch.setattr("sbi_clustermass.diagnostics.simulation_based_calibration._CLASSIFIED", 100)
        yield
