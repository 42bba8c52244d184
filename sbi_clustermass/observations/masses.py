"""Masses of observed clusters in one call: from a table on disk or in memory to an object for notebooks.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Self, final, overload

from markupsafe import Markup

from clustermocks import Catalogue
from clustermocks.io.extras import naming_extras
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.observations.model_stamp import ModelStamp
from sbi_clustermass.observations.posterior_files import joined
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.tables import TableOptions
from sbi_clustermass.observations.tables.sources import TableLike
from sbi_clustermass.observations.tables_inference import infer_tables
from sbi_clustermass.observations.writers import as_table, table_file
from sbi_clustermass.posterior import MassPosteriors, Posteriors

if TYPE_CHECKING:
    import pandas
    from arviz import InferenceData
    from astropy.table import Table
    from getdist import MCSamples
    from matplotlib.figure import Figure

_DRAWS = 2000  # of each cluster
_HEADER = ("cluster", "log10 M200c [h^-1 Msun], 16 to 84 %", "galaxies", "redshift", "verdict", "")
_ROWS = 20  # clusters that are shown


@final
@dataclass(frozen=True, eq=False)
class Masses(Sequence[ClusterResult]):
    """Masses of the clusters of one table or several, in their order; `infer` makes it.

    It is a sequence of results, and `masses["A85"]` is the one of a name. In a notebook it shows itself as a table with
    a picture.

    Attributes:
        results: Result of each cluster: its mass, or the reason why it has none.
        estimator: Estimator of the masses.
        stamp: Model and units behind them.
    """

    results: tuple[ClusterResult, ...]
    estimator: MassEstimator
    stamp: ModelStamp

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, which: int | str) -> ClusterResult: ...
    @overload
    def __getitem__(self, which: slice) -> Self: ...
    def __getitem__(self, which: int | str | slice) -> ClusterResult | Self:
        """Return a result by position or name, or those of a slice.

        Raises:
            KeyError: No cluster has that name.
            IndexError: There are not as many clusters.
        """
        if isinstance(which, slice):
            return replace(self, results=self.results[which])
        if not isinstance(which, str):
            return self.results[which]
        found = next((result for result in self.results if result.name == which), None)
        if found is None:
            raise KeyError(f"no cluster {which!r}: {', '.join(result.name for result in self.results[:12])}, ...")
        return found

    def __repr__(self) -> str:
        return f"Masses({len(self._masses)} masses of {len(self)} clusters)"

    def __str__(self) -> str:
        """The lines that `clustermass infer` prints, of the first clusters."""
        from sbi_clustermass.observations.cluster_summary import summary_lines

        more = [f"and {len(self) - _ROWS} more: to_table() has all."] if len(self) > _ROWS else []
        lines = (line for result in self.results[:_ROWS] for line in summary_lines(result, self.stamp))
        return "\n".join([*lines, *more])

    @property
    def _masses(self) -> tuple[MassResult, ...]:
        return tuple(result for result in self.results if isinstance(result, MassResult))

    @cached_property
    def posteriors(self) -> MassPosteriors:
        """Mass posteriors of the clusters that have one, for `clustermass population` and the population fits.

        Raises:
            ValueError: No cluster has a mass.
        """
        return joined(self._some())

    @cached_property
    def samples(self) -> Posteriors:
        """2000 draws of all parameters of each cluster that has a mass; of an estimator of the mass alone,
        concentrations are those of haloes of the mass.

        Raises:
            ValueError: No cluster has a mass.
        """
        masses = self._some()
        clusters = Catalogue.concatenate([mass.cluster.catalogue for mass in masses])
        seeds = [zlib.crc32(mass.name.encode()) for mass in masses]  # the same whatever other clusters there are
        return self.estimator.given_mass_or_prior.draw(self.posteriors, clusters, _DRAWS, seeds=seeds)

    def to_table(self) -> "Table":
        """Table with a row for each cluster and the columns of `clustermass infer`, with units and descriptions."""
        return as_table(self.results, self.stamp)

    @naming_extras()
    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a DataFrame."""
        return self.to_table().to_pandas()

    def to_arviz(self) -> "InferenceData":
        """Draws of all clusters for ArviZ."""
        return self.samples.to_arviz()

    def to_getdist(self, cluster: str | int = 0) -> "MCSamples":
        """Draws of one cluster for GetDist."""
        return self.samples.to_getdist(cluster)

    def write(self, path: str | Path) -> None:
        """Write the table as .csv, .ecsv or .parquet.

        Raises:
            ValueError: Another suffix.
        """
        with table_file(as_path(path), self.stamp) as add:
            for result in self.results:
                add(result)

    def plot(self, cluster: str | int = 0) -> "Figure":
        """Draw the page of one cluster: phase space, what the mass hangs on, posterior, checks and profile.

        Args:
            cluster: Name, or position among all.

        Raises:
            ValueError: The cluster has no mass.
        """
        from sbi_clustermass.observations.cluster_figure import cluster_figure
        from sbi_clustermass.observations.cluster_page import ClusterPage

        mass = self[cluster]
        if not isinstance(mass, MassResult):
            raise ValueError(f"{mass.name} has no mass: {mass.reason}")
        return cluster_figure(ClusterPage.from_result(mass, self.estimator, self.stamp))

    def _repr_html_(self) -> str:
        """A table of the first clusters, and a picture: the page of a single cluster, the posteriors of several."""
        rows = Markup().join(Markup("<tr>{}</tr>").format(_cells("td", row)) for row in map(_row, self.results[:_ROWS]))
        more = Markup("<p>and {} more: to_table() has all.</p>").format(len(self) - _ROWS) if len(self) > _ROWS else ""
        head = Markup("<tr>{}</tr>").format(_cells("th", _HEADER))
        return str(Markup("<table>{}{}</table>{}{}").format(head, rows, more, self._picture()))

    def _picture(self) -> Markup:
        from sbi_clustermass.posterior.plots import intervals_picture

        if not self._masses:
            return Markup()
        figure, png = self.plot() if len(self) == 1 else intervals_picture(self.posteriors), BytesIO()
        figure.savefig(png, format="png", dpi=100)
        alt, image = "masses and what they rest on", b64encode(png.getvalue()).decode()
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, image)

    def _some(self) -> tuple[MassResult, ...]:
        if not self._masses:
            raise ValueError(f"no cluster has a mass.\n{self}")
        return self._masses


def _row(result: ClusterResult) -> Iterator[str]:
    if not isinstance(result, MassResult):
        yield from (result.name, "", "", "", "no mass", result.reason)
        return
    low, median, high = result.percentiles
    yield from (result.name, f"{median:.2f} ({low:.2f} to {high:.2f})", str(result.cluster.n_galaxies))
    yield from (f"{result.cluster.redshift:.4f}", str(result.verdict), "; ".join(result.warnings))


def _cells(tag: str, texts: Iterable[str]) -> Markup:
    return Markup().join(Markup(f"<{tag}>{{}}</{tag}>").format(text) for text in texts)


def infer(
    *tables: TableLike,
    options: TableOptions | None = None,
    model: str | Path | MassEstimator | None = None,
    device: str = "auto",
    n_jobs: int | None = 1,
) -> Masses:
    """Infer the masses of the clusters in tables of their galaxies, as `clustermass infer` does.

    Args:
        tables: Each a path (text, ECSV, FITS, VOTable, HDF5, Parquet), a DataFrame of pandas or polars, a table of
            astropy or Arrow, a dictionary of columns or an array of records; of one cluster, or of many told apart by a
            column such as cluster_id. Columns are recognised by name, UCD and unit.
        options: Facts about the tables that they do not state, such as `TableOptions(redshift=0.09, id="group")`.
        model: A trained estimator, its folder or URL; by default the one that ships with the package.
        device: "auto" takes CUDA if it is available.
        n_jobs: Processes among which the clusters of large tables are shared; -1 for one a core.

    Returns:
        A result for each cluster: a bad one gets the reason why it has no mass, and costs the others nothing.

    Raises:
        TypeError: No table is given.
        FileNotFoundError: There is no such model.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> sky = {"ra": rng.normal(195, 0.2, 80), "dec": rng.normal(28, 0.2, 80)}
        >>> infer({**sky, "z": rng.normal(0.09, 0.002, 80)})
        Masses(1 masses of 1 clusters)
    """
    if not tables:
        raise TypeError("infer: give a table of galaxies, such as infer('cluster.csv') or infer(dataframe).")
    options, folder = options or TableOptions(), None
    if not isinstance(model, MassEstimator):
        folder = resolve_model(model)
        model = MassEstimator.load(folder, device=device)
    stamp = ModelStamp.from_estimator(model, folder=folder, h=options.h)
    return Masses(tuple(infer_tables(tables, model, options, n_jobs=n_jobs)), model, stamp)
