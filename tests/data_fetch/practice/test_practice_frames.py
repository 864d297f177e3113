"""Practice frames: what the catalogue says is in the pixels, and the pixels look like SDSS's."""

import bz2
import io

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.wcs import WCS

from data_fetch.practice.instrument import BANDS, PIXEL_SCALE, Observation
from data_fetch.practice.photometry import measure
from data_fetch.practice.render import truncate

FIELD = (9101, 3, 11)


@pytest.fixture(scope="module")
def isolated_stars():
    """Bright, clean, lonely stars of FIELD: catalogue columns, and the catalogue itself."""
    columns, members, truth = measure(Observation(0, *FIELD))
    x, y = columns["colc_r"] - 0.5, columns["rowc_r"] - 0.5
    total = truth.total[:, 2]
    lonely = []
    for i in members:
        distance = np.hypot(truth.x - truth.x[i], truth.y - truth.y[i])
        near = (distance > 0) & (distance < 25)
        lonely.append(total[near].sum() < 0.01 * total[i])
    chosen = (truth.kind[members] == "STAR") & (columns["clean"] == 1) & (columns["type"] == 6) & np.array(lonely)
    chosen &= (columns["psfMag_r"] > 15) & (columns["psfMag_r"] < 19.5)
    chosen &= (x > 40) & (x < 2000) & (y > 40) & (y < 1440)
    assert chosen.sum() >= 10
    return {name: column[chosen] for name, column in columns.items()}


def pixels(hdus):
    data = np.ascontiguousarray(hdus[0].data, dtype=np.float32)
    return data - sep.Background(data, bw=128, bh=128).back()


def test_the_layout_is_that_of_a_real_frame(frames):
    for band, hdus in frames.items():
        header = hdus[0].header
        assert hdus[0].data.shape == (1489, 2048) and hdus[0].data.dtype == np.dtype(">f4")
        assert hdus[1].data.shape == (2048,)
        assert hdus[2].data["ALLSKY"][0].shape == (192, 256)
        assert hdus[3].data["FILTER"][0] == band
        assert (header["RUN"], header["CAMCOL"], header["FRAME"], header["FILTER"]) == (*FIELD, band)
        assert header["BUNIT"] == "nanomaggy" and header["CTYPE1"] == "RA---TAN"
        assert np.isfinite(hdus[0].data).all()


def test_the_cards_are_those_of_a_real_frame(frames, real_frames):
    """Every header card that describes the image, its astrometry or its calibration is there, with the same type."""
    real = fits.getheader(real_frames[0])
    names = (
        "TAI RA DEC RUN FRAME STRIPE CAMCOL FILTER CRPIX1 CRPIX2 CRVAL1 CD1_1 CD2_2 NMGY EXPTIME C_OBS RERUN".split()
    )
    for name in names:
        assert type(frames["r"][0].header[name]) is type(real[name]), name
    with fits.open(real_frames[0]) as hdus:
        assert hdus[2].columns.names == frames["r"][2].columns.names
        assert hdus[3].columns.names == frames["r"][3].columns.names


def test_pixels_keep_ten_binary_digits(frames):
    bits = frames["g"][0].data.astype(np.float32).view(np.uint32)
    assert not np.any(bits & 0x3FFF)
    assert np.mean(bits & 0x4000 != 0) > 0.4  # and not fewer


def test_pixels_are_rounded_and_not_cut_off():
    exact = np.random.default_rng(0).uniform(0.1, 10, 1_000_000).astype(np.float32)
    assert np.mean(truncate(exact) / exact, dtype=float) == pytest.approx(1, abs=1e-5)


def test_hdus_1_and_2_lead_back_to_counts(frames):
    """The frame data model: image / calibration + sky are the camera's counts, whole numbers."""
    hdus = frames["r"]
    sky = hdus[2].data["ALLSKY"][0].mean()
    counts = hdus[0].data / hdus[1].data[None, :]
    spread = sigma_clipped_stats(counts, sigma=3)[2]
    camera = Observation(0, *FIELD)
    expected = np.sqrt(sky / camera.gain[2] + 1.3225)  # dark variance of camcol 3 in r
    assert spread == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("band", BANDS)
def test_noise_is_what_the_catalogue_assumes(frames, band):
    spread = sigma_clipped_stats(frames[band][0].data, sigma=2.5, maxiters=8)[2]
    expected = np.sqrt(Observation(0, *FIELD).pixel_variance[BANDS.index(band)])
    assert spread == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("band", BANDS)
def test_stars_sit_where_the_wcs_puts_them(frames, isolated_stars, band):
    x, y = WCS(frames[band][0].header).all_world2pix(isolated_stars["ra"], isolated_stars["dec"], 0)
    inside = (x > 20) & (x < 2027) & (y > 20) & (y < 1468)
    bright = inside & (isolated_stars[f"psfMagErr_{band}"] < 0.05)
    assert bright.sum() >= 5
    x, y = x[bright], y[bright]
    found_x, found_y, _ = sep.winpos(pixels(frames[band]), x, y, 1.5)
    assert np.max(np.hypot(found_x - x, found_y - y)) < 0.6  # catalogue positions have errors of 45 mas = 0.11 pixel
    assert np.median(np.hypot(found_x - x, found_y - y)) < 0.3
    assert abs(np.median(found_x - x)) < 0.15 and abs(np.median(found_y - y)) < 0.15


def test_bands_are_registered_a_few_pixels_apart(frames):
    sky = WCS(frames["r"][0].header).all_pix2world(1024, 744, 0)
    shifts = [np.array(WCS(frames[b][0].header).all_world2pix(*sky, 0)) - (1024, 744) for b in "ugiz"]
    sizes = np.hypot(*np.transpose(shifts))
    assert sizes.min() > 0.5 and 5 < sizes.max() < 20


@pytest.mark.parametrize("band", BANDS)
def test_aperture_magnitudes_agree_with_psf_magnitudes(frames, isolated_stars, band):
    x, y = WCS(frames[band][0].header).all_world2pix(isolated_stars["ra"], isolated_stars["dec"], 0)
    good = (x > 30) & (x < 2017) & (y > 30) & (y < 1458) & (isolated_stars[f"psfMagErr_{band}"] < 0.04)
    assert good.sum() >= 5
    # 10 pixels hold 98 per cent of the light; the 7.43 arcsec of SDSS's aperture 7 would mostly add neighbours and
    # noise
    flux, _, _ = sep.sum_circle(pixels(frames[band]), x[good], y[good], 10.0, bkgann=(18.0, 26.0))
    difference = 22.5 - 2.5 * np.log10(flux) - isolated_stars[f"psfMag_{band}"][good]
    assert abs(np.median(difference)) < 0.05
    assert np.median(np.abs(difference - np.median(difference))) < 0.05


def test_galaxies_have_wider_profiles_than_stars(frames):
    columns, members, truth = measure(Observation(0, *FIELD))
    image = pixels(frames["r"])
    x, y = columns["colc_r"] - 0.5, columns["rowc_r"] - 0.5
    bright = (
        (columns["modelMag_r"] > 16) & (columns["modelMag_r"] < 20) & (columns["clean"] == 1) & (x > 30) & (x < 2010)
    )
    radius, _ = sep.flux_radius(image, x, y, np.full(len(x), 12.0), 0.5)
    star, galaxy = bright & (truth.kind[members] == "STAR"), bright & (truth.kind[members] == "GALAXY")
    assert np.median(radius[galaxy]) > 1.25 * np.median(radius[star])
    fwhm = 2.566 * Observation(0, *FIELD).psf_core[2] / PIXEL_SCALE
    assert np.median(radius[star]) == pytest.approx(0.6 * fwhm, rel=0.15)


def test_bright_stars_saturate_and_bleed_along_the_column(small_sky):
    """The core of the brightest star is flat at full well, and its excess has spilled along the column."""
    best = max(small_sky.observations(), key=lambda o: measure(o)[2].point[:, 2].max())
    columns, _, truth = measure(best)
    image = fits.open(io.BytesIO(bz2.decompress(small_sky.frame_bytes(best.run, best.camcol, best.field, "r"))))
    counts = image[0].data / image[1].data[None, :]
    full = best.saturation[2] / best.counts_to_nanomaggies[2]
    plateau = counts > 0.97 * full
    assert plateau.sum() > 10 and counts.max() < 1.1 * full
    rows, cols = np.nonzero(plateau)
    assert np.ptp(rows) > np.ptp(cols) or plateau.sum(axis=0).max() > plateau.sum(axis=1).max()
    assert np.any(columns["flags"] & (1 << 18)) and not np.any(columns["clean"][(columns["flags"] & (1 << 18)) > 0])


def test_a_worker_renders_the_same_bytes_as_this_process(practice, small_sky):
    run, camcol, field = 9102, 5, 13
    assert practice.frame(run, camcol, field, "u") == small_sky.frame_bytes(run, camcol, field, "u")


def test_frames_compress_as_real_ones_do(practice, frames, real_frames):
    served = [r.bytes for r in practice.requests if r.kind == "frame" and r.status == 200]
    real = [p.stat().st_size for p in real_frames[0].parent.glob("frame-?-*.fits.bz2")]
    assert 0.7 * min(real) < min(served) and max(served) < 1.3 * max(real)


@pytest.mark.parametrize("band", BANDS)
def test_a_practice_frame_looks_like_a_real_one(frames, real_frames, band):
    """Noise, PSF width and the number of detections against the range of the three real fields."""
    statistics = [look(fits.open(str(p).replace("frame-r", f"frame-{band}"))) for p in real_frames]
    noise, radius, detections = look(frames[band])
    low, high = np.min(statistics, axis=0), np.max(statistics, axis=0)
    assert 0.75 * low[0] < noise < 1.3 * high[0]
    assert 0.75 * low[1] < radius < 1.25 * high[1]
    assert low[2] / 1.6 < detections < 1.6 * high[2]


def look(hdus):
    """(noise, half-light radius of bright stars in pixels, detections at 3 sigma on 5 pixels) of a frame."""
    image = pixels(hdus)
    noise = sigma_clipped_stats(image, sigma=2.5, maxiters=8)[2]
    objects = sep.extract(image, 3.0, err=noise, minarea=5)
    inside = (objects["x"] > 20) & (objects["x"] < 2027) & (objects["y"] > 20) & (objects["y"] < 1468)
    bright = inside & (objects["flag"] == 0) & (objects["peak"] > 30 * noise)
    radius, _ = sep.flux_radius(image, objects["x"][bright], objects["y"][bright], np.full(bright.sum(), 12.0), 0.5)
    return noise, np.percentile(radius, 30), len(objects)
