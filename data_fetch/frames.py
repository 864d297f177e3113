"""SDSS frames to cutouts: one WCS call a frame, one slice an object."""

import bz2
import math
import os
import threading
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astro_ssl_nb.image_files import check_headers

PIXEL_SCALE = 0.396  # arcsec; https://www.sdss4.org/dr17/imaging/imaging_basics/
MOST_UNPACKED = 64_000_000  # bytes; a frame has 12.5 million, and a few kB of bz2 can unpack to many GB
MOST_STREAMS = 16  # of bz2 in a file: bzip2 makes one, a parallel one 14 of a frame, and each costs a copy of the rest
NEAR = 200  # pixels outside a frame; an object of a field is inside in r, and the bands are a few pixels apart
HDUS = 4  # image, calibration, sky, astrometry
FRAME_SHAPE = (1489, 2048)  # rows, columns of a corrected frame
BANDS = "ugriz"
FILTER_DELAY = {"r": 0, "i": 2, "u": 4, "z": 6, "g": 8}
WCS_CARDS = [f"{name}{axis}" for name in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CD1_", "CD2_") for axis in (1, 2)]


# Threads beyond the number of cores wait for the network; unpacking in all of them at once is slower than in turn, as
# each needs megabytes of the processor's cache.
_unpacking = threading.BoundedSemaphore(os.cpu_count() or 1)


class FrameError(Exception):
    """One frame cannot be had or cannot be used; other frames of the archive may be fine.

    Attributes
    ----------
    again : bool
        Whether the archive may have it another time; False if it says that there is no such frame.
    """

    def __init__(self, reason, *, again=False):
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True)
class Frame:
    """One band of one SDSS field.

    Attributes
    ----------
    data : ndarray of shape (1489, 2048)
        Sky-subtracted flux in nanomaggies a pixel.
    wcs : astropy.wcs.WCS
        ICRS right ascension and declination of this band's pixels; each band is registered by itself.
    """

    data: np.ndarray
    wcs: WCS

    @classmethod
    def decode(cls, packed, *, run, camcol, field, band):
        """Unpack a `frame-*.fits.bz2` file and check that it is whole and the one that was asked for.

        Parameters
        ----------
        packed : bytes
        run, camcol, field : int
        band : str

        Raises
        ------
        FrameError
            If the bytes are not a complete bz2 file, not a FITS image of a frame with its astrometry, or another frame.

        Examples
        --------
        >>> from data_fetch.practice import SimulatedSky
        >>> packed = SimulatedSky().frame_bytes(9101, 3, 11, "u")
        >>> Frame.decode(packed, run=9101, camcol=3, field=11, band="u").data.shape
        (1489, 2048)

        References
        ----------
        https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html
        """
        try:
            with _unpacking:
                unpacked = _unpack(packed)
        except (OSError, ValueError) as error:
            raise FrameError(f"is not a whole bz2 file ({error}); it starts with {packed[:40]!r}") from error
        try:
            check_headers(unpacked)
            with fits.open(BytesIO(unpacked), memmap=False) as hdus:
                header, data, count = hdus[0].header, hdus[0].data, len(hdus)
        except Exception as error:  # astropy raises anything from OSError to TypeError on broken files
            raise FrameError(f"is not a FITS file ({error}); it starts with {unpacked[:40]!r}") from error
        shape = None if data is None else data.shape
        if shape != FRAME_SHAPE:
            raise FrameError(f"holds an image of shape {shape}, a frame has {FRAME_SHAPE}")
        if count < HDUS:
            raise FrameError(f"holds {count} HDUs, a frame has {HDUS}: it is not whole")
        try:
            cards = {name: header.get(name) for name in ("RUN", "CAMCOL", "FILTER", "FRAME", *WCS_CARDS)}
        except Exception as error:  # a card is parsed only here, and what is none may raise anything
            raise FrameError(f"has a header that cannot be read: {error}") from error
        found = tuple(cards[name] for name in ("RUN", "CAMCOL", "FILTER"))
        if found != (run, camcol, band):
            raise FrameError(f"holds run, camcol, band {found}, asked for {(run, camcol, band)}")
        # FRAME counts rows of the camera: a field passes the filters r, i, u, z, g one after the other.
        if cards["FRAME"] not in (field, field + FILTER_DELAY[band]):
            raise FrameError(f"holds frame {cards['FRAME']} of the run, asked for field {field} in {band}")
        for name in WCS_CARDS:
            text = name.startswith(("CTYPE", "CUNIT"))
            if not (isinstance(cards[name], str) if text else _is_number(cards[name])):
                raise FrameError(f"has no astrometry that can be used: {name} is {cards[name]!r}")
        # Only these, because WCS warns about old names of other keywords in every frame.
        try:
            wcs = WCS({name: cards[name] for name in WCS_CARDS})
            wcs.wcs.set()
        except ValueError as error:
            raise FrameError(f"has no astrometry that can be used: {error}") from error
        return cls(data, wcs)

    @property
    def finite(self):
        """Whether every pixel is a number; in the frames of SDSS it is."""
        return bool(np.isfinite(self.data).all())

    def check_near(self, ra, dec):
        """Check that the frame is where objects are that the catalogue has in it.

        Parameters
        ----------
        ra, dec : array of shape (N,)
            ICRS, degrees.

        Raises
        ------
        FrameError
            If all of them are far from it.
        """
        rows, columns = self.data.shape
        x, y = self.wcs.wcs_world2pix(ra, dec, 0)
        if not ((-NEAR < x) & (x < columns + NEAR) & (-NEAR < y) & (y < rows + NEAR)).any():
            middle = "{:.4f}, {:.4f}".format(*map(float, self.wcs.wcs_pix2world(columns / 2, rows / 2, 0)))
            raise FrameError(
                f"has its middle at {middle}, far from the {len(ra)} objects that the catalogue has in it, the first "
                f"at {ra[0]:.4f}, {dec[0]:.4f}"
            )

    def cutouts(self, ra, dec, size):
        """Cut squares around positions; the centre of each is within half a pixel of its position.

        Parameters
        ----------
        ra, dec : array of shape (N,)
            ICRS, degrees.
        size : int
            Pixels a side.

        Returns
        -------
        images : ndarray of shape (N, size, size), float32
            Nanomaggies; NaN where there is a problem.
        problems : dict of int to str
            Why some rows have no image: the cutout leaves the frame, or has pixels that are not finite.
        """
        # Frames have a plain TAN projection: there is no distortion that would ask for all_world2pix.
        x, y = self.wcs.wcs_world2pix(ra, dec, 0)
        left, bottom = (np.round(axis - (size - 1) / 2) for axis in (x, y))
        rows, columns = self.data.shape
        inside = (left >= 0) & (left + size <= columns) & (bottom >= 0) & (bottom + size <= rows)
        images = np.full((len(left), size, size), np.nan, dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self.data, (size, size))
        images[inside] = windows[bottom[inside].astype(int), left[inside].astype(int)]
        finite = np.isfinite(images).all(axis=(1, 2))
        reasons = np.where(inside, "pixels that are not finite", "the cutout leaves the frame")
        return images, {int(row): str(reasons[row]) for row in np.flatnonzero(~finite)}


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _unpack(packed):
    """Like bz2.decompress, several streams behind each other too, but within bounds."""
    parts, left = [], MOST_UNPACKED
    while packed:
        if len(parts) == MOST_STREAMS:
            raise ValueError(f"it holds more than {MOST_STREAMS} streams")
        stream = bz2.BZ2Decompressor()
        try:
            parts.append(stream.decompress(packed, max_length=left))
        except OSError:
            if parts:
                break  # what follows a whole stream need not be one
            raise
        left -= len(parts[-1])
        if not stream.eof:
            why = f"it unpacks to more than {MOST_UNPACKED:,} bytes" if left <= 0 else "it ends too early"
            raise ValueError(why)
        packed = stream.unused_data
    return b"".join(parts)
