"""The files of a CutoutSet: images, catalogue and card."""

import json
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_ssl_nb.files import file_state, plain, read_json, whole_file

FILES = ("images.npy", "catalogue.parquet", "card.json")
FORMAT = 1
OF_A_FETCH = ("request", "checksums", "missing", "expected")  # entries of a card that hold for what was fetched alone
SHOWN = 15  # classes or reasons that are named one by one


def check_whole(folder):
    """Raise a FileNotFoundError, which says what to do, unless a folder has the files of a CutoutSet."""
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no CutoutSet at {folder}: `python -m data_fetch` makes one. In the course, notebook 01 "
            'does, for the `run` that its first code cell names (after `make demo`, run = "demo")'
        )
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a complete CutoutSet: {', '.join(missing)} missing. "
            "Run the same `python -m data_fetch` command again to complete it."
        )


def read_set(folder):
    """Images (a memory map), catalogue and card of a folder, and the state of the file that the images are in."""
    card = read_json(folder / "card.json")
    state = file_state(folder / "images.npy")
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    if images.dtype not in (np.float32, np.uint8):
        raise ValueError(f"images.npy holds {images.dtype} numbers, not float32 fluxes or uint8 pictures")
    return images, Table.read(folder / "catalogue.parquet", format="parquet"), card, state


def class_column(catalogue):
    """Name of the column with the classes of a catalogue: `class`, else `label`; None without either.

    A `label` with fractions is a measurement and no class.

    >>> from astropy.table import Table
    >>> class_column(Table({"label": ["a"], "objid": [1]}))
    'label'
    >>> class_column(Table({"label": [0.5], "objid": [1]})) is None
    True
    """
    if "class" in catalogue.colnames:
        return "class"
    return "label" if "label" in catalogue.colnames and catalogue["label"].dtype.kind in "OSUbiu" else None


def write_catalogue(catalogue, path):
    """Write a catalogue as Parquet; masked numbers are stored as NaN or 0 under their mask, never as a sentinel."""
    clean = catalogue.copy()
    for name in clean.colnames:
        if not hasattr(clean[name], "dtype"):
            kind = type(clean[name]).__name__
            raise ValueError(f"column {name!r} of the catalogue holds {kind}: give its numbers, such as ra and dec")
        if getattr(clean[name], "mask", None) is not None and clean[name].dtype.kind in "fiu":
            clean[name].data.data[np.asarray(clean[name].mask)] = np.nan if clean[name].dtype.kind == "f" else 0
        if clean[name].dtype.kind == "O" and all(isinstance(value, str) for value in clean[name]):
            clean[name] = clean[name].astype(str)  # as clients of archives give text
        if clean[name].dtype.kind == "O" and not all(hasattr(value, "dtype") for value in clean[name]):
            kinds = sorted({type(value).__name__ for value in clean[name]})
            raise ValueError(
                f"column {name!r} of the catalogue holds {', '.join(kinds)}: make it all numbers or all text"
            )
    clean.meta.clear()
    clean.write(path, format="parquet", overwrite=True)


def write_card(card, folder):
    """Write card.json, which makes a folder a CutoutSet: always the last file to be written."""
    text = json.dumps({"format": FORMAT, **card}, indent=1, default=plain) + "\n"
    with whole_file(Path(folder) / "card.json") as file:
        file.write(text.encode())
