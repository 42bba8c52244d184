"""Results as commands leave them, and a browser to look at their pages."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from sbi_clustermass.report import Picture, Section, Table
from tests.browser import browser  # noqa: F401, a fixture


@pytest.fixture(scope="session")
def sections() -> list[Section]:
    """Results of the kinds that commands leave: a wide table, text columns, pictures, links, warnings and commands."""
    rng = np.random.default_rng(1)
    header = ("method", "prior", *(f"measure {i} [dex]" for i in range(11)))
    cells = rng.normal(0, 5, (6, 11))
    rows = tuple((f"method_{i}", "flat", *(f"{value:.3f} ± 0.002" for value in row)) for i, row in enumerate(cells))
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    figure.subplots().plot(rng.normal(size=50), ".")
    wide = Table("Rivals on the same clusters", header, (*rows, ("failed", "", *[""] * 11)), "For 14 <= log10 M <= 15.")
    lines = Table(
        "Reasons", ("cluster", "reason", "where"), (("a", "short", "x"), ("b", "long " * 40, "y"), ("c", "", "z"))
    )
    picture = Picture("residuals", figure, "Residuals scatter about zero.", "See `residuals`.")
    text = ["After [Kodi Ramanah et al. 2020](https://arxiv.org/abs/2003.05951), with `nsf`."]
    return [
        Section("Rivals", text, [wide], [picture], ["clustermass validate RUN " + "--option value " * 20], ["Few."]),
        Section("Reasons", ["None."], [lines]),
    ]


@pytest.fixture(scope="session")
def run_folder(estimator, mocks, sections, tmp_path_factory) -> Path:
    """A run with an estimator, posteriors and saved results."""
    from sbi_clustermass.report import save_sections

    folder = tmp_path_factory.mktemp("runs") / "small"
    estimator.save(folder)
    estimator.posterior(mocks.select(np.arange(50))).to_parquet(folder / "masses.parquet")
    save_sections(folder / "validation", sections)
    return folder
