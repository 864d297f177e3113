"""The data sets: which objects they hold, and the queries that find them.

Objects are drawn by field, because one frame then serves hundreds of them. Every field has a hash, a number from 0 to
65535 that depends on its run, camcol and field and on the seed. Fields are taken in the order of their hash, window by
window, until there are enough objects: a random draw that anyone can repeat, without sorting a table on the server,
and with the same seed all data sets share their fields.
"""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

from astro_ssl_nb.cutouts import CutoutSet
from data_fetch.folder import FetchError
from data_fetch.frames import BANDS, FRAME_SHAPE, PIXEL_SCALE

HASHES = 65536
# The other bands are registered a few pixels away from r: up to 13 in the real frames that we measured.
BAND_SHIFT = 20


@dataclass(frozen=True)
class DataSet:
    """What one data set holds; `n` is the size in Martinazzo, Espadoto & Hirata (2020), arXiv:2004.11336."""

    name: str
    summary: str
    n: int
    classes: tuple = ()
    mag_limits: tuple = (14.0, 21.5)


DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet("pretext", "stars and galaxies with their measured properties, without labels", 50_090),
        DataSet("sg", "stars and galaxies with spectroscopic classes", 50_090, ("STAR", "GALAXY")),
        DataSet("sgq", "stars, galaxies and quasars with spectroscopic classes", 54_000, ("STAR", "GALAXY", "QSO")),
    )
}

_MAG, _ARCSEC, _DEG = u.mag, u.arcsec, u.deg
# Column in SQL -> (our name, type, unit)
PHOTOMETRY = {
    "p.objID": ("objid", np.uint64, None),
    "p.ra": ("ra", float, _DEG),
    "p.dec": ("dec", float, _DEG),
    **{f"p.{name}": (name, int, None) for name in ("run", "rerun", "camcol", "field", "type")},
    **{
        f"p.{kind}_{band}": (f"{kind}_{band}", float, _MAG)
        for kind in ("modelMag", "modelMagErr", "psfMag", "extinction", "petroMag")
        for band in BANDS
    },
    **{f"p.{name}": (name, float, _ARCSEC) for name in ("petroRad_r", "petroR50_r", "petroR90_r")},
    **{f"p.{name}": (name, float, None) for name in ("expAB_r", "deVAB_r", "fracDeV_r")},
    "f.psfWidth_r": ("psfWidth_r", float, _ARCSEC),
}
SPECTROSCOPY = {
    "s.class": ("class", str, None),
    "s.subClass": ("subClass", str, None),
    "s.z": ("redshift", float, None),
    "s.zErr": ("redshift_err", float, None),
    "s.specObjID": ("specObjID", np.uint64, None),
}


def field_hash(run, camcol, field, seed):
    """The hash of fields; the arguments are numbers, arrays or SQL expressions (then the answer is SQL).

    >>> int(field_hash(3918, 3, 213, seed=0)), int(field_hash(3918, 3, 213, seed=1))
    (49108, 9300)
    """
    a, b, c = 2 * np.random.default_rng(seed).integers(0, 16384, size=3) + 1
    if isinstance(run, str):
        return f"(({run} * {a} + {camcol} * {b} + {field} * {c}) & {HASHES - 1})"
    return (run * a + camcol * b + field * c) & (HASHES - 1)


def object_query(window, *, label=None, mag_limits, margin, seed):
    """SQL for the objects in the fields whose hash is in a window.

    Parameters
    ----------
    window : (int, int)
        First and last hash.
    label : str, optional
        Only objects with a spectrum of this class, and the columns of the spectrum with them.
    mag_limits : (float, float)
        Model magnitude in r.
    margin : int
        Pixels from the edge of the frame.
    seed : int
    """
    rows, columns = FRAME_SHAPE
    where = [
        "p.mode = 1 AND p.clean = 1 AND p.type IN (3, 6)",
        f"p.modelMag_r BETWEEN {mag_limits[0]:g} AND {mag_limits[1]:g}",
        f"p.colc_r BETWEEN {margin} AND {columns - margin} AND p.rowc_r BETWEEN {margin} AND {rows - margin}",
    ]
    if label is None:
        names = PHOTOMETRY
        tables = "Field AS f JOIN PhotoObj AS p ON p.fieldID = f.fieldID"
        fields = field_hash("f.run", "f.camcol", "f.field", seed)
        where.insert(0, "f.quality = 3")
    else:
        names = PHOTOMETRY | SPECTROSCOPY
        tables = "SpecObj AS s JOIN PhotoObj AS p ON p.objID = s.bestObjID JOIN Field AS f ON f.fieldID = p.fieldID"
        # Run, camcol and field are bits of the id (https://www.sdss4.org/dr17/help/glossary/#objid). Taken from
        # there, the server can pick the few spectra of this window before it joins them to a billion objects.
        # SQL Server takes a constant beyond 2^31 for a decimal, which has no bits: hence the cast.
        parts = (
            f"((s.bestObjID / CAST({2**low} AS bigint)) & {2**bits - 1})" for low, bits in ((32, 16), (29, 3), (16, 12))
        )
        fields = field_hash(*parts, seed)
        where.insert(0, f"s.class = '{label}' AND s.zWarning = 0")
    where.insert(0, f"{fields} BETWEEN {window[0]} AND {window[1]}")
    return f"SELECT {', '.join(names)} FROM {tables} WHERE {' AND '.join(where)}"


def choose(archive, data_set, n, *, mag_limits, size, seed, exclude=(), folder=None):
    """Choose the objects of a data set, as many of each class, and return their catalogue.

    Parameters
    ----------
    archive : Archive
    data_set : DataSet
    n : int
        Objects in all.
    mag_limits, seed
        See `object_query`.
    size : int
        Pixels a side of the cutouts: they must fit into the frame.
    exclude : sequence of path-like, optional
        CutoutSets whose objects, and whatever is within a cutout's width of them, must not be chosen.
    folder : path-like, optional
        Where to keep the answers of the archive.

    Returns
    -------
    astropy.table.Table
        Sorted by the hash of the field, so that the objects of a field stand together. Its `meta` has the `sql` that
        was asked and how many objects were `excluded` "by id" and "by position" (None without `exclude`).

    Raises
    ------
    FetchError
        If there are fewer objects than asked.
    ArchiveError
        If the archive fails.
    """
    excluded = _Excluded(exclude, size)
    labels = data_set.classes or (None,)
    sql, tables = [], []
    for label in labels:
        query = {"label": label, "mag_limits": mag_limits, "margin": size // 2 + BAND_SHIFT, "seed": seed}
        tables.append(_choose_class(archive, n // len(labels), query, excluded, folder, sql))
    table = _in_hash_order(vstack(tables), seed)
    table.meta = {"sql": sql, "excluded": excluded.counts}
    return table


def _choose_class(archive, n, query, excluded, folder, sql):
    names = PHOTOMETRY if query["label"] is None else PHOTOMETRY | SPECTROSCOPY
    found, count, low, width = [], 0, 0, 1
    while count < n and low < HASHES:
        high = min(low + width, HASHES)
        sql.append(object_query((low, high - 1), **query))
        answer = archive.query(sql[-1], columns=[name.split(".")[1] for name in names], folder=folder)
        if len(answer):
            found.append(excluded.remove(_our_columns(answer, names)))
            count += len(found[-1])
        low = high
        # Windows are whole and in order, so their widths decide how many queries are sent, not which objects are had.
        needed = 1.1 * (n - count) * low / count if count else HASHES
        width = int(np.clip(needed, 1, 8 * width))
    if count < n:
        raise FetchError(_too_few(archive, n, count, query))
    return _in_hash_order(vstack(found), query["seed"])[:n]


def _too_few(archive, n, count, query):
    what = f"objects of class {query['label']}" if query["label"] else "objects"
    low, high = query["mag_limits"]
    advice = "ask for at most that many of each class" if query["label"] else "ask for at most that many"
    return (
        f"{archive.name} has {count} {what} with {low:g} <= r <= {high:g}, {n} were asked for: {advice} with --n, "
        "or widen --mag-limits"
    )


def _our_columns(answer, names):
    """Our names, types and units for the columns of an answer."""
    table = Table()
    for sql_name, (name, dtype, unit) in names.items():
        column = answer[sql_name.split(".")[1]].astype(dtype)
        table[name] = column
        table[name].unit = unit
    return table


def _in_hash_order(table, seed):
    where = [np.asarray(table[name]) for name in ("run", "camcol", "field")]
    return table[np.lexsort([table["objid"], *where[::-1], field_hash(*where, seed)])]


class _Excluded:
    """Objects that must not be chosen, and how often one was met."""

    def __init__(self, folders, size):
        self.counts = {"by id": 0, "by position": 0} if folders else None
        self._radius = size * PIXEL_SCALE * u.arcsec
        try:
            tables = [CutoutSet.open(folder).catalogue["objid", "ra", "dec"] for folder in folders]
        except (ValueError, KeyError) as error:
            raise FetchError(f"cannot exclude {', '.join(map(str, folders))}: {error}") from error
        self._table = vstack(tables, metadata_conflicts="silent") if tables else None

    def remove(self, table):
        if self._table is None:
            return table
        same = np.isin(table["objid"], self._table["objid"])
        _, separation, _ = SkyCoord(table["ra"], table["dec"]).match_to_catalog_sky(
            SkyCoord(self._table["ra"], self._table["dec"])
        )
        near = (separation < self._radius) & ~same
        self.counts["by id"] += int(same.sum())
        self.counts["by position"] += int(near.sum())
        return table[~same & ~near]
