"""CutoutSet: images, their catalogue and where both came from, in one folder."""

import hashlib
import math
from pathlib import Path

import numpy as np

from astro_ssl_nb.columns import as_catalogue, as_column, as_ids, as_text, number_rows, unknown_values
from astro_ssl_nb.image_arrays import JoinedImages, as_images, check_images
from astro_ssl_nb.image_files import read_images
from astro_ssl_nb.joining import check_joinable, joined_card, joined_catalogue
from astro_ssl_nb.set_files import check_whole, in_arcsec, read_set, write_set
from astro_ssl_nb.splitting import overlap_groups, split_rows

# A block of images has so many numbers at most: a quarter of a gigabyte.
BLOCK_NUMBERS = 2**26


class CutoutSet:
    """Cutouts of the sky with one catalogue row each, in the same order.

    A set in memory and a set on disk behave alike: the images of an opened set stay on disk until they are read.
    Indexing with rows, a condition or a slice gives another CutoutSet that shares the images; where a condition is
    masked, the row is left out.

    Parameters
    ----------
    images : ndarray of shape (N, B, H, W)
        float32 linear flux in nanomaggies, or uint8 pictures with B = 3 (red, green, blue).
    catalogue : astropy Table of N rows
        `objid` and any of `ra`, `dec` (deg), properties and labels. Unknown values are masked or NaN.
    card : dict
        At least `bands` (a list of names) and `pixel_scale` (arcsec); the rest is provenance.

    Raises
    ------
    ValueError
        If images, catalogue and bands do not describe the same set.

    Examples
    --------
    >>> from astropy.table import Table
    >>> flux = np.zeros((4, 5, 32, 32), "float32")
    >>> table = Table({"objid": [1, 2, 3, 4], "class": ["STAR", "QSO", "STAR", "GALAXY"]})
    >>> cutouts = CutoutSet.from_arrays(flux, table, bands="ugriz", pixel_scale=0.396)
    >>> cutouts
    CutoutSet: 4 cutouts of 32 x 32 pixels (0.396 arcsec), bands u g r i z
    >>> len(cutouts[cutouts.catalogue["class"] == "STAR"])
    2
    """

    def __init__(self, images, catalogue, card, _rows=None):
        self._images = images
        self._rows = np.arange(len(images)) if _rows is None else _rows
        self.catalogue = catalogue
        self.card = card
        check_images(images, self.bands)
        if len(self._rows) != len(catalogue):
            raise ValueError(
                f"{len(self._rows)} images but {len(catalogue)} catalogue rows: give one row an image, in their order"
            )
        if "objid" not in catalogue.colnames:
            raise ValueError(f"the catalogue has no `objid` column, only {catalogue.colnames}: add one id a row")

    @classmethod
    def from_arrays(cls, images, catalogue, *, bands="ugriz", pixel_scale=0.396, **provenance):
        """A CutoutSet of arrays in memory.

        Parameters
        ----------
        images : array of shape (N, B, H, W)
            Linear flux in nanomaggies (kept as float32), or uint8 pictures. Pixels that are masked become NaN. What is
            float32 or uint8 already is not copied: do not write into it afterwards.
        catalogue : Table, DataFrame, structured array or dict of columns, of N rows
            `objid`, `ra` and `dec` are found whatever their capitals. Without an `objid` the rows are numbered, and the
            card says so (`numbered`).
        bands : str or sequence of str, default="ugriz"
            One name a plane; a string counts as one-letter names.
        pixel_scale : float or Quantity, default=0.396
            Arcseconds a pixel.
        **provenance
            Further entries of the card, such as `survey` or `release`.

        Raises
        ------
        ValueError
            As `CutoutSet`; also if `pixel_scale` is not above 0, pictures are masked, an `objid` is unknown or a float
            that may have lost digits, or an entry of `provenance` has a name that the card uses itself.
        """
        if "format" in provenance:
            raise ValueError("the card uses the entry `format` itself: call yours by another name")
        images, catalogue = as_images(images), as_catalogue(catalogue)
        card = {"bands": list(bands), "pixel_scale": in_arcsec(pixel_scale), **provenance}
        if number_rows(catalogue):
            card["numbered"] = True
        return cls(images, catalogue, card)

    @classmethod
    def from_image_files(cls, paths, catalogue, *, size=64, crop=1.0, pixel_scale=None):
        """Bring your own pictures: JPEG, PNG, TIFF, WebP, GIF, BMP or FITS files, resized to one size.

        Pictures give a uint8 set with bands R, G, B. FITS images (2-D, or 3-D with the bands first) keep their flux, as
        do grey PNG and TIFF files with more than 8 bits a pixel, which have one band.

        Parameters
        ----------
        paths : sequence of path-like, length N
        catalogue : Table or DataFrame of N rows, in the order of `paths`
        size : int, default=64
            Pixels a side of the result.
        crop : float, default=1.0
            Side of the central square that is kept before resizing, as a share of the shorter side of the image.
        pixel_scale : float or Quantity, optional
            Arcseconds a pixel of the *result*, if known.

        Raises
        ------
        ValueError
            If a file cannot be read as an image or has colours of more than 8 bits, the files do not all have the same
            number and kind of planes, or `size` or `crop` is out of range.
        """
        return cls.of_image_files(read_images(paths, size, crop), catalogue, pixel_scale)

    @classmethod
    def of_image_files(cls, images, catalogue, pixel_scale, **provenance):
        """The set that `from_image_files` makes, of images that were read already."""
        bands = "RGB" if images.dtype == np.uint8 else [f"band{i + 1}" for i in range(images.shape[1])]
        return cls.from_arrays(
            images, catalogue, bands=bands, pixel_scale=pixel_scale, survey="image files", **provenance
        )

    @classmethod
    def open(cls, folder):
        """Open a saved set; images are memory-mapped, so this takes no time whatever the size.

        Raises
        ------
        FileNotFoundError
            If the folder, or one of its three files, is missing.
        ValueError
            If the files do not belong together.
        """
        folder = Path(folder)
        check_whole(folder)
        try:
            return cls(*read_set(folder))
        except Exception as error:
            raise ValueError(f"{folder} cannot be read as a CutoutSet: {error}") from error

    @classmethod
    def concatenate(cls, sets):
        """Several sets as one, such as those that several computers fetched; their images stay where they are.

        A column that some of them lack is unknown there. What their cards have in common is in the card, and under
        `parts` what each has beside it. Rows of one `objid` are one object, also where they are of two sets.

        Parameters
        ----------
        sets : sequence of CutoutSet
            With the same bands, size and pixel scale.

        Raises
        ------
        ValueError
            If there are none, or they do not fit together.

        Warns
        -----
        UserWarning
            If the rows of several sets were numbered for want of an id: rows of one number then count as one object.

        Examples
        --------
        >>> from astropy.table import Table
        >>> nights = [CutoutSet.from_arrays(np.zeros((n, 1, 8, 8)), Table({"objid": [n]}), bands="r") for n in (1, 1)]
        >>> CutoutSet.concatenate(nights)
        CutoutSet: 2 cutouts of 8 x 8 pixels (0.396 arcsec), bands r
        """
        sets = list(sets)
        check_joinable(sets)
        images = JoinedImages([(part._images, part._rows) for part in sets])
        catalogue = joined_catalogue([part.catalogue for part in sets])
        return cls(images, catalogue, joined_card([part.card for part in sets]))

    def save(self, folder):
        """Write the set to a new folder, complete or not at all; returns the folder.

        Its card does not say any more that it is what was asked of an archive: it may be a part of that.

        Raises
        ------
        FileExistsError
            If the folder exists: nothing is overwritten.
        OSError
            If there is no room for it, or no right to write.
        ValueError
            If a column holds what Parquet cannot. After any error nothing is left behind.
        """
        folder = Path(folder)
        write_set(self, folder)
        return folder

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            condition = np.asarray(rows).dtype == bool
            # A row whose condition is masked is not known to fulfil it.
            rows = np.asarray(np.ma.filled(rows, False) if condition else rows)
            if not rows.size and not condition:
                rows = rows.astype(int)  # NumPy takes [] for floats
        rows = np.atleast_1d(np.arange(len(self))[rows])
        return CutoutSet(self._images, self.catalogue[rows], self.card, self._rows[rows])

    def __repr__(self):
        height, width = self.shape[2:]
        scale = f" ({self.pixel_scale} arcsec)" if self.pixel_scale else ""
        return f"CutoutSet: {len(self):,} cutouts of {width} x {height} pixels{scale}, bands {' '.join(self.bands)}"

    @property
    def shape(self):
        """(N, B, H, W) of the images, none of which is read for it."""
        return (len(self), *self._images.shape[1:])

    @property
    def bands(self):
        """Names of the image planes, a tuple of str."""
        return tuple(self.card["bands"])

    @property
    def pixel_scale(self):
        """Arcseconds a pixel, or None where it is not known."""
        return self.card.get("pixel_scale")

    @property
    def dtype(self):
        """Of the images: float32, or uint8 for pictures."""
        return self._images.dtype

    @property
    def is_picture(self):
        """True for uint8 pictures, whose stretch was chosen by whoever made them."""
        return self.dtype == np.uint8

    @property
    def images(self):
        """All images, ndarray of shape (N, B, H, W): the memory map itself for a whole set, else a copy in memory.

        Of a large set that is a subset, or joined of several, `blocks` and `read` give a part at a time.

        Raises
        ------
        RuntimeError
            If `images.npy` is not the file any more that was opened.
        """
        whole = len(self._rows) == len(self._images) and np.array_equal(self._rows, np.arange(len(self._rows)))
        return self._images[:] if whole else self._images[self._rows]

    def read(self, rows):
        """Images of some rows, ndarray of shape (len(rows), B, H, W).

        Raises
        ------
        RuntimeError
            If `images.npy` is not the file any more that was opened.
        """
        return self._images[np.atleast_1d(self._rows[rows])]

    def blocks(self, size=None):
        """All images in order, some at a time, so that memory stays small however large the set is.

        Parameters
        ----------
        size : int, optional
            Cutouts at a time; by default 4096, and fewer of large ones.

        Yields
        ------
        (int, ndarray of shape (up to `size`, B, H, W))
            The row that the images begin with, and the images.
        """
        size = size or max(1, min(4096, BLOCK_NUMBERS // math.prod(self.shape[1:])))
        for start in range(0, len(self), size):
            yield start, self.read(np.arange(start, min(start + size, len(self))))

    def with_columns(self, **columns):
        """The same cutouts with further columns in their catalogue; a column of that name is replaced.

        Parameters
        ----------
        **columns : array of N values each

        Examples
        --------
        >>> from astropy.table import Table
        >>> cutouts = CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), Table({"objid": [1, 2]}), bands="r")
        >>> cutouts.with_columns(quality=[3, 1]).catalogue["quality"].tolist()
        [3, 1]
        """
        catalogue, card = self.catalogue.copy(), dict(self.card)
        for name, values in columns.items():
            catalogue[name] = as_column(values)
        if "objid" in columns:
            catalogue["objid"] = as_ids(catalogue["objid"])
            card.pop("numbered", None)
        return CutoutSet(self._images, catalogue, card, self._rows)

    def labels(self, column):
        """A label column as an array of str. Whole numbers are written without a point, also where they are floats.

        Raises
        ------
        KeyError
            If there is no such column.
        ValueError
            If some rows have no label: it is masked, None or NaN.
        """
        values = self._label_column(column)
        unknown = unknown_values(values)
        if unknown.any():
            raise ValueError(
                f"{unknown.sum()} of {len(self)} rows have no {column!r}: take those that do by "
                f"cutouts.labelled({column!r})"
            )
        return as_text(values)

    def labelled(self, column):
        """The CutoutSet of the rows that have a label in a column.

        Raises
        ------
        KeyError
            If there is no such column.

        Examples
        --------
        >>> from astropy.table import Table
        >>> catalogue = Table({"objid": [1, 2, 3], "class": np.ma.masked_equal(["E", "", "S"], "")})
        >>> cutouts = CutoutSet.from_arrays(np.zeros((3, 1, 8, 8)), catalogue, bands="r")
        >>> cutouts.labelled("class").labels("class").tolist()
        ['E', 'S']
        """
        return self[np.flatnonzero(~unknown_values(self._label_column(column)))]

    def _label_column(self, column):
        if column not in self.catalogue.colnames:
            raise KeyError(f"no label column {column!r} in the catalogue; it has {', '.join(self.catalogue.colnames)}")
        return self.catalogue[column]

    def split(self, fractions=(0.8, 0.1, 0.1), *, seed=0):
        """Split at random into disjoint sets without leakage.

        Cutouts of one object, and cutouts that overlap on the sky, always fall into the same part, so that no two
        parts share a pixel. A set without `ra` and `dec` is split by object alone; in one without `pixel_scale`, whose
        overlaps are not known, rows less than 3 arcsec apart count as one object.

        Parameters
        ----------
        fractions : sequence of float that sum to 1, default=(0.8, 0.1, 0.1)
        seed : int, default=0

        Returns
        -------
        tuple of CutoutSet, one for each fraction

        Raises
        ------
        ValueError
            If the set is empty or its groups too few, or `ra` or `dec` is unknown in some rows.

        Examples
        --------
        >>> from astropy.table import Table
        >>> table = Table({"objid": np.arange(100)})
        >>> cutouts = CutoutSet.from_arrays(np.zeros((100, 3, 8, 8)), table, bands="gri")
        >>> [len(part) for part in cutouts.split((0.7, 0.3), seed=1)]
        [70, 30]
        """
        if not (abs(sum(fractions) - 1) <= 1e-6 and min(fractions) > 0):
            raise ValueError(f"fractions {tuple(fractions)} must be positive and sum to 1")
        if not len(self):
            raise ValueError("the set is empty: there is nothing to split")
        side = (self.pixel_scale or 0) * max(self.shape[2:])
        return tuple(self[rows] for rows in split_rows(overlap_groups(self.catalogue, side), fractions, seed))

    def checksum(self):
        """SHA-256 over the images and the ids, so that a result can name the data that it came from."""
        digest = hashlib.sha256()
        for _, images in self.blocks():
            digest.update(np.ascontiguousarray(images).data)
        digest.update(" ".join(str(objid) for objid in self.catalogue["objid"]).encode())
        return digest.hexdigest()
