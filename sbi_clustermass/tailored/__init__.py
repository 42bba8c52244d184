"""Estimators made for given clusters: the prior over surveys narrowed to them, mocks drawn from it, networks trained.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].

Example:
    >>> survey = measure_tables([Path("galaxies.csv")])  # doctest: +SKIP
    >>> choices = choose(survey)  # doctest: +SKIP
    >>> estimator = train_for(choices, Path("runs/mine"))  # doctest: +SKIP
"""

from sbi_clustermass.tailored.choices import Choice, Choices, choose
from sbi_clustermass.tailored.run import train_for
from sbi_clustermass.tailored.survey import ClusterProperties, Survey, measure_tables

__all__ = [
    "Choice", "Choices", "ClusterProperties", "Survey", "choose", "measure_tables", "train_for"
]  # fmt: skip
