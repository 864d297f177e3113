"""Two numbers about the shape of an object that surveys do not list: measured here, on its own cutout."""

import numpy as np

from astro_ssl_nb.stretch import pixel_noise

# The corners of a cutout are sky and neighbours: an eighth is left out on each side.
MARGIN = 1 / 8
LEAST_LIGHT = 0.1  # of the sum of absolute values, where that is hardly more than noise


def measure_structure(cutouts):
    """The same cutouts with `asymmetry` and `gini` in the catalogue, measured in r, or else in the middle plane.

    Asymmetry is the light that changes place when the image is turned by 180 degrees, over all light (Conselice 2003,
    ApJS 147, 1): tails, second nuclei and knots of stars raise it. It is counted where it leaves and where it arrives,
    so it goes from 0 to 2, and taken about the centre, within a pixel of the middle, that makes it least. Gini is 0
    where all pixels are equally bright and 1 where one has all the light (Lotz, Primack & Madau 2004, AJ 128, 163).
    What the noise of the pixels adds to the asymmetry, on average, is taken off; Gini keeps it.

    Parameters
    ----------
    cutouts : CutoutSet of N, the object in the middle

    Returns
    -------
    CutoutSet of N, which shares the images

    Raises
    ------
    ValueError
        If the set is empty.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> image = np.zeros((1, 1, 8, 8))
    >>> image[..., 3:5, 3:5] = 1.0
    >>> one = measure_structure(CutoutSet.from_arrays(image, Table({"objid": [1]}), bands="r"))
    >>> [round(float(one.catalogue[name][0]), 2) for name in ("asymmetry", "gini")]
    [0.0, 0.91]
    """
    if not len(cutouts):
        raise ValueError("the set is empty: there is nothing to measure")
    plane = cutouts.bands.index("r") if "r" in cutouts.bands else len(cutouts.bands) // 2
    found = [_structure(images[:, plane].astype(float)) for _, images in cutouts.blocks()]
    asymmetry, gini = np.concatenate(found, axis=1)
    return cutouts.with_columns(asymmetry=asymmetry, gini=gini)


def _structure(images):
    top, left = (int(side * MARGIN) for side in images.shape[1:])
    within = np.s_[:, top : images.shape[1] - top, left : images.shape[2] - left]
    inner = images[within]
    n = inner[0].size
    # What n pixels of mere noise add, in the mean, to a sum of absolute values.
    of_noise = n * pixel_noise(images, axis=(1, 2)) * np.sqrt(2 / np.pi)
    absolute = np.maximum(np.abs(inner).sum(axis=(1, 2)), 1e-12)
    light = np.maximum(absolute - of_noise, LEAST_LIGHT * absolute)
    # A turn about another centre is a turn and a shift by twice the way there: no pixel has to be interpolated.
    turned, (y, x) = images[:, ::-1, ::-1], (range(-min(2, edge), min(2, edge) + 1) for edge in (top, left))
    changes = [np.abs(inner - np.roll(turned, (j, i), (1, 2))[within]).sum(axis=(1, 2)) for j in y for i in x]
    moved = np.min(changes, axis=0) - np.sqrt(2) * of_noise
    pixels = np.sort(np.abs(inner).reshape(len(inner), n), axis=1)
    gini = pixels @ (2 * np.arange(1, n + 1) - n - 1) / (absolute * (n - 1))
    return np.stack([np.clip(moved / light, 0, 2), gini])
