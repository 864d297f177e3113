"""A user's own pictures as a CutoutSet: no archive at all."""

import hashlib
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import index
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from astro_ssl_nb.columns import as_ids, number_rows, unknown_values
from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.files import file_digest
from astro_ssl_nb.image_files import check_alike, check_size, read_image
from astro_ssl_nb.set_files import in_arcsec, write_card
from data_fetch.dataset_card import describe_or_warn
from data_fetch.folder import FetchError
from data_fetch.tables import read_table

NAMED = 5  # files that a warning names


def own_images(folder, labels, *, out, size=64, crop=1.0, pixel_scale=None):
    """Make a CutoutSet of image files and a table of labels.

    Parameters
    ----------
    folder : path-like
        Holds the pictures (FITS, JPEG, PNG, TIFF, WebP, GIF or BMP).
    labels : path-like
        A table (CSV, ECSV, FITS, VOTable, Parquet or text) with a column `file`, names below `folder`, and any others,
        such as `class`, `objid`, `ra` and `dec` (deg).
    out : path-like
        The folder of the CutoutSet.
    size, crop, pixel_scale
        See `CutoutSet.from_image_files`.

    Returns
    -------
    CutoutSet
        Files that cannot be read, or have pixels that are not finite, are not in it but in `missing.ecsv`, with the
        reason; a warning says how many. Called again with the same table and pictures, the set that is there.

    Raises
    ------
    FetchError
        If `size`, `crop` or `pixel_scale` is out of range, the table has no column `file` or no rows, names no file in
        a row, files outside the folder or one twice, no file can be read, the files are of different kinds, `out` holds
        something else, or another process is making it.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (80, 80), "navy").save(f"{folder}/1.png")
    ...     _ = Path(folder, "labels.csv").write_text("file,class\\n1.png,sky\\n")
    ...     cutouts = own_images(folder, f"{folder}/labels.csv", out=f"{folder}/set", size=32)
    ...     cutouts.images.shape, cutouts.bands, cutouts.labels("class").tolist()
    ((1, 3, 32, 32), ('R', 'G', 'B'), ['sky'])
    """
    try:
        check_size(size, crop)
        size, crop, pixel_scale = index(size), float(crop), in_arcsec(pixel_scale)  # as JSON holds them
    except ValueError as error:
        raise FetchError(str(error)) from error
    out, table = Path(out), _read_labels(labels)
    paths = [_inside(Path(folder), name) for name in table["file"]]
    request = {"name": "images", "labels": file_digest(labels), "pictures": _checksum_all(paths)}
    request |= {"size": size, "crop": crop, "pixel_scale": pixel_scale}
    if _is_made(out, request):
        shutil.rmtree(_work_folder(out), ignore_errors=True)  # of a run that was killed
        if not (out / "README.md").exists():  # killed after the last byte of the data
            describe_or_warn(out)
        return CutoutSet.open(out)
    read, reasons = read_all(paths, size, crop)
    if not read:
        raise FetchError(f"none of the {len(paths)} files can be read, the first because {reasons[0]}")
    try:
        check_alike([paths[row] for row in read], read.values())
    except ValueError as error:
        raise FetchError(str(error)) from error
    rows = list(read)
    numbered = {"numbered": True} if table.meta["numbered"] else {}
    cutouts = CutoutSet.of_image_files(np.stack(list(read.values())), table[rows], pixel_scale, **numbered)
    with _at_work(out) as work:
        if _is_made(out, request):  # by another process, while the pictures were read
            return CutoutSet.open(out)
        part = cutouts.save(work / "part")
        if reasons:
            missing = table["objid", "file"][list(reasons)]
            missing["reason"] = list(reasons.values())
            missing.write(part / "missing.ecsv")
        card = {
            **cutouts.card,
            "data_set": f"images: the pictures that {Path(labels).name} names",
            "missing": len(reasons),
            "date": datetime.now(UTC).date().isoformat(),
            "checksums": {path.name: file_digest(path) for path in sorted(part.iterdir()) if path.name != "card.json"},
            "request": request,
        }
        write_card(card, part)
        if out.exists():
            out.rmdir()  # an empty folder, which Windows does not replace
        os.replace(part, out)
    if reasons:
        names = some(str(table["file"][row]) for row in reasons)
        print(f"warning: {len(reasons)} of {len(paths)} files are left out ({names}): see {out / 'missing.ecsv'}")
    describe_or_warn(out)
    return CutoutSet.open(out)


def some(names):
    """The first few of some names, in words.

    >>> some("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    names = list(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "") or "none"


def read_all(paths, size, crop):
    """The images of those files that can be used, and the reasons of the others, as dicts by place in `paths`."""
    read, reasons = {}, {}
    for row, path in enumerate(paths):
        try:
            image = read_image(path, size, crop)
        except ValueError as error:
            reasons[row] = str(error)
            continue
        if np.isfinite(image).all():
            read[row] = image
        else:
            reasons[row] = f"{path} has pixels that are not finite"
    return read, reasons


def _is_made(out, request):
    """Whether the set of this request is there; a FetchError if something else is."""
    if (out / "card.json").exists() and CutoutSet.open(out).card.get("request") == request:
        return True
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FetchError(
            f"{out} exists and holds something else, or was made of other pictures: choose another folder, or remove "
            "this one"
        )
    return False


def _work_folder(out):
    return out.with_name(f".{out.name}.own_images_at_work")


@contextmanager
def _at_work(out):
    """A hidden folder beside `out` for one process at a time, without what a killed one left there."""
    work = _work_folder(out)
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):  # the system lets go of it when its process ends
            shutil.rmtree(work / "part", ignore_errors=True)
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise FetchError(f"{out} is being made by another process: wait until it is done, or stop it") from None


def _read_labels(path):
    table = read_table(path)
    if "file" not in table.colnames:
        raise FetchError(f"{path} has no column file, only {', '.join(table.colnames)}: name the picture of each row")
    text = np.ma.getdata(np.ma.asarray(table["file"])).astype(str)
    empty = np.flatnonzero(unknown_values(table["file"]) | (text == ""))
    if len(empty):
        raise FetchError(f"{path} names no file in {len(empty)} rows, the first is row {empty[0] + 1}: remove them")
    names, counts = np.unique(text, return_counts=True)
    if (counts > 1).any():
        raise FetchError(f"{path} names {names[counts > 1][0]} {counts.max()} times: give one row a picture")
    try:
        table.meta["numbered"] = number_rows(table)
        table["objid"] = as_ids(table["objid"])
    except ValueError as error:
        raise FetchError(f"{path}: {error}") from error
    return table


def _checksum_all(paths):
    """SHA-256 of what the files hold, wherever they are; one that cannot be read counts as that, and so does a pipe."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(file_digest(path).encode() if path.is_file() else b"-")
        except OSError:
            digest.update(b"-")
    return digest.hexdigest()


def _inside(folder, name):
    path = folder / str(name)
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except RuntimeError as error:  # from Python 3.13 on it is no error here, but when the file is opened
        raise FetchError(
            f"file {name} of the table cannot be found ({error}): put the picture in the place of the link"
        ) from error
    if Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder)):
        raise FetchError(f"file {name} of the table is a link that leads outside of {folder}: copy the picture into it")
    raise FetchError(f"file {name} of the table is outside of {folder}: give names below it")
