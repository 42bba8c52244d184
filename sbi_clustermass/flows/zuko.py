"""The zuko flows that sbi ships: monotone maps of each parameter to Gaussian noise.

Each class is its fields and sbi's own builder. sbi's `hidden_features=50` means as many hidden layers of width 50 as
there are transforms; here the widths are given. sbi's circular splines (`zuko_ncsf`) are left out: their density has a
period of 2 pi standard deviations, which suits an angle, but would make the least mass the neighbour of the greatest.
`zuko_cnf` is left out because sbi builds it but does not name it, `zuko_sospf` and `zuko_unaf` because they lose up to
4 % of their probability until they are trained, and `zuko_unaf` takes five times as long as the slowest of the others.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from sbi_clustermass.flows.base import SbiFlow


@final
@dataclass(frozen=True, kw_only=True)
class ZukoMAF(SbiFlow):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057): in one dimension, a Gaussian.

    Attributes:
        hidden_features: Widths of each transform's network.
        num_transforms: Number of affine transforms.
        randperm: Whether several parameters are permuted at random between the transforms.
    """

    name: ClassVar[str] = "zuko_maf"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 5
    randperm: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class ZukoNICE(SbiFlow):
    """Affine coupling layers (Dinh et al. 2014, arXiv:1410.8516): in one dimension, a Gaussian.

    Attributes:
        hidden_features: Widths of each transform's network.
        num_transforms: Number of affine transforms.
        randmask: Whether several parameters are coupled by random masks.
    """

    name: ClassVar[str] = "zuko_nice"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 5
    randmask: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class ZukoNSF(SbiFlow):
    """Autoregressive neural spline flow (Durkan et al. 2019, arXiv:1906.04032).

    In one dimension any density with Gaussian tails beyond five standard deviations of the training masses from their
    mean, where the splines end; several modes included.

    Attributes:
        hidden_features: Widths of each spline's network.
        num_transforms: Number of splines.
        num_bins: Pieces of each spline.
    """

    name: ClassVar[str] = "zuko_nsf"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 5
    num_bins: int = 8


@final
@dataclass(frozen=True, kw_only=True)
class ZukoGF(SbiFlow):
    """Gaussianization flow (Meng et al. 2020, arXiv:2003.01941): normal scores of mixtures of Gaussian distributions.

    In one dimension any density, several modes included. In float32 it is 0, with a logarithm of -inf, where all
    components of a transform are 14 of their widths away: one training mass out there would stop the training.

    Attributes:
        hidden_features: Widths of each transform's network.
        num_transforms: Number of transforms.
        components: Gaussians in each transform.
    """

    name: ClassVar[str] = "zuko_gf"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 3
    components: int = 8


@final
@dataclass(frozen=True, kw_only=True)
class ZukoNAF(SbiFlow):
    """Neural autoregressive flow (Huang et al. 2018, arXiv:1804.00779): monotone networks.

    In one dimension any density, several modes included, within ten standard deviations of the training masses.

    Attributes:
        hidden_features: Widths of each transform's network.
        num_transforms: Number of transforms.
        randperm: Whether several parameters are permuted at random between the transforms.
        signal: Number of features of the observation that each monotone network receives.
    """

    name: ClassVar[str] = "zuko_naf"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 5
    randperm: bool = False
    signal: int = 16


@final
@dataclass(frozen=True, kw_only=True)
class ZukoBPF(SbiFlow):
    """Bernstein polynomial flow (Sick et al. 2020, arXiv:2004.00464; Arpogaus et al. 2022, arXiv:2204.13939).

    In one dimension a smooth density, several modes included, with Gaussian tails beyond five standard deviations of
    the training masses from their mean, where the polynomials end.

    Attributes:
        hidden_features: Widths of each transform's network.
        num_transforms: Number of transforms.
        degree: Degree of the polynomials.
    """

    name: ClassVar[str] = "zuko_bpf"

    hidden_features: tuple[int, ...] = (50, 50)
    num_transforms: int = 3
    degree: int = 16
