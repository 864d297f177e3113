"""The practice spectroscopic survey: which objects of a field have spectra, and what SpecObj says of them.

About thirty of each class a field, far more than SDSS took, so that few fields make a balanced set, and with them every
galaxy of the main sample (r < 17.77) and every nearby one. Labels are right,
as visual inspection finds SDSS ones are to better than one per cent (Bolton et al. 2012, AJ 144, 144); a few fits carry
a warning, and those alone may have a wrong redshift.
"""

import numpy as np

from .galaxyzoo import FAINTEST
from .instrument import Observation
from .morphology import UNTYPED
from .populations import Truth

PER_CLASS = 30
LIMITS = {"STAR": 21.4, "GALAXY": 21.4, "QSO": 21.6}  # faintest r (PSF for points, model for galaxies), mag
WARNED = 0.03  # share with zWarning != 0; about the rate of SDSS main and BOSS targets (approximate)


def take_spectra(observation: Observation, photo: dict, members: np.ndarray, truth: Truth) -> dict:
    """SpecObj rows (dict of arrays) for PhotoObj rows `photo` that are objects `members` of `truth`."""
    rng = observation.rng("spectra")
    kind = truth.kind[members]
    magnitude = np.where(kind == "GALAXY", photo["modelMag_r"], photo["psfMag_r"])
    colour = photo["psfMag_g"] - photo["psfMag_r"]
    bright = (kind == "GALAXY") & (photo["petroMag_r"] > 0) & (photo["petroMag_r"] < FAINTEST)
    always = ((truth.t_type[members] != UNTYPED) | bright) & (photo["mode"] == 1) & (magnitude > 0)
    chosen = [np.flatnonzero(always)]
    for label, limit in LIMITS.items():
        rows = np.flatnonzero(
            (kind == label) & (magnitude > 15.0) & (magnitude < limit) & (photo["mode"] == 1) & ~always
        )
        # surveys went after blue stars (quasar candidates, halo tracers) more than after red ones
        weight = np.where((label == "STAR") & (colour[rows] < 0.6), 3.0, 1.0)
        number = min(len(rows), PER_CLASS)
        if number:
            chosen.append(rng.choice(rows, number, replace=False, p=weight / weight.sum()))
    rows = np.sort(np.concatenate(chosen))
    number = len(rows)
    warned = rng.random(number) < WARNED
    true_redshift = truth.redshift[members[rows]]
    error = np.where(kind[rows] == "QSO", 4e-4, 4e-5) * (1 + true_redshift) * rng.lognormal(0, 0.4, number)
    redshift = true_redshift + error * rng.standard_normal(number)
    redshift = np.where(warned & (rng.random(number) < 0.5), rng.uniform(0, 3, number), redshift)
    # one plate a field; numbers stay below 8192 so that specObjID fits a signed integer, as older SDSS plates do
    plate = 2000 + 600 * (observation.run % 8) + 100 * (observation.camcol - 1) + observation.field % 100
    fiber = np.arange(1, number + 1)
    mjd = int(observation.mjd) + 700
    return {
        # 50-63 plate, 38-49 fibre, 24-37 MJD - 50000, 10-23 reduction 26; SkyServer, "specObjID"
        "specObjID": (plate << 50) | (fiber << 38) | ((mjd - 50000) << 24) | (26 << 10),
        "bestObjID": photo["objID"][rows],
        "plate": np.full(number, plate),
        "mjd": np.full(number, mjd),
        "fiberID": fiber,
        "class": kind[rows],
        "subClass": truth.subclass[members[rows]],
        "z": np.round(redshift, 6),
        "zErr": np.round(error, 7),
        "zWarning": np.where(warned, rng.choice([4, 16, 36], number), 0),
        "sciencePrimary": np.ones(number, int),
        "snMedian": np.round(5.0 * 10 ** (-0.3 * (magnitude[rows] - 19.5)) * rng.lognormal(0, 0.15, number), 3),
        "ra": photo["ra"][rows],
        "dec": photo["dec"][rows],
    }
