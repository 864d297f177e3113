"""Image files of one's own, FITS or pictures, as arrays of planes."""

import bz2
import gzip
import math
import re
from io import BytesIO
from mmap import ACCESS_READ, mmap
from numbers import Integral
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image, ImageOps

# What is read as FITS, by what the file begins with: names lie, and Pillow's FITS is upside down and has one plane.
FITS, PACKED = b"SIMPLE", (b"\x1f\x8b", b"BZh")
# Pillow knows many more, and hands some to other programs (PostScript to Ghostscript): not with files of strangers.
PICTURES = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")
KINDS = "FITS, JPEG, PNG, TIFF, WebP, GIF or BMP"
MOST_PIXELS = 178_956_970  # of a FITS image: Pillow takes no larger pictures, and a kB of bz2 can hold many GB
MOST_UNPACKED = 4 * MOST_PIXELS  # bytes of a packed FITS file
IMAGES = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
# A card of a FITS header has 80 bytes; astropy counts, by and by, to what the cards of these keywords say.
CARD, COUNTS, NUMBER = 80, (b"NAXIS", b"ZNAXIS", b"TFIELDS"), re.compile(rb"= *\+?([0-9]{4,})")
CAPITALS = np.uint64(0xDFDFDFDFDFDFDFDF)  # without these bits, eight letters are capitals, and spaces are zeros


def read_image(path, size, crop):
    """One image file, cropped to its centre and resized.

    Parameters
    ----------
    path : pathlib.Path
        FITS, also packed with gzip or bzip2, or JPEG, PNG, TIFF, WebP, GIF or BMP; what it is is read from the file and
        not from its name.
    size : int
        Pixels a side of the result, 1 or more.
    crop : float
        Side of the central square that is kept, as a share of the shorter side of the image; above 0 and at most 1.

    Returns
    -------
    ndarray of shape (planes, size, size)
        uint8 in red, green and blue, first row on top, for a picture of at most 8 bits a colour, as it is shown: turned
        as its EXIF says, and black where it is transparent. float32, with the lowest row first, for FITS, which keeps
        it so, and for grey pictures of more bits, which have one plane: their total flux is that of the part which
        was kept.

    Raises
    ------
    ValueError
        If `size` or `crop` is out of range, the file holds no such image, more than one picture, colours of more than
        8 bits, or more than 178,956,970 pixels (a packed FITS file: more than 4 bytes for each of so many). Of a FITS
        file the first image with 2 or 3 axes is taken.
    """
    check_size(size, crop)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no plain file")  # a pipe would be waited for without end
        with open(path, "rb") as file:
            head = file.read(32)
        if head.startswith((FITS, *PACKED)):
            return _resize_flux(_fits_planes(path, head), size, crop)
        with Image.open(path, formats=PICTURES) as picture:
            # Behind a photograph, cameras hide smaller copies of it (MPO); other formats may hold anything.
            pictures = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            if pictures > 1:
                raise ValueError(f"it holds {pictures} pictures: save each as a file, or the bands as one FITS cube")
            # As RGB, pixels of more than 8 bits would be cut off at 255.
            if picture.mode.startswith(("I", "F")):
                return _resize_flux(np.asarray(picture)[None, ::-1], size, crop)  # a picture begins on top
            bits = _bits(picture, head)
            if bits > 8:
                raise ValueError(
                    f"it has colours of {bits} bits, of which 8 would be left: save each band as FITS or as 16-bit grey"
                )
            return np.asarray(_resize(_as_seen(picture), size, crop)).transpose(2, 0, 1)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an image ({KINDS}): {error}") from error


def _as_seen(picture):
    """The picture in RGB as a program shows it: turned as its EXIF says, black where it is transparent."""
    upright = ImageOps.exif_transpose(picture)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    black = Image.new("RGBA", upright.size, "black")
    return Image.alpha_composite(black, upright.convert("RGBA")).convert("RGB")


def check_size(size, crop):
    """Raise a ValueError unless images can be cropped and resized so."""
    if not isinstance(size, Integral) or size < 1:
        raise ValueError(f"size={size!r} pixels a side: give a whole number, 1 or more")
    if not 0 < crop <= 1:
        raise ValueError(f"crop={crop}: give the share of the shorter side to keep, above 0 and at most 1")


def _bits(picture, head):
    """Bits a colour in the file; Pillow opens 16 of them as 8 without a word."""
    if picture.format == "PNG":
        return head[24]  # https://www.w3.org/TR/png-3/#11IHDR
    if picture.format == "TIFF":
        return int(np.max(picture.tag_v2.get(258, 1)))  # the tag BitsPerSample
    return 8


def read_images(paths, size, crop):
    """The images of several files, which must be alike, as one array; errors are those of `read_image`."""
    paths = list(paths)  # which may be what `glob` yields
    planes = [read_image(Path(path), size, crop) for path in paths]
    if not planes:
        raise ValueError("no image files were given: `paths` is empty")
    check_alike(paths, planes)
    return np.stack(planes)


def check_alike(paths, images):
    """Raise a ValueError unless all images have as many planes, and all are pictures or all are flux."""
    kinds = {}
    for path, image in zip(paths, images, strict=True):
        kinds.setdefault((len(image), str(image.dtype)), path)
    if len(kinds) > 1:
        said = ", ".join(f"{planes} of {dtype} in {path}" for (planes, dtype), path in kinds.items())
        raise ValueError(f"the files hold different numbers or kinds of planes ({said}): make one set of each")


def check_headers(content):
    """Raise a ValueError if the headers of a FITS file, given as bytes, count more axes or columns than FITS allows.

    astropy counts along, for hours if a number is large: call this before it reads a file of strangers.

    Examples
    --------
    >>> check_headers(b"NAXIS   =                 9999".ljust(80))
    Traceback (most recent call last):
    ValueError: a header says NAXIS = 9999: FITS allows 999 at most
    """
    for row in _rows_with_counts(content):
        card = content[row * CARD : (row + 1) * CARD]
        found = NUMBER.search(card)
        if not found:
            continue
        keyword = card[: found.start()].upper().removeprefix(b"HIERARCH").strip()
        if keyword in COUNTS:
            number = found[1].decode()
            number = number if len(number) < 30 else f"{number[:30]}..."
            raise ValueError(f"a header says {keyword.decode()} = {number}: FITS allows 999 at most")


def _rows_with_counts(content):
    """Which pieces of 80 bytes may be such a card, by their first eight: a frame has 150,000, too many for a loop."""
    rows = len(content) // CARD
    heads = np.ndarray(rows, "<u8", content, strides=(CARD,)) & CAPITALS if rows else np.empty(0, "<u8")
    found = np.zeros(rows, bool)
    for keyword in (*COUNTS, b"HIERARCH"):
        code, bits = np.uint64(int.from_bytes(keyword, "little")), np.uint64((1 << 8 * len(keyword)) - 1)
        for spaces in range(9 - len(keyword)):
            found |= (heads >> np.uint64(8 * spaces)) & bits == code
    return np.flatnonzero(found).tolist()


def _fits_planes(path, head):
    if head.startswith(PACKED):
        source = _unpacked(path, bz2.open if head.startswith(b"BZh") else gzip.open)
        check_headers(source.getvalue())
    else:
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            check_headers(content)
        source = path
    with fits.open(source) as hdus:
        images = (hdu for hdu in hdus if isinstance(hdu, IMAGES))
        hdu = next((hdu for hdu in images if len(hdu.shape) in (2, 3) and 0 not in hdu.shape), None)
        if hdu is None:
            shapes = ", ".join(str(hdu.shape) for hdu in hdus if isinstance(hdu, IMAGES))
            raise ValueError(f"it needs an image with 2 or 3 axes, the shapes of its images are {shapes}")
        if math.prod(hdu.shape) > MOST_PIXELS:
            raise ValueError(f"its image has the shape {hdu.shape}, above {MOST_PIXELS:,} pixels: cut out the object")
        data = hdu.data
        if data.ndim == 3 and 2 * data.shape[2] < min(data.shape[:2]):
            raise ValueError(f"its shape {data.shape} has the bands last: put them first with np.moveaxis(data, -1, 0)")
        return np.atleast_3d(data.T).T.astype(np.float32)


def _unpacked(path, open_packed):
    unpacked = BytesIO()
    with open_packed(path) as file:
        while piece := file.read(2**20):
            unpacked.write(piece)
            if unpacked.tell() > MOST_UNPACKED:
                raise ValueError(f"it unpacks to more than {MOST_UNPACKED:,} bytes: cut out the object")
    unpacked.seek(0)
    return unpacked


def _resize_flux(planes, size, crop):
    # Resizing averages pixels; flux a pixel scales with the area that a pixel covers.
    area = (crop * min(planes.shape[-2:]) / size) ** 2
    images = [Image.fromarray(plane.astype(np.float32, copy=False)) for plane in planes]
    return np.stack([np.asarray(_resize(image, size, crop)) * area for image in images]).astype(np.float32)


def _resize(image, size, crop):
    width, height = image.size
    side = crop * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), resample=Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
