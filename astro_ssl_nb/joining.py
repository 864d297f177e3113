"""The catalogue and the card of several CutoutSets that become one."""

from astropy.table import Table, vstack

from astro_ssl_nb.set_files import OF_A_FETCH


def check_joinable(sets):
    """Raise a ValueError, which says what differs, unless sets have alike images and columns in the same units."""
    if not sets:
        raise ValueError("no sets were given: there is nothing to join")
    first = sets[0]
    for k, other in enumerate(sets[1:], start=2):
        for what, of in _ALIKE.items():
            if of(other) != of(first):
                raise ValueError(
                    f"the {what} of set 1 and set {k} differ, {of(first)} and {of(other)}: join sets that are alike"
                )
        for name in set(first.catalogue.colnames) & set(other.catalogue.colnames):
            units = [part.catalogue[name].unit for part in (first, other)]
            if None not in units and units[0] != units[1]:
                raise ValueError(f"column {name!r} is in {units[0]} in set 1 and in {units[1]} in set {k}: convert one")


_ALIKE = {
    "bands": lambda cutouts: " ".join(cutouts.bands),
    "sizes in pixels": lambda cutouts: cutouts.shape[2:],
    "pixel scales": lambda cutouts: cutouts.pixel_scale,
    "kinds of images": lambda cutouts: "pictures" if cutouts.is_picture else "fluxes",
}


def joined_catalogue(catalogues):
    """The rows of all catalogues; what a catalogue has no column for is masked.

    Raises
    ------
    ValueError
        If a column is text in one and numbers in another.

    Examples
    --------
    >>> joined_catalogue([Table({"objid": [1], "z": [0.5]}), Table({"objid": [7]})])["z"].tolist()
    [0.5, None]
    """
    return vstack([Table(one, copy=False) for one in catalogues], join_type="outer", metadata_conflicts="silent")


def joined_card(cards):
    """What all cards say, and under `parts` what each says beside it; nothing of what holds for one fetch alone.

    Examples
    --------
    >>> joined_card([{"bands": ["r"], "seed": 1}, {"bands": ["r"], "seed": 2}])
    {'bands': ['r'], 'parts': [{'seed': 1}, {'seed': 2}]}
    """
    common = {
        key: value
        for key, value in cards[0].items()
        if key not in (*OF_A_FETCH, "parts") and all(key in card and card[key] == value for card in cards)
    }
    others = [
        {key: value for key, value in card.items() if key not in common and key not in OF_A_FETCH} for card in cards
    ]
    return {**common, "parts": others}
