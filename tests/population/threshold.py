"""A selection with uncertain parameters of its own, as a user may write one."""

from dataclasses import dataclass

import torch

from sbi_clustermass.population.parameters import log_normal, normal
from sbi_clustermass.population.selection import SelectionModel


@dataclass(frozen=True)
class UncertainThreshold(SelectionModel):
    """P = Phi[(m - c) / w], with a normal prior of c [dex] and a log-normal one of w [dex]."""

    threshold: tuple[float, float]
    width: tuple[float, float]
    of_data: bool = True

    @property
    def priors(self):
        """Priors of c and w."""
        return {
            "selection_threshold": normal("it", "c", self.threshold),
            "selection_width": log_normal("it", "w", self.width),
        }

    def bind(self, log10_mass, survey, relations):
        """Return natural log of P at the masses."""
        masses = torch.as_tensor(log10_mass)

        def log_probability(parameters):
            threshold, width = (parameters[f"selection_{name}"][..., None, None] for name in ("threshold", "width"))
            return torch.special.log_ndtr((masses - threshold) / width)

        return log_probability
