"""A tiny sky for the learning rooms: round blobs whose brightness and width are known, no archive needed."""

import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn, Table

import astro_ssl_nb as ssl

torch.backends.cudnn.allow_tf32 = False  # how a GPU rounds is not what is tested


@pytest.fixture(scope="session")
def blobs():
    """300 blobs, 16 pixels a side: `class` is NARROW or WIDE, magnitudes are those of the images."""
    rng = np.random.default_rng(0)
    n, side = 300, 16
    magnitude = rng.uniform(16, 20, n)
    width = np.where(np.arange(n) % 2, 1.2, 2.6)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    shape = np.exp(-(x**2 + y**2) / (2 * width[:, None, None] ** 2))
    flux = 10 ** (-0.4 * (magnitude - 22.5))
    images = (flux[:, None, None] * shape / shape.sum((1, 2), keepdims=True))[:, None].repeat(5, axis=1)
    images += rng.normal(0, 0.02, images.shape)
    catalogue = Table({f"modelMag_{band}": magnitude for band in "ugriz"})
    catalogue["modelMag_u"] = MaskedColumn(magnitude, mask=np.arange(n) % 10 == 0, unit="mag")
    catalogue["petroR50_r"] = 1.18 * width * 0.396
    catalogue["petroR90_r"] = 2.15 * width * 0.396
    catalogue["objid"] = np.arange(n, dtype=np.uint64) + 1237648720693755918
    catalogue["ra"] = rng.uniform(150, 152, n)
    catalogue["dec"] = rng.uniform(-1, 1, n)
    catalogue["class"] = np.where(width < 2, "NARROW", "WIDE")
    return ssl.CutoutSet.from_arrays(images, catalogue, survey="blobs")


@pytest.fixture(scope="session")
def parts(blobs):
    return blobs.split((0.5, 0.2, 0.3), seed=0)


@pytest.fixture(scope="session")
def learn(parts):
    """A property learner after a few epochs on the blobs."""
    train, valid, _ = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=25)
    learn = ssl.property_learner(dls, "resnet10t")
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(8, 3e-3)
    return learn


@pytest.fixture(scope="session")
def backbone(learn, tmp_path_factory):
    return ssl.save_backbone(learn, tmp_path_factory.mktemp("backbone") / "blobs.safetensors", mae=0.1)
