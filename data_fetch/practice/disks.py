"""Light of the disks of nearby galaxies: spiral arms, bars, star-forming knots, dust lanes, tidal tails.

A disk is computed on the pixels themselves and blurred with the PSF in Fourier space, where Gaussians are exact.
"""

import numpy as np

from .instrument import PIXEL_SCALE, PSF_WEIGHTS, PSF_WIDTHS
from .morphology import Structure

YOUNG = np.array([1.8, 1.4, 1.0, 0.8, 0.65])  # young stars' share of the light in ugriz, relative to r (approximate)
DUST = np.array([0.75, 0.65, 0.5, 0.4, 0.3])  # light that a dust lane takes in ugriz, at most (approximate)
EDGE_ON = 0.34  # axis ratio below which a disk is seen from the side


def draw_disk(structure: Structure, seed, scale_length, ratio, angle, index, x, y):
    """Unblurred light of a disk on pixels, total 1.

    Parameters
    ----------
    structure : Structure
    seed : int
        Decides where the knots are, in all bands alike.
    scale_length : float
        Of the exponential disk, major axis, arcsec.
    ratio, angle : float
        Axis ratio and angle of the major axis (radians from x towards y).
    index : int
        Band, 0 to 4 for ugriz.
    x, y : ndarray
        Arcsec from the centre; they broadcast to the image.
    """
    rng = np.random.default_rng([seed, 1])
    along = (np.cos(angle) * x + np.sin(angle) * y) / scale_length
    across = (np.cos(angle) * y - np.sin(angle) * x) / scale_length
    if ratio < EDGE_ON:
        light = _edge_on(structure, along, across, ratio, index)
    else:
        light = _inclined(rng, structure, along, across / ratio, PIXEL_SCALE / scale_length, index)
    light = light / light.sum()
    if structure.companion:
        light = _merging(structure, light, x / scale_length, y / scale_length)
    return light


def _inclined(rng, structure, px, py, pixel, index):
    """Disk in its own plane; px, py and pixel in scale lengths."""
    # an irregular is lopsided: its outer isophotes are not centred on the brightest part
    shift = 0.5 * structure.lumpiness * rng.standard_normal(2)
    radius = np.hypot(px - shift[0] * np.exp(-px * px), py - shift[1] * np.exp(-py * py))
    azimuth = np.arctan2(py, px)
    base = np.exp(-np.minimum(radius, 30))
    old, young = base, np.zeros_like(base)
    if structure.strength or structure.young:
        arms = _arms(rng, structure, radius, azimuth)
        outside = 1 - np.exp(-((radius / max(0.8 * structure.bar, 0.45)) ** 3))
        old = base * (1 + 0.9 * min(structure.strength, 1.0) * outside * (arms - 0.45))
        # star formation falls more slowly outwards than the old disk
        young = np.exp(-0.8 * np.minimum(radius, 30)) * outside * (arms**1.5 + 0.10 + 0.6 * structure.lumpiness)
        young = young / young.sum()
    old = old / old.sum()
    if structure.lumpiness:
        patches = np.zeros_like(old)
        for cx, cy, height in rng.standard_normal((7, 3)) * [1.3, 1.3, 0.8]:
            patches += height * np.exp(-((px - cx) ** 2 + (py - cy) ** 2) / 0.7)
        old = old * np.exp(structure.lumpiness * np.clip(patches, -1.5, 1.5))
        old = old / old.sum()
    if structure.bar:
        bx = (np.cos(structure.bar_angle) * px + np.sin(structure.bar_angle) * py) / structure.bar
        by = (np.cos(structure.bar_angle) * py - np.sin(structure.bar_angle) * px) / (0.28 * structure.bar)
        bar = np.exp(-((bx**4 + np.abs(by) ** 2.5) ** 0.75))
        old = 0.83 * old + 0.17 * bar / bar.sum()
    if not structure.young:
        return old
    share = min(structure.young * YOUNG[index], 0.85)
    clumps = _knots(rng, structure, px, py, pixel)
    part = 0.25 + 0.30 * structure.lumpiness
    return (1 - share) * old + share * ((1 - part) * young + part * clumps)


def _arm_phase(structure, radius, azimuth):
    """Logarithmic spiral: 0 on the ridge of an arm."""
    winding = structure.sense * np.log(np.maximum(radius, 0.15)) / np.tan(structure.pitch)
    return structure.arms * (azimuth - winding) + structure.phase


def _arms(rng, structure, radius, azimuth):
    """1 on the ridge of the arms, towards 0 between; ragged, as shear and feedback leave them."""
    phase = _arm_phase(structure, radius, azimuth)
    for order in (1, 2, 3):
        a, b = rng.uniform(0, 2 * np.pi, 2)
        phase = phase + 0.30 * np.sin(order * azimuth + a) * np.sin(2.0 * radius + b)
    return np.exp(2.6 * (np.cos(phase) - 1))


def _knots(rng, structure, px, py, pixel):
    """Star-forming regions, along the arms where there are arms, anywhere in an irregular."""
    number = int(20 + 30 * structure.young)
    radius = 0.5 + rng.gamma(3.0, 0.5, number)
    on_arm = rng.random(number) > structure.lumpiness
    arm = rng.integers(structure.arms, size=number)
    ridge = (2 * np.pi * arm - structure.phase) / structure.arms
    ridge = ridge + structure.sense * np.log(radius) / np.tan(structure.pitch) + 0.18 * rng.standard_normal(number)
    azimuth = np.where(on_arm, ridge, rng.vonmises(structure.phase, 0.6, number))
    light = np.exp(-0.6 * radius) * rng.lognormal(0, 0.9, number)
    size = np.maximum(rng.uniform(0.06, 0.16, number), 0.7 * pixel)
    spots = zip(radius * np.cos(azimuth), radius * np.sin(azimuth), light / size**2, size, strict=True)
    image = _spots(px, py, spots)
    return image / image.sum()


def _spots(px, py, spots):
    """Sum of round Gaussians (x, y, height, sigma), each drawn only where it can be seen."""
    origin = np.array([px[0, 0], py[0, 0]])
    step = np.array([[p[0, 1] - p[0, 0], p[1, 0] - p[0, 0]] for p in (px, py)])  # of one column, of one row
    to_pixel = np.linalg.inv(step)
    image = np.zeros(px.shape, px.dtype)
    for x, y, height, sigma in spots:
        centre = to_pixel @ ([x, y] - origin)
        reach = 3.5 * sigma * np.linalg.norm(to_pixel, axis=1)
        low, high = np.maximum(centre - reach, 0).astype(int), np.maximum(centre + reach + 2, 0).astype(int)
        here = np.s_[low[1] : high[1], low[0] : high[0]]
        image[here] += height * np.exp(-0.5 * ((px[here] - x) ** 2 + (py[here] - y) ** 2) / sigma**2)
    return image


def _edge_on(structure, along, across, ratio, index):
    """A thin disk from the side, with a lane of dust if it forms stars."""
    thickness = 0.55 * ratio
    light = np.exp(-np.hypot(along, 0.15)) / np.cosh(np.clip(across / thickness, -30, 30)) ** 2
    if structure.young:
        lane = np.exp(-0.5 * ((across - 0.06 * structure.sense) / 0.07) ** 2 - 0.5 * (along / 1.6) ** 2)
        light = light * (1 - DUST[index] * min(2.5 * structure.young, 1.0) * lane)
    return light


def _merging(structure, disk, px, py):
    """A second nucleus with its own disk, and two tails that curve away from the pair (Toomre & Toomre 1972)."""
    angle, apart = structure.companion_angle, structure.separation
    radius = np.hypot(px - apart * np.cos(angle), py - apart * np.sin(angle))
    second = np.exp(-radius / 0.45) + 9 * np.exp(-0.5 * (radius / 0.16) ** 2)
    spots = []
    for side, length, share in ((0.0, 2.0, 0.7), (np.pi, 1.3, 0.3)):
        along = np.linspace(0, 1, 26)
        reach = 1.0 + (apart if side == 0 else 0.6) * 0.7 + 3.2 * along
        bend = angle + side + structure.sense * length * along
        width = 0.28 + 0.12 * reach / 4
        spots += zip(reach * np.cos(bend), reach * np.sin(bend), share * np.exp(-1.6 * along), width, strict=True)
    across, up = np.broadcast_arrays(px, py)
    tails = _spots(across, up, spots)
    left = 1 - structure.companion - structure.tail
    return left * disk + structure.companion * second / second.sum() + structure.tail * tails / tails.sum()


def blur(image, core, shear):
    """Convolve an image (pixels) with the PSF of a band; core in arcsec, shear is (g1, g2)."""
    ky = 2 * np.pi * np.fft.fftfreq(image.shape[0])[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(image.shape[1])[None, :]
    g1, g2 = shear
    # the area-preserving shear of GalSim, in Fourier space
    factor = 1 / (1 - g1**2 - g2**2)
    k2 = factor * (((1 + g1) * kx + g2 * ky) ** 2 + (g2 * kx + (1 - g1) * ky) ** 2)
    sigma2 = (core / PIXEL_SCALE * PSF_WIDTHS) ** 2
    transfer = sum(w * np.exp(-0.5 * s * k2) for w, s in zip(PSF_WEIGHTS, sigma2, strict=True))
    return np.fft.irfft2(np.fft.rfft2(image) * transfer, image.shape)
