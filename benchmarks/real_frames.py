"""A CutoutSet of frames in a folder, with magnitudes and shapes measured here: no catalogue is asked.

    python benchmarks/real_frames.py --frames folder --out data/real

Sources are found and measured with SEP (Barbary 2016, JOSS 1, 58; after Bertin & Arnouts 1996, A&AS 117, 393), so that
pretraining can be tried on real sky for which no network is at hand. The columns carry the names of the survey's own
where they mean nearly the same: `modelMag_*` is a Kron magnitude, `petroR50_r` and `petroR90_r` hold 50 and 90 % of the
Kron flux, `expAB_r` is the axis ratio of second moments.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import sep
from astropy.table import Table, vstack

import astro_ssl_nb as ssl
from data_fetch.frames import BANDS, PIXEL_SCALE, Frame

DETECTION = 2.0  # in units of the noise, on the sum of g, r and i
KRON, FAINTEST = 2.5, 21.5  # as SExtractor's MAG_AUTO; r magnitude down to which a shape can be measured
NAME = re.compile(r"frame-([ugriz])-(\d{6})-(\d)-(\d{4})\.fits\.bz2")


def fields_in(folder):
    """{(run, camcol, field): {band: path}} of the frames in a folder, for fields that have all five."""
    fields = {}
    for path in sorted(Path(folder).rglob("frame-*.fits.bz2")):
        band, *which = NAME.fullmatch(path.name).groups()
        fields.setdefault(tuple(map(int, which)), {})[band] = path
    return {which: paths for which, paths in fields.items() if set(paths) == set(BANDS)}


def measure_field(which, paths, size):
    """Images (N, 5, size, size) and a Table of the sources of one field."""
    run, camcol, field = which
    frames = {
        band: Frame.decode(path.read_bytes(), run=run, camcol=camcol, field=field, band=band)
        for band, path in paths.items()
    }
    r = frames["r"]
    rows, columns = r.data.shape
    # Bands are shifted against each other by a few pixels: the same sky is looked up in each.
    detection, middle = np.zeros(r.data.shape), r.wcs.wcs_pix2world([1024.0], [744.0], 0)
    for band in "gri":
        x, y = frames[band].wcs.wcs_world2pix(*middle, 0)
        shift = round(744 - float(y[0])), round(1024 - float(x[0]))
        plane = np.roll(frames[band].data, shift, (0, 1)).astype(float)
        detection += plane / sep.Background(plane).globalrms
    found = sep.extract(detection, DETECTION, err=np.sqrt(3), minarea=5)
    ra, dec = r.wcs.wcs_pix2world(found["x"], found["y"], 0)
    table = Table({"ra": ra, "dec": dec})
    shape = found["a"], found["b"], found["theta"]
    for band in BANDS:
        data = frames[band].data.astype(float)
        x, y = frames[band].wcs.wcs_world2pix(ra, dec, 0)
        inside = (x > 0) & (x < columns - 1) & (y > 0) & (y < rows - 1)
        x, y = np.where(inside, x, 100.0), np.where(inside, y, 100.0)
        radius, _ = sep.kron_radius(data, x, y, *shape, 6.0)
        ellipse = KRON * np.maximum(radius, 1.5)
        flux, _, flag = sep.sum_ellipse(data, x, y, *shape, ellipse, subpix=5)
        with np.errstate(divide="ignore", invalid="ignore"):
            magnitude = np.where(inside & (flux > 0), 22.5 - 2.5 * np.log10(flux), np.nan)
        table[f"modelMag_{band}"] = np.where(flag & sep.APER_NONPOSITIVE, np.nan, magnitude)
        if band == "r":
            radii, _ = sep.flux_radius(data, x, y, ellipse * found["a"], [0.5, 0.9], normflux=flux, subpix=5)
            table["petroR50_r"], table["petroR90_r"] = radii.T * PIXEL_SCALE
    table["expAB_r"] = found["b"] / found["a"]
    number = (run * 10 + camcol) * 10_000 + field
    table["objid"] = np.uint64(number) * np.uint64(100_000) + np.arange(len(table), dtype=np.uint64)
    table = table[np.asarray(table["modelMag_r"]) < FAINTEST]
    cut = [frames[band].cutouts(table["ra"], table["dec"], size) for band in BANDS]
    whole = ~np.isin(np.arange(len(table)), [row for _, problems in cut for row in problems])
    return np.stack([images[whole] for images, _ in cut], axis=1), table[whole]


def read_frames(folder, size=64):
    """A CutoutSet of all sources brighter than FAINTEST on the frames in a folder.

    Raises
    ------
    SystemExit
        If no field of the folder has all five bands.
    """
    fields = fields_in(folder)
    if not fields:
        raise SystemExit(f"{folder} holds no field with frames in all of {', '.join(BANDS)}")
    parts = [measure_field(which, paths, size) for which, paths in fields.items()]
    catalogue = vstack([table for _, table in parts], metadata_conflicts="silent")
    images = np.concatenate([images for images, _ in parts])
    return ssl.CutoutSet.from_arrays(images, catalogue, bands=BANDS, pixel_scale=PIXEL_SCALE, survey="frames")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", required=True, help="folder of frame-BAND-RUN-CAMCOL-FIELD.fits.bz2 files")
    parser.add_argument("--out", required=True, help="folder of the CutoutSet, which must not exist")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    options = parser.parse_args()
    cutouts = read_frames(options.frames, options.size)
    cutouts.save(options.out)
    print(cutouts)


if __name__ == "__main__":
    main()
