"""Pixels that are NaN or infinite: which cutouts hold some."""

import numpy as np


def nonfinite_rows(cutouts):
    """Rows of the cutouts that hold a pixel which is NaN or infinite.

    Parameters
    ----------
    cutouts : CutoutSet of N

    Returns
    -------
    ndarray of int, sorted

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> images = np.zeros((5, 1, 8, 8))
    >>> images[3, 0, 2, 2] = np.nan
    >>> nonfinite_rows(CutoutSet.from_arrays(images, Table({"objid": np.arange(5)}), bands="r"))
    array([3])
    """
    found = [np.empty(0, int)]
    for start, images in cutouts.blocks():
        found.append(start + np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3))))
    return np.concatenate(found)


def refuse_nonfinite(finite, rows):
    """Raise a ValueError if something is not finite in cutouts: `finite` says what is, (N, ...) bool, of these rows."""
    broken = rows[~finite.reshape(len(rows), -1).all(axis=1)]
    if len(broken):
        raise ValueError(
            f"{len(broken)} of {len(rows)} cutouts that were looked at have pixels that are not finite (rows "
            f"{broken[:5].tolist()} first): leave out the rows that `nonfinite_rows` gives"
        )
