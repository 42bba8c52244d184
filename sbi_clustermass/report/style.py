"""Colours and labels of all figures, and how a figure is saved."""

from pathlib import Path

from matplotlib.figure import Figure

from clustermocks.io.atomic import replacing

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
MASS = r"$\log_{10}\, M_{200c}\ [h^{-1}\,M_\odot]$"
LABELS = {"log10_mass": MASS, "log10_c200c": r"$\log_{10}\, c_{200c}$", "beta": r"$\beta$"}  # of a cluster's parameters


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
