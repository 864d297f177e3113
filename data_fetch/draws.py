"""Drawing the objects of a data set.

Where objects are drawn by field, the fields are asked for in the order of their hash, window by window, until there are
enough: a random draw that anyone can repeat, without sorting a table on the server, and with the same seed all data
sets share their fields.
"""

from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

from astro_ssl_nb.columns import as_degrees
from astro_ssl_nb.cutouts import CutoutSet
from data_fetch.answers import TooManyRows
from data_fetch.catalogues import BAND_SHIFT, HASHES, field_hash, object_query
from data_fetch.folder import FetchError
from data_fetch.frames import PIXEL_SCALE

ROWS = 5000  # about so many are asked for at once, so that memory does not grow with the data set


def draw(archive, data_set, request, excluded, folder=None):
    """Draw the objects of a data set by field, as many of each class.

    Parameters
    ----------
    archive : Archive
    data_set : DataSet
    request : Request
        How many, between which magnitudes, for cutouts of what size, and the seed.
    excluded : Excluded
    folder : path-like, optional
        Where to keep the answers of the archive.

    Returns
    -------
    catalogue : astropy.table.Table
        In the order of the hash of the field, so that the objects of a field stand together.
    sql : list of str
        The queries that found them.

    Raises
    ------
    FetchError
        If there are fewer objects than asked.
    ArchiveError
        If the archive fails.
    """
    sql, tables = [], []
    for label, condition in (data_set.classes or {None: None}).items():
        number = request.n // max(1, len(data_set.classes))
        taken = np.concatenate([np.asarray(table["objid"]) for table in tables] or [np.empty(0, np.uint64)])
        table, asked = _draw_class(archive, data_set, condition, number, request, excluded, taken, folder)
        sql += asked
        if len(table) < number:
            raise FetchError(_too_few(archive, label, len(table), number, request.mag_limits, excluded))
        if label and "class" not in table.colnames:
            table["class"] = label
        tables.append(table)
    return in_hash_order(vstack(tables), request.seed) if len(tables) > 1 else tables[0], sql


def _draw_class(archive, data_set, condition, n, request, excluded, taken, folder):
    """Some objects of a class that are not taken yet, and the SQL that gave them."""
    columns = data_set.source.columns
    query = {"condition": condition, "mag_limits": request.mag_limits}
    query |= {"margin": margin(request.size), "seed": request.seed}
    sql, found, count, low, width = [], [], 0, 0, 1
    while count < n and low < HASHES:
        high = min(low + width, HASHES)
        text = object_query(data_set.source, (low, high - 1), **query)
        try:
            answer = archive.query(text, columns=answer_types(columns), folder=folder)
        except TooManyRows:
            if high - low == 1:
                raise
            width = (high - low) // 2
            continue
        sql.append(text)
        if len(answer):
            objects = our_columns(answer, columns)
            # Two spectra may put an object into two classes: it stays in the one that is drawn first.
            found.append(excluded.remove(objects[~np.isin(objects["objid"], taken)]))
            count += len(found[-1])
        low = high
        # Windows are whole and in order, so their widths decide how many queries are sent, not which objects are had.
        needed = 1.1 * min(n - count, ROWS) * low / count if count else HASHES
        width = int(np.clip(needed, 1, 8 * width))
    return (in_hash_order(vstack(found), request.seed)[:n] if found else Table()), sql


def _too_few(archive, label, count, asked, mag_limits, excluded):
    what = f"objects of class {label}" if label else "objects"
    limits = f" with {mag_limits[0]:g} <= r <= {mag_limits[1]:g}" if mag_limits else ""
    advice = f"ask for at most that many{' of each class' if label else ''} with --n"
    widen = ", or widen --mag-limits" if mag_limits else ""
    return f"{archive.name} has {count} {what}{limits}, {asked} were asked for: {advice}{widen}{excluded.advice}"


def margin(size):
    """Pixels from the edge of a frame inside which a cutout fits into the frames of all bands."""
    return size // 2 + BAND_SHIFT


def answer_names(columns):
    """What the columns of a query are called in the answer.

    >>> answer_names(["p.objID", "h.z AS photoz"])
    ['objID', 'photoz']
    """
    return [name.split(" AS ")[-1].split(".")[-1] for name in columns]


def answer_types(columns):
    """What the values of each column of an answer are read as.

    >>> answer_types({"p.run": ("run", int, None), "h.z AS photoz": ("photoz", float, None)})
    {'run': <class 'int'>, 'photoz': <class 'float'>}
    """
    return dict(zip(answer_names(columns), (dtype for _, dtype, _ in columns.values()), strict=True))


def our_columns(answer, columns):
    """Our names, types and units for the columns of an answer, each object once."""
    table = Table()
    for theirs, (name, dtype, unit) in zip(answer_names(columns), columns.values(), strict=True):
        table[name] = answer[theirs].astype(dtype)
        table[name].unit = unit
    # An object may have two spectra.
    _, first = np.unique(np.asarray(table["objid"]), return_index=True)
    return table[np.sort(first)]


def in_hash_order(table, seed):
    """The table with the objects of a field together, each once, and the fields in the order of their hash."""
    run, camcol, field = (np.asarray(table[name]) for name in ("run", "camcol", "field"))
    table = table[np.lexsort([table["objid"], field, camcol, run, field_hash(run, camcol, field, seed)])]
    _, first = np.unique(np.asarray(table["objid"]), return_index=True)
    return table[np.sort(first)]


class Excluded:
    """Objects that must not be chosen, and how often one was met.

    Parameters
    ----------
    folders : sequence of path-like
        CutoutSets: neither their objects nor anything whose cutout may overlap with one of theirs may be chosen. Where
        one has no pixel scale, that of SDSS is taken; positions without a unit are in degrees.
    size : int
        Pixels a side of a cutout.
    """

    def __init__(self, folders, size):
        self.folders = folders
        self.counts = {"by id": 0, "by position": 0} if folders else None
        self._side = size * PIXEL_SCALE

    @property
    def advice(self):
        """What to add to an error that too little was found; "" where nothing was left out."""
        met = sum((self.counts or {}).values())
        return f"; {met} were found but left out because of --exclude: exclude fewer sets" if met else ""

    @cached_property
    def _sets(self):
        """Of each set the ids, the positions that are known, and the distance at which corners may touch."""
        return [self._read(folder) for folder in self.folders]

    def _read(self, folder):
        try:
            cutouts = CutoutSet.open(folder)
        except (OSError, ValueError) as error:
            raise FetchError(f"cannot exclude {folder}: {error}") from error
        absent = [name for name in ("ra", "dec") if name not in cutouts.catalogue.colnames]
        if absent:
            raise FetchError(
                f"cannot exclude {folder}: its catalogue has no column {' and no column '.join(absent)}, so nobody "
                "knows what overlaps with it; leave it out of --exclude"
            )
        try:
            ra, dec = (as_degrees(cutouts.catalogue[name]) for name in ("ra", "dec"))
            places = SkyCoord(ra, dec, unit=u.deg)[np.isfinite(ra) & np.isfinite(dec)]
        except ValueError as error:  # of SkyCoord too, for a declination beyond the poles
            raise FetchError(f"cannot exclude {folder}: {error}") from error
        side = (cutouts.pixel_scale or PIXEL_SCALE) * max(cutouts.shape[2:])
        reach = (self._side + side) / 2 * np.sqrt(2) * u.arcsec
        return _ids(cutouts.catalogue["objid"]), places, reach

    def remove(self, table):
        """The rows of a table that may be chosen."""
        if self.counts is None:
            return table
        where = SkyCoord(table["ra"], table["dec"])
        same, near = np.zeros((2, len(table)), bool)
        for ids, places, reach in self._sets:
            same |= np.isin(table["objid"], ids)
            if len(places):
                near |= where.match_to_catalog_sky(places)[1] < reach
        near &= ~same
        self.counts["by id"] += int(same.sum())
        self.counts["by position"] += int(near.sum())
        return table[~same & ~near]


def _ids(column):
    """The ids that are known, whole numbers as uint64: compared with int64, numpy would make floats of both."""
    ids = np.ma.compressed(np.ma.asarray(column))
    return ids[ids >= 0].astype(np.uint64) if ids.dtype.kind in "iu" else ids
