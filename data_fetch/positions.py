"""Objects that are given by a list of positions: EFIGI's galaxies, or a user's own."""

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, hstack, unique, vstack
from tqdm import tqdm

from astro_ssl_nb.columns import as_degrees, unknown_values
from data_fetch.answers import AnswerError
from data_fetch.archive import MAX_QUERY
from data_fetch.catalogues import MATCH_RADIUS, POSITIONS, position_query
from data_fetch.draws import answer_types, in_hash_order, margin, our_columns
from data_fetch.folder import FetchError
from data_fetch.tables import read_table

EFIGI = "J/A+A/532/A74"  # Baillard et al. 2011, A&A 532, A74
CHARACTERS = 25  # of a position in SQL, at most


def read_positions(path):
    """A user's own list.

    Parameters
    ----------
    path : path-like
        CSV, ECSV, FITS, VOTable, Parquet or text, with columns `ra` and `dec` (degrees, unless the file names another
        unit) and any others.

    Returns
    -------
    astropy.table.Table
        All columns of the file; `ra` and `dec` in degrees, ICRS.

    Raises
    ------
    FetchError
        If the file cannot be read as a table, has no such columns, or a value is not a position.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     print("ra,dec,class\\n194.9,27.98,cD\\n202.47,47.2,Sbc", file=file, flush=True)
    ...     read_positions(file.name)["class"].tolist()
    ['cD', 'Sbc']
    """
    table = read_table(path)
    absent = {"ra", "dec"} - set(table.colnames)
    if absent:
        raise FetchError(
            f"{path} has no column {' and no column '.join(sorted(absent))}, only {', '.join(table.colnames)}: rename "
            "yours to ra and dec"
        )
    for name, low, high in (("ra", 0, 360), ("dec", -90, 90)):
        try:
            degrees = as_degrees(table[name])
        except ValueError as error:
            raise FetchError(f"{path}: {error}") from error
        wrong = np.flatnonzero(~((degrees >= low) & (degrees <= high)))
        if len(wrong):
            raise FetchError(
                f"{path}: {name} of row {wrong[0] + 1} is {table[name][wrong[0]]}, and {len(wrong)} rows in all are "
                f"not between {low} and {high} degrees: correct or remove them"
            )
        table[name] = degrees * u.deg
    return table


def efigi(archive, types, folder=None):
    """Galaxies of EFIGI that have one of some Hubble types.

    Parameters
    ----------
    archive : Archive
    types : dict of int to str
        Stages T, and the label of each.
    folder : path-like, optional
        Where to keep the answer.

    Returns
    -------
    astropy.table.Table
        `ra`, `dec` (deg), `class`, `t_type` and, where the table has them, the name and the bounds of T.

    Raises
    ------
    ArchiveError
        If VizieR cannot be reached, or what it answers is not this catalogue.
    """
    galaxies = _typed_galaxies(archive.vizier(EFIGI, check=_typed_galaxies, folder=folder))
    galaxies = galaxies[np.isin(galaxies["t_type"], list(types))]
    galaxies["class"] = [types[t_type] for t_type in galaxies["t_type"]]
    return galaxies


def _typed_galaxies(tables):
    """What `efigi` makes of the tables, of all types; an AnswerError if they are not of EFIGI."""
    needed = {"RAJ2000", "DEJ2000", "T"}
    fitting = [table for table in tables if needed <= set(table.colnames)]
    if not fitting:
        had = "; ".join(f"{', '.join(table.colnames)}" for table in tables)
        raise AnswerError(f"has no table with {', '.join(sorted(needed))}, only: {had or 'none'}")
    # The catalogue may have other tables with these columns.
    found = next((table for table in fitting if table.meta.get("name", "").endswith("/efigi")), fitting[0])
    for name in sorted(needed):
        found = found[~unknown_values(found[name])]
    if not len(found):
        raise AnswerError(f"has no galaxy with {', '.join(sorted(needed))}")
    # VizieR may send hours and degrees as text.
    text = found["RAJ2000"].dtype.kind in "OUS"
    try:
        where = SkyCoord(found["RAJ2000"], found["DEJ2000"], unit=(u.hourangle if text else u.deg, u.deg))
        galaxies = Table({"ra": where.ra, "dec": where.dec, "t_type": np.asarray(found["T"], int)})
    except (TypeError, ValueError, OverflowError, u.UnitsError) as error:
        raise AnswerError(f"has galaxies whose place or type cannot be read: {error}") from error
    for theirs, ours in (("e_T", "t_type_low"), ("E_T", "t_type_high"), ("PGCname", "name")):
        if theirs in found.colnames:
            galaxies[ours] = found[theirs]
    return galaxies


def find(archive, targets, request, excluded, folder=None, progress=False):
    """Find the catalogued object at each of some positions.

    Parameters
    ----------
    archive : Archive
    targets : Table
        `ra`, `dec` (deg), and columns that go with the objects; those that the catalogue has too get the prefix
        `user_`.
    request : Request
        With a number `n`, only so many objects are found: a random draw.
    excluded : Excluded
    folder : path-like, optional
        Where to keep the answers of the archive.
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    catalogue : Table
        Objects of a field stand together; one that several positions lead to goes with the nearest of them.
    sql : list of str
    unmatched : Table
        `ra`, `dec` and `reason` for the positions without an object that may be chosen.

    Raises
    ------
    FetchError
        If none is found, or fewer than asked.
    """
    targets = targets[np.random.default_rng(request.seed).permutation(len(targets))]
    options = {"mag_limits": request.mag_limits, "margin": margin(request.size)}
    at_once = (MAX_QUERY - len(position_query([], [], **options))) // CHARACTERS
    sql, found, matches, lost, ids = [], [], [], [], set()
    for start in tqdm(range(0, len(targets), at_once), unit="query", disable=not progress, leave=False):
        if request.n is not None and len(ids) >= request.n:
            break
        part = targets[start : start + at_once]
        sql.append(position_query(part["ra"], part["dec"], **options))
        answer = archive.query(sql[-1], columns=answer_types(POSITIONS.columns), folder=folder)
        objects = our_columns(answer, POSITIONS.columns)
        matched, distances = _match(part, objects)
        near = np.flatnonzero(distances <= MATCH_RADIUS)
        matches.append(pd.DataFrame({"objid": matched[near], "arcsec": distances[near]}, index=start + near))
        lost.append(start + np.flatnonzero(~(distances <= MATCH_RADIUS)))
        found.append(excluded.remove(objects[np.isin(objects["objid"], matched[near])]))
        ids.update(found[-1]["objid"].tolist())
    limits = ", with {:g} <= r <= {:g}".format(*request.mag_limits) if request.mag_limits else ""
    if not ids or len(ids) < (request.n or 0):
        raise FetchError(
            f"{archive.name} has objects at {len(ids)} of {len(targets)} positions{limits}, {request.n or 'all'} were "
            "asked for: check that ra and dec are in degrees and inside the survey"
            + (", or lower --n" if ids else "")
            + (", or widen --mag-limits" if limits else "")
            + excluded.advice
        )
    objects, matches = unique(vstack(found), "objid"), pd.concat(matches)
    chosen = np.isin(matches["objid"], objects["objid"])
    left_out, matches = matches.index[~chosen].to_numpy(), matches[chosen]
    # Of the positions that lead to one object, wherever they stand in the list, the nearest has it.
    nearest = matches.groupby("objid", sort=False)["arcsec"].idxmin().iloc[: request.n]
    twice = matches.index[matches["objid"].isin(nearest.index)].difference(nearest).to_numpy()
    reasons = (
        (np.concatenate(lost), f"no primary object within {MATCH_RADIUS:g} arcsec, inside its frame{limits}"),
        (left_out, "the object, or one that its cutout may overlap, is in an excluded set"),
        (twice, "the same object as another position"),
    )
    catalogue = _side_by_side(objects[np.searchsorted(objects["objid"], nearest.index)], targets[nearest.to_numpy()])
    return in_hash_order(catalogue, request.seed), sql, vstack([_listed(targets, *listed) for listed in reasons])


def _match(targets, objects):
    """Id of the object that is nearest to each target, and how far away it is (arcsec); infinitely without objects."""
    if not len(objects):
        return np.zeros(len(targets), np.uint64), np.full(len(targets), np.inf)
    where, at = (SkyCoord(table["ra"], table["dec"]) for table in (targets, objects))
    nearest, separation, _ = where.match_to_catalog_sky(at)
    return np.asarray(objects["objid"])[nearest], separation.arcsec


def _side_by_side(objects, targets):
    """The columns of both; those of the targets that the objects have too get a prefix."""
    for name in targets.colnames:
        new = name
        while new in objects.colnames or (new != name and new in targets.colnames):  # a set of an earlier list has some
            new = f"user_{new}"
        targets.rename_column(name, new)
    return hstack([objects, targets], metadata_conflicts="silent")


def _listed(targets, rows, reason):
    """What is listed as missing of some targets."""
    listed = targets["ra", "dec"][rows]
    listed["reason"] = np.full(len(listed), reason)
    return listed
