"""Pixels of the practice sky: GalSim draws the objects of a field in one band, then the camera happens to them.

A frame holds what SDSS's corrected frames hold: nanomaggies with the sky subtracted, quantised in counts before that,
and rounded to ten binary digits after it.
"""

import galsim
import numpy as np
from scipy.fft import next_fast_len

from .disks import blur, draw_disk
from .frame_file import frame_file
from .instrument import BANDS, DARK_VARIANCE, N_COLUMNS, N_ROWS, PIXEL_SCALE, PSF_WEIGHTS, PSF_WIDTHS, Observation
from .mixtures import effective_area, pixels
from .morphology import UNTYPED, structure_of
from .populations import Truth, populate

# Accuracy of a tenth of the noise is enough and makes drawing three times as fast as GalSim's defaults.
FAST = galsim.GSParams(folding_threshold=0.02, maxk_threshold=0.01, kvalue_accuracy=1e-4, minimum_fft_size=32)
INVISIBLE = 2.0  # objects with less than this signal to noise in a band are left out of it
STAMP_EDGE = 0.15  # a stamp ends where the profile falls below this share of the pixel noise
SMALLEST, LARGEST = 10, 900  # stamp sizes, pixels


def render_frame(observation: Observation, band: str) -> bytes:
    """One bz2-compressed FITS frame, byte for byte the same for the same observation and band."""
    truth = populate(observation)
    index = BANDS.index(band)
    image = draw_objects(observation, truth, band)
    rng = observation.rng("pixels", band)
    calibration, sky = _calibration(observation, rng, index), _sky(observation, rng, index)
    rows, columns = np.arange(N_ROWS), np.arange(N_COLUMNS)
    sky_image = _interpolate(sky, (rows + 0.5) / 8 - 0.5, (columns + 0.5) / 8 - 0.5)
    counts = image / calibration
    _saturate(counts, sky_image, observation, index)
    # photon, dark and read noise; a normal distribution is exact enough at some hundred electrons a pixel
    electrons = np.maximum(counts + sky_image, 0) / np.float32(observation.gain[index])
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    counts += sky_image
    counts += noise * np.sqrt(electrons + np.float32(DARK_VARIANCE[observation.camcol - 1, index]))
    _blemish(counts, rng)
    np.rint(counts, out=counts)  # the camera counts in whole numbers; what follows is the pipeline
    # sky subtraction leaves a residual, larger near bright objects' halos; measured 0.2 to 0.5 counts
    counts -= sky_image + np.float32(0.3 * rng.standard_normal())
    image = counts * calibration
    return frame_file(observation, band, truncate(image), calibration, sky)


def draw_objects(observation: Observation, truth: Truth, band: str) -> np.ndarray:
    """Noiseless image (rows, columns) float32 of all objects, nanomaggies a pixel."""
    index = BANDS.index(band)
    x, y = _place(observation, truth, band)
    core = observation.psf_core[index]
    shear = galsim.Shear(g1=observation.psf_shear[index, 0], g2=observation.psf_shear[index, 1])
    gaussians = [galsim.Gaussian(sigma=core * w, flux=f) for w, f in zip(PSF_WIDTHS, PSF_WEIGHTS, strict=True)]
    psf = galsim.Sum(gaussians, gsparams=FAST).shear(shear)
    bright_psf, faint_psf = psf, galsim.Sum(gaussians[:3], gsparams=FAST).shear(shear)
    image = galsim.ImageF(N_COLUMNS, N_ROWS, scale=PIXEL_SCALE, xmin=0, ymin=0)
    noise = np.sqrt(observation.pixel_variance[index])
    detection = noise * np.sqrt(pixels(effective_area(core)))
    total = truth.total[:, index]
    radius = np.maximum(truth.disk_radius, truth.bulge_radius)
    for i in np.flatnonzero(total > INVISIBLE * detection):
        bright = total[i] > 60 * detection
        if truth.t_type[i] != UNTYPED and truth.disk[i, index] > 0.02 * total[i]:
            _add_structured(image, truth, i, index, x[i], y[i], psf, observation)
            continue
        profile = _profile(truth, i, index, bright_psf if bright else faint_psf)
        size = _stamp_size(total[i] / (STAMP_EDGE * noise), core / PIXEL_SCALE, radius[i] / PIXEL_SCALE)
        _add(image, profile, x[i], y[i], size)
    return image.array


def _profile(truth, i, index, psf):
    point, bulge, disk = truth.point[i, index], truth.bulge[i, index], truth.disk[i, index]
    if bulge + disk < 0.02 * point:
        return psf.withFlux(point + bulge + disk)
    # north of the frame does not matter to a random angle; GalSim measures it from x (columns) towards y (rows)
    angle = truth.angle[i] * galsim.radians
    shape = galsim.Exponential(half_light_radius=truth.disk_radius[i], flux=disk, gsparams=FAST).shear(
        q=truth.disk_ratio[i], beta=angle
    )
    if bulge > 0.03 * (bulge + disk):
        # a cusp below a tenth of a pixel cannot be seen, and costs a long Fourier transform
        size = max(truth.bulge_radius[i], 0.08)
        bulge = galsim.DeVaucouleurs(half_light_radius=size, flux=bulge, trunc=8 * size, gsparams=FAST)
        shape = shape + bulge.shear(q=truth.bulge_ratio[i], beta=angle)
    galaxy = galsim.Convolve([shape, psf], gsparams=FAST)
    return galaxy + psf.withFlux(point) if point > 0 else galaxy


def _add_structured(image, truth, i, index, x, y, psf, observation):
    """A nearby galaxy: its bulge by GalSim, its disk with arms, bar, knots or tails by `disks`."""
    bulge, disk = truth.bulge[i, index], truth.disk[i, index]
    if bulge > 0.005 * disk:
        shape = galsim.DeVaucouleurs(
            half_light_radius=truth.bulge_radius[i], flux=bulge, trunc=8 * truth.bulge_radius[i], gsparams=FAST
        ).shear(q=truth.bulge_ratio[i], beta=truth.angle[i] * galsim.radians)
        noise, core = np.sqrt(observation.pixel_variance[index]), observation.psf_core[index]
        side = _stamp_size(bulge / (STAMP_EDGE * noise), core / PIXEL_SCALE, truth.bulge_radius[i] / PIXEL_SCALE)
        _add(image, galsim.Convolve([shape, psf], gsparams=FAST), x, y, side)
    scale_length = truth.disk_radius[i] / 1.678
    merger = bool(truth.merger[i])
    # an exponential disk ends where the noise hides it; tidal tails reach eight scale lengths
    centre = disk * PIXEL_SCALE**2 / (2 * np.pi * scale_length**2 * truth.disk_ratio[i])
    visible = np.log(max(centre / (STAMP_EDGE * np.sqrt(observation.pixel_variance[index])), 1.0))
    reach = (8.0 if merger else np.clip(visible, 4.0, 8.0)) * scale_length / PIXEL_SCALE + 8
    side = next_fast_len(int(2 * reach), real=True)
    left, bottom = int(np.rint(x)) - side // 2, int(np.rint(y)) - side // 2
    dx = (np.arange(side)[None, :] + left - x) * PIXEL_SCALE
    dy = (np.arange(side)[:, None] + bottom - y) * PIXEL_SCALE
    seed = int(truth.seed[i])
    structure = structure_of(int(truth.t_type[i]), merger, seed)
    light = draw_disk(structure, seed, scale_length, truth.disk_ratio[i], truth.angle[i], index, dx, dy)
    stamp = galsim.ImageF(
        (disk * blur(light, observation.psf_core[index], observation.psf_shear[index])).astype(np.float32),
        xmin=left, ymin=bottom,
    )  # fmt: skip
    bounds = stamp.bounds & image.bounds
    if bounds.isDefined():
        image[bounds] += stamp[bounds]


def _add(image, profile, x, y, size):
    left, bottom = int(np.rint(x)) - size // 2, int(np.rint(y)) - size // 2
    bounds = galsim.BoundsI(left, left + size, bottom, bottom + size) & image.bounds
    if bounds.isDefined():
        # the PSF already contains the pixel, so nothing is integrated here
        profile.drawImage(image[bounds], center=galsim.PositionD(x, y), method="no_pixel", add_to_image=True)


def _stamp_size(contrast, core, radius):
    """Side of the square (pixels) outside which an object of this flux over noise cannot be seen."""
    blurred = np.hypot(core, 0.6 * radius)
    level = np.maximum(contrast / (2 * np.pi * blurred**2), 1.01)
    reach = blurred * np.sqrt(2 * np.log(level)) * 1.3 + 2
    if level > 50:  # wings: power law r^-3 for stars, exponential for disks
        reach = max(reach, 2.2 * core * level**0.36, 0.75 * radius * np.log(level))
    return int(np.clip(2 * reach, SMALLEST, LARGEST))


def _place(observation, truth, band):
    """Pixel coordinates of all objects on the frame of a band."""
    if band == "r":
        return truth.x, truth.y
    return observation.wcs(band).all_world2pix(*observation.wcs("r").all_pix2world(truth.x, truth.y, 0), 0)


def _calibration(observation, rng, index):
    """Nanomaggies per count of each column: flat field in drift scan has one dimension; it varies smoothly by 1 %."""
    column = np.linspace(0, 1, N_COLUMNS)
    flat = 1 + 0.004 * sum(rng.standard_normal() * np.cos(np.pi * k * column + 6 * rng.random()) / k for k in (1, 2, 3))
    flat *= 1 + 2e-4 * rng.standard_normal(N_COLUMNS)
    return (observation.counts_to_nanomaggies[index] * flat).astype(np.float32)


def _sky(observation, rng, index):
    """The sky as the frame's HDU 2 stores it: counts on a (192, 256) grid of 8-pixel steps, with a gentle gradient."""
    row, column = np.mgrid[-1:1:192j, -1:1:256j]
    slope = 0.002 * rng.standard_normal(3)
    shape = 1 + slope[0] * row + slope[1] * column + slope[2] * row * column
    return (observation.sky[index] / observation.counts_to_nanomaggies[index] * shape).astype(np.float32)


def _interpolate(grid, rows, columns):
    """Bilinear interpolation of a smooth grid to full size, one axis at a time."""
    for axis, at in ((0, rows), (1, columns)):
        at = np.clip(at, 0, grid.shape[axis] - 1)
        low = np.minimum(at.astype(int), grid.shape[axis] - 2)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        grid = np.take(grid, low, axis) * (1 - part) + np.take(grid, low + 1, axis) * part
    return grid


def _saturate(counts, sky, observation, index):
    """Pixels above full well spill along their column (the direction of the drift): a plateau and a bleed trail."""
    full = observation.saturation[index] / observation.counts_to_nanomaggies[index] - np.mean(sky)
    for column in np.flatnonzero(np.max(counts, axis=0) > full):
        line = counts[:, column]
        for start, stop in _runs(line > full):
            excess = float(np.sum(line[start:stop] - full))
            line[start:stop] = full
            low, high = start - 1, stop
            while excess > 0 and (low >= 0 or high < len(line)):
                for row in (low, high):
                    if 0 <= row < len(line) and excess > 0:
                        taken = min(excess, max(full - line[row], 0.0))
                        line[row] += taken
                        excess -= taken
                low, high = low - 1, high + 1


def _runs(mask):
    steps = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return zip(steps[::2], steps[1::2], strict=True)


def _blemish(counts, rng):
    """What the pipeline failed to repair: a few cosmic-ray pixels, now and then part of a bad column."""
    for _ in range(rng.poisson(3)):
        row, column = rng.integers(2, N_ROWS - 8), rng.integers(2, N_COLUMNS - 8)
        step_row, step_column = rng.integers(-1, 2, 2)
        for k in range(rng.integers(1, 5)):
            counts[row + k * step_row, column + k * step_column] += rng.exponential(150)
    if rng.random() < 0.15:
        column, row = rng.integers(N_COLUMNS), rng.integers(N_ROWS - 200)
        counts[row : row + rng.integers(50, 200), column] += rng.normal(0, 12)


def truncate(image):
    """Round to ten significant binary digits, as SDSS's FLOATCOMPRESS does: relative error below 0.1 per cent.

    The last 14 of the 23 stored bits of the mantissa become zero, which is what lets bz2 shrink a frame fourfold.
    """
    bits = np.ascontiguousarray(image, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 13)) & np.uint32(0xFFFFC000)).view(np.float32)
