"""Files that are whole or not there, and whether one is still the same."""

import glob
import hashlib
import json
import os
import platform
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import psutil


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
    # A name of its own for each thread, so that two that write the same file do not write into each other's.
    host = f"{path.name}.{platform.node()}."
    part = path.with_name(f"{host}{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        for left in path.parent.glob(f"{glob.escape(host)}*.part"):  # by processes of this computer that were killed
            process = left.name[len(host) :].split(".")[0]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                left.unlink(missing_ok=True)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_path(path):
    """A name to write a file or a folder under, which is put in the place of `path` once the block has ended.

    After an error in the block nothing is left of it.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    Path of what is not there yet

    Raises
    ------
    FileExistsError
        If there is something at `path`: nothing is overwritten.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists: choose another name, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as work:
        part = Path(work) / "part"  # the folder above it is readable for its maker alone
        yield part
        os.replace(part, path)


def flush(path):
    """Have the system put on disk what was written to a file, so that a power cut does not take it."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


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
