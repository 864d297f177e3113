"""Votes of the practice sky: what Galaxy Zoo's volunteers would say of its bright galaxies (CAS table zooSpec).

Each volunteer has six buttons: elliptical, clockwise, anticlockwise, edge-on or other spiral, star or don't know,
merger (Lintott et al. 2008, MNRAS 389, 1179). What they press depends on what is there and on how well it can be seen,
and they disagree.
"""

import numpy as np

from .instrument import Observation
from .morphology import UNTYPED, structure_of
from .populations import Truth

FAINTEST = 17.77  # petrosian r of the main galaxy sample, from which the galaxies were taken (Strauss et al. 2002)
AGREEMENT = 18.0  # concentration of the Dirichlet distribution of each galaxy's votes (approximate)
SHARPNESS = 1.5  # people agree on what is likely more than its probability says; 1 for no such effect (approximate)
CERTAIN = 0.8  # debiased share from which a flag is set; Lintott et al. 2011, MNRAS 410, 166


def take_votes(observation: Observation, photo: dict, spectra: dict, members: np.ndarray, truth: Truth) -> dict:
    """Rows of zooSpec (dict of arrays): the galaxies with a spectrum that are brighter than `FAINTEST`."""
    rng = observation.rng("votes")
    rows = np.searchsorted(photo["objID"], spectra["bestObjID"])
    petro = photo["petroMag_r"][rows]
    chosen = (spectra["class"] == "GALAXY") & (petro > 0) & (petro < FAINTEST)
    rows = rows[chosen]
    number = len(rows)
    n_votes = np.clip(rng.poisson(39, number), 25, 62)
    shares = [_shares(truth, members[row], photo["petroR50_r"][row], photo["petroMag_r"][row]) for row in rows]
    votes = np.zeros((number, 6))
    for k, share in enumerate(shares):
        votes[k] = rng.multinomial(n_votes[k], rng.dirichlet(AGREEMENT * share + 0.02)) / n_votes[k]
    elliptical, clockwise, anticlockwise, edge, unknown, merger = votes.T
    spiral = clockwise + anticlockwise + edge
    # small and faint spirals were called elliptical: the debiasing moves that share back, on average
    moved = (
        0.25 * elliptical * (1 - np.array([_visibility(photo["petroR50_r"][r], photo["petroMag_r"][r]) for r in rows]))
    )
    debiased = {"p_el_debiased": elliptical - moved, "p_cs_debiased": spiral + moved}
    flags = {
        "spiral": (debiased["p_cs_debiased"] > CERTAIN).astype(int),
        "elliptical": (debiased["p_el_debiased"] > CERTAIN).astype(int),
    }
    objid = photo["objID"][rows]
    return {
        "specobjid": spectra["specObjID"][chosen],
        "objid": objid,
        "dr7objid": (objid & ((1 << 48) - 1)) | (1 << 59) | (41 << 48),  # sky version 1, rerun 41: ids before DR8
        "ra": photo["ra"][rows],
        "dec": photo["dec"][rows],
        "nvote": n_votes,
        "p_el": elliptical,
        "p_cw": clockwise,
        "p_acw": anticlockwise,
        "p_edge": edge,
        "p_dk": unknown,
        "p_mg": merger,
        "p_cs": spiral,
        **debiased,
        **flags,
        "uncertain": 1 - flags["spiral"] - flags["elliptical"],
    }


def _visibility(half_light, r):
    """0 to 1: how well a galaxy's structure can be seen on the picture."""
    return 1 / (1 + np.exp(-2.0 * (half_light - 1.8))) / (1 + np.exp(2.0 * (r - 17.8)))


def _shares(truth, i, half_light, r):
    """Expected shares of the six buttons, in the order of the columns."""
    seen = _visibility(half_light, r)
    t_type = int(truth.t_type[i])
    if t_type == UNTYPED:
        share = np.array([0.72, 0.05, 0.05, 0.10, 0.06, 0.02])
    else:
        structure = structure_of(t_type, bool(truth.merger[i]), int(truth.seed[i]))
        side = truth.disk_ratio[i] < 0.36 and t_type > -4
        arms = np.interp(t_type, [-1, 0, 1, 2, 4, 7, 9, 10], [0.03, 0.2, 0.5, 0.75, 0.9, 0.85, 0.5, 0.15]) * seen
        if side:
            share = np.array([0.16, 0.02, 0.02, 0.74, 0.05, 0.01])
        else:
            turns = np.array([0.94, 0.06]) if structure.sense > 0 else np.array([0.06, 0.94])
            odd = 0.30 if t_type in (9, 10) else 0.04
            rest = 1 - arms
            share = np.array([rest * (1 - odd - 0.03), *(0.85 * arms * turns), 0.15 * arms, rest * odd, rest * 0.03])
        if truth.merger[i]:
            # two nuclei well apart, and bright tails, are what people see
            plain = 1.8 * structure.tail + 0.6 * structure.companion + 0.11 * structure.separation - 0.24
            obvious = seen * np.clip(plain, 0.05, 0.9)
            share = (1 - obvious) * share + obvious * np.array([0, 0, 0, 0, 0, 1.0])
    doubt = 0.35 * (1 - seen)
    share = (1 - doubt) * share + doubt * np.array([0.6, 0.03, 0.03, 0.06, 0.26, 0.02])
    share = share**SHARPNESS
    return share / share.sum()
