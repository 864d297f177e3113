"""Catalogues of any kind as tables with ids, and their columns as plain arrays: what is masked, what is unknown."""

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.table import Column, MaskedColumn, Table

EXACT = 2.0**53  # from here on not every whole number is a float64


def as_floats(column):
    """A catalogue column as an array of float64, NaN where it is masked.

    Parameters
    ----------
    column : Column, MaskedColumn or array of N numbers

    Raises
    ------
    ValueError
        If a value is no number.

    Examples
    --------
    >>> as_floats(np.ma.masked_equal([21.5, -9999.0], -9999.0))
    array([21.5,  nan])
    """
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def as_degrees(column):
    """A column of angles as an array of degrees, which those without a unit are in; NaN where it is masked.

    Raises
    ------
    ValueError
        If it holds no angles.

    Examples
    --------
    >>> as_degrees(Column([0.5, 12.0], unit="hourangle")).round(9).tolist()
    [7.5, 180.0]
    """
    try:
        return u.Quantity(as_floats(column), column.unit or u.deg).to_value(u.deg)
    except (TypeError, ValueError) as error:  # of text, and of units that are none of angles
        raise ValueError(f"column {column.name} holds no angles ({error})") from error


def unknown_values(column):
    """Where a column is masked, None or NaN, ndarray of bool; the text "nan" is a value like any other."""
    values = np.ma.asarray(column)
    return np.ma.getmaskarray(values) | pd.isna(np.ma.getdata(values))


def as_labels(labels):
    """Class names, one an object, as a plain array.

    Raises
    ------
    ValueError
        If some are unknown: masked, None or NaN. What lies under a mask would count as a class.

    Examples
    --------
    >>> as_labels(["STAR", "QSO"]).tolist()
    ['STAR', 'QSO']
    """
    unknown = unknown_values(labels)
    if unknown.any():
        raise ValueError(
            f"{unknown.sum()} of {unknown.size} labels are unknown (masked, None or NaN): leave these objects out, as "
            "`CutoutSet.labelled` does"
        )
    return np.asarray(labels)


def learnable_classes(labels):
    """The classes of a training set, sorted.

    Raises
    ------
    ValueError
        If there is one only.

    Examples
    --------
    >>> learnable_classes(["STAR", "QSO", "STAR"]).tolist()
    ['QSO', 'STAR']
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"all {len(labels)} training objects are of class {classes.tolist()}: there is nothing to learn"
        )
    return classes


def refuse_strangers(labels, classes):
    """Raise a ValueError if some labels are none of the classes of training."""
    strangers = np.setdiff1d(labels, classes).tolist()
    if strangers:
        raise ValueError(f"the classes {strangers} are not in the training set, which has only {classes.tolist()}")


def as_text(labels):
    """Class names as text; of whole numbers without a point, also where pandas made floats of them.

    Examples
    --------
    >>> as_text(np.array([0.0, 1.0])).tolist()
    ['0', '1']
    """
    values = np.ma.getdata(np.ma.asarray(labels))
    if values.dtype.kind == "f" and np.all(values == np.round(values)) and np.all(np.abs(values) < EXACT):
        values = values.astype(np.int64)
    return values.astype(str)


def as_catalogue(table):
    """An astropy Table, a copy, of a table of any kind: a Table, a DataFrame, a structured array, a dict of columns.

    `objid`, `ra` and `dec` are called so whatever their capitals, positions are in degrees, text is text, and numbers
    are in the order of bytes of this computer, as pandas needs them.

    Raises
    ------
    ValueError
        If an `objid` is unknown, or is a float that may have lost digits.

    Examples
    --------
    >>> as_catalogue(pd.DataFrame({"OBJID": [70, 71], "z": [0.1, 0.2]}).set_index("OBJID")).colnames
    ['objid', 'z']
    """
    if isinstance(table, pd.DataFrame):  # an index that has a name, such as `objid`, is a column
        named = any(name is not None and name not in table.columns for name in table.index.names)
        catalogue = Table.from_pandas(table.reset_index() if named else table)
    else:
        catalogue = Table(table)  # of a QTable too: its columns keep their units, and are numbers
    call_by_name(catalogue, ("objid", "ra", "dec"))
    for name in catalogue.colnames:
        column = as_column(catalogue[name])
        if column is not catalogue[name]:  # a column that is put in its own place is copied
            catalogue[name] = column
    for name in {"ra", "dec"} & set(catalogue.colnames):
        unit = catalogue[name].unit
        if unit is not None and unit != u.deg and unit.is_equivalent(u.deg):
            catalogue[name] = Column(as_degrees(catalogue[name]), unit=u.deg)
    if "objid" in catalogue.colnames:
        catalogue["objid"] = as_ids(catalogue["objid"])
    return catalogue


def number_rows(table):
    """Give a table without `objid` its rows' numbers as that, and return whether it had none."""
    lacking = "objid" not in table.colnames
    if lacking:
        table.add_column(np.arange(len(table), dtype=np.uint64), name="objid", index=0)
    return lacking


def call_by_name(table, names):
    """Give columns these names where theirs differ by capitals alone, as those of FITS tables do."""
    for name in names:
        theirs = [other for other in table.colnames if other.lower() == name]
        if len(theirs) == 1:
            table.rename_column(theirs[0], name)


def as_column(values):
    """A column as a catalogue keeps it: text of Python objects as text, numbers in this computer's order of bytes.

    Examples
    --------
    >>> as_column(np.array(["E", None, "S"], dtype=object)).tolist()
    ['E', None, 'S']
    >>> as_column(np.array(["E", None, "S"], dtype=object)).dtype.kind
    'U'
    """
    if isinstance(values, pd.Series):
        values = Table.from_pandas(values.to_frame("values"))["values"]
    column = values if hasattr(values, "dtype") else np.ma.asarray(values)
    if column.dtype.kind in "biufc" and not column.dtype.isnative:
        return column.astype(column.dtype.newbyteorder("="))
    if column.dtype.kind != "O" or np.ndim(column) != 1:
        return values
    unknown = unknown_values(column)
    text = ["" if gone else value for value, gone in zip(column, unknown, strict=True)]
    if not all(isinstance(value, str) for value in text):
        return values
    return MaskedColumn(text, mask=unknown, dtype=str) if unknown.any() else Column(text, dtype=str)


def as_ids(column):
    """A column of ids, each known: whole numbers or text.

    Raises
    ------
    ValueError
        If one is unknown, or a float that is no whole number or may have lost digits, as ids of surveys do.

    Examples
    --------
    >>> as_ids(np.array([7.0, 8.0])).tolist()
    [7, 8]
    """
    unknown = np.flatnonzero(unknown_values(column))
    if len(unknown):
        raise ValueError(
            f"no objid in {len(unknown)} rows, the first is row {unknown[0] + 1} of {len(column)}: fill it in, or "
            "leave out the column, and rows are numbered"
        )
    if column.dtype.kind != "f":
        return column
    broken = np.flatnonzero((column != np.round(column)) | (np.abs(column) >= EXACT))
    if len(broken):
        raise ValueError(
            f"objid is a float, such as {float(column[broken[0]])!r} in row {broken[0] + 1} of {len(column)}, which "
            "may have lost digits: read ids as integers or as text"
        )
    return column.astype(np.int64)
