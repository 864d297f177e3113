"""Stars of the practice sky: a Milky Way of disk and halo, on the stellar locus, with the rare hot stars.

Counts follow from density laws and absolute magnitudes along the line of sight, so they rise towards the Galactic plane
and change colour with depth: nearby red dwarfs, then disk G stars, then blue halo turn-off stars around r = 18-22.
"""

import numpy as np

SUN_RADIUS, SUN_HEIGHT = 8000.0, 25.0  # pc; Juric et al. 2008, ApJ 673, 864
DISTANCES = np.geomspace(30.0, 60000.0, 70)  # pc
MAIN_SEQUENCE = np.arange(3.7, 15.0, 0.2)  # absolute r magnitude
# Stars / pc^3 / mag near the Sun against M_r; approximate, after Jahreiss & Wielen 1997 and Bochanski et al. 2010.
LUMINOSITY_FUNCTION = (
    [3.5, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    np.array([0.8, 1.4, 2.2, 2.6, 2.8, 3.4, 4.8, 7.2, 7.6, 5.6, 3.6, 2.8, 2.4]) * 1e-3,
)
# Name: (share of the local main-sequence density, absolute magnitude of its bluest dwarfs)
POPULATIONS = {"thin": (1.0, 3.7), "thick": (0.12, 4.3), "halo": (0.0051, 3.9)}  # shares: Juric et al. 2008

# u-g against g-r of dwarfs, metal-rich and metal-poor; approximate, read off Ivezic et al. 2008 (ApJ 684, 287, fig. 2)
# and Covey et al. 2007 (AJ 134, 2398). Hot end: A stars have a Balmer jump (u-g > 1), white dwarfs do not.
LOCUS_G_R = [-0.3, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
LOCUS_U_G_DISK = [0.95, 1.10, 1.12, 1.05, 1.08, 1.22, 1.42, 1.62, 2.00, 2.28, 2.47, 2.60, 2.62]
LOCUS_U_G_HALO = [0.95, 1.12, 1.02, 0.88, 0.86, 0.95, 1.12, 1.32, 1.78, 2.15, 2.45, 2.60, 2.62]
LOCUS_SCATTER = 0.025  # mag across the locus; Ivezic et al. 2004, AN 325, 583: about 0.02 once errors are removed
WHITE_DWARF_G_R = [-0.55, -0.45, -0.35, -0.20, 0.0, 0.2, 0.4]  # cooling sequence of DA stars, approximate
WHITE_DWARF_U_G = [-0.50, -0.20, 0.10, 0.40, 0.50, 0.75, 1.15]  # after Harris et al. 2006, AJ 131, 571
WHITE_DWARF_M_R = [10.2, 10.8, 11.3, 12.0, 12.8, 13.6, 14.3]


def colour_of_dwarf(absolute_magnitude):
    """r-i of a main-sequence star from M_r: the photometric parallax of Juric et al. 2008 (equation 2), inverted."""
    r_i = np.linspace(0.0, 2.2, 400)
    parallax = 3.2 + 13.30 * r_i - 11.50 * r_i**2 + 5.40 * r_i**3 - 0.70 * r_i**4
    return np.interp(absolute_magnitude, parallax, r_i)


def locus_g_r(r_i):
    """g-r on the stellar locus (Juric et al. 2008, equation 4)."""
    return 1.39 * (1 - np.exp(-4.9 * r_i**3 - 2.45 * r_i**2 - 1.68 * r_i - 0.050))


def density(population, distance, galactic):
    """Number density relative to the Sun's neighbourhood (Juric et al. 2008, table 10), distance in pc."""
    longitude, latitude = np.radians(galactic)
    height = distance * np.sin(latitude) + SUN_HEIGHT
    planar = distance * np.cos(latitude)
    radius = np.sqrt(SUN_RADIUS**2 + planar**2 - 2 * SUN_RADIUS * planar * np.cos(longitude))
    if population == "halo":
        flattened = np.sqrt(radius**2 + (height / 0.64) ** 2)
        return np.minimum((SUN_RADIUS / flattened) ** 2.77, 20.0)
    scale_height, scale_length = {"thin": (300.0, 2600.0), "thick": (900.0, 3600.0)}[population]
    return np.exp(-(radius - SUN_RADIUS) / scale_length - np.abs(height) / scale_height)


def _draw(rng, counts, *axes):
    """Poisson numbers in the cells of a grid of expected counts; returns each object's jittered grid coordinates."""
    cumulative = np.cumsum(counts.ravel())
    number = rng.poisson(cumulative[-1])
    cell = np.searchsorted(cumulative, rng.random(number) * cumulative[-1])
    where = np.unravel_index(cell, counts.shape)
    return [np.interp(w + rng.random(number) - 0.5, np.arange(len(a)), a) for w, a in zip(where, axes, strict=True)]


def _volume(area):
    """Volume of each distance cell over a sky area in square degrees, pc^3."""
    return area * np.radians(1) ** 2 * DISTANCES**3 * np.gradient(np.log(DISTANCES))


def _sequence(rng, galactic, area, population, share, magnitudes, local_density):
    """(M_r, r) of stars with the given local density per magnitude along one line of sight."""
    along = share * density(population, DISTANCES, galactic) * _volume(area)
    counts = np.outer(local_density * np.gradient(magnitudes), along)
    absolute, distance = _draw(rng, counts, magnitudes, DISTANCES)
    return absolute, absolute + 5 * np.log10(distance / 10)


def draw_stars(rng, galactic, area, faint_limit):
    """Stars over `area` square degrees at galactic (l, b) degrees, down to r = faint_limit.

    Returns
    -------
    magnitudes : ndarray of shape (N, 5)
        ugriz, before extinction.
    subclass : ndarray of str
    """
    magnitudes, subclasses = [], []
    for population, (share, bluest) in POPULATIONS.items():
        grid = MAIN_SEQUENCE[MAIN_SEQUENCE >= bluest]
        local = np.interp(grid, *LUMINOSITY_FUNCTION)
        absolute, r = _sequence(rng, galactic, area, population, share, grid, local)
        r_i = colour_of_dwarf(absolute)
        g_r = locus_g_r(r_i)
        u_g = np.interp(g_r, LOCUS_G_R, LOCUS_U_G_HALO if population == "halo" else LOCUS_U_G_DISK)
        if population == "thick":
            u_g -= 0.08 * (g_r < 0.7)
        u_g += np.where(g_r > 1.2, 0.12, 0.05) * rng.standard_normal(len(r))  # metallicity, and activity of M dwarfs
        magnitudes.append(_stack(rng, r, u_g, g_r, r_i, 0.58 * r_i - 0.01))
        subclasses.append(np.select([g_r < 0.30, g_r < 0.48, g_r < 0.75, r_i < 0.55], ["F", "G", "K", "K"], "M"))

    # White dwarfs: 0.0046 / pc^3 in all (Harris et al. 2006), spread over the cooling sequence, mostly cool ones
    grid = np.arange(10.2, 14.3, 0.2)
    local = 0.0046 / 4.1 * np.interp(grid, [10, 11, 12, 13, 14.3], [0.12, 0.3, 0.7, 1.3, 2.4])
    absolute, r = _sequence(rng, galactic, area, "thin", 1.0, grid, local)
    g_r = np.interp(absolute, WHITE_DWARF_M_R, WHITE_DWARF_G_R)
    u_g = np.interp(g_r, WHITE_DWARF_G_R, WHITE_DWARF_U_G) + 0.06 * rng.standard_normal(len(r))
    r_i = 0.62 * g_r - 0.05
    magnitudes.append(_stack(rng, r, u_g, g_r, r_i, 0.7 * r_i - 0.02))
    subclasses.append(np.full(len(r), "WD"))

    # Horizontal-branch and blue-straggler A stars of the halo; numbers approximate after Sirko et al. 2004, AJ 127, 899
    for low, high, local in ((0.4, 1.0, 1.1e-6), (2.2, 3.4, 3.0e-6)):
        grid = np.linspace(low, high, 6)
        absolute, r = _sequence(rng, galactic, area, "halo", 1.0, grid, np.full(6, local / (high - low)))
        g_r = rng.uniform(-0.28, 0.12, len(r))
        u_g = (
            np.interp(g_r, LOCUS_G_R, LOCUS_U_G_HALO)
            + (0.06 if low < 1 else -0.04)
            + 0.05 * rng.standard_normal(len(r))
        )
        r_i = 0.55 * g_r - 0.06
        magnitudes.append(_stack(rng, r, u_g, g_r, r_i, 0.5 * r_i - 0.01))
        subclasses.append(np.full(len(r), "A0"))

    stars, kinds = np.concatenate(magnitudes), np.concatenate(subclasses)
    seen = (stars[:, 2] < faint_limit) & (stars[:, 2] > 10.5)
    return stars[seen], kinds[seen]


def _stack(rng, r, u_g, g_r, r_i, i_z):
    scatter = LOCUS_SCATTER * rng.standard_normal((3, len(r)))
    g_r, r_i, i_z = g_r + scatter[0], r_i + scatter[1], i_z + scatter[2]
    return np.column_stack([r + g_r + u_g, r + g_r, r, r - r_i, r - r_i - i_z])
