"""Mass estimates that are no log10 masses with errors in dex are refused, with the first of them."""

import numpy as np
import pytest

from sbi_clustermass import MassPosteriors

GRID = np.linspace(13.0, 15.6, 261)
MEAN, STD = np.array([14.2, 14.5]), np.array([0.1, 0.15])


@pytest.mark.parametrize(
    ("mean", "std", "grid", "words"),
    [
        (10**MEAN, STD * 10**MEAN, GRID, r"2 of 2 .* first is 1\.58489e\+14 .* row 0\.\n  try:    log10 of masses"),
        (STD, MEAN, GRID, r"first is 0\.1 ± 14\.2"),  # exchanged
        (MEAN, 100 * STD, GRID, "wider error"),  # per cent
        (MEAN - [0, 9], STD, GRID, "1 of 2 lie further from the grid of masses, 13.00 to 15.60, than it is wide"),
        ([14.2, np.nan], STD, GRID, "1 of 2 are not finite, .* nan ± 0.15 in row 1"),
        (MEAN, -STD, GRID, "2 of 2 .* error that is not positive"),
        (MEAN, [0.1, 0.1, 0.1], GRID, r"found shapes \(2,\) of masses, \(3,\) of errors"),
        (MEAN, STD, 10**GRID, "the grid must rise, in log10 mass up to 20"),
        (MEAN, STD, GRID[::-1], "the grid must rise"),
    ],
)
def test_estimates_in_other_units_or_columns_are_refused(mean, std, grid, words):
    with pytest.raises(ValueError, match=words):
        MassPosteriors.from_normal(mean, std, grid)
