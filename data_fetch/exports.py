"""A CutoutSet as other programs read it: FITS, HDF5 as Galaxy10 has it, and a folder of Hugging Face's `datasets`."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from astro_ssl_nb.columns import as_text, unknown_values
from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.files import whole_path
from astro_ssl_nb.set_files import class_column

BLOCK = 1024  # images in memory at a time
KEYWORDS = {"SURVEY": "survey", "RELEASE": "release", "ARCHIVE": "archive", "DATASET": "data_set", "DATE-GET": "date"}


def export(folder, out, format="fits"):
    """Write a CutoutSet in another format, complete or not at all; images pass in blocks, so memory stays small.

    In FITS and HDF5, unknown floats are NaN; unknown whole numbers are 0, texts empty and booleans False, and a column
    `<name>_mask` is True for them. In `datasets` all that is unknown is None.

    Parameters
    ----------
    folder : path-like
        A CutoutSet.
    out : path-like
        File (fits, hdf5) or folder (datasets) to write.
    format : {"fits", "hdf5", "datasets"}, default="fits"
        - fits: the primary HDU is the cube of shape (N, B, H, W), which FITS counts the other way round, with BANDn,
          PIXSCALE (arcsec) and BUNIT; CATALOG is a binary table of N rows.
        - hdf5: `images` of shape (N, H, W, B), and `ans`, which numbers the classes that its attribute `names` names
          (-1 where unknown), as in Galaxy10; each column of the catalogue is a dataset with its `unit`.
        - datasets: `image` is an array of shape (B, H, W), or a picture if the set is one; `label` is the class.

        Classes are those of the column `class`, else `label`.

    Returns
    -------
    Path
        Of what was written.

    Raises
    ------
    FileExistsError
        If `out` exists: nothing is overwritten.
    ImportError
        If the format needs a library that is not installed.
    ValueError
        If there is no such format, the set is empty, or a column has a name that the format needs itself, or text that
        it cannot hold.

    Examples
    --------
    >>> import tempfile
    >>> cutouts = CutoutSet.from_arrays(np.ones((2, 3, 8, 8)), Table({"objid": [7, 8]}), bands="gri")
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     path = export(cutouts.save(f"{parent}/set"), f"{parent}/set.fits")
    ...     fits.getdata(path).shape
    (2, 3, 8, 8)
    """
    writers = {"fits": _write_fits, "hdf5": _write_hdf5, "datasets": _write_datasets}
    if format not in writers:
        raise ValueError(f"unknown format {format!r}: choose from {', '.join(writers)}")
    library = {"fits": "astropy", "hdf5": "h5py", "datasets": "datasets"}[format]
    try:
        import_module(library)
    except ImportError as error:
        raise ImportError(
            f"format {format!r} needs {library}, which is not installed: pip install {library}"
        ) from error
    out, cutouts = Path(out), CutoutSet.open(folder)
    if not len(cutouts):
        raise ValueError(f"{folder} is a set without cutouts: there is nothing to export")
    with whole_path(out) as part:
        writers[format](cutouts, part)
    return out


def _check_names(cutouts, taken):
    for name in taken:
        if name in cutouts.catalogue.colnames:
            raise ValueError(f"the catalogue has a column {name!r}, which this format needs itself: rename it first")


def _class_numbers(cutouts):
    """Names of the classes, and the number of each row's (-1 where unknown); None without a column of classes."""
    column = class_column(cutouts.catalogue)
    if column is None:
        return None
    unknown = unknown_values(cutouts.catalogue[column])
    values = _split_mask(cutouts.catalogue[column])[0]
    classes = np.unique(values[~unknown])  # in the order of numbers where they are numbers, so that 0, 1, ... stay
    return as_text(classes).tolist(), np.where(unknown, -1, np.searchsorted(classes, values))


def _split_mask(column):
    """Values of a column, and where they are unknown."""
    masked = np.ma.asarray(column)
    unknown = np.ma.getmaskarray(masked)
    values = np.ma.getdata(masked).copy()
    kind = values.dtype.kind
    values[unknown] = np.nan if kind == "f" else "" if kind in "OUS" else 0
    return values.astype(str) if kind == "O" else values, unknown


def _plain(catalogue):
    """A copy without masks: unknown floats are NaN, for other unknown values there is a column `<name>_mask`."""
    plain = Table()
    for name in catalogue.colnames:
        plain[name], unknown = _split_mask(catalogue[name])
        plain[name].unit = catalogue[name].unit
        if unknown.any() and plain[name].dtype.kind != "f":
            if f"{name}_mask" in catalogue.colnames:
                raise ValueError(f"the catalogue has unknown values in {name!r}, and {name}_mask: rename the latter")
            plain[f"{name}_mask"] = unknown
    return plain


def _write_fits(cutouts, path):
    catalogue = _plain(cutouts.catalogue)
    for name in catalogue.colnames:
        if catalogue[name].dtype.kind == "U" and not all(value.isascii() for value in catalogue[name]):
            raise ValueError(f"column {name!r} has letters beyond ASCII, which FITS cannot hold: use another format")
    header = fits.PrimaryHDU(np.zeros((1, *cutouts.shape[1:]), cutouts.dtype)).header
    header["NAXIS4"] = len(cutouts)
    header["EXTEND"] = True
    for number, band in enumerate(cutouts.bands, 1):
        header[f"BAND{number}"] = (band, "filter of this plane")
    if cutouts.pixel_scale:
        header["PIXSCALE"] = (cutouts.pixel_scale, "arcsec a pixel")
    if not cutouts.is_picture and cutouts.card.get("survey") != "image files":
        header["BUNIT"] = ("nanomaggy", "linear flux, zero point 22.5 mag")
    for keyword, entry in KEYWORDS.items():
        if entry in cutouts.card:
            value = cutouts.card[entry]
            header[keyword] = value if isinstance(value, int | float) else _ascii(value)
    cube = fits.StreamingHDU(path, header)
    for _, images in cutouts.blocks(BLOCK):
        cube.write(np.ascontiguousarray(images))
    cube.close()
    table = fits.table_to_hdu(catalogue)
    table.name = "CATALOG"
    with fits.open(path, mode="append") as hdus:
        hdus.append(table)


def _ascii(value):
    """Text that a FITS header can hold."""
    return " ".join(str(value).split()).encode("ascii", "replace").decode()


def _write_hdf5(cutouts, path):
    import h5py

    _check_names(cutouts, ("images", "ans", "pxscale"))
    count, bands, height, width = cutouts.shape
    with h5py.File(path, "w", libver="v108") as file:  # the first that takes the names of thousands of classes
        file.attrs["bands"] = list(cutouts.bands)
        file.attrs["card"] = json.dumps(cutouts.card)
        stored = file.create_dataset("images", (count, height, width, bands), cutouts.dtype)
        for start, images in cutouts.blocks(BLOCK):
            stored[start : start + len(images)] = images.transpose(0, 2, 3, 1)
        if cutouts.pixel_scale:
            file["pxscale"] = np.full(len(cutouts), cutouts.pixel_scale)
            file["pxscale"].attrs["unit"] = "arcsec"
        classes = _class_numbers(cutouts)
        if classes:
            file["ans"] = classes[1].astype(np.int32)
            file["ans"].attrs["names"] = classes[0]
        catalogue = _plain(cutouts.catalogue)
        for name in catalogue.colnames:
            values = np.asarray(catalogue[name])
            text = values.dtype.kind in "US"
            dtype = h5py.string_dtype() if text else values.dtype
            file.create_dataset(name, data=values.astype(object) if text else values, dtype=dtype)
            if catalogue[name].unit is not None:
                file[name].attrs["unit"] = str(catalogue[name].unit)


def _write_datasets(cutouts, path):
    import datasets
    import pyarrow as pa

    labels = class_column(cutouts.catalogue)
    _check_names(cutouts, ("image",) if labels == "label" else ("image", "label"))
    feature = datasets.Image() if cutouts.is_picture else datasets.Array3D(cutouts.shape[1:], "float32")

    def rows():
        for _, images in cutouts.blocks(BLOCK):
            for image in images:
                yield {"image": image.transpose(1, 2, 0) if cutouts.is_picture else image}

    # With a fingerprint of our own, the library need not take one of the generator, images and all.
    pictures = datasets.Dataset.from_generator(
        rows,
        features=datasets.Features(image=feature),
        cache_dir=str(path.with_name("cache")),
        fingerprint=cutouts.checksum()[:16],
        writer_batch_size=BLOCK,
    )
    # The catalogue goes in as Arrow's arrays, because a generator's ids above 2^63 are refused.
    features, columns = {}, {}
    classes = _class_numbers(cutouts)
    if classes:
        features["label"] = datasets.ClassLabel(names=classes[0])
        columns["label"] = pa.array(classes[1], pa.int64(), mask=classes[1] < 0)
    for name in cutouts.catalogue.colnames:
        if name != labels:
            values, unknown = _split_mask(cutouts.catalogue[name])
            feature = datasets.Value("string" if values.dtype.kind in "US" else values.dtype.name)
            for length in values.shape[:0:-1]:  # a column of vectors
                feature = datasets.Sequence(feature, length)
            features[name] = feature
            kind = datasets.Features(features).arrow_schema.field(name).type
            columns[name] = pa.array(np.ma.array(values, mask=unknown).tolist(), kind)
    info = datasets.DatasetInfo(features=datasets.Features(features))
    catalogue = datasets.Dataset(datasets.table.InMemoryTable(pa.table(columns)), info=info)
    dataset = datasets.concatenate_datasets([pictures, catalogue], axis=1)
    dataset.info.description = json.dumps(cutouts.card)
    dataset.save_to_disk(str(path))
