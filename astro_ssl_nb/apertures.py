"""Pixels measured by hand: the light within circles, the control for whatever a network is said to have learned."""

import numpy as np

from astro_ssl_nb.finite import refuse_nonfinite
from astro_ssl_nb.stretch import pixel_noise

# Each pixel is cut into so many a side, of which a circle takes those whose middle it covers.
PARTS = 5
BLOCK = 256  # cutouts at a time, which are measured with twice the digits
MAGNITUDES_PER_E_FOLD = 2.5 / np.log(10)


def aperture_magnitudes(cutouts, planes):
    """What photometry in circular apertures says of each cutout: brightness, colours and how the light grows outwards.

    The apertures lie about the middle of the cutout, their radii double from one pixel to a quarter of its side. The
    magnitudes are asinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406), which exist for an object lost in the
    noise too, softened by the noise of the cutout's own pixels in the aperture, and without a zero point.

    Parameters
    ----------
    cutouts : CutoutSet of N
    planes : sequence of C int
        Which planes to measure, the first of which gives the brightness.

    Returns
    -------
    ndarray of shape (N, 1 + C - 1 + C * (R - 1)), float32
        The magnitude in the largest of R apertures; the colours of neighbouring planes in one of medium size; for each
        plane, what the magnitude changes from one aperture to the next.

    Raises
    ------
    ValueError
        If pixels are not finite, or there is no cutout.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb.cutouts import CutoutSet
    >>> image = np.zeros((1, 2, 16, 16))
    >>> image[0, :, 7:9, 7:9] = [[[10.0]], [[1.0]]]
    >>> sky = image + np.random.default_rng(0).normal(0, 0.001, image.shape)
    >>> cutouts = CutoutSet.from_arrays(sky, Table({"objid": [1]}), bands="rg")
    >>> aperture_magnitudes(cutouts, [0, 1])[0, :2].round(1)  # 40 and 4 nanomaggies
    array([-4. ,  2.5], dtype=float32)
    """
    if not len(cutouts):
        raise ValueError("there is no cutout to measure: the set, or the part that was selected of it, is empty")
    planes = list(planes)
    found = [_of_images(images[:, planes].astype(float)) for _, images in cutouts.blocks(BLOCK)]
    magnitudes = np.concatenate(found).astype(np.float32)
    refuse_nonfinite(np.isfinite(magnitudes), np.arange(len(cutouts)))
    return magnitudes


def _of_images(images):
    apertures = _apertures(images.shape[2:])
    flux = np.einsum("nchw,rhw->ncr", images, apertures)
    noise = np.maximum(pixel_noise(images, axis=(2, 3)), 1e-6)[..., None] * np.sqrt(apertures.sum((1, 2)))
    magnitudes = -MAGNITUDES_PER_E_FOLD * (np.arcsinh(flux / (2 * noise)) + np.log(noise))
    colours = np.diff(magnitudes[:, :, len(apertures) // 2], axis=1)
    growth = np.diff(magnitudes, axis=2).reshape(len(images), -1)
    return np.concatenate([magnitudes[:, 0, -1:], colours, growth], axis=1)


def _apertures(shape):
    """Which part of each pixel lies within each circle, ndarray of shape (R, H, W)."""
    y, x = ((np.arange(side * PARTS) + 0.5) / PARTS - side / 2 for side in shape)
    distance = np.hypot(y[:, None], x)
    radii = 2.0 ** np.arange(max(1, int(np.log2(max(1, min(shape) / 4))) + 1))
    inside = distance <= radii[:, None, None]
    return inside.reshape(len(radii), shape[0], PARTS, shape[1], PARTS).mean((2, 4))
