"""From the paper's scatter to our best: the same test clusters, one step at a time.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; residuals are log10(M_predicted / M_true) [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from kodi_ramanah_2020.predictions import predictions
from kodi_ramanah_2020.published import PUBLISHED
from kodi_ramanah_2020.sample import Sample, cell, published_cell
from sbi_clustermass.diagnostics.validation.scores import Scores
from sbi_clustermass.report import Section, Table

HEADER = ("network", "mean", "scatter", "change", "14 to 15", "14.8 to 15.2: mean |residual|")


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Test sets with interlopers and their posteriors, each one change after the one before."""

    samples: tuple[Sample, ...]
    scores: tuple[Scores, ...]

    def section(self) -> Section:
        """Return the section with one row a step."""
        text = (
            "Each row differs from the one above it in what its name says, and all of ours are tested on the same "
            "clusters. The first step is that from the paper's mocks to ours."
        )
        return Section("From the paper's scatter to our best", [text], tables=[self._table()])

    def _table(self) -> Table:
        theirs = PUBLISHED["contaminated"]
        published = (theirs.mean, theirs.scatter, theirs.intermediate, theirs.massive)
        scatters = [theirs.scatter, *(0.0 if each.scatter is None else each.scatter.value for each in self.scores)]
        changes = ["–", *(f"{after - before:+.3f}" for before, after in pairwise(scatters))]
        cells = [[published_cell(number) for number in published]]
        cells += [[*map(cell, (each.mean, each.scatter, each.middle, each.massive))] for each in self.scores]
        names = ["the paper", *(sample.name for sample in self.samples)]
        rows = [(name, *row[:2], change, *row[2:]) for name, row, change in zip(names, cells, changes, strict=True)]
        note = (
            "Residuals are log10(predicted/true) [dex], the negative of the paper's epsilon, with Monte Carlo errors."
        )
        return Table("Scatter, step by step", HEADER, tuple(rows), note)


def steps(samples: Sequence[Sample]) -> Steps:
    """Score samples of the same test clusters, in the order of the steps."""
    return Steps(tuple(samples), predictions(samples).scores)
