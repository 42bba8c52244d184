"""A folder of pictures, a page for each cluster, written one after the other."""

import re
import unicodedata
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from clustermocks.io.atomic import replacing
from sbi_clustermass.observations.cluster_figure import cluster_figure
from sbi_clustermass.observations.cluster_page import sheet_of
from sbi_clustermass.observations.results import ClusterResult, MassResult
from sbi_clustermass.observations.sanitize import printable

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.tables.literature_masses import PublishedMasses

Format = Literal["png", "pdf"]
FORMATS = ("png", "pdf")
_DPI = 150
_LONGEST = 80  # bytes: file systems take 255, a temporary name adds some
_FAULTS = (ValueError, ArithmeticError, RuntimeError, LookupError)  # of one cluster, which cost the others nothing


@final
@dataclass
class FigureFolder:
    """A folder that gets a picture for each mass.

    Attributes:
        folder: Made where it is not there.
        estimator: The one behind the masses.
        stamp: What made them.
        published: Masses by others, to be drawn beside ours; None for none.
        form: Of the files.
    """

    folder: Path
    estimator: "MassEstimator"
    stamp: "ModelStamp"
    published: "PublishedMasses | None" = None
    form: Format = "png"
    _taken: set[str] = field(default_factory=set)

    def __call__(self, result: ClusterResult) -> Path | None:
        """Draw one cluster, and say where; None where it has no mass or cannot be drawn.

        Raises:
            OSError: The folder cannot be written.
        """
        if not isinstance(result, MassResult):
            return None
        path = self.folder / f"{self._name(result.name)}.{self.form}"
        try:
            self._draw(result, path)
        except _FAULTS as error:
            warnings.warn(printable(f"no picture of {result.name}: {error}"), UserWarning, stacklevel=2)
            return None
        return path

    def _draw(self, mass: MassResult, path: Path) -> None:
        published = () if self.published is None else self.published.of(mass.name)
        figure = cluster_figure(sheet_of(mass, self.estimator, self.stamp, published))
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for letters that no font has
            figure.savefig(temporary, format=self.form, dpi=_DPI)

    def _name(self, name: str) -> str:
        """A name that no other cluster's file has, whatever the file system makes of capitals."""
        plain, number = file_name(name), 1
        found = plain
        while found.casefold() in self._taken:
            number += 1
            found = f"{plain}_{number}"
        self._taken.add(found.casefold())
        return found


def file_name(name: str) -> str:
    """A cluster's name as that of a file: letters and digits of any alphabet, and . + - as they are.

    Example:
        >>> file_name("../Abell 2029 / μ")
        'Abell_2029_μ'
    """
    text = re.sub(r"[^\w.+-]+|_+", "_", unicodedata.normalize("NFC", name)).strip("_.-")
    return text.encode()[:_LONGEST].decode(errors="ignore") or "cluster"
