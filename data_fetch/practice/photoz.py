"""Photometric redshifts of the practice sky: the CAS table Photoz, made for galaxies from their magnitudes.

A machine that learned from spectra is right to about 0.02 (1 + z) for bright galaxies and worse for faint ones, and is
now and then far off (Beck et al. 2016, MNRAS 460, 1371).
"""

import numpy as np

from .instrument import Observation
from .photometry import GALAXY, MISSING
from .populations import Truth

FAINTEST = 21.8  # r to which redshifts are given
OUTLIERS = 0.02  # share of galaxies whose redshift is a guess
FAILED = 0.01  # share for which there is none


def estimate_redshifts(observation: Observation, photo: dict, members: np.ndarray, truth: Truth) -> dict:
    """Rows of Photoz (dict of arrays) for the objects of type galaxy that are brighter than `FAINTEST`."""
    rng = observation.rng("photoz")
    magnitude = photo["modelMag_r"]
    rows = np.flatnonzero((photo["type"] == GALAXY) & (magnitude > 0) & (magnitude < FAINTEST))
    number = len(rows)
    true = np.maximum(truth.redshift[members[rows]], 0)
    error = (1 + true) * 0.017 * 10 ** (0.12 * np.clip(magnitude[rows] - 17.5, -1, None))
    guessed = rng.random(number) < OUTLIERS
    redshift = np.where(guessed, rng.uniform(0.02, 0.8, number), np.abs(true + error * rng.standard_normal(number)))
    failed = rng.random(number) < FAILED
    return {
        "objID": photo["objID"][rows],
        "z": np.where(failed, MISSING, np.round(redshift, 6)),
        "zErr": np.where(failed, MISSING, np.round(error * rng.lognormal(0, 0.2, number), 6)),
        "nnCount": np.where(failed, 0, 100),
    }
