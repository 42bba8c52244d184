"""Parameters of a fit as single numbers; one of several components by name and index: `density_contrast[0]`."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from arviz import InferenceData


def scalar_chains(idata: "InferenceData", group: str = "posterior") -> dict[str, Float[np.ndarray, "chain draw"]]:
    """Draws of every component of every parameter, and of derived quantities."""
    return {
        name: values
        for site, array in idata[group].data_vars.items()
        for name, values in components(str(site), array.values).items()
    }


def components(site: str, values: Float[np.ndarray, "chain draw *event"]) -> dict[str, Float[np.ndarray, "chain draw"]]:
    """Draws of each component of one parameter."""
    places = list(np.ndindex(values.shape[2:]))
    return {component_name(site, place): values[(..., *place)] for place in places}


def component_name(site: str, place: tuple[int, ...]) -> str:
    """Name of a component, such as `density_contrast[0]`; a single number keeps the name of its parameter."""
    return f"{site}[{','.join(map(str, place))}]" if place else site
