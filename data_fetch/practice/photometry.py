"""The practice catalogue: what the SDSS pipeline would have measured of one field. Measurements, not the truth.

Column names, sentinels and flag bits are those of the Catalog Archive Server (CAS). Every magnitude is the true flux
plus photon noise, a calibration floor, the light of neighbours and the bias of its definition, and is given as an asinh
magnitude; star/galaxy separation works on these measurements, so it errs where SDSS errs: at the faint end, in bad
seeing.
"""

import numpy as np
from scipy.spatial import cKDTree

from .instrument import BANDS, N_COLUMNS, N_ROWS, PIXEL_SCALE, PSF_FWHM_OVER_CORE, RERUN, Observation
from .mixtures import effective_area, model_area, peak_fraction, petrosian, pixels, psf_flux_fraction
from .morphology import UNTYPED
from .populations import Truth, populate

MISSING = -9999.0  # how CAS writes "not measured"
SOFTENING = np.array([1.4, 0.9, 1.2, 1.8, 7.4]) * 0.1  # asinh b in nanomaggies; Stoughton et al. 2002, table 21
FLOOR = np.array([0.02, 0.01, 0.01, 0.01, 0.014])  # calibration error, mag; Padmanabhan et al. 2008, ApJ 674, 1217
GALAXY_CUT = 0.145  # type 3 where psfMag - modelMag exceeds this; Stoughton et al. 2002, Abazajian et al. 2004
# Listed when a PSF fit in g, r or i exceeds this: stars are then 95 % complete at r = 22.2, as in Abazajian et al. 2009
SIGNAL_TO_NOISE = 10.0
SIZE_NOISE = 4.0  # error of a fitted size squared, in units of the PSF core squared over signal to noise (approximate)
STAR, GALAXY = 6, 3
FLAGS = {"EDGE": 1 << 2, "CHILD": 1 << 4, "INTERP": 1 << 17, "SATURATED": 1 << 18, "BINNED1": 1 << 28}


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
    light = _photometry(rng, truth, members, neighbours, observation)
    core = observation.psf_core[2]
    x = truth.x[members] + _centroid_error(rng, light["signal"], core)
    y = truth.y[members] + _centroid_error(rng, light["signal"], core)

    found = np.max((light["psf"] / light["psf_error"])[:, 1:4], axis=1) > SIGNAL_TO_NOISE
    found &= (x > -0.5) & (x < N_COLUMNS - 0.5) & (y > -0.5) & (y < N_ROWS - 0.5)
    order = np.flatnonzero(found)[np.argsort(y[found], kind="stable")]
    members, x, y, blended = members[order], x[order], y[order], neighbours["blended"][order]
    light = {name: values[order] for name, values in light.items()}

    columns = _identity(observation, x, y) | _quality(rng, truth, members, x, y, blended, observation)
    # CAS types an object by the fluxes of its bands together
    with np.errstate(invalid="ignore", divide="ignore"):
        concentration = -2.5 * np.log10(light["psf"][:, 1:4].sum(axis=1) / light["model"][:, 1:4].sum(axis=1))
    columns["type"] = np.where(concentration > GALAXY_CUT, GALAXY, STAR)
    failed = rng.random((len(x), 5)) < np.array([0.004, 0.0005, 0.0005, 0.0005, 0.001])  # a rare fit does not converge
    _add_magnitudes(columns, "psfMag", light["psf"], light["psf_error"], np.zeros_like(failed))
    _add_magnitudes(columns, "modelMag", light["model"], light["model_error"], failed)
    for index, band in enumerate(BANDS):
        model = columns[f"modelMag_{band}"]
        columns[f"extinction_{band}"] = np.full(len(x), observation.extinction[index])
        columns[f"dered_{band}"] = np.where(model == MISSING, MISSING, model - observation.extinction[index])
    _add_petrosian(columns, rng, light, observation)
    _add_shapes(columns, rng, light, core)
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
    row = {
        "fieldID": observation.field_id,
        "run": observation.run,
        "rerun": RERUN,
        "camcol": observation.camcol,
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

    Objects closer than 0.8 FWHM to a brighter one are merged into it, as no deblender separates them; others leak a
    little.
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


def _photometry(rng, truth, members, neighbours, observation):
    """Measured PSF and model fluxes with their errors, and the size that the model fit finds; a dict of arrays."""
    core, variance = observation.psf_core, observation.pixel_variance
    gain = observation.gain / observation.counts_to_nanomaggies  # electrons a nanomaggy
    flux = truth.total[members] + neighbours["merged"]
    psf = truth.point[members] + 0.85 * neighbours["merged"]  # what is merged lies off the centre
    shaped = truth.disk_radius[members] > 0
    rows = members[shaped]
    for part, profile, radius, ratio in (
        (truth.bulge, "bulge", truth.bulge_radius, truth.bulge_ratio),
        (truth.disk, "disk", truth.disk_radius, truth.disk_ratio),
    ):
        psf[shaped] += part[rows] * psf_flux_fraction(profile, radius[rows, None], ratio[rows, None], core)
    # one shape, fitted in r, serves the model fluxes of all bands
    radius, axis_ratio, bulge_fraction = _apparent_shape(truth, members)
    psf_error = np.sqrt(pixels(effective_area(core)) * variance + psf / gain + (FLOOR * psf) ** 2)
    area = pixels(model_area(core, radius[:, None], axis_ratio[:, None]))
    model_error = np.sqrt(area * variance + flux / gain + (FLOOR * flux) ** 2)
    signal = flux[:, 2] / model_error[:, 2]

    noise = rng.standard_normal(flux.shape) * psf_error  # PSF and model fluxes read the same pixels, so they share it
    apart = np.sqrt(np.maximum(model_error**2 - psf_error**2, (0.35 * psf_error) ** 2))
    # What a fit measures is the size added to the PSF, squared; noise makes it too large or, as often, too small. Light
    # follows: half of the faint stars look a little extended, in all bands alike, and faint compact galaxies like
    # stars.
    size = np.sqrt(np.maximum(radius**2 + SIZE_NOISE / signal * core[2] ** 2 * rng.standard_normal(len(flux)), 0))
    bias = 1 + np.clip(0.3 * (size**2 - radius**2) / (core[2] ** 2 + radius**2), -0.3, 0.5)
    bias = bias + np.where(radius > 0, 0.03 * rng.standard_normal(len(flux)), 0.0)  # no galaxy is exactly exp or deV
    model = flux * bias[:, None] + neighbours["model"] + noise + apart * rng.standard_normal(flux.shape)
    measured = {"psf": psf + noise, "psf_error": psf_error, "model": model, "model_error": model_error, "flux": flux}
    return measured | {"signal": signal, "size": size, "axis_ratio": axis_ratio, "bulge_fraction": bulge_fraction}


def _identity(observation, x, y):
    number = len(x)
    obj = np.arange(1, number + 1)
    ra, dec = observation.wcs("r").all_pix2world(x, y, 0)
    return {
        "objID": observation.field_id + obj,
        "fieldID": np.full(number, observation.field_id),
        "run": np.full(number, observation.run),
        "rerun": np.full(number, RERUN),
        "camcol": np.full(number, observation.camcol),
        "field": np.full(number, observation.field),
        "obj": obj,
        "ra": ra,
        "dec": dec,
        "rowc_r": y + 0.5,  # the pipeline counts from the pixel's corner
        "colc_r": x + 0.5,
        "mode": np.where((y >= 64) & (y < N_ROWS - 64), 1, 2),  # rows that a neighbouring field repeats: secondary
    }


def _quality(rng, truth, members, x, y, blended, observation):
    """Columns flags and clean."""
    saturated = truth.point[members, 2] * peak_fraction(observation.psf_core[2]) > observation.saturation[2]
    edge = np.minimum(np.minimum(x, N_COLUMNS - 1 - x), np.minimum(y, N_ROWS - 1 - y)) < 4
    unlucky = rng.random(len(x)) < 0.02  # cosmic rays, bad columns, deblending that failed
    unlucky &= truth.t_type[members] == UNTYPED  # catalogues of nearby galaxies were checked by eye
    flags = np.full(len(x), FLAGS["BINNED1"])
    for name, where in (("EDGE", edge), ("CHILD", blended), ("SATURATED", saturated), ("INTERP", saturated | unlucky)):
        flags |= np.where(where, FLAGS[name], 0)
    return {"flags": flags, "clean": (~(edge | saturated | unlucky)).astype(int)}


def _apparent_shape(truth, members):
    """Half-light radius (arcsec), axis ratio and bulge fraction in r of each object; a bare point has radius 0."""
    point, bulge, disk = truth.point[members, 2], truth.bulge[members, 2], truth.disk[members, 2]
    total = point + bulge + disk
    radius = (bulge * truth.bulge_radius[members] + disk * truth.disk_radius[members]) / total
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


def _add_petrosian(columns, rng, light, observation):
    """Petrosian quantities, measured in r; they fail (-9999) where the profile is lost in the noise."""
    core, signal, flux = observation.psf_core[2], light["signal"], light["flux"]
    radius, half, ninety, fraction = petrosian(light["bulge_fraction"], light["size"], core)
    spread = np.clip(1.2 / signal, 0.01, 0.35)[:, None] * rng.standard_normal((len(signal), 3))
    failed = rng.random(len(signal)) < 1 / (1 + np.exp(1.2 * (signal - 5.0)))
    for name, value, index in (("petroRad_r", radius, 0), ("petroR50_r", half, 1), ("petroR90_r", ninety, 2)):
        columns[name] = np.where(failed, MISSING, value * np.exp(spread[:, index]))
    area = pixels(np.pi * (2 * radius) ** 2)[:, None]
    error = np.sqrt(0.35 * area * observation.pixel_variance + (FLOOR * flux) ** 2)  # the sky inside, well known
    petro_flux = flux * fraction[:, None] + error * rng.standard_normal(flux.shape)
    _add_magnitudes(columns, "petroMag", petro_flux, error, np.repeat(failed[:, None], 5, axis=1))


def _add_shapes(columns, rng, light, core):
    """Radii and axis ratios of the exponential and de Vaucouleurs fits, and the weight of the latter."""
    size, signal, bulge_fraction = light["size"], light["signal"], light["bulge_fraction"]
    blur = core / np.maximum(size, 0.1 * core)  # the shape of what is smaller than the PSF is poorly known
    spread = np.clip((0.02 + 0.9 / signal) * (1 + blur), 0, 0.6)
    for profile, factor in (("exp", 1.0 + 0.2 * bulge_fraction), ("deV", 1.7 - 0.5 * bulge_fraction)):
        fitted = size * factor * np.exp(0.3 * spread * rng.standard_normal(len(signal)))
        columns[f"{profile}Rad_r"] = np.maximum(fitted, 1e-3)
        ratio = light["axis_ratio"] + 0.6 * spread * rng.standard_normal(len(signal))
        ratio = np.where(ratio > 1, 2 - ratio, ratio)
        ratio = np.where(ratio < 0.05, 0.05 + 0.3 * rng.random(len(signal)), ratio)
        columns[f"{profile}AB_r"] = np.clip(ratio, 0.05, 1)
    weight = bulge_fraction**0.8 + np.minimum(4.0 / signal, 0.5) * rng.standard_normal(len(signal))
    columns["fracDeV_r"] = np.clip(np.where(size < 0.5 * core, rng.random(len(signal)), weight), 0, 1)
