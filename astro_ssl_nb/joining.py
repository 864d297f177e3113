"""The catalogue and the card of several CutoutSets that become one."""

import json
import warnings

import numpy as np
from astropy.table import Table, vstack

from astro_ssl_nb.files import plain
from astro_ssl_nb.set_files import OF_A_FETCH

# What all sets must have alike, and how it is named.
ALIKE = {
    "bands": lambda cutouts: " ".join(cutouts.bands),
    "sizes in pixels": lambda cutouts: cutouts.shape[2:],
    "pixel scales": lambda cutouts: cutouts.pixel_scale,
    "kinds of images": lambda cutouts: "pictures" if cutouts.is_picture else "fluxes",
}


def check_joinable(sets):
    """Raise a ValueError, which says what differs, unless there are sets, and their images are alike.

    Warns where rows are only numbered, so that ids of several sets are the same.
    """
    if not sets:
        raise ValueError("no sets were given: there is nothing to join")
    first = sets[0]
    for k, other in enumerate(sets[1:], start=2):
        for what, of in ALIKE.items():
            if of(other) != of(first):
                raise ValueError(
                    f"the {what} of set 1 and set {k} differ, {of(first)} and {of(other)}: join sets that are alike"
                )
    numbered = sum(bool(len(one) and one.card.get("numbered")) for one in sets)
    if numbered > 1:
        warnings.warn(
            f"the rows of {numbered} sets were numbered for want of an id, and those of one number now count as one "
            "object: unless they are, give them ids of their own before, by with_columns(objid=...)",
            stacklevel=3,
        )


def joined_catalogue(catalogues):
    """The rows of all catalogues; what a catalogue has no column for is masked.

    Raises
    ------
    ValueError
        If a column is of another unit or of another kind in one than in another.

    Examples
    --------
    >>> joined_catalogue([Table({"objid": [1], "z": [0.5]}), Table({"objid": [7]})])["z"].tolist()
    [0.5, None]
    """
    tables = [Table(one, copy=False) for one in catalogues]
    for name in dict.fromkeys(name for table in tables for name in table.colnames):
        found = {k: table[name] for k, table in enumerate(tables, start=1) if name in table.colnames}
        _check_units(name, found)
        for k, column in _whole_numbers(name, found).items():
            tables[k - 1][name] = column
    try:
        return vstack(tables, join_type="outer", metadata_conflicts="silent")
    except ValueError as error:
        raise ValueError(f"the catalogues do not fit together: {error}. Make the columns alike first") from error


def _check_units(name, columns):
    units = {k: unit for k, column in columns.items() if (unit := getattr(column, "unit", None)) is not None}
    for k, unit in units.items():
        first = next(iter(units))
        if unit != units[first]:
            raise ValueError(
                f"column {name!r} is in {units[first]} in set {first} and in {unit} in set {k}: convert one"
            )


def _whole_numbers(name, columns):
    """Columns of integers as one type that holds them: of int64 and uint64 numpy would make floats, and ids collide."""
    types = {getattr(column, "dtype", np.dtype(object)) for column in columns.values()}
    if any(kind.kind not in "iu" for kind in types) or np.result_type(*types).kind in "iu":
        return {}
    for k, column in columns.items():
        if column.dtype.kind == "i" and len(column) and column.min() < 0:
            raise ValueError(
                f"column {name!r} goes below 0 in set {k}, and is of numbers that cannot in another: make both int64"
            )
    return {k: column.astype(np.uint64) for k, column in columns.items()}


def joined_card(cards):
    """What all cards say, and under `parts` what each says beside it; nothing of what holds for one fetch alone.

    Bands and pixel scale, which are alike, are those of the first.

    Examples
    --------
    >>> joined_card([{"bands": ["r"], "seed": 1}, {"bands": ["r"], "seed": 2}])
    {'bands': ['r'], 'parts': [{'seed': 1}, {'seed': 2}]}
    """
    cards = [{key: value for key, value in card.items() if key not in OF_A_FETCH} for card in cards]
    written = [{key: json.dumps(value, default=plain, sort_keys=True) for key, value in card.items()} for card in cards]
    common = {
        key
        for key in cards[0]
        if key in ("bands", "pixel_scale")
        or (key != "parts" and all(card.get(key) == written[0][key] for card in written))
    }
    parts = [{key: value for key, value in card.items() if key not in common} for card in cards]
    return {key: value for key, value in cards[0].items() if key in common} | {"parts": parts}
