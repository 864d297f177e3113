"""Real SDSS frames, served by the practice server and fetched the ordinary way."""

import bz2
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

import data_fetch
from data_fetch.catalogues import PHOTOMETRY

REAL = Path(__file__).parents[2] / ".." / "shared" / "sdss"
SIZE = 32
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real frames in ../shared/sdss are not here")


def centroid(image, x, y):
    """Flux-weighted centre within 3 pixels, three times over."""
    rows, columns = np.indices(image.shape)
    for _ in range(3):
        weight = np.where(np.hypot(columns - x, rows - y) < 3, image.clip(0), 0)
        x, y = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    return x, y


def aperture_mag(image, x, y):
    """Magnitude within 5 pixels; the sky is subtracted already."""
    rows, columns = np.indices(image.shape)
    flux = image[np.hypot(columns - x, rows - y) < 5].sum(dtype=float)
    return 22.5 - 2.5 * np.log10(max(flux, 1e-3))


@pytest.fixture(scope="module")
def frames():
    opened = {}
    for band in "ugriz":
        with fits.open(BytesIO(bz2.decompress((REAL / f"frame-{band}-003918-3-0213.fits.bz2").read_bytes()))) as hdus:
            data, header = hdus[0].data, hdus[0].header
        cards = [f"{name}{axis}" for name in ("CTYPE", "CRPIX", "CRVAL", "CD1_", "CD2_") for axis in (1, 2)]
        opened[band] = data.astype(np.float32), WCS({card: header[card] for card in cards})
    return opened


@pytest.fixture(scope="module")
def objects(frames):
    """A photometric catalogue of the field, measured here: positions on the r frame and a magnitude in r."""
    data, wcs = frames["r"]
    rows = []
    for kind, name in ((3, "galaxies"), (6, "stars")):
        listed = Table.read(REAL / f"{name}-003918-3-0213.csv")
        ra, dec = wcs.wcs_pix2world(listed["x_pixel"], listed["y_pixel"], 0)
        for x, y, *position in zip(listed["x_pixel"], listed["y_pixel"], ra, dec, strict=True):
            left, bottom = max(int(x) - 10, 0), max(int(y) - 10, 0)
            mag = aperture_mag(data[bottom : bottom + 21, left : left + 21], x - left, y - bottom)
            rows.append((kind, x, y, *position, mag))
    table = Table(rows=rows, names=("type", "colc_r", "rowc_r", "ra", "dec", "modelMag_r"))
    field = 1237661871868706816
    table["objID"] = field + 1 + np.arange(len(table))
    for name, value in {"fieldID": field, "run": 3918, "rerun": 301, "camcol": 3, "field": 213}.items():
        table[name] = value
    table["mode"] = table["clean"] = 1
    for name in PHOTOMETRY:
        if name.startswith("p.") and name[2:] not in table.colnames:
            table[name[2:]] = -9999.0
    return table


@pytest.fixture(scope="module")
def fetched(objects, tmp_path_factory):
    """The cutouts, and their rows in the catalogue."""
    from data_fetch.practice import PracticeArchive, RecordedSky

    inside = (np.abs(objects["colc_r"] - 1024) < 980) & (np.abs(objects["rowc_r"] - 744) < 700)
    n = int((inside & (objects["modelMag_r"] > 14) & (objects["modelMag_r"] < 21.5)).sum())
    out = tmp_path_factory.mktemp("real") / "pretext"
    with PracticeArchive(RecordedSky(REAL, objects)) as server:
        cutouts = data_fetch.fetch("pretext", archive=server.url, n=n, out=out, size=SIZE, progress=False)
    order = {objid: row for row, objid in enumerate(objects["objID"])}
    return cutouts, objects[[order[objid] for objid in cutouts.catalogue["objid"]]]


def test_every_cutout_is_centred_in_every_band(fetched, frames):
    cutouts, rows = fetched
    assert len(cutouts) > 250 and cutouts.card["missing"] == 0
    for plane, (data, wcs) in enumerate(frames.values()):
        x, y = wcs.wcs_world2pix(rows["ra"], rows["dec"], 0)
        for image, x0, y0 in zip(cutouts.images[:, plane], x, y, strict=True):
            # Find where in the frame exactly these pixels are, whatever the code that cut them thought.
            around = data[int(y0) - 20 : int(y0) + 21, int(x0) - 20 : int(x0) + 21]
            windows = np.lib.stride_tricks.sliding_window_view(around, (SIZE, SIZE))
            ((bottom, left),) = np.argwhere((windows == image).all(axis=(2, 3)))
            assert abs(x0 - (int(x0) - 20 + left + (SIZE - 1) / 2)) <= 0.5
            assert abs(y0 - (int(y0) - 20 + bottom + (SIZE - 1) / 2)) <= 0.5


def isolated(rows, objects, distance=25):
    apart = np.hypot(
        *(np.subtract.outer(np.asarray(rows[name]), np.asarray(objects[name])) for name in ("colc_r", "rowc_r"))
    )
    return (apart < distance).sum(axis=1) == 1


def test_bright_stars_stand_in_the_middle_of_every_band(fetched, objects):
    cutouts, rows = fetched
    stars = (rows["type"] == 6) & (rows["modelMag_r"] > 15.5) & (rows["modelMag_r"] < 18.5) & isolated(rows, objects)
    assert stars.sum() >= 8
    middle = (SIZE - 1) / 2
    for plane, band in enumerate(cutouts.bands):
        offsets = [np.subtract(centroid(image, middle, middle), middle) for image in cutouts.images[stars, plane]]
        # Half a pixel of rounding, and a tenth of an arcsecond for astrometry and centroid.
        assert np.abs(offsets).max() <= 0.75, band
        assert np.abs(np.median(offsets, axis=0)).max() < 0.3, band


@pytest.mark.parametrize("band", "ugriz")
def test_magnitudes_in_cutouts_are_those_in_the_frame(band, fetched, frames, objects):
    cutouts, rows = fetched
    data, wcs = frames[band]
    # The same aperture on the frame itself, where its centre is not rounded to a pixel.
    expected = []
    for x, y in zip(*wcs.wcs_world2pix(rows["ra"], rows["dec"], 0), strict=True):
        left, bottom = int(x) - 10, int(y) - 10
        expected.append(aperture_mag(data[bottom : bottom + 21, left : left + 21], x - left, y - bottom))
    expected, middle = np.array(expected), (SIZE - 1) / 2
    good = isolated(rows, objects, 15) & (expected < 20.5)
    assert good.sum() > {"u": 20, "g": 50}.get(band, 100)
    mags = [aperture_mag(image, middle, middle) for image in cutouts.images[good, cutouts.bands.index(band)]]
    difference = np.abs(mags - expected[good])
    print(f"{band}: {good.sum()} objects, median {np.median(difference):.4f}, 95 % {np.percentile(difference, 95):.4f}")
    # The rounding moves some noise over the edge of the aperture, and u and z have most of it.
    assert np.median(difference) < 0.02 and np.percentile(difference, 95) < (0.1 if band in "uz" else 0.05)
