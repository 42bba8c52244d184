"""Chains of a fit as files of GetDist and of Cobaya, which other programs read too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from clustermocks.io.atomic import replacing
from sbi_clustermass.population.blinding import is_blinded, refuse_blinded
from sbi_clustermass.population.components import scalar_chains
from sbi_clustermass.population.priors import Description, bounds

if TYPE_CHECKING:
    from arviz import InferenceData

_LABELS = {
    "Om0": r"\Omega_\mathrm{m}",
    "sigma8": r"\sigma_8",
    "S8": "S_8",
    "m_nu": r"\sum m_\nu",
    "log10_m_star": r"\log_{10} M_*",
    "alpha": r"\alpha",
    "beta": r"\beta",
    "log10_density": r"\log_{10} \mathrm{d}n/\mathrm{d}\log_{10}M",
}
_LIKELIHOOD = "clusters"


def write_getdist(idata: "InferenceData", root: Path) -> None:
    """Write chains for `getdist.loadMCSamples(root)`: ROOT_1.txt and so on, ROOT.paramnames and ROOT.ranges.

    Columns are the weight, which is 1, minus the natural log of the posterior density up to a constant, and the
    parameters, those with a prior before the derived ones. There is no burn-in to remove. Chains of a blinded fit have
    no ranges, as they may have been moved out of them.
    """
    chains, priors = _ordered(idata)
    names = [f"{name}{'' if name in priors else '*'} {_label(name)}" for name in chains]
    ends = {} if is_blinded(idata) else {name: bounds(prior) for name, prior in priors.items()}
    lines = [f"{name} {_end(low)} {_end(high)}" for name, (low, high) in ends.items()]
    _write(root.with_name(f"{root.name}.paramnames"), "\n".join(names))
    _write(root.with_name(f"{root.name}.ranges"), "\n".join(lines))
    _write(root.with_name(f"{root.name}.properties.ini"), "burn_removed = T")
    columns = np.stack([-idata["sample_stats"]["lp"].values, *chains.values()], -1)
    for number, rows in enumerate(columns, 1):
        _save(root.with_name(f"{root.name}_{number}.txt"), rows)


def write_cobaya(idata: "InferenceData", root: Path) -> None:
    """Write chains in Cobaya's form: ROOT.1.txt and so on, and ROOT.updated.yaml with the priors.

    The first line names the columns: weight, minuslogpost, parameters, minuslogprior, and chi2, which is -2 ln of the
    likelihood. `getdist.loadMCSamples(root)` and `cobaya.load_samples` read them.

    Raises:
        ValueError: The fit is blinded: prior densities would give it away.
    """
    refuse_blinded(idata, "write_cobaya")
    chains, priors = _ordered(idata)
    stats = idata["sample_stats"]
    prior, chi2 = -stats["log_prior"].values, 2 * (stats["log_prior"] - stats["lp"]).values
    columns = {"minuslogpost": -stats["lp"].values, **chains}
    columns |= {"minuslogprior": prior, "minuslogprior__0": prior, "chi2": chi2, f"chi2__{_LIKELIHOOD}": chi2}
    header = " ".join(["weight", *columns])
    for number, rows in enumerate(np.stack(list(columns.values()), -1), 1):
        _save(root.with_name(f"{root.name}.{number}.txt"), rows, header)
    derived = {"derived": True}
    params = {
        name: {**({"prior": priors[name]} if name in priors else derived), "latex": _label(name)} for name in chains
    }
    info = {"params": params, "likelihood": {_LIKELIHOOD: None}, "sampler": {"mcmc": {"burn_in": 0}}}
    _write(root.with_name(f"{root.name}.updated.yaml"), json.dumps(info, indent=1))  # YAML contains JSON


def _ordered(
    idata: "InferenceData",
) -> tuple[dict[str, Float[np.ndarray, "chain draw"]], Mapping[str, Description]]:
    """Chains of parameters and then of derived quantities, and the priors of the former."""
    chains, priors = scalar_chains(idata), json.loads(idata.attrs["priors"])
    return {name: chains[name] for name in sorted(chains, key=lambda name: name not in priors)}, priors


def _label(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return _LABELS.get(name, rf"\mathrm{{{escaped}}}")


def _end(value: float | None) -> str:
    return "N" if value is None else repr(value)


def _save(path: Path, rows: Float[np.ndarray, "draw column"], header: str = "") -> None:
    with replacing(path) as temporary:
        np.savetxt(temporary, np.insert(rows, 0, 1.0, axis=1), fmt="%.10g", header=header, encoding="utf-8")


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
