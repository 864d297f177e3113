"""What a catalogue column means: its unit, the quantity that a network regresses, and the values to believe.

Column names are those of the SDSS Catalog Archive Server (table PhotoObj; Stoughton et al. 2002, AJ 123, 485).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from astro_ssl_nb.columns import as_floats

# What SDSS and many other surveys write for a measurement that failed.
SENTINELS = (-9999.0, -1000.0)
# SDSS asinh magnitudes reach about 26 where no flux is left (Lupton et al. 1999, AJ 118, 1406).
BRIGHTEST, FAINTEST = 10.0, 26.0


@dataclass(frozen=True)
class Property:
    """A measured quantity that a network can learn from an image.

    Parameters
    ----------
    name : str
        What tables and figures call it.
    columns : tuple of str
        The catalogue columns that it is computed from.
    unit : str
        Unit of the value, "" where it has none.
    low, high : float
        Values outside this range are failed measurements and count as unknown.
    compute : callable, optional
        Function of the columns (float arrays); by default the one column as it is.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"modelMag_g": [18.0, -9999.0], "modelMag_r": [17.4, 18.0]})
    >>> colour = Property("g - r", ("modelMag_g", "modelMag_r"), "mag", -2, 5, np.subtract)
    >>> colour.values(table).round(2)
    array([0.6, nan], dtype=float32)
    """

    name: str
    columns: tuple[str, ...]
    unit: str
    low: float
    high: float
    compute: Callable = np.positive

    def values(self, catalogue):
        """The property of each row, float32 array of shape (N,), NaN where it is unknown.

        Raises
        ------
        KeyError
            If the catalogue lacks a column.
        ValueError
            If a column holds no numbers, or several a row.
        """
        missing = [name for name in self.columns if name not in catalogue.colnames]
        if missing:
            raise KeyError(
                f"property {self.name!r} needs the column(s) {', '.join(missing)}; "
                f"the catalogue has {', '.join(catalogue.colnames)}"
            )
        try:
            columns = [_known(catalogue[name]) for name in self.columns]
        except ValueError as error:
            raise ValueError(f"property {self.name!r}: {self.columns} must hold numbers ({error})") from error
        for name, column in zip(self.columns, columns, strict=True):
            if column.ndim != 1:
                raise ValueError(
                    f"property {self.name!r}: column {name} holds {column.shape[1:]} numbers a row, and not one: make "
                    "a column of those that you mean, by with_columns"
                )
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.compute(*columns)
            return np.where((value >= self.low) & (value <= self.high), value, np.nan).astype(np.float32)


def property_values(catalogue, properties):
    """Several properties of each row, float32 array of shape (N, len(properties)), NaN where unknown.

    Raises
    ------
    KeyError, ValueError
        As `Property.values`.

    Examples
    --------
    >>> from astropy.table import Table
    >>> property_values(Table({"expAB_r": [0.5, -9999.0], "fracDeV_r": [0.0, 1.0]}), SIZES[2:]).tolist()
    [[0.5, 0.0], [nan, 1.0]]
    """
    return np.column_stack([one.values(catalogue) for one in properties])


def _known(column):
    """A column as floats, NaN at sentinels: the difference or ratio of two of them would look like a measurement."""
    values = as_floats(column)
    return np.where(np.isin(values, SENTINELS), np.nan, values)


def _difference(first, second):
    """The difference of two magnitudes, NaN where either is none: that of two failed ones (99 - 99) is no colour."""
    first, second = (np.where((m >= BRIGHTEST) & (m <= FAINTEST), m, np.nan) for m in (first, second))
    return first - second


def _colour(blue, red):
    return Property(f"{blue} - {red}", (f"modelMag_{blue}", f"modelMag_{red}"), "mag", -2.0, 6.0, _difference)


MAGNITUDES = tuple(Property(f"modelMag_{band}", (f"modelMag_{band}",), "mag", BRIGHTEST, FAINTEST) for band in "ugriz")

COLOURS = (_colour("u", "g"), _colour("g", "r"), _colour("r", "i"), _colour("i", "z"))

SIZES = (
    Property("log petroR50_r", ("petroR50_r",), "dex(arcsec)", -1.0, 2.0, np.log10),
    # R90/R50: about 2.3 for exponential discs, 3.3 for ellipticals (Strateva et al. 2001, AJ 122, 1861).
    Property("concentration_r", ("petroR90_r", "petroR50_r"), "", 1.0, 6.0, np.divide),
    Property("expAB_r", ("expAB_r",), "", 0.05, 1.0),
    Property("fracDeV_r", ("fracDeV_r",), "", 0.0, 1.0),
)

# What the survey measures of every object in its images, and what the course's backbone learns to measure.
PHOTOMETRY = MAGNITUDES + COLOURS + SIZES

# By how much a model outshines a point source: separates stars from galaxies by itself (Strauss et al. 2002,
# AJ 124, 1810).
EXTENT = (Property("psfMag_r - modelMag_r", ("psfMag_r", "modelMag_r"), "mag", -1.0, 6.0, _difference),)

# What `measure_structure` adds to a catalogue.
STRUCTURE = (Property("asymmetry", ("asymmetry",), "", 0.0, 2.0), Property("gini", ("gini",), "", 0.0, 1.0))

# What stays about the same if a galaxy is moved away, and so can be learned from images of any scale.
SCALE_FREE = COLOURS + SIZES[1:] + STRUCTURE

REDSHIFT = (Property("log(1 + z)", ("redshift",), "dex", -0.01, 1.0, lambda z: np.log10(1 + z)),)

# The survey's own photometric redshift (table Photoz; Beck et al. 2016, MNRAS 460, 1371): known for galaxies alone.
PHOTOZ = (Property("log(1 + photoz)", ("photoz",), "dex", -0.01, 1.0, lambda z: np.log10(1 + z)),)
