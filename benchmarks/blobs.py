"""Cutouts to measure speed on: what is in the images does not matter to it, unless they hold nothing at all."""

import numpy as np
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.set_files import write_card, write_catalogue


def catalogue(n, seed=0):
    """Magnitudes, positions and a class of n blobs."""
    rng = np.random.default_rng(seed)
    table = Table({f"modelMag_{band}": rng.uniform(16, 21, n) for band in "ugriz"})
    table["objid"] = np.arange(n, dtype=np.uint64)
    table["ra"], table["dec"] = rng.uniform(0, 360, n), rng.uniform(-60, 60, n)
    table["class"] = np.array(["STAR", "QSO"])[rng.integers(2, size=n)]
    return table


def blobs(n, size, seed=0):
    """A CutoutSet in memory: round blobs of their magnitudes, wide ones in class QSO, and noise."""
    table = catalogue(n, seed)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    narrow, wide = (np.exp(-(x**2 + y**2) / (2 * s**2)) / (2 * np.pi * s**2) for s in (1.4, 2.0))
    shape = np.where((table["class"] == "QSO")[:, None, None], wide, narrow)
    images = rng.standard_normal((n, 5, size, size), dtype=np.float32) * np.float32(0.02)
    for plane, band in enumerate("ugriz"):
        images[:, plane] += 10 ** (-0.4 * (np.asarray(table[f"modelMag_{band}"])[:, None, None] - 22.5)) * shape
    return ssl.CutoutSet.from_arrays(images, table)


def sparse_set(folder, n, size):
    """The folder of a set of n cutouts whose images take no room on the disk: the file is one hole, read as zeros.

    Memory does not depend on what the pixels are, nor does the time of opening.
    """
    return _written(folder, n, size, lambda images: None)


def noise_set(folder, n, size):
    """The folder of a set of n cutouts of noise, every byte of them on the disk."""

    def fill(images):
        rng = np.random.default_rng(0)
        for rows in range(0, n, 1000):
            some = images[rows : rows + 1000]
            some[:] = rng.standard_normal(some.shape, dtype=np.float32)

    return _written(folder, n, size, fill)


def _written(folder, n, size, fill):
    folder.mkdir(parents=True)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float32, (n, 5, size, size))
    fill(images)
    images.flush()
    write_catalogue(catalogue(n), folder / "catalogue.parquet")
    write_card({"bands": list("ugriz"), "pixel_scale": 0.396}, folder)
    return folder
