"""The figure of one cluster: galaxies, saliency, posterior with published masses, and statistics among the mocks.

Masses are M200c [h^-1 Msun] as log10_mass [dex], R comoving [h^-1 Mpc], v [km/s].
"""

from functools import partial
from math import isnan, log10
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.interpolate import PchipInterpolator

from clustermocks.haloes.cosmology import radius_200c
from sbi_clustermass.estimator.verdict import Grade
from sbi_clustermass.observations.cluster_summary import describe_mass
from sbi_clustermass.report.style import BLUE, GREEN, GREY, MASS, ORANGE

if TYPE_CHECKING:
    from sbi_clustermass.observations.cluster_page import ClusterPage, MockPercentiles
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.results import MassResult

_SIZE = (8.27, 10.0)  # inch: a page of A4 with room for a caption
_INSIDE = (0.9, 0.6, 0.3)  # shares of the density inside the contours
_ROUND = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # 10^14 Msun
_COLUMNS, _LINE = 78, 0.17  # characters in a line of the text below, and its height [inch]
_RADII = (0.1, 0.3, 1.0, 3.0)  # of the mass profile [physical Mpc]
_PROFILE = 2.1  # least height of the panel of the mass profile [inch]
_REASONS = 4  # shown at most; the table of masses has all
_SMALL = 7
_INNERMOST = 0.02  # share of the aperture where the band of escape velocities begins
_LABEL = 0.06  # width of a mass along the top, as a share of the axis
_POINTS, _FLOOR = 3000, -700.0  # masses at which a density is drawn; nats that are zero


def cluster_figure(page: "ClusterPage") -> Figure:
    """Draw the page of one cluster.

    It shows phase space with contours of its kernel density; how the mass moves where a part of phase space is masked;
    the posterior with its 68 and 95 % intervals, and published masses; the percentiles of its statistics among the
    mocks; the mass with the reasons for care in words; and the mass profile.
    """
    figure = Figure(figsize=_SIZE, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    text = _text(page)
    lines = text.count("\n") + 1
    _title(figure, page)
    rows = figure.add_gridspec(3, 1, height_ratios=(3.5, 3.5, max(0.1 + _LINE * lines, _PROFILE)))
    galaxies, mass, words = (figure.add_subfigure(row) for row in (rows[0], rows[1], rows[2]))
    left, right = galaxies.subplots(1, 2)
    _phase_space(left, page)
    _saliency(right, page)
    panels = mass.add_gridspec(1, 2)
    if page.published:
        inner = panels[0].subgridspec(2, 1, height_ratios=(2.2, 0.4 + 0.25 * len(page.published)), hspace=0.02)
        top, bottom = mass.add_subplot(inner[0]), mass.add_subplot(inner[1])
        _posterior(top, page)
        _published(bottom, top, page)
    else:
        _posterior(axes := mass.add_subplot(panels[0]), page)
        axes.set_xlabel(MASS)
    _among_mocks(mass.add_subplot(panels[1]), page.among_mocks)
    left, right = words.subplots(1, 2, width_ratios=(2.1, 1))
    _words(left, text)
    _profile(right, page)
    return figure


def _title(figure: Figure, page: "ClusterPage") -> None:
    cluster = page.mass.cluster
    z = "" if isnan(cluster.redshift) else f"   z = {cluster.redshift:.4f}"
    title = f"{_short(cluster.name, 60)}{z}   {cluster.n_galaxies} galaxies: {page.mass.verdict}"
    figure.suptitle(title, fontsize=13, parse_math=False)


def _phase_space(axes: Axes, page: "ClusterPage") -> None:
    found, mass = page.saliency, page.mass
    R_proj, v_los = mass.cluster.catalogue.galaxies(0)
    levels = _enclosing(found.density)
    size = 4 if len(R_proj) < 300 else 2.5
    if page.membership is None:
        axes.plot(R_proj, v_los, ".", ms=size, color=BLUE, alpha=0.8, mew=0)
    else:
        dots = {"s": size**2, "c": page.membership, "cmap": "viridis_r", "vmin": 0, "vmax": 1, "lw": 0}
        bar = axes.figure.colorbar(axes.scatter(R_proj, v_los, **dots), ax=axes, pad=0.02)
        bar.set_label(r"probability to lie inside $R_\mathrm{vir}$", fontsize=8)
        bar.ax.tick_params(labelsize=_SMALL)
    axes.contour(found.R_centres, found.v_centres, found.density.T, levels=levels, colors="k", linewidths=0.7)
    if not isnan(mass.cluster.redshift):
        radius = float(radius_200c(10 ** mass.percentiles[1], mass.cluster.redshift, page.stamp.cosmology))
        axes.axvline(radius, color=ORANGE, ls="--", lw=1)
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        place = {
            "ha": "right",
            "va": "bottom",
            "color": ORANGE,
            "fontsize": 8,
            "transform": axes.transAxes,
            "bbox": white,
        }
        axes.text(0.98, 0.02, rf"$r_{{200c}}$ = {radius:.2f} $h^{{-1}}\,$Mpc", **place)
        _physical(axes, mass.cluster.redshift, page.stamp)
        _escape_velocity(axes, page)
    _frame(axes, mass)
    shares = ", ".join(f"{share:.0%}" for share in sorted(_INSIDE))
    escape = "" if isnan(mass.cluster.redshift) else "\nband: escape velocity at R"
    axes.set_title(f"galaxies; contours hold {shares} of their density{escape}", fontsize=8)


def _escape_velocity(axes: Axes, page: "ClusterPage") -> None:
    """Add the escape velocity in three dimensions at each radius, 16 to 84 %, which no bound galaxy exceeds."""
    draws, aperture = page.mass.draws, page.mass.cluster.catalogue.observation.aperture
    radius = np.linspace(_INNERMOST * aperture, aperture, 80)
    low, high = np.quantile(draws.escape_velocity(radius, page.stamp.cosmology)[0], [0.16, 0.84], axis=0)
    for sign in (-1, 1):
        axes.fill_between(radius, sign * low, sign * high, color=ORANGE, alpha=0.25, lw=0)


def _enclosing(density: Float[np.ndarray, "R v"]) -> list[float]:
    """Levels of density above which the shares `_INSIDE` of it lie, rising."""
    falling = np.sort(density.ravel())[::-1]
    share = np.cumsum(falling) / falling.sum()
    return sorted({float(falling[np.searchsorted(share, inside)]) for inside in _INSIDE})


def _frame(axes: Axes, mass: "MassResult") -> None:
    """Set up axes of phase space."""
    seen = mass.cluster.catalogue.observation
    axes.set(xlim=(0, seen.aperture), ylim=(-1.03 * seen.v_cut, 1.03 * seen.v_cut))
    axes.set(xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$", ylabel=r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$")
    axes.tick_params(labelsize=8)


def _physical(axes: Axes, redshift: float, stamp: "ModelStamp") -> None:
    factor = 1 / stamp.h / (1 + redshift)
    above = axes.secondary_xaxis("top", functions=(partial(np.multiply, factor), partial(np.multiply, 1 / factor)))
    above.set_xlabel(f"physical Mpc, h = {stamp.h:g}", fontsize=_SMALL)
    above.tick_params(labelsize=_SMALL)


def _saliency(axes: Axes, page: "ClusterPage") -> None:
    found = page.saliency
    R_proj, v_los = page.mass.cluster.catalogue.galaxies(0)
    reach = max(float(np.nanquantile(np.abs(found.change), 0.995)), 1e-3)
    axes.set_facecolor("0.85")
    image = axes.pcolormesh(
        found.R_centres, found.v_centres, found.change.T, cmap="RdBu_r", vmin=-reach, vmax=reach, rasterized=True
    )
    axes.plot(R_proj, v_los, ".", ms=2, color="k", alpha=0.5, mew=0)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("change of the mean [dex]", fontsize=8)
    bar.ax.tick_params(labelsize=_SMALL)
    _frame(axes, page.mass)
    axes.set_ylabel("")
    what = "pixels here are dimmed" if found.masked == "pixels" else "the galaxies here are taken away"
    axes.set_title(f"how the mass moves when {what}", fontsize=8)


def _posterior(axes: Axes, page: "ClusterPage") -> None:
    posterior, mass = page.mass.posterior, page.mass
    grid = np.linspace(posterior.grid[0], posterior.grid[-1], _POINTS)
    prob = np.exp(PchipInterpolator(posterior.grid, np.maximum(posterior.log_prob[0], _FLOOR))(grid))
    p2_5, p16, _, p84, p97_5 = mass.quantiles
    for low, high, alpha, label in ((p2_5, p97_5, 0.15, "95 %"), (p16, p84, 0.35, "68 %")):
        x = np.concatenate([[low], grid[(grid > low) & (grid < high)], [high]])
        axes.fill_between(x, np.interp(x, grid, prob), color=BLUE, alpha=alpha, lw=0, label=label)
    axes.plot(grid, prob, color=BLUE, lw=1.2)
    for median, label in _medians(mass).items():
        axes.vlines(median, 0, np.interp(median, grid, prob), color=BLUE, lw=1.2, label=label)
    if not isnan(mass.under_mass_function[1]):
        axes.axvline(mass.under_mass_function[1], color=BLUE, ls="--", lw=1, label="with mass function")
    if not isnan(mass.log10_mass_m_sigma):
        axes.axvline(mass.log10_mass_m_sigma, color=GREEN, ls=":", lw=1.2, label="M-sigma")
    axes.set(xlim=_span(page), ylim=(0, 1.5 * prob.max()), ylabel="posterior density [1/dex]")
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=6, ncols=2, loc="upper center", framealpha=0.9, handlelength=1.5, columnspacing=1)
    _in_solar_masses(axes, page.stamp)


def _medians(mass: "MassResult") -> dict[float, str]:
    """Medians with their labels: of two modes that of each, since the median of both may lie where nothing is."""
    if not mass.modes:
        return {mass.percentiles[1]: f"median {mass.percentiles[1]:.2f}"}
    return {each.log10_mass: f"median {each.log10_mass:.2f} of {each.share:.0%}" for each in mass.modes}


def _span(page: "ClusterPage") -> tuple[float, float]:
    """Range of masses that shows the posterior and the published masses."""
    mass, ends = page.mass, [page.mass.log10_mass_m_sigma, page.mass.under_mass_function[1]]
    ends += [mass.mean - 5 * mass.std, mass.mean + 5 * mass.std, mass.quantiles[0] - 0.1, mass.quantiles[-1] + 0.1]
    for each in page.published:
        below, above = (0.0 if isnan(error) else error for error in (each.below, each.above))
        ends += [each.log10_mass - below - 0.05, each.log10_mass + above + 0.05]
    low, high = mass.posterior.grid[[0, -1]]  # beyond them only what was published
    shown = [mass.log10_mass_m_sigma, *(each.log10_mass for each in page.published)]
    return max(float(np.nanmin(ends)), np.nanmin([low, *shown])), min(float(np.nanmax(ends)), np.nanmax([high, *shown]))


def _in_solar_masses(axes: Axes, stamp: "ModelStamp") -> None:
    """Add round masses in Msun along the top."""
    low, high = axes.get_xlim()
    places: dict[float, str] = {}
    for value in _ROUND:
        place = log10(value * 1e14 * stamp.h)
        if low < place < high and (not places or place - max(places) > _LABEL * (high - low)):
            places[place] = f"{value:g}"
    above = axes.secondary_xaxis("top")
    above.set_ticks(list(places), labels=list(places.values()))
    above.set_xlabel(rf"$M_{{200c}}\ [10^{{14}}\,M_\odot]$, h = {stamp.h:g}", fontsize=_SMALL)
    above.tick_params(labelsize=_SMALL)


def _published(axes: Axes, above: Axes, page: "ClusterPage") -> None:
    """Draw published masses, a line each, under the posterior."""
    low, high = above.get_xlim()
    above.tick_params(labelbottom=False)
    axes.axvspan(*page.mass.percentiles[::2], color=BLUE, alpha=0.2, lw=0)
    for line, each in enumerate(page.published):
        error = [[0.0 if isnan(each.below) else each.below], [0.0 if isnan(each.above) else each.above]]
        axes.errorbar(each.log10_mass, line, xerr=error, fmt="o", ms=4, color=ORANGE, capsize=2, lw=1)
        label = _short(each.label, 60).replace("$", r"\$")  # a dollar starts a formula
        axes.text(0.01, line - 0.25, label, transform=axes.get_yaxis_transform(), va="bottom", fontsize=6.5)
    axes.set(xlim=(low, high), ylim=(len(page.published) - 0.5, -0.9), xlabel=MASS, yticks=[])
    axes.tick_params(labelsize=8)


def _among_mocks(axes: Axes, found: "MockPercentiles | None") -> None:
    if found is None:
        axes.set_axis_off()
        text = "This model was not taught what mocks look like:\nwhere the cluster stands among them is not known."
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY, transform=axes.transAxes)
        return
    y, reach = np.arange(len(found.names))[::-1], max(3.0, 1.1 * float(np.abs(found.scores).max()))
    axes.axvspan(-1.96, 1.96, color=GREY, alpha=0.2, lw=0)
    axes.axvline(0, color="k", ls="--", lw=0.8)
    axes.scatter(found.scores, y, c=np.where(np.abs(found.scores) > 1.96, ORANGE, BLUE), s=20, zorder=3)
    axes.set(xlim=(-reach, reach), ylim=(-0.8, len(y) - 0.2))
    axes.set_yticks(y, labels=found.names, fontsize=_SMALL)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(y, labels=found.ranges, fontsize=6)
    axes.set_xlabel(r"percentile among mocks of this mass and richness, as a Gaussian's [$\sigma$]", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    shares = ", ".join(f"{value:.2g} ({name})" for name, value in found.p_values.items())
    title = f"its statistics among the mocks; in brackets what 95 % of these have\nshare of mocks as unlike: {shares}"
    axes.set_title(title, fontsize=8, parse_math=False)


def _profile(axes: Axes, page: "ClusterPage") -> None:
    """Draw the mass inside spheres, median with 16 to 84 %, and where r500c and r200c are."""
    mass, stamp = page.mass, page.stamp
    if isnan(mass.cluster.redshift):
        axes.set_axis_off()
        return
    to_mpc = 1 / stamp.h / (1 + mass.cluster.redshift)
    radius = np.geomspace(_RADII[0], _RADII[-1], 60)
    inside = mass.draws.enclosed_mass(radius / to_mpc, stamp.cosmology)[0] / 1e14 / stamp.h
    low, middle, high = np.quantile(inside, [0.16, 0.5, 0.84], axis=0)
    axes.fill_between(radius, low, high, color=BLUE, alpha=0.3, lw=0)
    axes.loglog(radius, middle, color=BLUE, lw=1.2)
    marks = {500: np.median(mass.draws.radius_500c(stamp.cosmology)[0])}
    marks[200] = radius_200c(10 ** mass.percentiles[1], mass.cluster.redshift, stamp.cosmology)
    for overdensity, place in marks.items():
        axes.axvline(float(place) * to_mpc, color=ORANGE, ls="--" if overdensity == 200 else ":", lw=1)
    axes.set(xlabel="r [physical Mpc]", ylabel=r"$M(<r)\ [10^{14}\,M_\odot]$", xlim=(radius[0], radius[-1]))
    axes.set_xticks(_RADII, labels=[f"{place:g}" for place in _RADII])
    axes.set_xticks([], minor=True)
    axes.set_title(r"mass profile; $r_{500c}$ and $r_{200c}$", fontsize=8)
    axes.tick_params(labelsize=_SMALL)


def _text(page: "ClusterPage") -> str:
    """The mass, why it needs care or is not to be used, and what made it, in lines that fit."""
    mass, stamp = page.mass, page.stamp
    against = [str(each) for each in mass.reasons if each.grade is not Grade.USE]
    more = [f"... and {len(against) - _REASONS} more: see the table of masses"] if len(against) > _REASONS else []
    made = f"Made by {stamp.model or 'a model'} {stamp.checksum}".rstrip() + f", sbi_clustermass {stamp.version}."
    described = [f"{label}: {words}" for label, words in describe_mass(mass, stamp).items()]
    lines = (*described, *against[:_REASONS], *more, made)
    return "\n".join(part for line in lines for part in wrap(line, _COLUMNS, subsequent_indent="    "))


def _words(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0, 1, text, transform=axes.transAxes, parse_math=False, fontsize=8, va="top", linespacing=1.35)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
