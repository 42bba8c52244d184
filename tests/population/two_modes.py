"""A selection with a parameter of two components, as a user may write one."""

from dataclasses import dataclass

import pyro.distributions as dist
import torch

from sbi_clustermass.population.selection import SelectionModel


@dataclass(frozen=True)
class TwoModes(SelectionModel):
    """A selection whose log has two amplitudes: a parameter of two components."""

    of_data: bool = True

    @property
    def priors(self):
        """Priors of the amplitudes."""
        return {
            "selection_mode": dist.Normal(
                torch.zeros(2).double(), torch.tensor([0.1, 0.2], dtype=torch.float64)
            ).to_event(1)
        }

    def bind(self, log10_mass, survey, relations):
        """Return natural log of P, which rises with mass."""
        masses = torch.as_tensor(log10_mass)
        modes = torch.stack([torch.ones_like(masses), masses - 14.5])

        def log_probability(parameters):
            return (
                torch.special.log_ndtr((masses - 14.2) / 0.1)
                - (parameters["selection_mode"] @ modes)[..., None, :].exp()
            )

        return log_probability
