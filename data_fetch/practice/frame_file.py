"""The FITS layout of an SDSS frame: header cards and four HDUs, as the survey's data model describes them ("frame")."""

import bz2
import io

import numpy as np
from astropy.io import fits
from astropy.time import Time

from .instrument import (
    BAND_ORDER,
    BAND_SECONDS,
    BANDS,
    N_COLUMNS,
    N_ROWS,
    NODE,
    PIXEL_SCALE,
    RERUN,
    Observation,
)  # fmt: skip

BLOCKS = 2  # of 100 kB: the survey's have nine, which take two thirds longer to unpack and save a tenth of the bytes


def frame_file(observation: Observation, band: str, image, calibration, sky) -> bytes:
    """The compressed file: image (nanomaggies), calibration (nanomaggies a count), sky (counts) and astrometry."""
    hdus = fits.HDUList(
        [fits.PrimaryHDU(image), fits.ImageHDU(calibration), _sky_hdu(sky), _astrometry_hdu(observation, band)]
    )
    _add_cards(hdus[0].header, observation, band)
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return bz2.compress(buffer.getvalue(), BLOCKS)


def seconds(observation: Observation, band: str) -> float:
    """TAI of the frame's first row, seconds since MJD 0 as SDSS counts them."""
    return observation.mjd * 86400 + BAND_SECONDS * BAND_ORDER[band]


def _add_cards(header, observation, band):
    index = BANDS.index(band)
    stripe, inclination, _ = observation.stripe
    wcs = observation.wcs(band)
    tai = seconds(observation, band)
    start = Time(tai / 86400, format="mjd", scale="tai")
    scale = observation.counts_to_nanomaggies[index]
    cards = [
        ("TAI", round(tai, 2), "1st row - Seconds since Nov 17 1858"),
        ("RA", round(wcs.wcs.crval[0], 5), "1st row - Right ascension (deg)"),
        ("DEC", round(wcs.wcs.crval[1], 6), "1st row - Declination (deg)"),
        ("DATE-OBS", start.iso[:10], "1st row - TAI date"),
        ("TAIHMS", start.iso[11:22], "1st row - TAI time (HH:MM:SS.SS)"),
        ("ORIGIN", "PRACTICE", "simulated: not SDSS data"),
        ("TELESCOP", "2.5m", "simulated"),
        ("TIMESYS", "TAI", ""),
        ("RUN", observation.run, "Run number"),
        ("FRAME", observation.field, "Frame sequence number within the run"),
        ("STRIPE", stripe, "Stripe index number (23 <--> eta=0)"),
        ("STRIP", "N", "Strip in the stripe being tracked."),
        ("FLAVOR", "science", "Flavor of this run"),
        ("SYS_SCN", "mean", "System of the scan great circle"),
        ("EQNX_SCN", 2000.0, "Equinox of the scan great circle (years)"),
        ("NODE", NODE, "RA of the ascending node (deg)"),
        ("INCL", inclination, "Inclination to the equator (deg)"),
        ("EXPTIME", "53.907456", "Exposure time (seconds)"),
        ("CCDMODE", "DRIFT", "'STARING' or 'DRIFT'"),
        ("C_OBS", 26322, "CCD row clock rate (usec/row)"),
        ("COLBIN", 1, "Binning perpendicular to the columns"),
        ("ROWBIN", 1, "Binning perpendicular to the rows"),
        ("CAMROW", BAND_ORDER[band] + 1, "Row in the imaging camera"),
        ("EQUINOX", 2000.0, ""),
        ("SOFTBIAS", 1000, 'software "bias" added to all DN'),
        ("BUNIT", "nanomaggy", "1 nanomaggy = 3.631e-6 Jy"),
        ("FILTER", band, "filter used"),
        ("CAMCOL", observation.camcol, "column in the imaging camera"),
        ("RADECSYS", "ICRS", "International Celestial Ref. System"),
        *((name, wcs.wcs.ctype[i], "Coordinate type") for i, name in enumerate(("CTYPE1", "CTYPE2"))),
        *((name, "deg", "Units") for name in ("CUNIT1", "CUNIT2")),
        ("CRPIX1", 1025.0, "X of reference pixel"),
        ("CRPIX2", 745.0, "Y of reference pixel"),
        ("CRVAL1", wcs.wcs.crval[0], "RA of reference pixel (deg)"),
        ("CRVAL2", wcs.wcs.crval[1], "Dec of reference pixel (deg)"),
        ("CD1_1", wcs.wcs.cd[0, 0], "RA deg per column pixel"),
        ("CD1_2", wcs.wcs.cd[0, 1], "RA deg per row pixel"),
        ("CD2_1", wcs.wcs.cd[1, 0], "Dec deg per column pixel"),
        ("CD2_2", wcs.wcs.cd[1, 1], "Dec deg per row pixel"),
        ("COMMENT", "Floats truncated at 10 binary digits with FLOATCOMPRESS", ""),
        ("NMGY", float(np.float32(scale)), "Calibration factor [nMgy per count]"),
        ("RERUN", str(RERUN), "rerun"),
    ]
    for name, value, comment in cards:
        header.append((name, value, comment), end=True)


def _sky_hdu(sky):
    table = np.zeros(1, [("ALLSKY", ">f4", sky.shape), ("XINTERP", ">f4", (N_COLUMNS,)), ("YINTERP", ">f4", (N_ROWS,))])
    table["ALLSKY"] = sky
    table["XINTERP"] = (np.arange(N_COLUMNS) + 0.5) / 8 - 0.5
    table["YINTERP"] = (np.arange(N_ROWS) + 0.5) / 8 - 0.5
    return fits.BinTableHDU(table)


def _astrometry_hdu(observation, band):
    """The survey's own astrometry: mu = A + B row + C column, nu = D + E row + F column, distortions zero."""
    _, inclination, _ = observation.stripe
    scale = PIXEL_SCALE / 3600
    names = ["DROW0", "DROW1", "DROW2", "DROW3", "DCOL0", "DCOL1", "DCOL2", "DCOL3", "CSROW", "CSCOL", "CCROW", "CCCOL"]
    mu, nu = observation.great_circle(band)
    values = [
        ("RUN", ">i4", observation.run), ("RERUN", "S3", str(RERUN).encode()), ("CAMCOL", ">i4", observation.camcol),
        ("FILTER", "S1", band.encode()), ("NODE", ">f8", NODE), ("INCL", ">f8", inclination),
        ("NAXIS", (">i4", (2,)), [N_COLUMNS, N_ROWS]), ("FIELD", ">i4", observation.field),
        ("A", ">f8", mu - 744 * scale), ("B", ">f8", scale), ("C", ">f8", 0.0),
        ("D", ">f8", nu - 1024 * scale), ("E", ">f8", 0.0), ("F", ">f8", scale),
        *((name, ">f8", 0.0) for name in names),
        ("RICUT", ">f8", 100.0), ("MJD", ">f8", seconds(observation, band) / 86400),
        ("AIRMASS", ">f8", observation.airmass),
        ("MUERR", ">f4", 0.045), ("NUERR", ">f4", 0.045),
    ]  # fmt: skip
    table = np.zeros(1, [(name, *((kind,) if isinstance(kind, str) else kind)) for name, kind, _ in values])
    for name, _, value in values:
        table[name] = value
    return fits.BinTableHDU(table)
