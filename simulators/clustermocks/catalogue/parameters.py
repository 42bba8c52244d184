"""True parameters of mock clusters, which networks learn to infer: their names, and the columns that hold them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from clustermocks.io.registry import lookup

MASS = "log10_mass"
PARAMETERS = {MASS: "log10_mass", "log10_c200c": "concentration", "beta": "anisotropy"}


def read_parameters(clusters: pa.Table, names: Sequence[str]) -> Float[np.ndarray, "cluster parameter"]:
    """Read parameters from the columns of mock clusters; see `Catalogue.parameters`."""
    values = [_read(clusters, name) for name in names]
    return np.stack(values, 1) if values else np.empty((clusters.num_rows, 0))


def _read(clusters: pa.Table, name: str) -> Float[np.ndarray, "cluster"]:
    column = lookup("parameter", name, PARAMETERS)
    values = clusters[column].to_numpy().astype(float) if column in clusters.column_names else np.array([np.nan])
    if not np.isfinite(values).all():
        raise ValueError(
            f"these clusters do not hold {name}: their column {column} is missing, or has gaps.\n"
            "  try:    mocks of HaloModel.simulate(..., physics=PhysicsPrior()), which hold all parameters"
        )
    return np.log10(values) if name == "log10_c200c" else values
