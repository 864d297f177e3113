"""Tables of positions and labels, as people and programs write them: read right, or refused before any work is done."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from astropy.table import Column, MaskedColumn, Table

from astro_ssl_nb.columns import as_column, as_text, call_by_name, unknown_values
from astro_ssl_nb.set_files import class_column
from data_fetch.folder import FetchError

TABLES = "CSV, ECSV, FITS, VOTable, Parquet, or text with columns between commas, semicolons, tabs or spaces"
FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits", ".fts": "fits", ".parquet": "parquet"}
FORMATS |= {".vot": "votable", ".xml": "votable"}
TEXT = (".csv", ".tsv", ".txt", ".dat")
NEEDED = {"file", "objid", "ra", "dec"}  # a line with one of these names the columns


def read_table(path):
    """A table that a user brings; which format it has is taken from the end of its name.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    astropy.table.Table
        With at least one row, and columns of numbers or text only. Text has no spaces around it, and is unknown where
        nothing else is there. `file`, `objid`, `ra` and `dec` are called so whatever their capitals, the last two are
        numbers.

    Raises
    ------
    FetchError
        If it cannot be read, has no rows, or has columns that a catalogue cannot keep: of another kind, with several
        classes in a row, or called as the mask of another.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix in TEXT:
            table = _read_text(path)
        elif suffix == ".parquet" and b"table_meta_yaml" not in (pq.read_schema(path).metadata or {}):
            # Not of astropy, which reads neither unknown text nor categories. Whole numbers keep every digit.
            frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
            table = Table.from_pandas(frame.reset_index() if any(frame.index.names) else frame)
        else:
            table = Table.read(path, format=FORMATS.get(suffix))
    except UnicodeDecodeError as error:
        raise FetchError(
            f"{path} cannot be read as text ({error.reason} at byte {error.start}): save it as CSV UTF-8"
        ) from error
    except Exception as error:  # the readers of astropy raise what they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FetchError(f"{path} cannot be read as a table ({TABLES}): {reason}") from error
    if not len(table):
        raise FetchError(f"{path} has no rows")
    for name in table.colnames:
        table[name] = _plain(path, table[name])
        if name in ("class", "label") and table[name].ndim > 1:
            raise FetchError(
                f"{path}: column {name} holds arrays of shape {table[name].shape[1:]}: give each row one class, or "
                "rename it"
            )
        if f"{name}.mask" in table.colnames:  # as which Parquet keeps what is unknown in the other
            raise FetchError(f"{path} has a column {name} and a column {name}.mask: rename or remove the latter")
    call_by_name(table, sorted(NEEDED))
    for name in ("ra", "dec"):
        if name in table.colnames and table[name].dtype.kind not in "fiu":
            values = pd.Series(table[name].tolist())
            row = int((pd.to_numeric(values, errors="coerce").isna() & values.notna()).argmax())
            raise FetchError(
                f"{path}: column {name} holds no angles, but text such as {str(table[name][row])!r} in row {row + 1}: "
                "give degrees as plain numbers (SkyCoord of astropy makes them of hours, minutes and seconds)"
            )
    return table


def class_labels(catalogue):
    """The class of each row of a catalogue as str, "(not known)" where it is unknown; None without classes.

    >>> class_labels(Table({"class": [1.0, np.nan]})).tolist()
    ['1', '(not known)']
    """
    name = class_column(catalogue)
    if name is None:
        return None
    column = catalogue[name]
    known = ~unknown_values(column)
    labels = np.full(len(column), "(not known)", dtype=object)
    labels[known] = as_text(column[known])
    return labels.astype(str)


def _read_text(path):
    text = Path(path).read_text(encoding="utf-8-sig")  # Excel puts a mark of three bytes at the front
    if text.startswith("# %ECSV"):
        return Table.read(text, format="ascii.ecsv")
    header, rows = _split_header(text)
    text, delimiter = f"{header}\n{rows}\n", _delimiter(header)
    if delimiter is None and Path(path).suffix.lower() != ".csv":
        return Table.read(text, format="ascii.basic", guess=False)
    return Table.read(text, format="ascii.csv", delimiter=delimiter or ",", guess=False)


def _split_header(text):
    """The line with the names of the columns, which may be a comment (np.savetxt and TOPCAT), and what is below."""
    lines = text.lstrip(" \r\n").split("\n")
    if lines[0].startswith("\t"):  # pandas gives no name to its index
        lines[0] = f"col0{lines[0]}"
    first = next((number for number, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"), 0)
    if not _names(lines[first]):
        for comment in reversed(lines[:first]):
            for header in (comment.lstrip("# \t"), comment.replace("#", '"#"', 1)):  # or a column that is called #
                if _names(header) and len(_names(header)) == len(_fields(lines[first], _delimiter(header))):
                    return header, "\n".join(lines[first:])
    return lines[first], "\n".join(lines[first + 1 :])


def _names(line):
    """The names of columns in a line, none if it does not look like names: then it is data or prose."""
    names = [name.strip().lower() for name in _fields(line, _delimiter(line))]
    return names if NEEDED & set(names) and all(names) else []


def _fields(line, delimiter):
    return next(csv.reader([line.strip(" ")], delimiter=delimiter or " ", skipinitialspace=True))


def _delimiter(line):
    """What stands between the fields; None for spaces."""
    delimiter = max(",;\t", key=line.count)
    return delimiter if delimiter in line else None


def _plain(path, column):
    """The column if a catalogue can hold it, text in one type; else a FetchError."""
    kind = type(column).__name__
    if isinstance(column, Column):
        if column.dtype.kind in "biuf":
            return column
        if column.dtype.kind in "SU":
            return _stripped(column)
        kind = column.dtype.name
        if column.dtype.kind == "O":
            text = as_column(column)
            if text.dtype.kind == "U":
                return _stripped(text)
            kind = ", ".join(sorted({type(value).__name__ for value in column[~unknown_values(column)]} - {"str"}))
    raise FetchError(
        f"{path}: column {column.info.name} holds {kind}, which a catalogue cannot keep: make it numbers or text, or "
        "remove it"
    )


def _stripped(column):
    """Text without spaces around it, masked where nothing is left."""
    text = np.char.strip(np.ma.filled(np.ma.asarray(column), column.dtype.type()))
    empty = np.char.str_len(text) == 0
    return MaskedColumn(text, mask=empty) if empty.any() else Column(text)
