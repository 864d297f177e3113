"""The practice catalogue: what the SDSS pipeline would have measured of one field. Measurements, not the truth.

Column names, sentinels and flag bits are those of the Catalog Archive Server (CAS). Every magnitude is the true flux plus
photon noise, a calibration floor, the light of neighbours and the bias of its definition, and is given as an asinh
magnitude; star/galaxy separation works on these measurements, so it errs where SDSS errs: at the faint end, in bad seeing.
"""

import numpy as np
from scipy.spatial import cKDTree

from .instrument import BANDS, N_COLUMNS, N_ROWS, PIXEL_SCALE, PSF_FWHM_OVER_CORE, RERUN, Observation
from .mixtures import effective_area, model_area, peak_fraction, petrosian, pixels, psf_flux_fraction
from .populations import Truth, populate

MISSING = -9999.0  # how CAS writes "not measured"
SOFTENING = np.array([1.4, 0.9, 1.2, 1.8, 7.4]) * 0.1  # asinh b in nanomaggies; Stoughton et al. 2002, table 21
FLOOR = np.array([0.02, 0.01, 0.01, 0.01, 0.014])  # calibration error, mag; Padmanabhan et al. 2008, ApJ 674, 1217
GALAXY_CUT = 0.145  # type 3 where psfMag - modelMag exceeds this; Stoughton et al. 2002, Abazajian et al. 2004
SIGNAL_TO_NOISE = (
    10.0  # listed when a PSF fit in g, r or i exceeds this: stars 95 % complete at r = 22.2 (Abazajian 2009)
)
SIZE_NOISE = 4.0  # error of a fitted size squared, in units of the PSF core squared over signal to noise (approximate)
STAR, GALAXY = 6, 3
FLAGS = {
    "EDGE": 1 << 2,
    "BLENDED": 1 << 3,
    "CHILD": 1 << 4,
    "INTERP": 1 << 17,
    "SATURATED": 1 << 18,
    "BINNED1": 1 << 28,
}


def asinh_magnitude(flux, softening):
    """SDSS asinh magnitude ("luptitude", Lupton, Gunn & Szalay 1999) of fluxes in nanomaggies; defined for any sign."""
    b = softening * 1e-9
    return -2.5 / np.log(10) * (np.arcsinh(flux * 1e-9 / (2 * b)) + np.log(b))


def magnitude_error(flux, error, softening):
    return 2.5 / np.log(10) * error / np.sqrt(flux**2 + (2 * softening) ** 2)


def measure(observation: Observation) -> tuple[dict, np.ndarray, Truth]:
    """The PhotoObj rows of one field.

    Returns
    -------
    columns : dict of ndarray
        One entry a CAS column.
    members : ndarray of int
        Which object of `truth` each row is (the brighter one, where two are too close to tell apart).
    truth : Truth
    """
    truth = populate(observation)
    rng = observation.rng("catalogue")
    members, neighbours = _deblend(truth, observation)
    flux = truth.total[members] + neighbours["merged"]
    psf_flux, psf_error, core = _psf_photometry(truth, members, neighbours, observation)
    gain = observation.gain / observation.counts_to_nanomaggies  # electrons a nanomaggy

    # model fluxes: one shape, fitted in r, for all bands
    radius, axis_ratio, bulge_fraction = _apparent_shape(truth, members)
    area = pixels(model_area(core, radius[:, None], axis_ratio[:, None]))
    sky_error = np.sqrt(area * observation.pixel_variance)
    model_error = np.sqrt(sky_error**2 + np.maximum(flux, 0) / gain + (FLOOR * flux) ** 2)
    common = rng.standard_normal(flux.shape)  # PSF and model magnitudes read the same pixels
    psf_noise = common * psf_error
    apart = np.sqrt(np.maximum(model_error**2 - psf_error**2, (0.35 * psf_error) ** 2))
    signal = flux[:, 2] / model_error[:, 2]
    # What a fit measures is the size added to the PSF, squared; noise makes it too large or, as often, too small. Light
    # follows: half of the faint stars look a little extended, in all bands alike, and faint compact galaxies like stars.
    size = np.sqrt(np.maximum(radius**2 + SIZE_NOISE / signal * core[2] ** 2 * rng.standard_normal(len(flux)), 0))
    bias = 1 + np.clip(0.3 * (size**2 - radius**2) / (core[2] ** 2 + radius**2), -0.3, 0.5)
    bias = bias + np.where(radius > 0, 0.03 * rng.standard_normal(len(flux)), 0.0)  # no galaxy is exactly exp or deV
    model_flux = flux * bias[:, None] + neighbours["model"] + psf_noise + apart * rng.standard_normal(flux.shape)
    psf_flux = psf_flux + psf_noise

    # detection: signal to noise of the PSF fit in g, r or i
    found = np.max((psf_flux / psf_error)[:, 1:4], axis=1) > SIGNAL_TO_NOISE
    x = truth.x[members] + _centroid_error(rng, signal, core[2])
    y = truth.y[members] + _centroid_error(rng, signal, core[2])
    found &= (x > -0.5) & (x < N_COLUMNS - 0.5) & (y > -0.5) & (y < N_ROWS - 0.5)
    order = np.flatnonzero(found)[np.argsort(y[found], kind="stable")]
    members, flux, x, y = members[order], flux[order], x[order], y[order]
    psf_flux, psf_error, model_flux, model_error = (a[order] for a in (psf_flux, psf_error, model_flux, model_error))
    size, axis_ratio, bulge_fraction, signal = (a[order] for a in (size, axis_ratio, bulge_fraction, signal))
    blended = neighbours["blended"][order]
    number = len(order)

    summed_psf, summed_model = np.sum(psf_flux[:, 1:4], axis=1), np.sum(model_flux[:, 1:4], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        extended = -2.5 * np.log10(summed_psf / summed_model) > GALAXY_CUT
    kind = np.where(extended, GALAXY, STAR)
    saturated = truth.point[members, 2] * peak_fraction(core[2]) > observation.saturation[2]
    edge = np.minimum(np.minimum(x, N_COLUMNS - 1 - x), np.minimum(y, N_ROWS - 1 - y)) < 4
    unlucky = rng.random(number) < 0.02  # cosmic rays, bad columns, deblending that failed
    flags = np.full(number, FLAGS["BINNED1"])
    for name, where in (("EDGE", edge), ("CHILD", blended), ("SATURATED", saturated), ("INTERP", saturated | unlucky)):
        flags |= np.where(where, FLAGS[name], 0)

    wcs = observation.wcs("r")
    ra, dec = wcs.all_pix2world(x, y, 0)
    obj = np.arange(1, number + 1)
    columns = {
        "objID": observation.field_id + obj,
        "fieldID": np.full(number, observation.field_id),
        "run": np.full(number, observation.run),
        "rerun": np.full(number, RERUN),
        "camcol": np.full(number, observation.camcol),
        "field": np.full(number, observation.field),
        "obj": obj,
        "mode": np.where(
            (y >= 64) & (y < N_ROWS - 64), 1, 2
        ),  # the rows that a neighbouring field repeats are secondary
        "clean": (~(edge | saturated | unlucky)).astype(int),
        "type": kind,
        "flags": flags,
        "ra": ra,
        "dec": dec,
        "rowc_r": y + 0.5,  # the pipeline counts from the pixel's corner
        "colc_r": x + 0.5,
    }
    failed = rng.random((number, 5)) < np.array([0.004, 0.0005, 0.0005, 0.0005, 0.001])
    _add_magnitudes(columns, "psfMag", psf_flux, psf_error, np.zeros_like(failed))
    _add_magnitudes(columns, "modelMag", model_flux, model_error, failed)
    for index, band in enumerate(BANDS):
        model = columns[f"modelMag_{band}"]
        columns[f"extinction_{band}"] = np.full(number, observation.extinction[index])
        columns[f"dered_{band}"] = np.where(model == MISSING, MISSING, model - observation.extinction[index])
    _add_petrosian(columns, rng, flux, size, bulge_fraction, core, signal, observation)
    _add_shapes(columns, rng, size, axis_ratio, bulge_fraction, core[2], signal)
    for name, values in columns.items():  # CAS stores 32-bit floats, but for positions
        if values.dtype.kind == "f" and name not in ("ra", "dec"):
            columns[name] = np.round(values, 5)
    return columns, members, truth


def measure_field(observation: Observation, columns: dict) -> dict:
    """The Field row of one field."""
    ra, dec = observation.wcs("r").wcs.crval
    width = 0.663 * np.sqrt(
        effective_area(observation.psf_core)
    )  # "effective width" of psfWidth; Stoughton et al. 2002
    row = {"fieldID": observation.field_id, "run": observation.run, "rerun": RERUN, "camcol": observation.camcol}
    row |= {
        "field": observation.field,
        "ra": ra,
        "dec": dec,
        "mjd_r": observation.mjd,
        "airmass_r": observation.airmass,
    }
    row |= {"quality": 2 if observation.rng("quality").random() < 0.03 else 3, "nObjects": len(columns["objID"])}
    return row | {f"psfWidth_{band}": width[i] for i, band in enumerate(BANDS)}


def _deblend(truth, observation):
    """Which objects stand alone, and what light their neighbours lend them.

    Objects closer than 0.8 FWHM to a brighter one are merged into it, as no deblender separates them; others leak a little.
    """
    fwhm = PSF_FWHM_OVER_CORE * observation.psf_core[2] / PIXEL_SCALE
    total = truth.total
    pairs = cKDTree(np.column_stack([truth.x, truth.y])).query_pairs(12.0, output_type="ndarray")
    bright = np.where(total[pairs[:, 0], 2] >= total[pairs[:, 1], 2], pairs[:, 0], pairs[:, 1])
    faint = pairs.sum(axis=1) - bright
    distance = np.hypot(truth.x[bright] - truth.x[faint], truth.y[bright] - truth.y[faint])
    merged = distance < 0.8 * fwhm
    alone = np.ones(len(truth), bool)
    alone[faint[merged]] = False
    extra = {"merged": np.zeros_like(total), "model": np.zeros_like(total)}
    np.add.at(extra["merged"], bright[merged], total[faint[merged]])
    leak = 0.06 * np.exp(-0.5 * (distance[~merged] / (1.2 * fwhm)) ** 2)[:, None]
    near_bright, near_faint = bright[~merged], faint[~merged]
    np.add.at(extra["model"], near_bright, leak * total[near_faint])
    np.add.at(extra["model"], near_faint, leak * np.minimum(total[near_bright], 5 * total[near_faint]))
    blended = np.zeros(len(truth), bool)
    blended[pairs[distance < 2.5 * fwhm].ravel()] = True
    return np.flatnonzero(alone), {name: array[alone] for name, array in extra.items()} | {"blended": blended[alone]}


def _psf_photometry(truth, members, neighbours, observation):
    core = observation.psf_core
    flux = truth.point[members] + 0.85 * neighbours["merged"]
    shaped = truth.disk_radius[members] > 0
    rows = members[shaped]
    for part, profile, radius, ratio in (
        (truth.bulge, "bulge", truth.bulge_radius, truth.bulge_ratio),
        (truth.disk, "disk", truth.disk_radius, truth.disk_ratio),
    ):
        flux[shaped] += part[rows] * psf_flux_fraction(profile, radius[rows, None], ratio[rows, None], core)
    gain = observation.gain / observation.counts_to_nanomaggies
    sky = pixels(effective_area(core)) * observation.pixel_variance
    return flux, np.sqrt(sky + np.maximum(flux, 0) / gain + (FLOOR * flux) ** 2), core


def _apparent_shape(truth, members):
    """Half-light radius (arcsec), axis ratio and bulge fraction in r of each object as a whole; a bare point has radius 0."""
    point, bulge, disk = truth.point[members, 2], truth.bulge[members, 2], truth.disk[members, 2]
    total = point + bulge + disk
    bulge_radius, disk_radius = truth.bulge_radius[members], truth.disk_radius[members]
    radius = (bulge * bulge_radius + disk * disk_radius) / total
    ratio = (point + bulge * truth.bulge_ratio[members] + disk * truth.disk_ratio[members]) / total
    return radius, ratio, (point + bulge) / total


def _centroid_error(rng, signal, core):
    """Pixels: 0.6 FWHM over signal to noise, above a floor of 45 mas (Pier et al. 2003, AJ 125, 1559)."""
    sigma = np.hypot(0.045, 0.6 * PSF_FWHM_OVER_CORE * core / np.maximum(signal, 3)) / PIXEL_SCALE
    return sigma * rng.standard_normal(len(signal))


def _add_magnitudes(columns, name, flux, error, failed):
    magnitude = np.where(failed, MISSING, asinh_magnitude(flux, SOFTENING))
    spread = np.where(failed, MISSING, magnitude_error(flux, error, SOFTENING))
    for index, band in enumerate(BANDS):
        columns[f"{name}_{band}"] = magnitude[:, index]
        columns[f"{name}Err_{band}"] = spread[:, index]


def _add_petrosian(columns, rng, flux, size, bulge_fraction, core, signal, observation):
    """Petrosian quantities, measured in r; they fail (-9999) where the profile is lost in the noise."""
    radius_petro, half, ninety, fraction = petrosian(bulge_fraction, size, core[2])
    spread = np.clip(1.2 / signal, 0.01, 0.35)[:, None] * rng.standard_normal((len(signal), 3))
    failed = rng.random(len(signal)) < 1 / (1 + np.exp(1.2 * (signal - 5.0)))
    for name, value, index in (("petroRad_r", radius_petro, 0), ("petroR50_r", half, 1), ("petroR90_r", ninety, 2)):
        columns[name] = np.where(failed, MISSING, value * np.exp(spread[:, index]))
    area = pixels(np.pi * (2 * radius_petro) ** 2)[:, None]
    error = np.sqrt(area * observation.pixel_variance * 0.35 + (FLOOR * flux) ** 2)
    petro_flux = flux * fraction[:, None] + error * rng.standard_normal(flux.shape)
    _add_magnitudes(columns, "petroMag", petro_flux, error, np.repeat(failed[:, None], 5, axis=1))


def _add_shapes(columns, rng, size, axis_ratio, bulge_fraction, core, signal):
    """Radii and axis ratios of the exponential and de Vaucouleurs fits, and the weight of the latter."""
    blur = core / np.maximum(size, 0.1 * core)  # the shape of what is smaller than the PSF is poorly known
    spread = np.clip((0.02 + 0.9 / signal) * (1 + blur), 0, 0.6)
    for profile, factor in (("exp", 1.0 + 0.2 * bulge_fraction), ("deV", 1.7 - 0.5 * bulge_fraction)):
        fitted = size * factor * np.exp(0.3 * spread * rng.standard_normal(len(signal)))
        columns[f"{profile}Rad_r"] = np.maximum(fitted, 1e-3)
        ratio = axis_ratio + 0.6 * spread * rng.standard_normal(len(signal))
        ratio = np.where(ratio > 1, 2 - ratio, ratio)
        columns[f"{profile}AB_r"] = np.clip(
            np.where(ratio < 0.05, 0.05 + 0.3 * rng.random(len(signal)), ratio), 0.05, 1
        )
    weight = bulge_fraction**0.8 + np.minimum(4.0 / signal, 0.5) * rng.standard_normal(len(signal))
    columns["fracDeV_r"] = np.clip(np.where(size < 0.5 * core, rng.random(len(signal)), weight), 0, 1)
