"""Estimators made for a given survey: its clusters are measured, mocks like them simulated, and a network trained.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].

Example:
    >>> survey = measure_tables([Path("galaxies.csv")])  # doctest: +SKIP
    >>> choices = choose(survey)  # doctest: +SKIP
    >>> estimator = train_for(choices, Path("runs/mine"))  # doctest: +SKIP
"""

from sbi_clustermass.tailored.choices import choose
from sbi_clustermass.tailored.mock_comparison import MockComparison
from sbi_clustermass.tailored.run import measure_tables, section, train_for
from sbi_clustermass.tailored.settings import Choice, Choices, Wishes
from sbi_clustermass.tailored.survey_properties import Span, SurveyProperties, measure_clusters

__all__ = [
    "Choice",
    "Choices",
    "MockComparison",
    "Span",
    "SurveyProperties",
    "Wishes",
    "choose",
    "measure_clusters",
    "measure_tables",
    "section",
    "train_for",
]
