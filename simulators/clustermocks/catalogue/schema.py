"""Columns of a catalogue and their valid values.

R_proj is comoving [h^-1 Mpc], v_los in [km/s], position_angle in [rad]: on the sky a galaxy lies at
(x, y) = R_proj (cos position_angle, sin position_angle) from the centre from which R_proj is measured.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

CLUSTER_COLUMNS = ("log10_mass", "host_id")
CONDITIONS = ("redshift", "velocity_error", "cleaned")  # what is known of a cluster besides its galaxies
COSMOLOGY = ("Om0", "sigma8")  # true cosmology of mocks, where it is not the one that their observer assumes
# which galaxies belong to a mock cluster: inside R_vir, inside r200c, bound (`haloes.binding`); each may be absent
TRUTHS = ("is_member", "within_r200c", "is_bound")
OBSERVED = ("R_proj", "v_los", "position_angle")  # of galaxies; the angle is absent where only distances are known
GALAXY_TYPES = {
    **dict.fromkeys(OBSERVED, pa.float32()),
    **dict.fromkeys(TRUTHS, pa.bool_()),
    "in_cylinder": pa.bool_(),
}


def check_columns(clusters: Mapping[str, np.ndarray], galaxies: Mapping[str, np.ndarray], offsets: np.ndarray) -> None:
    """Refuse columns that do not make a catalogue."""
    missing = [n for n in CLUSTER_COLUMNS if n not in clusters] + [n for n in ("R_proj", "v_los") if n not in galaxies]
    if missing:
        raise ValueError(f"a catalogue needs the columns {', '.join(missing)}.")
    unknown = [n for n in galaxies if n not in GALAXY_TYPES]
    if unknown:
        raise ValueError(f"unknown galaxy columns {', '.join(unknown)}. Known: {', '.join(GALAXY_TYPES)}.")
    n_galaxies, n_clusters = len(galaxies["R_proj"]), len(clusters["log10_mass"])
    if len(offsets) != n_clusters + 1 or offsets[0] != 0 or offsets[-1] != n_galaxies or np.any(np.diff(offsets) < 0):
        raise ValueError(f"offsets must rise from 0 to {n_galaxies} in {n_clusters + 1} steps, one for each cluster.")
    for name, values in {**clusters, **galaxies}.items():
        expected = n_galaxies if name in galaxies else n_clusters
        if len(values) != expected:
            raise ValueError(f"column {name} has {len(values)} values, expected {expected}.")
    R_proj, v_los = np.asarray(galaxies["R_proj"]), np.asarray(galaxies["v_los"])
    if not (np.isfinite(R_proj).all() and np.isfinite(v_los).all() and (R_proj >= 0).all()):
        raise ValueError("R_proj and v_los must be finite, and R_proj not negative.")
    if not np.isfinite(np.asarray(galaxies.get("position_angle", 0.0))).all():
        raise ValueError("position_angle must be finite [rad]; leave the column out where positions are unknown.")


def attempted(
    clusters: pa.Table,
    galaxies: Mapping[str, np.ndarray],
    offsets: Int[np.ndarray, "cluster_and_one"],
    eligible: Bool[np.ndarray, "cluster"],
) -> pa.Table:
    """Build the table of attempts: a row for each cluster, selected or not, with its number of galaxies and members.

    Where the true cosmology was drawn, that of each attempt follows.
    """
    inside = galaxies.get("in_cylinder", np.ones(len(galaxies["R_proj"]), bool))
    members = galaxies.get("is_member", np.zeros(len(inside), bool))
    drawn = {name: clusters[name] for name in COSMOLOGY if name in clusters.column_names}
    return pa.table(
        {
            "host_id": clusters["host_id"],
            "log10_mass": clusters["log10_mass"],
            "n_galaxies": _count(inside, offsets),
            "n_members": _count(members, offsets),
            "eligible": eligible,
            **drawn,
        }
    )


def _count(flags: np.ndarray, offsets: np.ndarray) -> Int[np.ndarray, "cluster"]:
    return np.diff(np.concatenate([[0], np.cumsum(flags)])[offsets])
