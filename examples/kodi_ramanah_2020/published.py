"""Numbers that Kodi Ramanah et al. 2020 (arXiv:2003.05951) print.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; residuals are log10(M_predicted / M_true) [dex], the negative of the
paper's epsilon.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

Kind = Literal["contaminated", "pure"]

OTHER_SIMULATOR = (
    "The paper's numbers are from clusters of the N-body simulation MDPL2, ours from another simulator, a halo model "
    "made to the same recipe: the clusters are similar, but not the same."
)
OTHER_SIGN = (
    "Residuals are log10(predicted/true), the negative of the paper's epsilon; its means are given here with our sign."
)
CLASSICAL_SCATTER = 0.369  # [dex] of M-sigma in 14 to 15 with interlopers, in the notebook of Ho et al. 2019
CNN_SCATTER = 0.132  # [dex] of the two-dimensional CNN of Ho et al. 2019 in that range (section 1)
CNN_GAIN, TOTAL_GAIN = "33 %", "nearly 4"  # over the CNN and over M-sigma (section 5)
LARGEST_RESIDUALS = "0.24, 0.24"  # [dex] of the outliers in 14.8 to 15.2 (section 5)
GCMRP_AT_100 = 0.15  # [dex] total scatter of the best traditional methods at N = 100 (section 1, after Old et al. 2015)


@final
@dataclass(frozen=True)
class PublishedNumbers:
    """Numbers of the paper's section 5 for one of its two test sets; None if it prints none.

    Attributes:
        mean: Mean residual [dex].
        scatter: Standard deviation of the residuals [dex].
        intermediate: Standard deviation of the residuals for true masses of 10^14 to 10^15 [dex].
        massive: Mean absolute residual for 10^14.8 to 10^15.2 [dex].
        width: Standard deviation of posteriors of the most massive clusters [dex].
        sigma_N: sigma_N of eq. 8, at 100 galaxies [dex].
        sigma_0: sigma_0 of eq. 8 [dex].
    """

    mean: float
    scatter: float
    intermediate: float | None
    massive: float | None
    width: float
    sigma_N: float
    sigma_0: float


PUBLISHED: Mapping[Kind, PublishedNumbers] = {
    "contaminated": PublishedNumbers(-0.028, 0.126, 0.089, 0.067, width=0.13, sigma_N=0.07, sigma_0=0.05),
    "pure": PublishedNumbers(-0.007, 0.058, None, None, width=0.08, sigma_N=0.05, sigma_0=0.05),
}


@final
@dataclass(frozen=True)
class PublishedCluster:
    """A row of the paper's Table 1.

    Attributes:
        name: Name of the cluster.
        inferred: Posterior mean and standard deviation by the paper's flow [dex].
        literature: Dynamical mass from the literature with its lower and upper error [dex].
        reference: Reference of the literature mass.
    """

    name: str
    inferred: tuple[float, float]
    literature: tuple[float, float, float]
    reference: str


TABLE_1 = (
    PublishedCluster("Coma", (14.84, 0.11), (14.91, 0.11, 0.11), "Łokas & Mamon 2003"),
    PublishedCluster("A1689", (14.88, 0.10), (15.05, 0.12, 0.12), "Lemze et al. 2009"),
    PublishedCluster("A85", (14.78, 0.13), (14.88, 0.07, 0.07), "Wojtak & Łokas 2007"),
    PublishedCluster("A119", (14.60, 0.12), (14.61, 0.11, 0.11), "Abdullah et al. 2020"),
    PublishedCluster("A576", (14.72, 0.10), (14.69, 0.08, 0.08), "Wojtak & Łokas 2007"),
    PublishedCluster("A1651", (14.85, 0.13), (14.81, 0.11, 0.11), "Wojtak & Łokas 2007"),
    PublishedCluster("A2142", (14.83, 0.14), (14.95, 0.14, 0.04), "Munari et al. 2014"),
    PublishedCluster("A2670", (14.60, 0.10), (14.72, 0.10, 0.10), "Abdullah et al. 2020"),
)
