"""Posteriors of a run's clusters as a section.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterator

import numpy as np

from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.pictures import masses_picture
from sbi_clustermass.report.content import Picture, Section, Table

_SHOWN = 20
_EDGE = 0.05  # [dex], and as a share of the posterior: as `doubts` has it
_LEAKED = 0.01  # as a population fit has it


def masses_section(posteriors: MassPosteriors) -> Section:
    """How many posteriors there are, where and how wide; the first of them in a table."""
    mean, std = posteriors.mean, posteriors.std
    low, middle, high = np.percentile(std, [16, 50, 84])
    text = (
        f"{len(posteriors)} cluster{'s' * (len(posteriors) > 1)}, posterior means from {mean.min():.2f} to "
        f"{mean.max():.2f}. The middle posterior is {middle:.3f} dex wide (standard deviation; 16 %: {low:.3f}, "
        f"84 %: {high:.3f})."
    )
    alt = (
        f"Above, the number of clusters by posterior mean, {mean.min():.1f} to {mean.max():.1f}; below, the posterior "
        f"standard deviation of each cluster against its mean, {std.min():.2f} to {std.max():.2f} dex."
    )
    picture = Picture("masses", masses_picture(posteriors), alt, "A point a cluster, below.")
    return Section("Masses", [text], [_table(posteriors)], [picture], warnings=list(_warnings(posteriors)))


def _table(posteriors: MassPosteriors) -> Table:
    shown = posteriors[:_SHOWN]
    columns = [shown.mean, shown.std, *shown.quantile([0.16, 0.5, 0.84])]
    header = ["cluster", "mean [dex]", "std [dex]", "16 % [dex]", "50 % [dex]", "84 % [dex]"]
    if shown.epistemic_std is not None:
        columns, header = [*columns, shown.epistemic_std], [*header, "between networks [dex]"]
    cells = zip(*([f"{value:.3f}" for value in column] for column in columns), strict=True)
    rows = tuple((name, *row) for name, row in zip(shown.names, cells, strict=True))
    part = f"The first {len(shown)} of {len(posteriors)} clusters. " if len(shown) < len(posteriors) else ""
    return Table("Posteriors of log10 mass", tuple(header), rows, f"{part}All of them: `masses.parquet`.")


def _warnings(posteriors: MassPosteriors) -> Iterator[str]:
    low, high = posteriors.grid[0], posteriors.grid[-1]
    shares = (posteriors.pit(low + _EDGE), "low", low), (1 - posteriors.pit(high - _EDGE), "high", high)
    for share, side, edge in shares:
        piled = int((share > _EDGE).sum())
        if piled:
            yield (
                f"{piled} of {len(posteriors)} posteriors have more than {_EDGE:.0%} of their probability within "
                f"{_EDGE} dex of the {side} end of the prior, {edge:g}: the prior decides there."
            )
    if posteriors.leakage > _LEAKED:
        yield f"On average {posteriors.leakage:.1%} of a posterior lay beyond the prior's support and was cut off."
