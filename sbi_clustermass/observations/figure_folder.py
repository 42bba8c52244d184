"""A folder of figures, a page for each cluster, written one after the other."""

import re
import unicodedata
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import expand_paths
from sbi_clustermass.observations.cluster_figure import cluster_figure
from sbi_clustermass.observations.cluster_page import ClusterPage
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.sanitize import printable

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.tables.literature_masses import PublishedMasses

_DPI = 150
_LONGEST = 80  # bytes of a name: file systems allow 255, and a temporary name adds some
_ERRORS = (ValueError, ArithmeticError, RuntimeError, LookupError)  # caught per cluster: the others are still drawn


@final
@dataclass
class FigureFolder:
    """Folder that receives a figure for each mass.

    Attributes:
        folder: Path, created if needed.
        estimator: Estimator of the masses.
        stamp: Model behind the masses.
        published: Published masses to draw next to ours; None for none.
        suffix: Suffix of the files, without the dot: png or pdf.
    """

    folder: Path
    estimator: "MassEstimator"
    stamp: "ModelStamp"
    published: "PublishedMasses | None" = None
    suffix: str = "png"
    _taken: set[str] = field(default_factory=set)
    _seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        expand_paths(self)

    def __call__(self, result: ClusterResult) -> Path | None:
        """Draw one cluster and return the file's path; None where it has no mass or cannot be drawn.

        Raises:
            OSError: The folder cannot be written.
        """
        self._seen.append(result.name)
        if not isinstance(result, MassResult):
            return None
        path = self.folder / f"{self._name(result.name)}.{self.suffix}"
        try:
            self._draw(result, path)
        except _ERRORS as error:
            warnings.warn(printable(f"no picture of {result.name}: {error}"), UserWarning, stacklevel=2)
            return None
        return path

    def warn_of_unused(self) -> None:
        """Warn of published masses of clusters that were not drawn."""
        if self.published is not None and (text := self.published.unmatched(self._seen)):
            warnings.warn(printable(text), UserWarning, stacklevel=2)

    def _draw(self, mass: MassResult, path: Path) -> None:
        published = () if self.published is None else self.published.for_cluster(mass.name)
        figure = cluster_figure(ClusterPage.from_result(mass, self.estimator, self.stamp, published))
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # letters without a font become boxes
            figure.savefig(temporary, format=self.suffix, dpi=_DPI)

    def _name(self, name: str) -> str:
        """A name that no other cluster's file has, also where the file system ignores case."""
        plain, number = file_name(name), 1
        found = plain
        while found.casefold() in self._taken:
            number += 1
            found = f"{plain}_{number}"
        self._taken.add(found.casefold())
        return found


def file_name(name: str) -> str:
    """Convert a cluster's name to that of a file: letters and digits of any alphabet and . + - are kept.

    Example:
        >>> file_name("../Abell 2029 / μ")
        'Abell_2029_μ'
    """
    text = re.sub(r"[^\w.+-]+|_+", "_", unicodedata.normalize("NFC", name)).strip("_.-")
    return text.encode()[:_LONGEST].decode(errors="ignore") or "cluster"
