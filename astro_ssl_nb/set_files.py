"""Files that are whole or not there, and those of a CutoutSet: card, catalogue, and whether one is still the same."""

import glob
import hashlib
import json
import os
import platform
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

FORMAT = 1
SHOWN = 15  # classes or reasons that are named one by one


def read_json(path):
    """What a JSON file holds; a ValueError names the file."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file: {error}") from error


def plain(value):
    """A number or an array of numpy or torch as JSON can hold it, for `json.dumps(..., default=plain)`."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"{value!r} of type {type(value).__name__} cannot be written as JSON: give numbers and text")


def file_state(path):
    """What changes when anybody writes to a file or puts another in its place; None where there is no file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def file_digest(path):
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


@contextmanager
def whole_file(path):
    """A binary file to write to, which is put in the place of `path` once it is whole and on disk.

    After an error in the block, or a full disk, nothing is left of it, and a file that was there before stands.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each process, so that two that write the same file do not write into each other's.
    host = f"{path.name}.{platform.node()}."
    part = path.with_name(f"{host}{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        for left in path.parent.glob(f"{glob.escape(host)}*.part"):  # by processes of this computer that were killed
            process = left.name[len(host) : -len(".part")]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                left.unlink(missing_ok=True)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def flush(path):
    """Have the system put on disk what was written to a file, so that a power cut does not take it."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def write_catalogue(catalogue, path):
    """Write a catalogue as Parquet; masked numbers are stored as NaN or 0 under their mask, never as a sentinel."""
    clean = catalogue.copy()
    for name in clean.colnames:
        if not hasattr(clean[name], "dtype"):
            kind = type(clean[name]).__name__
            raise ValueError(f"column {name!r} of the catalogue holds {kind}: give its numbers, such as ra and dec")
        if getattr(clean[name], "mask", None) is not None and clean[name].dtype.kind in "fiu":
            clean[name].data.data[np.asarray(clean[name].mask)] = np.nan if clean[name].dtype.kind == "f" else 0
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
