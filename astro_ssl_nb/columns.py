"""Catalogue columns as plain arrays: what is masked, and what is unknown."""

import numpy as np
import pandas as pd


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
