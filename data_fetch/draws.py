"""Drawing the objects of a data set.

Where objects are drawn by field, the fields are asked for in the order of their hash, window by window, until there are
enough: a random draw that anyone can repeat, without sorting a table on the server, and with the same seed all data
sets share their fields.
"""

from functools import cached_property

import numpy as np
import pandas as pd
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
    """Draw the objects of a data set by field, from each field as many of each class.

    Were each class drawn until there are enough of it, a common one would come from fewer fields than a rare one, and
    the air, the dust and the noise of a field would tell something of the class.

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
    classes = data_set.classes or {None: None}
    number = request.n // len(classes)
    sql, found, rows, count, low, width = [], [], 0, 0, 0, 1
    while count < number and low < HASHES:
        high = min(low + width, HASHES)
        try:
            answers, asked = _answers(archive, data_set, classes, (low, high - 1), request, folder)
        except TooManyRows:
            if high - low == 1:
                raise
            width = (high - low) // 2
            continue
        sql += asked
        rows += sum(map(len, answers))
        found.append(_as_many_of_each([excluded.remove(one) for one in answers], request.seed))
        count += len(found[-1]) // len(classes)
        low = high
        # Windows are whole and in order, so their widths decide how many queries are sent, not which objects are had.
        needed = low * min(1.1 * (number - count) / count if count else HASHES, ROWS / max(1, rows))
        width = int(np.clip(needed, 1, 8 * width))
    if count < number:
        raise FetchError(_too_few(archive, classes, count, number, request.mag_limits, excluded))
    drawn = vstack(found)
    drawn = vstack([drawn[drawn["which"] == k][:number] for k in range(len(classes))])
    drawn.remove_column("which")
    return in_hash_order(drawn, request.seed), sql


def _answers(archive, data_set, classes, window, request, folder):
    """Objects of each class in a window of fields, each in one class, and the SQL that gave them."""
    columns, taken = data_set.source.columns, np.empty(0, np.uint64)
    query = {"mag_limits": request.mag_limits, "margin": margin(request.size), "seed": request.seed}
    tables, sql = [], []
    for label, condition in classes.items():
        sql.append(object_query(data_set.source, window, condition=condition, **query))
        answer = our_columns(archive.query(sql[-1], columns=answer_types(columns), folder=folder), columns)
        # Two spectra may put an object into two classes: it stays in the one that is asked for first.
        tables.append(answer[~np.isin(answer["objid"], taken)])
        taken = np.concatenate([taken, tables[-1]["objid"]])
        if label and "class" not in answer.colnames:
            tables[-1]["class"] = label
    return tables, sql


def _as_many_of_each(tables, seed):
    """From each field as many objects of each table, drawn at random, in the order of their field's hash."""
    for number, table in enumerate(tables):
        table["which"] = number
    together = vstack(tables)
    if not all(map(len, tables)):
        return together[:0]
    # By lot, and the same whatever else is in the window: the id times a large odd number, which wraps around.
    factor = 2 * np.random.default_rng(seed).integers(2**62, dtype=np.uint64) + np.uint64(1)
    together = in_hash_order(together, seed, within=np.asarray(together["objid"]).astype(np.uint64) * factor)
    _, fields = np.unique(together["run", "camcol", "field"].as_array(), return_inverse=True)
    which = pd.Series(np.asarray(together["which"]))
    fewest = pd.crosstab(fields, which).min(axis=1).to_numpy()
    return together[which.groupby([fields, which]).cumcount().to_numpy() < fewest[fields]]


def _too_few(archive, classes, count, asked, mag_limits, excluded):
    several = len(classes) > 1
    of = f" of each class ({', '.join(classes)}) in the same fields" if several else ""
    limits = f" with {mag_limits[0]:g} <= r <= {mag_limits[1]:g}" if mag_limits else ""
    advice = f"ask for at most that many{' of each class' if several else ''} with --n"
    widen = ", or widen --mag-limits" if mag_limits else ""
    return f"{archive.name} has {count} objects{limits}{of}, {asked} were asked for: {advice}{widen}{excluded.advice}"


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


def in_hash_order(table, seed, within=None):
    """The table with the objects of a field together, each once, and the fields in the order of their hash.

    Objects of a field are in the order of `within`, by default of their ids.
    """
    run, camcol, field = (np.asarray(table[name]) for name in ("run", "camcol", "field"))
    within = table["objid"] if within is None else within
    table = table[np.lexsort([within, field, camcol, run, field_hash(run, camcol, field, seed)])]
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
        if self.counts is None or not len(table):
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
