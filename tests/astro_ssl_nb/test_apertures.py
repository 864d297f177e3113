"""Light in circles about the middle of a cutout, of objects whose light is known."""

import numpy as np
import pytest
from astropy.table import Table

import astro_ssl_nb as ssl

from .shapes import disk


def cutouts_of(*images, bands, noise=1e-4):
    images = np.stack(images) + np.random.default_rng(0).normal(0, noise, np.shape(images))
    return ssl.CutoutSet.from_arrays(images, Table({"objid": np.arange(len(images))}), bands=bands)


def test_magnitude_colours_and_growth_are_those_of_the_light():
    flat, point = disk(24), disk(1)  # radii 1, 2, 4, 8, 16 fit into a quarter of the side
    found = ssl.aperture_magnitudes(cutouts_of((flat, point), (10 * flat, point), bands="rg"), [0, 1])
    assert found.shape == (2, 1 + 1 + 2 * 4) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], -2.5 * np.log10(np.pi * 16**2 * np.array([1, 10])), atol=0.01)
    np.testing.assert_allclose(found[1, 1] - found[0, 1], 2.5, atol=0.01)  # redder by a factor of ten
    np.testing.assert_allclose(found[:, 2:6], -2.5 * np.log10(4), atol=0.05)  # four times the area each time
    np.testing.assert_allclose(found[:, 7:], 0, atol=0.01)  # the point has all its light within two pixels


def test_only_the_planes_that_are_asked_for_are_measured():
    one = cutouts_of((disk(3), 2 * disk(3), 5 * disk(3)), bands="gri")
    swapped = cutouts_of((5 * disk(3), disk(3), 2 * disk(3)), bands="igr", noise=0)
    np.testing.assert_allclose(
        ssl.aperture_magnitudes(one, [2, 0])[0, :2], ssl.aperture_magnitudes(swapped, [0, 1])[0, :2], atol=0.01
    )


@pytest.mark.parametrize("side", [3, 8, 17])
def test_noise_alone_and_pictures_without_any_have_magnitudes_too(side):
    empty = np.zeros((3, side, side))
    black = ssl.CutoutSet.from_arrays(empty[None].astype(np.uint8), Table({"objid": [1]}), bands="RGB")
    for cutouts in (cutouts_of(empty, bands="gri", noise=0.1), black):
        assert np.isfinite(ssl.aperture_magnitudes(cutouts, [2, 1, 0])).all()
