"""Sections that describe a trained estimator: its training set, its training, its prior and its limits.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from sbi_clustermass.estimator.config import FORMAT
from sbi_clustermass.posterior.plots import prior_picture
from sbi_clustermass.report.content import Picture, Section, Table
from sbi_clustermass.training import History, Training
from sbi_clustermass.training.plots import history

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_UNITS = {
    "redshift": "redshift of the clusters",
    "aperture": "aperture, comoving [h^-1 Mpc]",
    "v_cut": "velocity cut [km/s]",
    "min_galaxies": "fewest galaxies",
    "Om0": "matter density Om0",
    "h": "Hubble constant h [100 km/s/Mpc]",
    "sigma8": "sigma8",
    "ns": "slope of the power spectrum ns",
    "Ob0": "baryon density Ob0",
}


def estimator_sections(estimator: "MassEstimator") -> list[Section]:
    """Describe an estimator: a summary, then training, prior, training set and network in detail."""
    return [
        Section("In brief", list(_brief(estimator)), warnings=list(_warnings(estimator))),
        _training(estimator),
        _prior(estimator),
        _training_set(estimator),
        _network(estimator),
    ]


def versions(estimator: "MassEstimator", here: Mapping[str, str]) -> Table:
    """Tabulate the versions of the packages at training and those now installed."""
    then = estimator.provenance.versions
    rows = tuple((name, then.get(name, ""), here.get(name, "")) for name in dict.fromkeys([*then, *here]))
    return Table("Versions", ("package", "at training", "at this report"), rows, f"Model format {FORMAT}.")


def _brief(estimator: "MassEstimator") -> Iterator[str]:
    (low, high), (fewest, most), members = estimator.support, estimator.richness, len(estimator.histories)
    clusters, simulator = estimator.provenance.training_clusters or "?", estimator.provenance.mocks.simulator or "?"
    flow = f"`{estimator.flow.name}` on `{_embedding(estimator).get('name', '?')}`"
    yield (
        f"{'A network' if members == 1 else f'An ensemble of {members} networks'}, {flow}, of "
        f"{_grouped(_n_weights(estimator))} weights, trained on {_grouped(clusters)} mock clusters of `{simulator}` "
        f"with {fewest} to {most} galaxies each. It answers with a posterior of the mass between 10^{low:g} and "
        f"10^{high:g} h^-1 Msun."
    )
    yield (
        f"The network {'uses' if estimator.counts_galaxies else 'does not see'} the number of galaxies. Masses are "
        "M200c [h^-1 Msun] as log10 mass [dex], lengths comoving [h^-1 Mpc], velocities physical [km/s]."
    )
    if (given_mass := estimator.given_mass) is not None:
        ends = zip(given_mass.parameters, given_mass.low, given_mass.high, strict=True)
        ranges = " and ".join(f"`{name}` ({a:g} to {b:g})" for name, a, b in ends)
        yield f"A further network infers {ranges} given the mass, under the prior that they have in the mocks."
    if estimator.membership is not None:
        yield "Another gives the probability of each galaxy to be a member: inside r200c, inside R_vir, bound."


def _warnings(estimator: "MassEstimator") -> Iterator[str]:
    mocks = estimator.provenance.mocks
    if not estimator.is_truncated:
        yield (
            "Trained with the paper's loss, which ignores the prior's ends: the density beyond them is cut off "
            "afterwards, and coverage near the ends is wrong."
        )
    if mocks.sample == "members":
        yield "Trained on true members only: the galaxies of an observed cluster include interlopers."
    if mocks.settings.get("interlopers") == "satellites":
        yield (
            "The mocks' interlopers are satellites of other haloes only, as in the published mocks: for comparison "
            "with published figures, not for observed clusters."
        )
    if mocks.simulator == "SphericalJeans":
        yield "Trained on idealised spherical clusters, whose likelihood is known: not for observed clusters."
    if estimator.counts_galaxies and not mocks.surveys:
        yield "The number of galaxies counts: right only for spectroscopy as complete as that of the mocks."


def _training_set(estimator: "MassEstimator") -> Section:
    facts = estimator.provenance.as_text()
    choices = [(name.replace("_", " "), text.strip("'")) for name, text in facts.items()]
    tables = [
        _table("Simulator", choices, "As recorded in the mock catalogue."),
        _table(
            "Observation of the mocks",
            _with_units(asdict(estimator.observation)),
            "Real clusters are observed the same way.",
        ),
        _table("Cosmology of the mocks", _with_units(asdict(estimator.cosmology)), "Flat, without radiation."),
    ]
    fewest, most = estimator.richness
    clusters = _grouped(estimator.provenance.training_clusters or "?")
    text = f"{clusters} mock clusters, with {fewest} to {most} galaxies each."
    return Section("Training set", [text], tables)


def _network(estimator: "MassEstimator") -> Section:
    flow = {name: value for name, value in estimator.flow.config().items() if name != "embedding"}
    text = (
        f"An embedding turns the galaxies' projected distances and velocities into features, and a flow turns these "
        f"into a density of the mass. Together they have {_grouped(_n_weights(estimator))} weights."
    )
    tables = [_table("Flow", flow.items()), _table("Embedding", _embedding(estimator).items())]
    return Section("Network", [text], tables)


def _training(estimator: "MassEstimator") -> Section:
    settings, records = estimator.provenance.training, estimator.histories
    last = min(min(record.validation_loss) for record in records)
    members = "" if len(records) == 1 else f", a line for each of {len(records)} networks"
    picture = Picture(
        "training_history",
        history(*records),
        f"Training and validation loss against weight updates{members}; the lowest validation loss is {last:.3f} nats.",
        "Mean negative log density of the true mass, in nats, on the clusters shown and on those held out.",
    )
    tables = [_outcomes(records, settings)]
    if settings is not None:
        tables.append(_table("Training rule", ((each.name, getattr(settings, each.name)) for each in fields(settings))))
    text = "The weights are those with the lowest loss on clusters held out from training, split by host halo."
    return Section("Training", [text], tables, [picture])


def _outcomes(records: Iterable[History], settings: Training | None) -> Table:
    header = ("network", "weight updates", "weights kept at", "training loss", "validation loss", "ended by")
    rows = []
    for i, record in enumerate(records):
        best = record.updates.index(record.best_update)
        limited = settings is not None and record.updates[-1] >= settings.max_updates
        losses = (f"{record.training_loss[best]:.4f}", f"{record.validation_loss[best]:.4f}")
        counts = (str(record.updates[-1]), str(record.best_update))
        rows.append((str(i + 1), *counts, *losses, "its limit of updates" if limited else "no more improvement"))
    return Table("Outcome", header, tuple(rows), "Losses are in nats, at the update whose weights were kept.")


def _prior(estimator: "MassEstimator") -> Section:
    prior, (low, high) = estimator.prior, estimator.support
    density = [float(each) for each in prior.log_density([low, high])]
    change = "flat" if not prior.coefficients else f"not flat: log density {density[0]:.2f} and {density[1]:.2f} there"
    alt = f"Density of the effective training prior from {low:g} to {high:g} in log10 mass; it is {change}."
    caption = (
        "The mass density of the training set over P(selected | mass). A posterior carries it; a population fit "
        "divides it out."
    )
    rows = [("lowest log10 mass [dex]", low), ("highest log10 mass [dex]", high)]
    rows += [(f"Legendre coefficient {i} of its log", value) for i, value in enumerate(prior.coefficients, 1)]
    text = "Coverage is promised for clusters whose masses follow this prior; other samples need a prior of their own."
    picture = Picture("effective_prior", prior_picture(prior), alt, caption)
    return Section("Effective training prior", [text], [_table("Prior", rows)], [picture])


def _table(title: str, rows: Iterable[tuple[str, object]], note: str = "") -> Table:
    return Table(title, ("setting", "value"), tuple((name, _as_text(value)) for name, value in rows), note)


def _with_units(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((_UNITS.get(name, name), value) for name, value in values.items())


def _as_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_as_text, value)) if isinstance(value, list | tuple) else str(value)


def _grouped(number: int | str) -> str:
    """Write a count with spaces between its thousands; other text is unchanged."""
    return f"{int(number):,}".replace(",", "\u202f") if str(number).isdecimal() else str(number)


def _embedding(estimator: "MassEstimator") -> Mapping[str, object]:
    config = estimator.flow.config().get("embedding")
    return config if isinstance(config, dict) else {}


def _n_weights(estimator: "MassEstimator") -> int:
    return sum(each.numel() for each in estimator.network.parameters())
