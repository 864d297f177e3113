"""Quasars of the practice sky: point sources whose colours depend on redshift, in hosts that show when they are near.

There are deliberately many more of them than in the real sky (about fifteen times), so that a field holds enough for a
class; their colours, redshifts and the slope of their counts are those of SDSS quasars.
"""

import numpy as np

from .galaxies import COSMOLOGY, shape_galaxies
from .templates import REDSHIFTS, quasar_colours

PER_SQUARE_DEGREE = 1050  # brighter than r = 21; the real sky has about 60 (Richards et al. 2006, AJ 131, 2766)
BREAK, BRIGHT_SLOPE, FAINT_SLOPE = 19.1, 0.75, 0.30  # d log N / dm; Richards et al. 2006, approximate
# Redshift mixture (weight, mean, width), approximate after the SDSS quasar catalogues: UV excess, then the z = 2.2-3.2
# range whose colours cross the stellar locus, then a high-redshift tail.
REDSHIFT_MIXTURE = np.array([(0.08, 0.45, 0.2), (0.56, 1.45, 0.5), (0.28, 2.6, 0.35), (0.08, 3.6, 0.45)])


def draw_quasars(rng, area, faint_limit):
    """Quasars over `area` square degrees down to r = faint_limit.

    Returns point (N, 5) ugriz magnitudes of the nucleus, redshift, subclass, and `host`: a dict as `draw_galaxies`
    returns, one galaxy a quasar (far too faint to matter beyond z = 1).
    """
    magnitude = np.arange(15.5, faint_limit, 0.05)
    slope = np.where(magnitude < BREAK, BRIGHT_SLOPE, FAINT_SLOPE)
    counts = 10 ** (slope * (magnitude - BREAK))
    cumulative = np.cumsum(counts)
    cumulative *= PER_SQUARE_DEGREE * area / cumulative[np.searchsorted(magnitude, 21.0) - 1]
    number = rng.poisson(cumulative[-1])
    r = np.interp(rng.random(number) * cumulative[-1], cumulative, magnitude)
    component = rng.choice(len(REDSHIFT_MIXTURE), number, p=REDSHIFT_MIXTURE[:, 0])
    redshift = REDSHIFT_MIXTURE[component, 1] + REDSHIFT_MIXTURE[component, 2] * rng.standard_normal(number)
    modulus = COSMOLOGY.distmod(REDSHIFTS[1:]).value
    # what is nearer than this would be fainter than M = -22, no quasar by the survey's definition (Schneider et al.
    # 2010)
    nearest = np.interp(r + 22.0, modulus, REDSHIFTS[1:])
    redshift = np.clip(redshift, nearest + 0.3 * rng.random(number), 5.2)
    # scatter of slopes about +-0.3, and a red tail from dust in one quasar in ten (Richards et al. 2001, 2003)
    dust = rng.exponential(np.where(rng.random(number) < 0.10, 0.12, 0.012))
    lines = np.clip(1 + 0.35 * rng.standard_normal(number), 0.2, 2.5)
    point = r[:, None] + quasar_colours(redshift, lines, 0.30 * rng.standard_normal(number), dust)
    point += 0.04 * rng.standard_normal(point.shape)  # the bands are not simultaneous, and quasars vary
    luminous = np.clip(-21.6 - 0.1 * (20 - r) + 0.7 * rng.standard_normal(number), -23.5, -19.5)
    near = np.minimum(redshift, REDSHIFTS[-2])
    red = rng.random(number) < 0.5
    host = shape_galaxies(rng, luminous, near, red, np.interp(near, REDSHIFTS[1:], modulus), np.inf)
    subclass = np.where(redshift < 4.0, "BROADLINE", "")
    return {"point": point, "redshift": redshift, "subclass": subclass, "host": host}
