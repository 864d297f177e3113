"""Splits without leakage: which rows must stay together, and parts that keep them together."""

import numpy as np
from astropy.coordinates import SkyCoord

from astro_ssl_nb.columns import as_floats

SAME_PLACE = 3.0  # arcsec; nearer than this, two rows count as one object


def overlap_groups(catalogue, side):
    """Group number of each row: rows that must not be separated share one.

    Parameters
    ----------
    catalogue : Table with `objid`, and maybe `ra` and `dec` in degrees
    side : float
        Arcseconds a side of a cutout; 0 where nobody knows.

    Raises
    ------
    ValueError
        If there are positions, but not in every row.
    """
    _, numbers = np.unique(np.asarray(catalogue["objid"]), return_inverse=True)
    if not {"ra", "dec"} <= set(catalogue.colnames):
        return numbers
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    # The diagonal of two cutouts that touch at a corner, as a chord on the unit sphere.
    reach = np.radians((np.sqrt(2) * side or SAME_PLACE) / 3600)
    near = cKDTree(_directions(catalogue)).query_pairs(reach, output_type="ndarray")
    if not side and not len(near):
        return numbers
    n = len(catalogue)
    first = np.unique(numbers, return_index=True)[1]
    pairs = np.vstack([near, np.column_stack([np.arange(n), first[numbers]])])
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _directions(catalogue):
    """Where the cutouts are on the unit sphere, array of shape (N, 3)."""
    ra, dec = (as_floats(catalogue[name]) for name in ("ra", "dec"))
    lost = np.flatnonzero(~np.isfinite(ra + dec))
    if len(lost):
        raise ValueError(
            f"{len(lost)} of {len(catalogue)} rows have no `ra` or `dec`, such as rows "
            f"{', '.join(map(str, lost[:5]))}: leave them out, or remove both columns to split by object alone"
        )
    return SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T


def split_rows(groups, fractions, seed):
    """Rows of each part of a random split that keeps groups whole, a sorted array for each fraction.

    Raises
    ------
    ValueError
        If a part would be empty.
    """
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    shuffled = np.argsort(rank[groups], kind="stable")
    edges = np.round(np.cumsum(fractions)[:-1] * len(groups)).astype(int)
    # Move each edge to the end of the group it falls into, so that no group is cut in two.
    ordered = groups[shuffled]
    whole = [edge + int(np.sum(ordered[edge:] == ordered[edge - 1])) if edge else 0 for edge in edges]
    parts = np.split(shuffled, whole)
    if any(len(part) == 0 for part in parts):
        sizes = np.bincount(groups)
        raise ValueError(
            f"{len(groups)} cutouts are too few to split by {tuple(fractions)}: those of one object, or that overlap "
            f"on the sky, stay together, which leaves {len(sizes)} groups, the largest of {sizes.max()}"
        )
    return [np.sort(part) for part in parts]
