"""The data sets: which objects they hold, and the queries that find them.

Objects are drawn by field where that is possible, because one frame then serves hundreds of them. Every field has a
hash, a number from 0 to 65535 that depends on its run, camcol and field and on the seed: fields are taken in the order
of their hash (see `draws`).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u

from data_fetch.frames import BANDS, FRAME_SHAPE

HASHES = 65536
# The other bands are registered a few pixels away from r: up to 13 in the real frames that we measured.
BAND_SHIFT = 20
MATCH_RADIUS = 3.0  # arcsec between a position and the object that is taken for it

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
REDSHIFT = {"s.z": ("redshift", float, None), "s.zErr": ("redshift_err", float, None)}
# Beck et al. 2016, MNRAS 460, 1371
PHOTOZ = {"h.z AS photoz": ("photoz", float, None), "h.zErr AS photozErr": ("photoz_err", float, None)}
SPECTRUM = {
    "s.class": ("class", str, None),
    "s.subClass": ("subClass", str, None),
    **REDSHIFT,
    "s.specObjID": ("specObjID", np.uint64, None),
}
VOTES = {f"z.{name}": (name, float, None) for name in ("p_mg", "p_el", "p_cs", "nvote")}

_PHOTOZ = "LEFT JOIN Photoz AS h ON h.objID = p.objID"
_REDSHIFT = "LEFT JOIN SpecObj AS s ON s.bestObjID = p.objID AND s.zWarning = 0"
_GOOD = "p.mode = 1 AND p.clean = 1"


@dataclass(frozen=True)
class Source:
    """The tables that objects come from.

    Attributes
    ----------
    tables : str
        For SQL's FROM, with PhotoObj as p and Field as f.
    columns : dict
        As `PHOTOMETRY`.
    where : str
        What holds for all objects.
    key : str, optional
        The object's id in the smallest of the tables; its bits tell the field.
    """

    tables: str
    columns: dict
    where: str
    key: str | None = None


PHOTOMETRIC = Source(
    f"Field AS f JOIN PhotoObj AS p ON p.fieldID = f.fieldID {_PHOTOZ} {_REDSHIFT}",
    PHOTOMETRY | PHOTOZ | REDSHIFT,
    f"f.quality = 3 AND {_GOOD} AND p.type IN (3, 6)",
)
GALAXIES = replace(PHOTOMETRIC, where=f"{PHOTOMETRIC.where} AND p.type = 3")
SPECTROSCOPIC = Source(
    "SpecObj AS s JOIN PhotoObj AS p ON p.objID = s.bestObjID JOIN Field AS f ON f.fieldID = p.fieldID",
    PHOTOMETRY | SPECTRUM,
    f"s.zWarning = 0 AND {_GOOD} AND p.type IN (3, 6)",
    "s.bestObjID",
)
GALAXY_ZOO = Source(
    f"zooSpec AS z JOIN PhotoObj AS p ON p.objID = z.objid JOIN Field AS f ON f.fieldID = p.fieldID {_REDSHIFT}",
    PHOTOMETRY | REDSHIFT | VOTES,
    _GOOD,
    "z.objid",
)
# fGetNearestObjIdEq: the primary object nearest to a position (https://skyserver.sdss.org, Schema Browser, Functions).
# The columns of u have SQLite's names for them, so that the practice archive understands the same text.
POSITIONS = Source(
    "(VALUES {positions}) AS u(column1, column2) JOIN PhotoObj AS p ON p.objID = "
    f"dbo.fGetNearestObjIdEq(u.column1, u.column2, {MATCH_RADIUS / 60:g}) "
    f"JOIN Field AS f ON f.fieldID = p.fieldID {_PHOTOZ} {_REDSHIFT}",
    PHOTOMETRY | PHOTOZ | REDSHIFT,
    "p.mode = 1",
)

# T of EFIGI (Baillard et al. 2011, A&A 532, A74) -> names of de Vaucouleurs's stages
STAGES = dict(enumerate(("S0/a", "Sa", "Sab", "Sb", "Sbc", "Sc", "Scd", "Sd", "Sdm", "Sm", "Im")))
STAGES = {-5: "E", -3: "S0-", -2: "S0", -1: "S0+"} | STAGES
_ELLIPTICAL = dict.fromkeys((-6, -5, -4), "elliptical")
_SPIRAL = dict.fromkeys(range(10), "spiral")
_ALL_TYPES = {-6: "cE", -4: "cD"} | STAGES | {11: "dE"}


@dataclass(frozen=True)
class DataSet:
    """What one data set holds.

    Attributes
    ----------
    name, summary : str
    n : int or None
        The size in Martinazzo, Espadoto & Hirata (2020), arXiv:2004.11336, who have neither `galaxies` nor
        `efigi`.
    source : Source
    classes : dict of str to str
        Label and the SQL condition for it; all have the same number of objects.
    types : dict of int to str
        Of EFIGI's T, and its label; the classes are as large as they are.
    mag_limits : (float, float) or None
        Model magnitude in r.
    """

    name: str
    summary: str
    n: int | None
    source: Source
    classes: dict = field(default_factory=dict)
    types: dict = field(default_factory=dict)
    mag_limits: tuple | None = None

    @property
    def by_position(self):
        """Whether the objects are given by a list of positions, and not drawn field by field."""
        return self.source is POSITIONS


_SPECTRAL = {label: f"s.class = '{label}'" for label in ("STAR", "GALAXY", "QSO")}
_LIMITS = (14.0, 21.5)
DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            "pretext",
            "stars and galaxies with their measured properties, without labels",
            50_090,
            PHOTOMETRIC,
            mag_limits=_LIMITS,
        ),
        DataSet(
            "galaxies",
            "galaxies near enough to show a shape, with their measured properties, without labels",
            20_000,
            GALAXIES,
            mag_limits=(14.0, 18.8),
        ),
        DataSet(
            "sg",
            "stars and galaxies with spectroscopic classes",
            50_090,
            SPECTROSCOPIC,
            {label: _SPECTRAL[label] for label in ("STAR", "GALAXY")},
            mag_limits=_LIMITS,
        ),
        DataSet(
            "sgq",
            "stars, galaxies and quasars with spectroscopic classes",
            54_000,
            SPECTROSCOPIC,
            _SPECTRAL,
            mag_limits=_LIMITS,
        ),
        DataSet(
            "mg",
            "merging galaxies and others by the votes of Galaxy Zoo: an analogue of the paper's set, whose selection "
            "cannot be repeated",
            15_766,
            GALAXY_ZOO,
            {"MERGING": "z.p_mg > 0.4", "OTHER": "z.p_mg < 0.1"},
        ),
        DataSet("efigi", "all galaxies of EFIGI with their Hubble types", None, POSITIONS, types=_ALL_TYPES),
        DataSet("ef2", "elliptical and spiral galaxies of EFIGI", 3_604, POSITIONS, types=_ELLIPTICAL | _SPIRAL),
        DataSet(
            "ef4",
            "elliptical, lenticular, spiral and irregular galaxies of EFIGI",
            4_389,
            POSITIONS,
            types=_ELLIPTICAL | dict.fromkeys((-3, -2, -1), "lenticular") | _SPIRAL | {10: "irregular"},
        ),
        DataSet("ef15", "galaxies of EFIGI in fifteen Hubble stages", 4_327, POSITIONS, types=STAGES),
        DataSet("positions", "objects at the positions of a list", None, POSITIONS),
    )
}


def efigi_task(efigi, name):
    """The galaxies of the set `efigi` that one of its tasks takes, in the classes of that task.

    The three tasks share nearly all their galaxies: fetched once as `efigi`, they serve all of them.

    Parameters
    ----------
    efigi : CutoutSet
        With the column `t_type`.
    name : {"ef2", "ef4", "ef15"}

    Returns
    -------
    CutoutSet, which shares the images; `class` in its catalogue is the class of the task

    Raises
    ------
    ValueError
        If there is no such task.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> galaxies = Table({"t_type": [-5, -2, 4, 11]})
    >>> cutouts = CutoutSet.from_arrays(np.zeros((4, 1, 8, 8)), galaxies, bands="r")
    >>> [efigi_task(cutouts, name).labels("class").tolist() for name in ("ef2", "ef4")]
    [['elliptical', 'spiral'], ['elliptical', 'lenticular', 'spiral']]
    """
    tasks = [task for task, data_set in DATA_SETS.items() if data_set.types and task != "efigi"]
    if name not in tasks:
        raise ValueError(f"{name!r} is no task of EFIGI: choose from {', '.join(tasks)}")
    types = DATA_SETS[name].types
    part = efigi[np.isin(efigi.catalogue["t_type"], list(types))]
    return part.with_columns(**{"class": [types[t_type] for t_type in part.catalogue["t_type"]]})


def field_hash(run, camcol, field, seed):
    """The hash of fields; the arguments are numbers, arrays or SQL expressions (then the answer is SQL).

    >>> int(field_hash(3918, 3, 213, seed=0)), int(field_hash(3918, 3, 213, seed=1))
    (49108, 9300)
    """
    a, b, c = 2 * np.random.default_rng(seed).integers(0, 16384, size=3) + 1
    if isinstance(run, str):
        return f"(({run} * {a} + {camcol} * {b} + {field} * {c}) & {HASHES - 1})"
    return (run * a + camcol * b + field * c) & (HASHES - 1)


def object_query(source, window, *, condition=None, mag_limits=None, margin, seed):
    """SQL for the objects in the fields whose hash is in a window.

    Parameters
    ----------
    source : Source
    window : (int, int)
        First and last hash.
    condition : str, optional
        What else must hold, in SQL.
    mag_limits : (float, float), optional
        Model magnitude in r.
    margin : int
        Pixels from the edge of the frame.
    seed : int
    """
    if source.key is None:
        fields = field_hash("f.run", "f.camcol", "f.field", seed)
    else:
        # Run, camcol and field are bits of the id (https://www.sdss4.org/dr17/help/glossary/#objid). Taken from
        # there, the server can pick the few rows of this window before it joins them to a billion objects.
        # SQL Server takes a constant beyond 2^31 for a decimal, which has no bits: hence the cast.
        run, camcol, field = (
            f"(({source.key} / CAST({2**low} AS bigint)) & {2**bits - 1})"
            for low, bits in ((32, 16), (29, 3), (16, 12))
        )
        fields = field_hash(run, camcol, field, seed)
    where = [f"{fields} BETWEEN {window[0]} AND {window[1]}", condition, *_selection(source, mag_limits, margin)]
    return _select(source.tables, source.columns, where)


def position_query(ra, dec, *, mag_limits=None, margin):
    """SQL for the objects nearest to positions (arrays of degrees), as far as there are any within `MATCH_RADIUS`.

    Parameters are those of `object_query`.
    """
    positions = ",".join(f"({a:.6f},{d:.6f})" for a, d in zip(ra, dec, strict=True))
    tables = POSITIONS.tables.format(positions=positions)
    return _select(tables, POSITIONS.columns, _selection(POSITIONS, mag_limits, margin))


def _selection(source, mag_limits, margin):
    rows, columns = FRAME_SHAPE
    limits = mag_limits and f"p.modelMag_r BETWEEN {mag_limits[0]:g} AND {mag_limits[1]:g}"
    inside = f"p.colc_r BETWEEN {margin} AND {columns - margin} AND p.rowc_r BETWEEN {margin} AND {rows - margin}"
    return source.where, limits, inside


def _select(tables, columns, where):
    return f"SELECT {', '.join(columns)} FROM {tables} WHERE {' AND '.join(filter(None, where))}"
