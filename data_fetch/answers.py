"""What SkyServer sends, as a checked Table."""

import numpy as np
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from astro_ssl_nb.properties import SENTINELS
from data_fetch.transport import ArchiveError, BusyError

ID_COLUMNS = ("objID", "specObjID", "bestObjID", "fieldID")
NEVER_NULL = ("objID", "ra", "dec", "run", "rerun", "camcol", "field")
ANGLES = {"ra": (0, 360), "dec": (-90, 90)}  # degrees
THROTTLED = "queries allowed per minute"  # SkyServer says so with status 200, in a table
THROTTLE_WAIT = 60  # seconds; it counts by the minute


class AnswerError(Exception):
    """What came is no table, or not all of one; asked again, the server may do better."""


class TooManyRows(ArchiveError):
    """The answer is as long as the server lets one be, so its end may be missing."""


def read_answer(text, columns=None, *, max_rows=500_000, believe=True):
    """SkyServer's CSV as a Table with masks and unsigned ids.

    Parameters
    ----------
    text : str
    columns : dict of str to type, optional
        Columns that the answer must have, and what their values are read as.
    max_rows : int
        Where the server cuts an answer off without saying so.
    believe : bool, default=True
        Whether to take an answer without rows, or without an end to its last line, for what the server means.

    Raises
    ------
    AnswerError
        If this is no table, must not be believed, has text in a column of numbers, or rows without an id, a place on
        the sky or a frame.
    BusyError
        If the server has been asked too often.
    TooManyRows
        If there may be more rows than were sent.
    ArchiveError
        If the server says what is wrong with the query, or has other columns.

    Examples
    --------
    >>> table = read_answer("#Table1\\nobjID,petroRad_r\\n9223372036854788153,-9999\\n1237659527904098304,2.5\\n")
    >>> print(table)
           objID        petroRad_r
    ------------------- ----------
    9223372036854788153         --
    1237659527904098304        2.5
    """
    columns, start = columns or {}, " ".join(text.split())[:200]
    if not start:
        raise AnswerError("gave an empty answer")
    if "error_message" in text and THROTTLED in text:
        raise BusyError(f"is asked too often: {start!r}", THROTTLE_WAIT)
    if "error_message" in text:
        raise ArchiveError(f"answered with a message instead of a table: {start!r}")
    if start.startswith("<"):
        raise AnswerError(f"answered with a message instead of a table: {start!r}")
    ids = {name: [convert_numpy(np.uint64)] for name in ID_COLUMNS}
    try:
        body = text.split("\n", 1)[1] if text.startswith("#") else text
        table = Table.read(
            body, format="ascii.csv", guess=False, converters=ids, fill_values=[("", "0"), ("null", "0"), ("NULL", "0")]
        )
    except Exception as error:  # the reader raises anything from ValueError to IndexError on what is no table
        raise AnswerError(f"answered something that is not a table: {start!r}") from error
    if not believe and not (len(table) and text.endswith("\n")):
        raise AnswerError(f"gave no rows, or half of the last one: {start!r}")
    absent = [name for name in columns if name not in table.colnames]
    if absent:
        raise ArchiveError(f"answered without the columns {', '.join(absent)}: {start!r}")
    for name, kind in columns.items():
        try:
            with np.errstate(invalid="ignore"):  # a value that is not finite is looked at below
                table[name].astype(kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise AnswerError(f"answered a column {name} whose values are not all numbers ({error})") from error
    if len(table) >= max_rows:
        raise TooManyRows(f"answered {len(table)} rows, which is where it cuts answers off: ask for less at a time")
    for name in table.colnames:
        # A column of whole numbers looks like integers; ids are unsigned.
        if table[name].dtype.kind in "fi" and np.isin(table[name], SENTINELS).any():
            mask = np.ma.getmaskarray(table[name]) | np.isin(np.ma.getdata(table[name]), SENTINELS)
            table[name] = np.ma.MaskedArray(np.ma.getdata(table[name]), mask)
        if name in columns and name in NEVER_NULL:
            _check_known(table[name], name)
    return table


def _check_known(column, name):
    mask = np.ma.getmaskarray(column)
    if mask.any():
        raise AnswerError(f"answered {mask.sum()} rows without {name}")
    low, high = ANGLES.get(name, (-np.inf, np.inf))
    numbers = np.asarray(column, float)
    wrong = ~(np.isfinite(numbers) & (low <= numbers) & (numbers <= high))
    if wrong.any():
        raise AnswerError(f"answered {wrong.sum()} rows whose {name} cannot be, the first is {column[wrong][0]}")
