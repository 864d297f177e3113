"""Galaxy profiles as sums of Gaussians: what a PSF magnitude, a Petrosian radius or an error bar sees of them.

With the profile and the PSF both written as Gaussians, every overlap integral of photometry is a short sum, so a
catalogue of 10^5 measurements costs a second and agrees with the frame that GalSim draws.
"""

from functools import lru_cache

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from .instrument import PIXEL_SCALE, PSF_WEIGHTS, PSF_WIDTHS

# (weights, variances in units of the half-light radius squared); Hogg & Lang 2013, PASP 125, 719: "lux" and "luv",
# the exponential and de Vaucouleurs profiles with the outer cut-offs that the SDSS photometric pipeline uses.
DISK = (
    np.array([1.99485977e-04, 2.61612679e-03, 1.89726655e-02, 1.00186544e-01, 3.68534484e-01, 5.09490694e-01]),
    np.array([1.20078965e-03, 8.84526493e-03, 3.91463084e-02, 1.39976817e-01, 4.60962500e-01, 1.50159566e00]),
)
BULGE = (
    np.array([0.00201838, 0.01136789, 0.03247163, 0.07192882, 0.13427227, 0.21136265, 0.27099981, 0.26557856]),
    np.array([2.23759e-04, 1.00220e-03, 4.18731e-03, 1.69433e-02, 6.84850e-02, 2.87207e-01, 1.33320, 8.40215]),
)


def bulge_and_disk_radii(half_light, bulge_fraction):
    """Half-light radii of bulge and disk whose sum has about the given half-light radius (same units).

    Bulges of disk galaxies are small (about a third of the galaxy), pure ellipticals are all bulge; approximate, after
    Simard et al. 2011, ApJS 196, 11.
    """
    return half_light * (0.3 + 0.7 * bulge_fraction), half_light * (1.0 + 0.45 * bulge_fraction)


@lru_cache
def _psf_fraction_table(profile):
    """Interpolator of the PSF-fit flux fraction over (log10 half-light radius / PSF core, axis ratio)."""
    weights, variances = {"bulge": BULGE, "disk": DISK}[profile]
    sizes, ratios = np.linspace(-2.0, 2.5, 91), np.linspace(0.1, 1.0, 19)
    radius, ratio = np.meshgrid(10.0**sizes, ratios, indexing="ij")
    total = np.zeros(radius.shape)
    for a, width_a in zip(PSF_WEIGHTS, PSF_WIDTHS, strict=True):
        for b, width_b in zip(PSF_WEIGHTS, PSF_WIDTHS, strict=True):
            for weight, variance in zip(weights, variances, strict=True):
                major = width_a**2 + width_b**2 + variance * radius**2
                minor = width_a**2 + width_b**2 + variance * (radius * ratio) ** 2
                total += a * b * weight / np.sqrt(major * minor)
    fraction = total * effective_area(1.0) / (2 * np.pi)
    return RegularGridInterpolator((sizes, ratios), fraction)


def psf_flux_fraction(profile, radius, axis_ratio, core):
    """Fraction of a profile's flux that a PSF fit at its centre returns.

    The fit weighs the pixels by the PSF: <PSF, PSF*profile> / <PSF, PSF>. Profile is 'bulge' or 'disk'; radius (major
    axis, half light) and core (sigma of the PSF core) in arcsec; all three arrays broadcast.

    >>> psf_flux_fraction("disk", [0.01, 1.0], 1.0, 0.5).round(2)
    array([1. , 0.5])
    """
    size = np.clip(np.log10(np.maximum(radius, 1e-3) / np.asarray(core)), -2.0, 2.5)
    size, axis_ratio = np.broadcast_arrays(size, axis_ratio)
    return _psf_fraction_table(profile)(np.stack([size, axis_ratio], axis=-1))


def effective_area(core):
    """1 / sum(PSF^2), arcsec^2: the sky area whose noise a PSF magnitude carries."""
    a, b = np.meshgrid(PSF_WEIGHTS, PSF_WEIGHTS)
    width_a, width_b = np.meshgrid(PSF_WIDTHS, PSF_WIDTHS)
    return 2 * np.pi * np.asarray(core) ** 2 / np.sum(a * b / (width_a**2 + width_b**2))


def peak_fraction(core):
    """Share of a centred point source's flux in its brightest pixel."""
    return PIXEL_SCALE**2 * np.sum(PSF_WEIGHTS / PSF_WIDTHS**2) / (2 * np.pi * np.asarray(core) ** 2)


@lru_cache
def petrosian_table():
    """Interpolators of (petroRad, R50, R90, petro flux fraction) over (bulge fraction, log10 half-light radius / core).

    Radii come in units of the PSF core. Definition: the ratio of local to mean surface brightness falls to 0.2, flux
    within two such radii (Blanton et al. 2001, AJ 121, 2358; Strauss et al. 2002, AJ 124, 1810).
    """
    fractions, sizes = np.linspace(0, 1, 11), np.linspace(-1.5, 2.0, 29)
    answers = np.empty((len(fractions), len(sizes), 4))
    for i, fraction in enumerate(fractions):
        for j, size in enumerate(10.0**sizes):
            bulge, disk = bulge_and_disk_radii(size, fraction)
            weight = np.concatenate([fraction * BULGE[0], (1 - fraction) * DISK[0]])
            variance = np.concatenate([BULGE[1] * bulge**2, DISK[1] * disk**2])
            weight = np.outer(weight, PSF_WEIGHTS).ravel()
            variance = np.add.outer(variance, PSF_WIDTHS**2).ravel()
            radius = np.geomspace(0.1, 40 * (1.5 + size), 160)
            fall = np.exp(-np.outer(radius**2, 0.5 / variance))
            inside = (1 - fall) @ weight
            ratio = (fall @ (weight / (2 * np.pi * variance))) / (inside / (np.pi * radius**2))
            petro = radius[np.argmax(ratio < 0.2)]
            total = np.interp(2 * petro, radius, inside)
            answers[i, j] = petro, *np.interp([0.5 * total, 0.9 * total], inside, radius), total
    return RegularGridInterpolator((fractions, sizes), answers, bounds_error=False, fill_value=None)


def petrosian(bulge_fraction, half_light, core):
    """(petroRad, R50, R90 in arcsec, flux fraction) of galaxies as the seeing leaves them; arrays of equal length."""
    size = np.clip(np.log10(np.maximum(half_light, 1e-3) / core), -1.5, 2.0)
    radius, half, ninety, fraction = petrosian_table()(np.column_stack([bulge_fraction, size])).T
    return radius * core, half * core, ninety * core, fraction


def model_area(core, half_light, axis_ratio):
    """Sky area (arcsec^2) whose noise a model magnitude carries: that of a blurred Gaussian of the galaxy's size."""
    variance = effective_area(core) / (4 * np.pi)
    sigma = half_light / 1.18
    return 4 * np.pi * np.sqrt((variance + sigma**2) * (variance + (sigma * axis_ratio) ** 2))


def pixels(area):
    """Square arcseconds to pixels."""
    return np.asarray(area) / PIXEL_SCALE**2
