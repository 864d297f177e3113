"""Nearby galaxies of the practice sky: bright and large enough to show their Hubble type, and pairs that merge.

Types are the stages T of the EFIGI catalogue (Baillard et al. 2011, A&A 532, A74), which are those of de Vaucouleurs
with compact and dwarf ellipticals at the ends. There are deliberately more such galaxies than in the real sky (about
three times for the regular ones, a hundred times for mergers), so that few fields make a data set; bulge fraction,
colour, surface brightness and structure of each follow its type. Faint galaxies are drawn by `galaxies` and have no T.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .galaxies import COSMOLOGY, DISK_THICKNESS
from .instrument import N_COLUMNS, N_ROWS, ZERO_POINT
from .templates import galaxy_colours

UNTYPED = 99
BRIGHT, LARGE = 17.5, 3.0  # r and half-light radius (arcsec) where types begin to be visible
REGULAR_PER_FIELD, MERGERS_PER_FIELD = 4.5, 5.2
GRID = (6, 4)  # each nearby galaxy has a cell of the frame for itself, so that their outskirts do not overlap
MARGIN = 90  # pixels from the edge of the frame

# T: (weight, bulge share of r light, bulge spectrum, disk spectrum (0 = E, 3 = Im), mean M_r, mean surface brightness
# within the half-light radius in mag / arcsec^2). Weights after the numbers of the EFIGI catalogue; the rest
# approximate, after Roberts & Haynes 1994, ARA&A 32, 115, and Simard et al. 2011, ApJS 196, 11.
STAGES = {
    -6: (0.030, 1.00, 0.05, 0.1, -18.5, 18.6),
    -5: (0.075, 0.97, 0.03, 0.1, -21.3, 20.3),
    -4: (0.030, 0.68, 0.02, 0.05, -23.0, 21.6),
    -3: (0.040, 0.66, 0.05, 0.15, -20.8, 20.3),
    -2: (0.050, 0.56, 0.05, 0.2, -20.6, 20.4),
    -1: (0.040, 0.48, 0.1, 0.3, -20.6, 20.5),
    0: (0.045, 0.42, 0.1, 0.5, -20.7, 20.6),
    1: (0.055, 0.35, 0.15, 0.8, -20.8, 20.7),
    2: (0.060, 0.28, 0.2, 1.0, -20.8, 20.8),
    3: (0.090, 0.20, 0.2, 1.25, -20.9, 20.9),
    4: (0.090, 0.14, 0.25, 1.45, -20.8, 21.0),
    5: (0.110, 0.09, 0.3, 1.65, -20.5, 21.1),
    6: (0.070, 0.06, 0.4, 1.9, -20.0, 21.3),
    7: (0.060, 0.04, 0.5, 2.1, -19.4, 21.5),
    8: (0.040, 0.02, 0.6, 2.3, -18.6, 21.8),
    9: (0.040, 0.01, 0.7, 2.5, -18.0, 22.0),
    10: (0.045, 0.00, 0.8, 2.8, -17.0, 22.1),
    11: (0.030, 0.02, 0.3, 0.3, -17.0, 22.4),
}  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """What the disk of one typed galaxy looks like; angles in radians, lengths in units of its scale length."""

    arms: int
    strength: float  # contrast of the arms, 0 for none
    pitch: float
    sense: int  # +1 or -1: which way the arms wind on the frame
    phase: float
    bar: float  # length, 0 for none
    bar_angle: float
    young: float  # share of the disk's r light in young stars, which lie on the arms
    lumpiness: float  # 0 for a smooth disk, 1 for a magellanic irregular
    companion: float  # flux share of a second nucleus, 0 for none
    separation: float
    companion_angle: float
    tail: float  # flux share of the tidal tails


def structure_of(t_type: int, merger: bool, seed: int) -> Structure:
    """The structure of a galaxy, the same in every band and process."""
    rng = np.random.default_rng(seed)
    spiral = 0 <= t_type <= 9
    # pitch angle against type: Kennicutt 1981, AJ 86, 1847; strength and number of arms approximate
    pitch = np.interp(t_type, [0, 3, 5, 7, 9], [8, 14, 20, 26, 32]) * rng.lognormal(0, 0.15)
    strength = np.interp(t_type, [-1, 0, 1, 3, 5, 7, 9, 10], [0, 0.3, 0.7, 1.1, 1.2, 1.0, 0.5, 0]) * rng.uniform(
        0.7, 1.2
    )
    barred = rng.random() < (0.45 if spiral else 0.2 if -3 <= t_type < 0 else 0.0)
    return Structure(
        arms=int(rng.choice([2, 3, 4], p=[0.75, 0.15, 0.10] if t_type < 6 else [0.5, 0.3, 0.2])),
        strength=float(strength) * (spiral and 1.0) * (0.5 if merger else 1.0),
        pitch=float(np.radians(pitch)),
        sense=int(rng.choice([-1, 1])),
        phase=float(rng.uniform(0, 2 * np.pi)),
        bar=float(rng.uniform(0.7, 1.2)) * barred,
        bar_angle=float(rng.uniform(0, np.pi)),
        young=float(np.interp(t_type, [-1, 0, 2, 4, 6, 9, 10, 11], [0, 0.08, 0.25, 0.4, 0.5, 0.5, 0.5, 0])),
        lumpiness=float(np.interp(t_type, [5, 7, 9, 10, 11], [0, 0.15, 0.5, 1.0, 0])) if t_type < 11 else 0.0,
        companion=float(rng.uniform(0.12, 0.4)) * merger,
        separation=float(rng.uniform(1.2, 3.6)),
        companion_angle=float(rng.uniform(0, 2 * np.pi)),
        tail=float(rng.uniform(0.08, 0.32)) * merger,
    )


@lru_cache
def _distances():
    redshift = np.geomspace(0.0005, 0.3, 300)
    return COSMOLOGY.distmod(redshift).value, redshift


def draw_nearby(rng) -> dict:
    """Regular galaxies and mergers of one field: a dict as `draw_galaxies` returns, with x, y, t_type and merger."""
    cells = GRID[0] * GRID[1]
    regular, mergers = np.minimum(rng.poisson([REGULAR_PER_FIELD, MERGERS_PER_FIELD]), cells // 2)
    number = regular + mergers
    merger = np.arange(number) >= regular
    stages = np.array(list(STAGES))
    weights = np.array([row[0] for row in STAGES.values()])
    t_type = rng.choice(stages, number, p=weights / weights.sum())
    # mergers that are seen as such are mostly of spirals (Darg et al. 2010, MNRAS 401, 1552)
    t_type = np.where(
        merger, rng.choice([-5, -2, 1, 3, 4, 5, 6], number, p=[0.1, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1]), t_type
    )
    _, share, bulge_kind, disk_kind, absolute, brightness = np.array([STAGES[t] for t in t_type]).reshape(-1, 6).T

    # total r rises as 10^0.2m, flatter than real counts: more of the galaxies are well resolved
    r = 14.0 + np.log10(1 + rng.random(number) * (10 ** (0.2 * 3.2) - 1)) / 0.2
    r = np.where((t_type >= 10) | (t_type == -6), np.maximum(r, 15.2), r)
    absolute = absolute + 0.7 * rng.standard_normal(number)
    redshift = np.interp(r - absolute, *_distances())
    share = np.clip(share * np.where(share < 0.6, rng.lognormal(0, 0.25, number), 1.0), 0.0, 1.0)
    inclined = rng.random(number) ** 2
    disk_ratio = np.sqrt(inclined * (1 - DISK_THICKNESS**2) + DISK_THICKNESS**2)
    disk_ratio = np.where((t_type == 11) | (t_type <= -4), rng.uniform(0.5, 1.0, number), disk_ratio)
    disk_ratio = np.where(merger | (t_type == 10), np.maximum(disk_ratio, 0.45), disk_ratio)
    bulge_ratio = np.where(t_type <= -4, rng.uniform(0.45, 1.0, number), rng.uniform(0.7, 1.0, number))
    half_light = 10 ** (0.2 * (brightness + 0.35 * rng.standard_normal(number) - r)) / np.sqrt(2 * np.pi)
    half_light = np.where(t_type == -6, np.clip(half_light, 1.1, 2.2), np.clip(half_light, LARGE + 0.2, 12.0))

    # cD galaxies have an envelope much wider than their body; the bulges of disks are small
    scale = np.where(t_type == -4, 0.75, np.where(share > 0.9, 1.0, 0.25 + 0.35 * share))
    envelope = np.where(t_type == -4, 2.2, 1.0 + 0.3 * share)
    scatter = 0.03 * rng.standard_normal((2, number, 1)) * np.array([1.5, 1.0, 0.0, -0.5, -0.9])
    kind = np.maximum(np.array([bulge_kind, disk_kind]) + 0.1 * rng.standard_normal((2, number)), 0)
    with np.errstate(divide="ignore"):
        parts = [r[:, None] - 2.5 * np.log10(s)[:, None] for s in (share, 1 - share)]
    colours = [galaxy_colours(k, redshift) + s for k, s in zip(kind, scatter, strict=True)]
    bulge, disk = (part + colour - colour[:, 2:3] for part, colour in zip(parts, colours, strict=True))
    cell = rng.permutation(cells)[:number]
    width, height = (N_COLUMNS - 2 * MARGIN) / GRID[0], (N_ROWS - 2 * MARGIN) / GRID[1]
    return {
        "bulge": bulge,
        "disk": disk,
        "bulge_radius": scale * half_light / np.sqrt(bulge_ratio),
        "disk_radius": envelope * half_light / np.sqrt(np.maximum(disk_ratio, 0.4)),
        "bulge_ratio": bulge_ratio,
        "disk_ratio": disk_ratio,
        "angle": rng.uniform(0, np.pi, number),
        "redshift": redshift,
        "subclass": np.where(disk_kind > 2.2, "STARBURST", np.where(disk_kind > 0.7, "STARFORMING", "")),
        "x": MARGIN + width * (cell % GRID[0] + rng.uniform(0.2, 0.8, number)),
        "y": MARGIN + height * (cell // GRID[0] + rng.uniform(0.2, 0.8, number)),
        "t_type": t_type,
        "merger": merger,
    }


def type_galaxies(rng, galaxies, dimming) -> np.ndarray:
    """T of the galaxies that `draw_galaxies` made: from bulge share and colour if bright and large, else `UNTYPED`."""
    bulge, disk = (10 ** (-0.4 * (galaxies[part] - ZERO_POINT)) for part in ("bulge", "disk"))
    total = bulge + disk
    share = bulge[:, 2] / total[:, 2]
    radius = share * galaxies["bulge_radius"] + (1 - share) * galaxies["disk_radius"]
    r = ZERO_POINT - 2.5 * np.log10(total[:, 2]) + dimming[2]
    visible = (r < BRIGHT) & (radius > LARGE)
    early = galaxies["subclass"] == ""
    spiral = np.interp(share, [0, 0.05, 0.1, 0.2, 0.35, 0.5], [7, 6, 5, 3, 1, 0]) + 0.7 * rng.standard_normal(len(r))
    spiral = np.where(galaxies["subclass"] == "STARBURST", spiral + 2.5, spiral)
    lenticular = np.interp(share, [0.3, 0.85], [0, -3])
    stage = np.where(early, np.where(share > 0.8, -5, lenticular), np.clip(spiral, 0, 10))
    return np.where(visible, np.rint(stage).astype(int), UNTYPED)
