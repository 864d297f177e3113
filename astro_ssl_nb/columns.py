"""Catalogues of any kind as tables with ids, and their columns as plain arrays: what is masked, what is unknown."""

import numpy as np
import pandas as pd
from astropy.table import Table


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


def unknown_values(column):
    """Where a column is masked, None or NaN, ndarray of bool; the text "nan" is a value like any other."""
    values = np.ma.asarray(column)
    return np.ma.getmaskarray(values) | pd.isna(np.ma.getdata(values))


def as_catalogue(table):
    """An astropy Table of a Table or a DataFrame; without a column `objid`, its rows are numbered.

    Examples
    --------
    >>> as_catalogue(pd.DataFrame({"objid": [70, 71], "z": [0.1, 0.2]}).set_index("objid")).colnames
    ['objid', 'z']
    """
    if isinstance(table, Table):
        catalogue = Table(table)  # a QTable too: its columns keep their units, and are numbers
    else:  # an index that has a name, such as `objid`, is a column
        catalogue = Table.from_pandas(table.reset_index() if table.index.name is not None else table)
    if "objid" not in catalogue.colnames:
        catalogue.add_column(np.arange(len(catalogue), dtype=np.uint64), name="objid", index=0)
    return catalogue
