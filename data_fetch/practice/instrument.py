"""The practice telescope: what the SDSS camera does to one field, in numbers.

Sources are named beside each number. "Measured" means: on three public SDSS fields (runs 1035, 3918 and 8162, all five
bands), which is also what the tests compare with. "Approximate" means: right to a digit, not a citation.

An `Observation` is one field of the survey: where the telescope looked, through which air, with which seeing. It is
computed from the seed and the field's numbers alone, so any process can rebuild it.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

BANDS = "ugriz"
N_COLUMNS, N_ROWS = 2048, 1489  # a corrected frame; Stoughton et al. 2002, AJ 123, 485
ROWS_BETWEEN_FIELDS = 1361  # neighbouring frames share the remaining 128 rows; Stoughton et al. 2002
PIXEL_SCALE = 0.396  # arcsec; Gunn et al. 1998, AJ 116, 3040
ZERO_POINT = 22.5  # magnitude of one nanomaggy; SDSS flux calibration pages
RERUN = 301  # the reduction that data releases 8 to 17 publish
ROW_SECONDS = ROWS_BETWEEN_FIELDS * 26322e-6  # C_OBS in a frame's header: 26,322 microseconds a row
NODE = 95.0  # ascending node of every stripe, degrees; York et al. 2000, AJ 120, 1579

# Electrons per count and dark + read noise variance (counts^2), a row per camera column 1..6: the frame data model.
GAIN = np.array(
    [
        [1.62, 3.32, 4.71, 5.165, 4.745],
        [1.825, 3.855, 4.6, 6.565, 5.155],
        [1.59, 3.845, 4.72, 4.86, 4.885],
        [1.6, 3.995, 4.76, 4.885, 4.775],
        [1.47, 4.05, 4.725, 4.64, 3.48],
        [2.17, 4.035, 4.895, 4.76, 4.69],
    ]
)
DARK_VARIANCE = np.array(
    [
        [9.61, 15.6025, 1.8225, 7.84, 0.81],
        [12.6025, 1.44, 1.00, 6.25, 1.0],
        [8.7025, 1.3225, 1.3225, 4.6225, 1.0],
        [12.6025, 1.96, 1.3225, 7.5625, 12.6025],
        [9.3025, 1.1025, 0.81, 7.84, 2.1025],
        [7.0225, 1.8225, 0.9025, 5.0625, 1.21],
    ]
)
NANOMAGGIES_PER_COUNT = np.array([0.0107, 0.0037, 0.0051, 0.0066, 0.0341])  # measured, +- 10 % between chips
SKY_NANOMAGGIES = np.array([0.18, 0.22, 0.58, 1.05, 3.2])  # a pixel, measured; 22.1 21.8 20.7 20.1 18.9 mag/arcsec^2
FULL_WELL_COUNTS = np.array([26000, 52000, 46000, 32000, 50000])  # brightest unsaturated pixel, measured
EXTINCTION_PER_REDDENING = np.array([5.155, 3.793, 2.751, 2.086, 1.479])  # A/E(B-V); Stoughton et al. 2002, table 22
# The bands see the sky one after the other (r i u z g), 71.7 s apart; where they land differs by a few pixels
# (measured).
BAND_ORDER = {"r": 0, "i": 1, "u": 2, "z": 3, "g": 4}
BAND_SECONDS = 71.67
BAND_SHIFT_ROWS = np.array([-5.4, -10.6, 0.0, -2.9, -7.6])
BAND_SHIFT_SCATTER = 1.6

# PSF: a core, a shoulder and power-law wings (Moffat, beta = 2.5), all written as Gaussians so that photometry is
# exact. Weights and widths (in units of the core) fit bright stars of the three measured fields out to 25 pixels.
PSF_WEIGHTS = np.array([0.546, 0.320, 0.103, 0.027, 0.004])
PSF_WIDTHS = np.array([1.0, 1.6, 3.0, 6.0, 13.0])
PSF_FWHM_OVER_CORE = 2.566
SEEING_RATIO = np.array([1.11, 1.06, 1.0, 0.96, 0.95])  # to r; approximate, SDSS psfWidth medians and measured
MEDIAN_SEEING, SEEING_SCATTER = (
    1.10,
    0.15,
)  # arcsec FWHM of the core in r, log-normal: psfWidth_r 1.32, Abazajian et al. 2009


def field_id(run: int, camcol: int, field: int) -> int:
    """CAS `fieldID`; `objID` is this plus the object's number in the field.

    Bits: 59-62 sky version (2), 48-58 rerun, 32-47 run, 29-31 camcol, 16-27 field (SkyServer, "Object ids").

    >>> field_id(1739, 3, 315) + 116  # the object that astroquery's own recorded answer holds
    1237652943176138868
    """
    return (2 << 59) | (RERUN << 48) | (run << 32) | (camcol << 29) | (field << 16)


def great_circle_to_sky(mu, nu, inclination):
    """Survey coordinates (mu, nu) of a stripe to ICRS right ascension and declination, all in degrees.

    York et al. 2000: mu runs along the great circle that the stripe follows, nu across it.
    """
    mu, nu, inclination = np.radians(np.asarray(mu) - NODE), np.radians(nu), np.radians(inclination)
    x, y, z = np.cos(mu) * np.cos(nu), np.sin(mu) * np.cos(nu), np.sin(nu)
    ra = np.degrees(np.arctan2(y * np.cos(inclination) - z * np.sin(inclination), x)) + NODE
    dec = np.degrees(np.arcsin(y * np.sin(inclination) + z * np.cos(inclination)))
    return ra % 360, dec


@dataclass(frozen=True)
class Observation:
    """One field: (seed, run, camcol, field) and everything that follows from them."""

    seed: int
    run: int
    camcol: int
    field: int

    def rng(self, purpose: str, band: str = "") -> np.random.Generator:
        """A generator of random numbers that belongs to this field, purpose and band, and to nothing else."""
        return np.random.default_rng([self.seed, self.run, self.camcol, self.field, *f"{purpose}/{band}".encode()])

    def _run_rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.run, *purpose.encode()])

    @property
    def field_id(self) -> int:
        return field_id(self.run, self.camcol, self.field)

    @cached_property
    def stripe(self) -> tuple[int, float, float]:
        """Stripe number, its inclination (degrees) and the run's first mu, over the high-latitude northern sky."""
        rng = self._run_rng("stripe")
        number = int(rng.integers(12, 36))
        return number, 2.5 * number - 25.0, rng.uniform(145.0, 220.0)  # stripe 10 is the equator, 2.5 degrees apart

    @cached_property
    def mjd(self) -> float:
        start = self._run_rng("night").uniform(53500.0, 54700.0)
        return float(np.floor(start) + 0.25 + self.field * ROW_SECONDS / 86400)

    @cached_property
    def airmass(self) -> float:
        return float(1.0 + 0.25 * self._run_rng("airmass").random())

    @cached_property
    def reddening(self) -> float:
        """E(B-V): log-normal around the high-latitude median of 0.03 (Schlegel, Finkbeiner & Davis 1998)."""
        run, here = self._run_rng("dust"), self.rng("dust")
        return float(0.032 * np.exp(0.45 * run.standard_normal() + 0.15 * here.standard_normal()))

    @property
    def extinction(self) -> np.ndarray:
        """Galactic extinction in ugriz, mag."""
        return EXTINCTION_PER_REDDENING * self.reddening

    @cached_property
    def psf_core(self) -> np.ndarray:
        """Sigma of the PSF core in ugriz, arcsec; FWHM stays within 0.8 to 2 arcsec."""
        run, here = self._run_rng("seeing"), self.rng("seeing")
        seeing = MEDIAN_SEEING * np.exp(SEEING_SCATTER * (0.7 * run.standard_normal() + 0.7 * here.standard_normal()))
        fwhm = seeing * SEEING_RATIO * np.exp(0.04 * here.standard_normal(5))
        return np.clip(fwhm, 0.8, 2.0) / PSF_FWHM_OVER_CORE

    @cached_property
    def psf_shear(self) -> np.ndarray:
        """PSF ellipticity (g1, g2) in ugriz: a few per cent."""
        return 0.02 * self.rng("shear").standard_normal((5, 2))

    @cached_property
    def counts_to_nanomaggies(self) -> np.ndarray:
        chip = np.random.default_rng([self.seed, self.camcol, *b"throughput"])
        return NANOMAGGIES_PER_COUNT * np.exp(0.08 * chip.standard_normal(5))

    @cached_property
    def sky(self) -> np.ndarray:
        """Sky brightness in ugriz, nanomaggies a pixel."""
        run, here = self._run_rng("sky"), self.rng("sky")
        return SKY_NANOMAGGIES * np.exp(0.12 * run.standard_normal() + 0.05 * here.standard_normal(5))

    @property
    def gain(self) -> np.ndarray:
        return GAIN[self.camcol - 1]

    @property
    def saturation(self) -> np.ndarray:
        """Flux in one pixel at which it is full, ugriz, nanomaggies."""
        return FULL_WELL_COUNTS * self.counts_to_nanomaggies

    @property
    def pixel_variance(self) -> np.ndarray:
        """Variance of an empty pixel in ugriz, nanomaggies^2: sky, dark current and read-out (frame data model)."""
        counts = self.sky / self.counts_to_nanomaggies
        return (counts / self.gain + DARK_VARIANCE[self.camcol - 1] + 1 / 12) * self.counts_to_nanomaggies**2

    def great_circle(self, band: str) -> tuple[float, float]:
        """Survey coordinates (mu, nu) of the frame's centre in a band, degrees."""
        index, scale = BANDS.index(band), PIXEL_SCALE / 3600
        # camera columns are 25.17 arcmin apart (Gunn et al. 1998)
        mu = self.stripe[2] + self.field * ROWS_BETWEEN_FIELDS * scale
        nu = (self.camcol - 3.5) * 25.17 / 60
        if band != "r":
            shift = self._run_rng(f"shift/{self.camcol}").standard_normal((5, 2))[index]
            mu += (BAND_SHIFT_ROWS[index] + BAND_SHIFT_SCATTER * shift[0]) * scale
            nu += 3.0 * shift[1] * scale  # +-5 pixels across the drift (measured)
        return mu, nu

    def wcs(self, band: str) -> WCS:
        """Tangent-plane WCS of a frame: rows follow mu (the drift), columns follow nu."""
        inclination, scale = self.stripe[1], PIXEL_SCALE / 3600
        mu, nu = self.great_circle(band)
        ra, dec = great_circle_to_sky(mu, nu, inclination)
        ra_ahead, dec_ahead = great_circle_to_sky(mu + 1e-3, nu, inclination)
        ra_step = (ra_ahead - ra + 180) % 360 - 180
        angle = np.arctan2(dec_ahead - dec, ra_step * np.cos(np.radians(dec)))
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix = [1025.0, 745.0]  # as every real frame has it
        wcs.wcs.crval = [ra, dec]
        wcs.wcs.cd = scale * np.array([[-np.sin(angle), np.cos(angle)], [np.cos(angle), np.sin(angle)]])
        return wcs

    @property
    def galactic(self) -> tuple[float, float]:
        """Galactic longitude and latitude of the run's start, degrees: near enough for every field of a short run."""
        return _galactic_of_run(self.seed, self.run)


@lru_cache
def _galactic_of_run(seed, run):
    start = Observation(seed, run, 3, 11)
    place = SkyCoord(*start.wcs("r").wcs.crval, unit="deg").galactic
    return float(place.l.deg), float(place.b.deg)
