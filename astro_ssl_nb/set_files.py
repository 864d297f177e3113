"""The files of a CutoutSet: images, catalogue and card."""

import json
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from astro_ssl_nb.columns import as_column
from astro_ssl_nb.files import plain, read_json, whole_file, whole_path
from astro_ssl_nb.image_arrays import MappedImages

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
    """Images (which stay on disk), catalogue and card of a folder."""
    card = read_json(folder / "card.json")
    if card.get("format", FORMAT) > FORMAT:
        raise ValueError(f"it has format {card['format']}, this package reads {FORMAT}: update astro-ssl-nb")
    images = MappedImages(folder / "images.npy")
    return images, Table.read(folder / "catalogue.parquet", format="parquet"), card


def write_set(cutouts, folder):
    """Write a CutoutSet to a new folder, complete or not at all; errors are those of `CutoutSet.save`."""
    card = {key: value for key, value in cutouts.card.items() if key not in OF_A_FETCH}
    try:
        with whole_path(folder) as part:
            part.mkdir()
            _write_images(cutouts, part / "images.npy")
            write_catalogue(cutouts.catalogue, part / "catalogue.parquet")
            write_card(card, part)
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror or error}): nothing was kept of it") from error


def _write_images(cutouts, path):
    """Write the images by and by, not through a memory map: that would kill the process on a full disk."""
    descr = np.lib.format.dtype_to_descr(cutouts.dtype)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": cutouts.shape})
        for _, images in cutouts.blocks():
            file.write(np.ascontiguousarray(images).data)


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
        clean[name] = as_column(clean[name])  # clients of archives give text as objects
        if clean[name].dtype.kind == "O" and not all(hasattr(value, "dtype") for value in clean[name]):
            kinds = sorted({type(value).__name__ for value in clean[name]})
            raise ValueError(
                f"column {name!r} of the catalogue holds {', '.join(kinds)}: make it all numbers or all text"
            )
    clean.meta.clear()
    clean.write(path, format="parquet", overwrite=True)


def write_card(card, folder):
    """Write card.json, which makes a folder a CutoutSet: always the last file to be written."""
    text = json.dumps({**card, "format": FORMAT}, indent=1, default=plain) + "\n"
    with whole_file(Path(folder) / "card.json") as file:
        file.write(text.encode())


def in_arcsec(pixel_scale):
    """Arcseconds as a plain float, of a number or a Quantity; None stays None.

    Raises
    ------
    ValueError
        If a pixel cannot be so wide.
    """
    if pixel_scale is None:
        return None
    arcsec = float(u.Quantity(pixel_scale, u.arcsec).value)
    if not 0 < arcsec < np.inf:
        raise ValueError(f"pixel_scale={arcsec} arcsec: give a finite number above 0, or None if it is not known")
    return arcsec
