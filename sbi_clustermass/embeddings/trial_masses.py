r"""A cluster in the units of each trial mass of a grid: galaxies counted in bins of its radius and velocity.

Clusters are nearly self-similar: distances in $r_{200c}(M)$ and velocities in $V_{200}(M)$, the density of galaxies
in projected phase space hardly changes with mass. The log-likelihood of galaxies that are independent given the mass,
$\sum_i \log p(R_i, v_i|M)$, is then a sum of the counts in scaled bins times weights that hardly change with M, so that
few weights must be learned and few clusters suffice.

Distances are comoving [h^-1 Mpc], velocities [km/s], masses M200c [h^-1 Msun].
"""

from collections.abc import Sequence
from math import log
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from clustermocks.catalogue.schema import COSMOLOGY
from sbi_clustermass.embeddings.checks import Choice, check_counts, check_flags, check_positive
from sbi_clustermass.embeddings.scaled_counts import FARTHEST_NODES, IN_UNITS, CountShares, ScaledCounts, bin_nodes

_DISPERSION, _CONCENTRATION, _FLOOR = 0.65, 2.6, 1e-3  # of the first guess: [V200], [1], density of outliers
_ROUNDING = 1e-6  # [dex]
_SATURATION = 50.0  # number of galaxies that are worth half as many, before training
_TYPICAL = 30.0  # number of galaxies that stands for every cluster's, if richness must not count


@final
class TrialMasses(Choice, nn.Module):
    """A learned log-likelihood of each trial mass: (batch, galaxy, 3) -> (batch, trial), up to a constant per cluster.

    A fixed stage counts the galaxies in bins of R / r200c and |v| / V200 of every trial mass, each galaxy shared
    linearly among the four nearest nodes. The log-likelihood is made of weights on these counts, polynomials in the
    trial mass that start from a spherical cluster over a few outliers, and of a network on the counts' shares, log N
    and the trial mass. The flow `Tabulated` takes it as its density; any other flow takes it as features.

    With `edge` the first stage also records, on a finer grid, the distance of the farthest galaxy: members of a pure
    sample end at R_vir, which excludes every lower mass. With interlopers nothing ends there: the farthest galaxy
    lies at the end of the field, and the fine grid puts notches into the posterior where that is R_vir.

    Without `richness` counts are scaled to a cluster of 30 galaxies, whatever their number: the result is a function
    of the distribution of the galaxies.

    With `saturating` the likelihood of N galaxies is worth that of N / (1 + N / N_0), N_0 learned: what is not known of
    a survey or of the cluster shifts all galaxies alike, so that more of them do not make a mass ever surer.

    With conditions (`embeddings.conditions`), radius and velocity of a trial mass are those of the cluster's redshift.
    The bins reach farther, as fields and windows may, and a network that also sees where field and window end, in
    units of the trial mass, gives each galaxy the normalisation of its density there. It also sees the cosmology, if
    that is among the conditions.

    Attributes:
        middle: Middle of the trial masses, log10 M200c [h^-1 Msun].
        span: Highest minus lowest trial mass [dex].
        trials: Number of trial masses, at equal distances.
        degree: Degree of the polynomials.
        hidden: Neurons of each hidden layer.
        richness: Whether the number of galaxies enters the likelihood.
        edge: Whether the farthest galaxy enters on a grid of its own; for pure samples of members only.
        saturating: Whether many galaxies are worth less than their number; with `richness` only.
    """

    even = True  # in velocity

    def __init__(
        self, middle: float = 14.3, span: float = 2.6, *, trials: int = 105, degree: int = 3, hidden: int = 32,
        richness: bool = True, edge: bool = False, saturating: bool = False, conditions: bool = False,
        cosmology: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive("TrialMasses", middle=middle, span=span)
        check_counts("TrialMasses", trials=trials, degree=degree, hidden=hidden)
        check_flags("TrialMasses", richness=richness, edge=edge, saturating=saturating, conditions=conditions)
        conditions = conditions or cosmology
        if trials < 2:
            raise ValueError("TrialMasses: trials is 1. It needs at least 2.")
        self.middle, self.span, self.trials = middle, span, trials
        self.degree, self.hidden, self.richness, self.edge, self.saturating = degree, hidden, richness, edge, saturating
        self.counts = ScaledCounts(
            np.linspace(*self.range, trials), edge=edge, conditions=conditions, cosmology=cosmology
        )
        self.likelihood = TrialLikelihood(
            trials, span, degree=degree, hidden=hidden, richness=richness, edge=edge, saturating=saturating,
            conditions=conditions, known=(IN_UNITS + len(COSMOLOGY) * cosmology) * conditions,
        )  # fmt: skip

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest trial mass [dex]."""
        return self.middle - self.span / 2, self.middle + self.span / 2

    def covering(self, low: float, high: float) -> "TrialMasses":
        """Return the same embedding, untrained, for masses [dex] that its own may not reach, at the same distances."""
        first, last = self.range
        if first - _ROUNDING <= low and high <= last + _ROUNDING:
            return self
        step = self.span / (self.trials - 1)
        first, last = min(low, first), max(high, last)
        wider = {"middle": (first + last) / 2, "span": last - first, "trials": round((last - first) / step) + 1}
        return TrialMasses(**{**self.config(), **wider})  # pyright: ignore[reportArgumentType]

    def with_conditions(self, *, cosmology: bool = False) -> "TrialMasses":
        """Return the same embedding, untrained, for observations with conditions, or with those and a cosmology."""
        return TrialMasses(**self.config(), conditions=True, cosmology=cosmology)  # pyright: ignore[reportArgumentType]

    def at_mass(self, *, conditions: bool) -> CountShares:
        """Return an embedding of galaxies in units of a mass that is a condition, for the other parameters."""
        return CountShares(richness=self.richness, conditions=conditions)

    def config(self) -> dict[str, float | int | bool]:
        """Fields of the embedding, for a file: `TrialMasses(**config)` is the same network with new weights."""
        names = ("middle", "span", "trials", "degree", "hidden", "richness", "edge", "saturating")
        return {name: getattr(self, name) for name in names}

    def stages(self) -> tuple[nn.Module, nn.Module]:
        """The counts, which have no weights, and the log-likelihood on them."""
        return self.counts, self.likelihood

    def forward(self, x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch trial"]:
        """Natural log-likelihood of each trial mass, up to a constant per cluster.

        Args:
            x: R_proj [h^-1 Mpc], v_los [km/s], and 1 for a galaxy or 0 for padding.

        Raises:
            ValueError: x has another shape.
        """
        return self.likelihood(self.counts(x))


@final
class TrialLikelihood(nn.Module):
    """Natural log-likelihood of every trial mass from the counts: (batch, trial, bin) -> (batch, trial)."""

    powers: Tensor
    gain: Tensor

    def __init__(
        self, trials: int, span: float, *, degree: int, hidden: int, richness: bool, edge: bool, saturating: bool,
        conditions: bool, known: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.richness, self.edge, self.conditions = richness, edge, conditions
        self.log_saturation = nn.Parameter(torch.tensor(log(_SATURATION))) if saturating and richness else None
        position = np.linspace(-1, 1, trials)
        powers = np.polynomial.legendre.legvander(position, degree)
        guess = _first_guess(*bin_nodes(conditions=conditions))
        share = np.exp(guess) * _areas(*bin_nodes(conditions=conditions))
        gain = 0.1 / np.sqrt(share / share.sum() + 1e-3)  # rare: larger steps
        gain = np.append(gain, np.ones(len(FARTHEST_NODES))) if edge else gain
        self.bins = len(guess)
        weight = np.zeros((len(gain), degree + 1))
        weight[: self.bins, 0] = guess / gain[: self.bins]
        weight[: self.bins, 1] = -0.5 * log(10) * span / gain[: self.bins]
        self.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
        self.reduce = nn.Linear(len(gain), hidden, bias=False)
        inputs = hidden + 1 + richness + known
        self.mix = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 1 + conditions),
        )  # fmt: skip
        buffers = {"powers": powers, "gain": gain[:, None]}
        for name, values in buffers.items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, counts: Float[Tensor, "batch trial bin"]) -> Float[Tensor, "batch trial"]:
        """Natural log-likelihood, with a mean of 0 over the trials."""
        known = counts[..., len(self.gain) :]
        galaxies, extra = counts[..., : self.bins], counts[..., self.bins : len(self.gain)]
        number = galaxies[:, :1].sum(-1, keepdim=True)
        at_least_one = number.clamp(min=1)
        worth = self._worth(number)
        # one product for weights and network: dividing all counts by N first would take longer than everything else
        products = torch.cat([self.weight * self.gain, self.reduce.weight.T], 1)
        widths = [self.weight.shape[1], self.reduce.out_features]
        by_count, by_share = (galaxies @ products[: self.bins]).split(widths, -1)
        by_share = by_share / at_least_one
        by_count = by_count * (worth / at_least_one)
        if self.edge:
            farthest, farthest_share = (extra @ products[self.bins :]).split(widths, -1)
            by_count, by_share = by_count + farthest, by_share + farthest_share
        linear = (by_count * self.powers).sum(-1)
        inputs = [by_share, self.powers[None, :, 1:2].expand(len(counts), -1, -1), known]
        if self.richness:
            inputs.append((at_least_one.log() - log(_TYPICAL)).expand(-1, counts.shape[1], -1))
        mixed = self.mix(torch.cat(inputs, -1))
        curve = linear + mixed[..., 0]
        if self.conditions:
            curve = curve + worth[..., 0] * mixed[..., 1]
        return curve - curve.mean(-1, keepdim=True)

    def _worth(self, number: Float[Tensor, "batch 1 1"]) -> Float[Tensor, "batch 1 1"]:
        """Number of galaxies whose likelihoods multiply."""
        if not self.richness:
            return torch.where(number > 0, _TYPICAL, 0.0)
        return number if self.log_saturation is None else number / (1 + number * (-self.log_saturation).exp())


def _first_guess(R_nodes: Sequence[float], v_nodes: Sequence[float]) -> Float[np.ndarray, "bin"]:
    """Natural log of a density of galaxies in scaled phase space: roughly NFW, Gaussian velocities, outliers."""
    r, u = np.meshgrid(np.asarray(R_nodes) + 0.05, np.asarray(v_nodes), indexing="ij")
    profile = 1 / (r * (1 + _CONCENTRATION * r) ** 2)
    return np.log(profile * np.exp(-0.5 * (u / _DISPERSION) ** 2) + _FLOOR).ravel()


def _areas(R_nodes: Sequence[float], v_nodes: Sequence[float]) -> Float[np.ndarray, "bin"]:
    """Area of each node in scaled phase space, r dr du."""
    r, u = np.asarray(R_nodes), np.asarray(v_nodes)
    return np.outer((r + 0.02) * np.gradient(r), np.gradient(u)).ravel()
