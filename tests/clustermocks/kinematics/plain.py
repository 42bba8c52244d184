"""Removals of interlopers from one cluster by their definitions: slow, in lists and loops."""

from itertools import pairwise

import numpy as np
from astropy.stats import sigma_clip
from hypothesis import strategies as st
from scipy.integrate import cumulative_trapezoid, trapezoid


@st.composite
def clusters(draw, most=60):
    """Galaxies of a cluster and of the field, with no two of one distance."""
    seed, n = draw(st.integers(0, 10_000)), draw(st.integers(1, most))
    rng = np.random.default_rng(seed)
    v_los = np.where(rng.random(n) < 0.6, rng.normal(0, draw(st.integers(100, 900)), n), rng.uniform(-2500, 2500, n))
    return rng.uniform(0, 1.6, n), v_los


def plain_shifting_gapper(R_proj, v_los, gap=1000.0, width=0.4, fewest=15):
    """The shifting gapper galaxy by galaxy: bins as lists, groups as lists."""
    kept = list(range(len(v_los)))
    while True:
        dropped = []
        for galaxy in kept:
            near = sorted(kept, key=lambda other: abs(R_proj[other] - R_proj[galaxy]))
            inside = [other for other in near if abs(R_proj[other] - R_proj[galaxy]) <= width / 2]
            inside = sorted(inside if len(inside) >= fewest else near[:fewest], key=lambda other: v_los[other])
            groups = [[inside[0]]]
            for slower, faster in pairwise(inside):
                if v_los[faster] - v_los[slower] > gap:
                    groups.append([])
                groups[-1].append(faster)
            main = max(groups, key=lambda group: (len(group), -np.mean(np.abs(v_los[group]))))
            if galaxy not in main:
                dropped.append(galaxy)
        if not dropped:
            return np.isin(np.arange(len(v_los)), kept)
        kept = [galaxy for galaxy in kept if galaxy not in dropped]


def plain_clipping(v_los, clip):
    """astropy's."""
    return ~np.ma.getmaskarray(sigma_clip(v_los, sigma=clip, maxiters=None, cenfunc="median"))


def plain_caustics(R_proj, v_los, redshift, aperture, v_cut):
    """Who is inside the caustics, with one amplitude after another and every image of every galaxy written out."""
    r, reach, everyone = R_proj / (1 + redshift), aperture / (1 + redshift), np.ones(len(v_los), bool)
    candidates = plain_candidates(list(v_los))
    if len(candidates) < 8 or np.ptp(v_los[candidates]) == 0:
        return everyone
    radii, speeds = reach * (np.arange(40) + 0.5) / 40, np.linspace(0, 1.4 * v_cut, 64)
    density = plain_density(r, v_los / 2500, reach, radii, speeds / 2500) / 2500
    variance, distance = np.var(v_los[candidates]), np.mean(r[candidates])
    before = None
    for kappa in np.geomspace(0.95, 1e-5, 96) * density.max():
        mean = plain_mean_square(density, radii, speeds, plain_amplitude(density, radii, speeds, kappa), distance)
        if mean >= 4 * variance:
            break
        before = mean, kappa
    else:
        return everyone
    if before is None:
        return everyone
    share = (4 * variance - before[0]) / (mean - before[0])
    amplitude = plain_amplitude(density, radii, speeds, before[1] ** (1 - share) * kappa**share)
    return np.array([abs(v) < np.interp(x, radii, amplitude) and x <= reach for x, v in zip(r, v_los, strict=True)])


def plain_candidates(v_los):
    """Galaxies around velocity 0 up to a gap of 500 km/s on either side, clipped about their mean."""
    if not v_los:
        return []
    rising = sorted(range(len(v_los)), key=lambda galaxy: v_los[galaxy])
    first = last = min(range(len(rising)), key=lambda place: abs(v_los[rising[place]]))
    while first > 0 and v_los[rising[first]] - v_los[rising[first - 1]] < 500:
        first -= 1
    while last < len(rising) - 1 and v_los[rising[last + 1]] - v_los[rising[last]] < 500:
        last += 1
    kept = rising[first : last + 1]
    while len(kept) > 1:
        v = [v_los[galaxy] for galaxy in kept]
        near = [galaxy for galaxy in kept if abs(v_los[galaxy] - np.mean(v)) <= 3 * np.std(v, ddof=1)]
        if near == kept:
            break
        kept = near
    return kept


def plain_density(x, y, reach, at_x, at_y):
    """Density on a grid (x, y), both in units of length, by adaptive kernels of the least cross-validated error."""

    def kernels(a, b, widths):
        """Kernel of each galaxy (last axis) at points (a, b), with its images."""
        images = [(along, side * y) for along in (x, -x, 2 * reach - x) for side in (1, -1)]
        square = [(a[..., None] - along) ** 2 + (b[..., None] - across) ** 2 for along, across in images]
        return sum(np.exp(-s / (2 * widths**2)) / (4 * np.pi * widths**2) for s in square)

    n, grid = len(x), np.meshgrid(at_x, at_y, indexing="ij")
    optimal = np.full(n, n ** (-1 / 6) * np.sqrt((np.var(x) + np.var(y)) / 2))
    pilot = kernels(x, y, optimal).mean(axis=1)
    best = None
    for factor in np.geomspace(0.4, 1.6, 7):
        widths = factor * optimal * np.sqrt(np.prod(pilot ** (1 / n)) / pilot)
        found, there = kernels(*grid, widths).mean(axis=-1), kernels(x, y, widths)
        square = 2 * trapezoid(found**2, at_y).sum() * (at_x[1] - at_x[0])  # both signs of the velocity
        others = [np.delete(there[galaxy], galaxy).sum() / (n - 1) for galaxy in range(n)]
        if best is None or square - 2 * np.mean(others) < best[0]:
            best = square - 2 * np.mean(others), found
    assert best is not None
    return best[1]


def plain_amplitude(density, radii, speeds, kappa):
    """Where the density falls to kappa on the way out, and no steeper than r^(1/4)."""
    found = []
    for radius, row in zip(radii, density, strict=True):
        amplitude, cell = 0.0, 0
        while cell < len(row) and row[cell] <= kappa:
            cell += 1
        if cell < len(row):
            while cell < len(row) and row[cell] > kappa:
                cell += 1
            amplitude = (
                speeds[-1] if cell == len(row) else np.interp(-kappa, -row[[cell - 1, cell]], speeds[[cell - 1, cell]])
            )
        if found:
            amplitude = min(amplitude, found[-1][1] * (radius / found[-1][0]) ** 0.25)
        found.append((radius, amplitude))
    return np.array([amplitude for _, amplitude in found])


def plain_mean_square(density, radii, speeds, amplitude, distance):
    """Mean square amplitude over the galaxies below it, out to a distance."""
    shell, weights = radii[1] - radii[0], []
    for i, (row, a) in enumerate(zip(density, amplitude, strict=True)):
        inside = np.clip(distance / shell - i, 0, 1)
        weights.append(inside * np.interp(a, speeds, cumulative_trapezoid(row, speeds, initial=0.0)))
    return np.average(amplitude**2, weights=weights) if sum(weights) > 0 else 0.0
