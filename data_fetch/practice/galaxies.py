"""Galaxies of the practice sky: a red and a blue sequence drawn from luminosity functions, each a bulge and a disk.

Numbers, colours and sizes follow from redshift and luminosity, so that the faint ones are small and their colours are
K-corrected, and number counts come out rather than being put in.
"""

from functools import lru_cache

import numpy as np
from astropy.cosmology import FlatLambdaCDM

from .mixtures import bulge_and_disk_radii
from .templates import REDSHIFTS, galaxy_colours

COSMOLOGY = FlatLambdaCDM(H0=70, Om0=0.3)
# Schechter functions in rest-frame r (h = 0.7): M*, phi* / Mpc^3 / mag, alpha, brightening per unit redshift.
# Baldry et al. 2004, ApJ 600, 681 (red and blue distributions); evolution after Blanton et al. 2003, ApJ 592, 819.
SEQUENCES = {"red": (-21.49, 2.25e-3, -0.83, 1.3), "blue": (-20.60, 4.63e-3, -1.35, 1.6)}
DISK_THICKNESS = 0.2  # axis ratio of an edge-on disk


def disk_type(absolute_magnitude):
    """Spectral type (0 = E ... 3 = Im) of blue-sequence disks: bluer when fainter (trend of Baldry et al. 2004)."""
    return np.clip(1.35 + 0.38 * (absolute_magnitude + 21.0), 0.7, 2.8)


@lru_cache
def _grid():
    """Redshift and magnitude grid with cumulative counts per square degree of both sequences, apparent r < 23.4."""
    redshift = np.arange(0.008, 1.9, 0.008)
    magnitude = np.arange(-24.4, -13.0, 0.1)
    volume = COSMOLOGY.differential_comoving_volume(redshift).value * np.radians(1) ** 2 * 0.008  # Mpc^3 / deg^2
    modulus = COSMOLOGY.distmod(redshift).value
    counts = []
    for name, (star, phi, alpha, evolution) in SEQUENCES.items():
        luminosity = 10 ** (-0.4 * (magnitude[:, None] - star + evolution * np.minimum(redshift, 1)))
        number = 0.4 * np.log(10) * phi * luminosity ** (alpha + 1) * np.exp(-luminosity) * 0.1 * volume
        kind = np.full(len(magnitude), 0.1) if name == "red" else disk_type(magnitude)
        kcorrection = np.array([galaxy_colours(np.full(len(redshift), k), redshift)[:, 2] for k in kind])
        counts.append(np.where(magnitude[:, None] + modulus + kcorrection < 23.4, number, 0.0))
    return redshift, magnitude, modulus, np.array(counts)


def draw_galaxies(rng, area, faint_limit):
    """Galaxies over `area` square degrees down to total r = faint_limit (before extinction).

    Returns a dict of arrays of length N: bulge, disk (N, 5) ugriz magnitudes; bulge_radius, disk_radius (half light,
    major axis, arcsec); bulge_ratio, disk_ratio (axis ratios); angle (radians); redshift; subclass.
    """
    redshifts, magnitudes, modulus, counts = _grid()
    cumulative = np.cumsum(counts.ravel()) * area
    number = rng.poisson(cumulative[-1])
    sequence, row, column = np.unravel_index(
        np.searchsorted(cumulative, rng.random(number) * cumulative[-1]), counts.shape
    )
    redshift = redshifts[column] + 0.008 * (rng.random(number) - 0.5)
    absolute = magnitudes[row] + 0.1 * (rng.random(number) - 0.5)
    return shape_galaxies(rng, absolute, redshift, sequence == 0, np.interp(redshift, redshifts, modulus), faint_limit)


def shape_galaxies(rng, absolute, redshift, red, modulus, faint_limit):
    """Give galaxies of known rest-frame M_r, redshift and sequence their bulges, disks, colours, sizes and angles."""
    number = len(absolute)
    # bulge-to-total in rest-frame r: red ones are ellipticals and S0, blue ones disks; after Simard et al. 2011
    # (approximate)
    bulge_share = np.where(red, rng.beta(3.5, 1.4, number), rng.beta(1.1, 4.5, number) * (absolute < -17.5))
    bulge_type = np.where(red, 0.04, 0.20) + 0.05 * np.clip(absolute + 21.5, -1, 3) + 0.05 * rng.standard_normal(number)
    blue_disk = disk_type(absolute) + 0.35 * rng.standard_normal(number)
    disk_kind = np.where(red, 0.25 + 0.12 * rng.standard_normal(number), blue_disk)
    scatter = 0.03 * rng.standard_normal((2, number, 1)) * np.array([1.5, 1.0, 0.0, -0.5, -0.9])  # age, dust, metals
    total = (absolute + modulus)[:, None]
    with np.errstate(divide="ignore"):
        bulge = (
            total
            - 2.5 * np.log10(bulge_share)[:, None]
            + galaxy_colours(np.maximum(bulge_type, 0), redshift)
            + scatter[0]
        )
    disk = (
        total
        - 2.5 * np.log10(1 - bulge_share)[:, None]
        + galaxy_colours(np.maximum(disk_kind, 0), redshift)
        + scatter[1]
    )

    half_light = half_light_radius(rng, absolute, redshift, red)
    kpc_per_arcsec = np.interp(redshift, REDSHIFTS[1:], _kpc_per_arcsec())
    inclined = rng.random(number) ** 2  # cos^2 of the inclination, orientations uniform on the sphere
    disk_ratio = np.sqrt(inclined * (1 - DISK_THICKNESS**2) + DISK_THICKNESS**2)
    bulge_ratio = np.clip(0.78 + 0.15 * rng.standard_normal(number), 0.35, 1.0)
    bulge_ratio = np.where(red, bulge_ratio, np.maximum(bulge_ratio, 0.6))
    radius = np.clip(half_light / kpc_per_arcsec, 0.03, 60.0)
    bulge_radius, disk_radius = bulge_and_disk_radii(radius, bulge_share)
    seen = -2.5 * np.log10(10 ** (-0.4 * bulge[:, 2]) + 10 ** (-0.4 * disk[:, 2])) < faint_limit
    galaxies = {
        "bulge": bulge,
        "disk": disk,
        "bulge_radius": bulge_radius / np.sqrt(bulge_ratio),
        "disk_radius": disk_radius / np.sqrt(np.maximum(disk_ratio, 0.4)),
        "bulge_ratio": bulge_ratio,
        "disk_ratio": disk_ratio,
        "angle": rng.uniform(0, np.pi, number),
        "redshift": redshift,
        "subclass": np.where(disk_kind > 2.2, "STARBURST", np.where(disk_kind > 1.2, "STARFORMING", "")),
    }
    return {name: column[seen] for name, column in galaxies.items()}


@lru_cache
def _kpc_per_arcsec():
    return COSMOLOGY.kpc_proper_per_arcmin(REDSHIFTS[1:]).value / 60


def half_light_radius(rng, absolute, redshift, red):
    """Half-light radius in kpc: size-luminosity relations and scatter of Shen et al. 2003, MNRAS 343, 978 (r band).

    Sizes shrink with redshift, early types faster, at fixed luminosity; approximate, the trend of van der Wel et al.
    2014, ApJ 788, 28. Shen's radii are Petrosian, which miss the outer light (Graham et al. 2005, AJ 130, 1535): both
    are enlarged, so that blurred galaxies are as large as those measured on real frames.
    """
    late = 10 ** (0.104 * -absolute + 0.25 * np.log10(1 + 10 ** (-0.4 * (absolute + 20.91))) - 1.71)
    early = 10 ** (-0.4 * 0.60 * np.minimum(absolute, -18.5) - 4.63)
    scatter = 0.25 + 0.22 / (1 + 10 ** (-0.8 * (absolute + 20.91)))
    size = np.where(red, 1.45 * early * (1 + redshift) ** -0.7, 1.35 * late * (1 + redshift) ** -0.3)
    return size * np.exp(scatter * rng.standard_normal(len(absolute)))
