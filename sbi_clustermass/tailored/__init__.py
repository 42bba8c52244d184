"""Estimators made for the clusters at hand: they are looked at, mocks like them simulated, a network trained.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].

Example:
    >>> look = look_at_tables([Path("galaxies.csv")])  # doctest: +SKIP
    >>> choices = choose(look)  # doctest: +SKIP
    >>> estimator = train_for(choices, Path("runs/mine"))  # doctest: +SKIP
"""

from sbi_clustermass.tailored.choices import choose
from sbi_clustermass.tailored.compared import Compared
from sbi_clustermass.tailored.look import DataLook, Span, look_at
from sbi_clustermass.tailored.run import look_at_tables, section, train_for
from sbi_clustermass.tailored.settings import Choice, Choices, Wishes

__all__ = [
    "Choice",
    "Choices",
    "Compared",
    "DataLook",
    "Span",
    "Wishes",
    "choose",
    "look_at",
    "look_at_tables",
    "section",
    "train_for",
]
