"""Image files of one's own, JPEG, PNG, TIFF or FITS, as arrays of planes."""

import numpy as np
from astropy.io import fits
from PIL import Image

FITS_NAMES = (".fits", ".fits.gz", ".fits.bz2", ".fit", ".fz")


def read_image(path, size, crop):
    """One image file, cropped to its centre and resized.

    Parameters
    ----------
    path : pathlib.Path
    size : int
        Pixels a side of the result.
    crop : float
        The central fraction of each side to keep.

    Returns
    -------
    ndarray of shape (planes, size, size)
        uint8 in red, green and blue for a picture of 8 bits; else float32, with the flux that was in the file.

    Raises
    ------
    ValueError
        If the file holds no such image.
    """
    try:
        if path.name.lower().endswith(FITS_NAMES):
            return _resize_flux(_fits_planes(path), size, crop)
        with Image.open(path) as picture:
            # As RGB, pixels of more than 8 bits would be cut off at 255.
            if picture.mode.startswith(("I", "F")):
                return _resize_flux(np.asarray(picture)[None], size, crop)
            return np.asarray(_resize(picture.convert("RGB"), size, crop)).transpose(2, 0, 1)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a JPEG, PNG or FITS image: {error}") from error


def check_alike(paths, images):
    """Raise a ValueError unless all images have as many planes, and all are pictures or all are flux."""
    kinds = {}
    for path, image in zip(paths, images, strict=True):
        kinds.setdefault((len(image), str(image.dtype)), path)
    if len(kinds) > 1:
        said = ", ".join(f"{planes} of {dtype} in {path}" for (planes, dtype), path in kinds.items())
        raise ValueError(f"the files hold different numbers or kinds of planes ({said}): make one set of each")


def _fits_planes(path):
    with fits.open(path) as hdus:
        data = next((hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim in (2, 3)), None)
        if data is None:
            shapes = ", ".join(str(hdu.shape) for hdu in hdus if hdu.is_image)
            raise ValueError(f"it needs an image with 2 or 3 axes, the shapes of its images are {shapes}")
        if data.ndim == 3 and 2 * data.shape[2] < min(data.shape[:2]):
            raise ValueError(f"its shape {data.shape} has the bands last: put them first with np.moveaxis(data, -1, 0)")
        return np.atleast_3d(data.T).T.astype(np.float32)


def _resize_flux(planes, size, crop):
    # Resizing averages pixels; flux a pixel scales with the area that a pixel covers.
    area = (crop * min(planes.shape[-2:]) / size) ** 2
    images = [Image.fromarray(plane.astype(np.float32, copy=False)) for plane in planes]
    return np.stack([np.asarray(_resize(image, size, crop)) * area for image in images]).astype(np.float32)


def _resize(image, size, crop):
    width, height = image.size
    side = crop * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), resample=3, box=(left, top, left + side, top + side))
