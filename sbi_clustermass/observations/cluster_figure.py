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
from sbi_clustermass.observations.cluster_summary import WIDTH, labelled_line, summary_lines
from sbi_clustermass.report.style import BLUE, GREEN, GREY, MASS, ORANGE

if TYPE_CHECKING:
    from sbi_clustermass.observations.cluster_page import ClusterPage, MockPercentiles
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.results import MassResult

_SIZE = (8.27, 11.0)  # inch: a page of A4 with room for a caption
_INSIDE = (0.9, 0.6, 0.3)  # shares of the density inside the contours
_ROUND = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # 10^14 Msun
_COLUMNS = 118  # characters in a line of the text below
_LINES, _LINE = 24, 0.125  # most lines of that text; height of one [inch]
_SMALL = 7
_LABEL = 0.06  # width of a mass along the top, as a share of the axis
_POINTS, _FLOOR = 3000, -700.0  # masses at which a density is drawn; nats that are zero


def cluster_figure(page: "ClusterPage") -> Figure:
    """Draw the page of one cluster.

    It shows phase space with contours of its kernel density; how the mass moves where a part of phase space is masked;
    the posterior with its 68 and 95 % intervals, and published masses; the percentiles of its statistics among the
    mocks; and the summary in words, warnings included.
    """
    figure = Figure(figsize=_SIZE, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    text = _text(page)
    rows = figure.add_gridspec(3, 2, height_ratios=(3.5, 3.5, 0.1 + _LINE * len(text)))
    _title(figure, page)
    _phase_space(figure.add_subplot(rows[0, 0]), page)
    _saliency(figure.add_subplot(rows[0, 1]), page)
    if page.published:
        inner = rows[1, 0].subgridspec(2, 1, height_ratios=(2.2, 0.4 + 0.25 * len(page.published)), hspace=0.02)
        top, bottom = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
        _posterior(top, page)
        _published(bottom, top, page)
    else:
        _posterior(axes := figure.add_subplot(rows[1, 0]), page)
        axes.set_xlabel(MASS)
    _among_mocks(figure.add_subplot(rows[1, 1]), page.among_mocks)
    _words(figure.add_subplot(rows[2, :]), text)
    return figure


def _title(figure: Figure, page: "ClusterPage") -> None:
    cluster = page.mass.cluster
    z = "" if isnan(cluster.redshift) else f"   z = {cluster.redshift:.4f}"
    figure.suptitle(f"{_short(cluster.name, 60)}{z}   {cluster.n_galaxies} galaxies", fontsize=13, parse_math=False)


def _phase_space(axes: Axes, page: "ClusterPage") -> None:
    found, mass = page.saliency, page.mass
    R_proj, v_los = mass.cluster.catalogue.galaxies(0)
    levels = _enclosing(found.density)
    axes.plot(R_proj, v_los, ".", ms=4 if len(R_proj) < 300 else 2.5, color=BLUE, alpha=0.8, mew=0)
    axes.contour(found.R_centres, found.v_centres, found.density.T, levels=levels, colors="k", linewidths=0.7)
    if not isnan(mass.cluster.redshift):
        radius = float(radius_200c(10 ** mass.percentiles[1], mass.cluster.redshift, page.stamp.cosmology))
        axes.axvline(radius, color=ORANGE, ls="--", lw=1)
        if radius < 0.93 * _frame(axes, mass):
            place = {"xytext": (3, 3), "textcoords": "offset points", "color": ORANGE, "fontsize": 8}
            axes.annotate(r"$r_{200c}$", (radius, -mass.cluster.catalogue.observation.v_cut), **place)
        elif radius > _frame(axes, mass):
            place = {"ha": "right", "va": "bottom", "color": ORANGE, "fontsize": 8, "transform": axes.transAxes}
            axes.text(0.98, 0.02, rf"$r_{{200c}}$ = {radius:.2f}, outside $\rightarrow$", **place)
        _physical(axes, mass.cluster.redshift, page.stamp)
    _frame(axes, mass)
    shares = ", ".join(f"{share:.0%}" for share in sorted(_INSIDE))
    axes.set_title(f"galaxies; contours hold {shares} of their density", fontsize=8)


def _enclosing(density: Float[np.ndarray, "R v"]) -> list[float]:
    """Levels of density above which the shares `_INSIDE` of it lie, rising."""
    falling = np.sort(density.ravel())[::-1]
    share = np.cumsum(falling) / falling.sum()
    return sorted({float(falling[np.searchsorted(share, inside)]) for inside in _INSIDE})


def _frame(axes: Axes, mass: "MassResult") -> float:
    """Set up axes of phase space; return the aperture."""
    seen = mass.cluster.catalogue.observation
    axes.set(xlim=(0, seen.aperture), ylim=(-1.03 * seen.v_cut, 1.03 * seen.v_cut))
    axes.set(xlabel=r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$", ylabel=r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$")
    axes.tick_params(labelsize=8)
    return seen.aperture


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
    axes.axvline(mass.mean, color=BLUE, lw=1, label=f"mean {mass.mean:.2f} ± {mass.std:.2f}")
    if not isnan(mass.log10_mass_m_sigma):
        axes.axvline(mass.log10_mass_m_sigma, color=GREEN, ls=":", lw=1.2, label="M-sigma")
    axes.set(xlim=_span(page), ylim=(0, 1.5 * prob.max()), ylabel="posterior density [1/dex]")
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=_SMALL, ncols=2, loc="upper center", framealpha=0.9)
    _in_solar_masses(axes, page.stamp)


def _span(page: "ClusterPage") -> tuple[float, float]:
    """Range of masses that shows the posterior and the published masses."""
    mass, ends = page.mass, [page.mass.log10_mass_m_sigma]
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
        right = each.log10_mass < (low + high) / 2
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "left" if right else "right", "fontsize": 6.5}
        label = _short(each.label, 45).replace("$", r"\$")  # a dollar starts a formula
        axes.annotate(label, (each.log10_mass, line), **place)
    axes.set(xlim=(low, high), ylim=(len(page.published) - 0.5, -0.9), xlabel=MASS, yticks=[])
    axes.tick_params(labelsize=8)


def _among_mocks(axes: Axes, found: "MockPercentiles | None") -> None:
    if found is None:
        axes.set_axis_off()
        text = "This model was not taught what mocks look like:\nwhere the cluster stands among them is not known."
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY, transform=axes.transAxes)
        return
    y, reach = np.arange(len(found.names))[::-1], max(4.0, 1.1 * float(np.abs(found.scores).max()))
    axes.axvspan(-1.96, 1.96, color=GREY, alpha=0.2, lw=0)
    axes.axvline(0, color="k", ls="--", lw=0.8)
    axes.scatter(found.scores, y, c=np.where(np.abs(found.scores) > 1.96, ORANGE, BLUE), s=20, zorder=3)
    for height, name, values, score in zip(y, found.names, found.ranges, found.scores, strict=True):
        left = score > 0
        at = {"ha": "left" if left else "right", "va": "center", "fontsize": 6}
        axes.text((-1 if left else 1) * 0.98 * reach, height, f"{name}\n{values}", linespacing=0.95, **at)
    axes.set(xlim=(-reach, reach), yticks=[])
    axes.set_xlabel(r"percentile among mocks of this mass and richness, as a Gaussian's [$\sigma$]", fontsize=8)
    axes.set_ylim(-0.8, len(y) - 0.2)
    axes.tick_params(labelsize=8)
    axes.set_title("its statistics among the mocks; in brackets what 95 % of these have", fontsize=8)


def _text(page: "ClusterPage") -> list[str]:
    """The summary of the cluster, in lines that fit."""
    stamp, lines = page.stamp, summary_lines(page.mass, page.stamp)[1:]
    if page.among_mocks is not None:
        shares = ", ".join(f"{value:.2g} by the {name}" for name, value in page.among_mocks.p_values.items())
        lines.append(labelled_line("mocks as unlike others", f"share of {shares}"))
    lines.append(
        labelled_line("made by", f"{stamp.model or 'a model'} {stamp.checksum}, sbi_clustermass {stamp.version}")
    )
    found = [part for line in lines for part in _fitted(line.strip().replace("+-", "±"))]
    return found if len(found) <= _LINES else [*found[: _LINES - 1], "... and more: see the table of masses"]


def _fitted(line: str) -> list[str]:
    label, text = line[:WIDTH], line[WIDTH:]
    parts = wrap(text, _COLUMNS - WIDTH) or [""]
    return [label + parts[0], *(" " * WIDTH + part for part in parts[1:])]


def _words(axes: Axes, text: list[str]) -> None:
    axes.set_axis_off()
    style = {"family": ["DejaVu Sans Mono", "monospace"], "fontsize": 6.6, "va": "top", "linespacing": 1.35}
    axes.text(0, 1, "\n".join(text), transform=axes.transAxes, parse_math=False, **style)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
