"""The model behind a mass, its version, and the h of its units, as every row of a table of masses repeats them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

from clustermocks import Cosmology
from clustermocks.io.atomic import sha256_of
from clustermocks.io.version import installed_version
from sbi_clustermass.estimator.storage import CARD

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_DIGITS = 12


@final
@dataclass(frozen=True)
class ModelStamp:
    """Model and units behind the masses of a table.

    Attributes:
        model: Name of the model's folder.
        checksum: First digits of the SHA-256 of the model's card, and so of the whole model; "" if it was never saved.
        version: Version of sbi_clustermass.
        h: Hubble constant for masses in Msun and lengths in Mpc [100 km/s/Mpc].
        cosmology: Cosmology of the model, for r200c.
    """

    model: str
    checksum: str
    version: str
    h: float
    cosmology: Cosmology

    @classmethod
    def from_estimator(cls, estimator: "MassEstimator", *, folder: Path | None = None, h: float | None = None) -> Self:
        """Read name, checksum and cosmology of an estimator.

        Args:
            estimator: Estimator of the masses.
            folder: Folder it was read from; None if it was not.
            h: Hubble constant of the user; where it is None or 1, which stands for h^-1 Mpc, the estimator's counts.
        """
        name, checksum = "", ""
        if folder is not None:
            name = folder.resolve().name
            checksum = sha256_of(folder / CARD)[:_DIGITS]  # the card holds the checksums of the other files
        own = estimator.cosmology
        return cls(name, checksum, installed_version("sbi-clustermass"), own.h if h in (None, 1.0) else h, own)
