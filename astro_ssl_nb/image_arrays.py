"""Where the images of a CutoutSet lie: in a file that is read in place, or in several such places one after another."""

from pathlib import Path

import numpy as np

from astro_ssl_nb.files import file_state


def as_images(images):
    """float32 fluxes, NaN where they are masked, or uint8 pictures, of an array of any kind.

    Raises
    ------
    ValueError
        If pictures are masked.

    Examples
    --------
    >>> as_images(np.ma.masked_equal([[1.0, -9999.0]], -9999.0))
    array([[ 1., nan]], dtype=float32)
    """
    if isinstance(images, list | tuple) and any(np.ma.isMaskedArray(image) for image in images):
        images = np.ma.stack(images)
    if np.ma.is_masked(images):
        if images.dtype == np.uint8:
            raise ValueError("masked uint8 pictures: a byte has no value for unknown, fill them first")
        images = images.astype(np.float32).filled(np.nan)
    images = np.asarray(images)
    return images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def check_images(images, bands):
    """Raise a ValueError unless images are what a CutoutSet keeps, and bands name their planes."""
    if len(images.shape) != 4:
        raise ValueError(f"images have shape {images.shape}: a CutoutSet takes (N, bands, height, width)")
    if images.dtype not in (np.float32, np.uint8):
        raise ValueError(
            f"images hold {images.dtype} numbers, and not float32 fluxes or uint8 pictures: convert "
            "them, as `CutoutSet.from_arrays` does"
        )
    if len(bands) != images.shape[1]:
        raise ValueError(f"bands {bands} name {len(bands)} planes, the images have {images.shape[1]}")
    if len(set(bands)) < len(bands):
        raise ValueError(f"bands {bands}: give each plane a name of its own")
    if images.dtype == np.uint8 and bands != tuple("RGB"):
        raise ValueError(f"uint8 pictures have the planes R, G, B, and not {bands}: give fluxes as floats")


class MappedImages:
    """The images of a file `images.npy`, (N, B, H, W), which stay on disk until they are read.

    To another process goes the path, and no image.
    """

    def __init__(self, path):
        self._path, self._state = Path(path).absolute(), file_state(path)
        self._map()

    def _map(self):
        self._array = np.load(self._path, mmap_mode="r", allow_pickle=False)
        self.shape, self.dtype = self._array.shape, self._array.dtype

    def __getstate__(self):
        return {"_path": self._path, "_state": self._state}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._map()

    def __len__(self):
        return len(self._array)

    def __getitem__(self, rows):
        """Images of some rows; of a slice, a part of the memory map.

        Raises
        ------
        RuntimeError
            If the file is not the one any more that was opened.
        """
        if file_state(self._path) != self._state:
            raise RuntimeError(
                f"{self._path} has changed since it was opened, so rows and images may no longer belong together: "
                "open the set again"
            )
        return self._array[rows]


class JoinedImages:
    """The images of several sets as one array: a row is read from the place where it lies.

    Parameters
    ----------
    parts : sequence of (images, rows)
        An array, or any of the classes above, and which of its rows belong to the set, in order.

    Examples
    --------
    >>> joined = JoinedImages([(np.zeros((3, 1, 2, 2)), np.arange(3)), (np.ones((3, 1, 2, 2)), np.array([2, 0]))])
    >>> joined.shape, joined[np.array([4, 0])][:, 0, 0, 0].tolist()
    ((5, 1, 2, 2), [1.0, 0.0])
    """

    def __init__(self, parts):
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(rows) for _, rows in self._parts)])
        first = self._parts[0][0]
        self.shape, self.dtype = (int(self._starts[-1]), *first.shape[1:]), first.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        places = np.searchsorted(self._starts, rows, side="right") - 1
        for place in np.unique(places):
            here = places == place
            images, own_rows = self._parts[place]
            found[here] = images[own_rows[rows[here] - self._starts[place]]]
        return found
