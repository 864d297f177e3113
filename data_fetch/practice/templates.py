"""Spectra seen through ugriz: how the colours of galaxies and quasars move with redshift.

Filters are smooth boxes with the published effective wavelengths and widths. Galaxy spectra are those of Coleman, Wu &
Weedman (1980, ApJS 43, 393), which GalSim carries. The quasar spectrum is a power law with the emission lines of the
SDSS composite (Vanden Berk et al. 2001, AJ 122, 549) and the mean absorption of the intergalactic medium (Madau 1995,
ApJ 441, 18). All tracks are tabulated once a process and interpolated.
"""

from functools import lru_cache
from pathlib import Path

import galsim
import numpy as np

EFFECTIVE_WAVELENGTH = np.array([3551, 4686, 6166, 7480, 8932])  # Angstrom; Stoughton et al. 2002
FILTER_WIDTH = np.array([599, 1379, 1382, 1535, 1370])  # Angstrom, FWHM; Fukugita et al. 1996, AJ 111, 1748
GALAXY_TYPES = ("E", "Sbc", "Scd", "Im")
REDSHIFTS = np.arange(0.0, 2.0, 0.02)
QUASAR_REDSHIFTS = np.arange(0.0, 5.5, 0.02)

# Rest wavelength, equivalent width and Gaussian width in Angstrom; Vanden Berk et al. 2001, table 2 (strong lines).
QUASAR_LINES = np.array(
    [
        (1033, 9.8, 8), (1216, 92.9, 19.5), (1240, 15, 12), (1397, 8.1, 14), (1549, 23.8, 14), (1909, 21.2, 23.6),
        (2800, 32.3, 35), (4103, 5.1, 19), (4342, 12.6, 21), (4863, 46.2, 40), (4960, 3.5, 4), (5008, 13.2, 6),
        (6565, 194.5, 47),
    ]
)  # fmt: skip
# Iron and Balmer continuum: (centre, width, height over the continuum), approximate after the same composite.
QUASAR_BUMPS = np.array([(2450, 180, 0.16), (3050, 420, 0.18), (4570, 120, 0.10), (5300, 160, 0.08)])


def band_magnitudes(wavelength, flux_density):
    """AB magnitudes in ugriz (no zero point) of an f_lambda spectrum; wavelengths ascend, in Angstrom."""
    magnitudes = []
    for centre, width in zip(EFFECTIVE_WAVELENGTH, FILTER_WIDTH, strict=True):
        grid = np.linspace(centre - 0.8 * width, centre + 0.8 * width, 81)
        response = np.exp(-np.log(2) * (2 * (grid - centre) / width) ** 6)
        flux = np.interp(grid, wavelength, flux_density)
        magnitudes.append(-2.5 * np.log10(np.sum(flux * response * grid) / np.sum(response / grid)))
    return np.array(magnitudes)


@lru_cache
def galaxy_tracks() -> np.ndarray:
    """Array (type, redshift, band): ugriz magnitude minus rest-frame r minus distance modulus, i.e. K-corrections."""
    tracks = []
    for name in GALAXY_TYPES:
        file = Path(galsim.meta_data.share_dir) / "SEDs" / f"CWW_{name}_ext.sed"
        wavelength, flux = np.loadtxt(file, unpack=True)
        rest_r = band_magnitudes(wavelength, flux)[2]
        shifted = [band_magnitudes(wavelength * (1 + z), flux / (1 + z)) for z in REDSHIFTS]
        tracks.append(np.array(shifted) - rest_r)
    return np.array(tracks)


def galaxy_colours(galaxy_type, redshift) -> np.ndarray:
    """Magnitudes (N, 5) relative to rest-frame r plus distance modulus; type 0 = E ... 3 = Im, or between."""
    tracks = galaxy_tracks()
    kind = np.clip(galaxy_type, 0, len(GALAXY_TYPES) - 1.001)
    low = kind.astype(int)
    part = (kind - low)[:, None]
    step = np.clip(redshift / (REDSHIFTS[1] - REDSHIFTS[0]), 0, len(REDSHIFTS) - 1.001)
    row = step.astype(int)
    rest = (step - row)[:, None]
    at = lambda k: tracks[k, row] * (1 - rest) + tracks[k, row + 1] * rest  # noqa: E731
    return at(low) * (1 - part) + at(low + 1) * part


@lru_cache
def quasar_tracks() -> np.ndarray:
    """Array (2, redshift, band): magnitudes relative to r of the continuum alone, and of continuum with lines."""
    rest = np.geomspace(600, 12000, 6000)
    # f_nu ~ nu^-0.44 below 5000 Angstrom; redder beyond, where hosts and hot dust add (Vanden Berk et al. 2001)
    continuum = np.where(rest < 5000, (rest / 5000) ** -1.56, (rest / 5000) ** -0.6)
    lines = np.zeros_like(rest)
    for centre, width, sigma in QUASAR_LINES:
        lines += width / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((rest - centre) / sigma) ** 2)
    for centre, sigma, height in QUASAR_BUMPS:
        lines += height * np.exp(-0.5 * ((rest - centre) / sigma) ** 2)
    tracks = np.empty((2, len(QUASAR_REDSHIFTS), 5))
    for i, redshift in enumerate(QUASAR_REDSHIFTS):
        observed = rest * (1 + redshift)
        # mean Lyman-series absorption, Madau 1995: 0.0036 (lambda/1216)^3.46 for Lyman alpha, plus the higher lines
        depth = np.where(rest < 1216, 0.0036 * (observed / 1216) ** 3.46, 0.0)
        depth = depth + np.where(rest < 1026, 0.0017 * (observed / 1026) ** 3.46, 0.0)
        depth = depth + np.where(rest < 912, 0.25 * ((1 + redshift) / 3) ** 3 * (1 - (rest / 912) ** 1.5) * 10, 0.0)
        for j, spectrum in enumerate((continuum, continuum * (1 + lines))):
            magnitudes = band_magnitudes(observed, spectrum * np.exp(-depth))
            tracks[j, i] = magnitudes - magnitudes[2]
    return tracks


def quasar_colours(redshift, line_strength, slope, reddening) -> np.ndarray:
    """Magnitudes (N, 5) relative to r.

    line_strength 1 is the composite; slope is the deviation from its power law (index of f_nu); reddening is E(B-V) of
    an SMC-like screen in the rest frame, A = 1.39 (lambda / micron)^-1.2 E(B-V) (Richards et al. 2003, AJ 126, 1131).
    """
    tracks = quasar_tracks()
    step = np.clip(redshift / (QUASAR_REDSHIFTS[1] - QUASAR_REDSHIFTS[0]), 0, len(QUASAR_REDSHIFTS) - 1.001)
    row = step.astype(int)
    part = (step - row)[:, None]
    bare, lined = tracks[:, row] * (1 - part) + tracks[:, row + 1] * part
    colours = bare + line_strength[:, None] * (lined - bare)
    colours = colours + slope[:, None] * 2.5 * np.log10(EFFECTIVE_WAVELENGTH / EFFECTIVE_WAVELENGTH[2])
    micron = EFFECTIVE_WAVELENGTH / 1e4 / (1 + redshift[:, None])
    dust = 1.39 * micron**-1.2 * reddening[:, None]
    return colours + dust - dust[:, 2:3]
