"""Asymmetry and the Gini coefficient of images whose shape is known."""

import random

import numpy as np
import pytest
import torch
from astropy.table import Table

import astro_ssl_nb as ssl

from .shapes import disk


def measured(*images, bands="gri"):
    flux = np.stack([np.stack([0 * image, image, 0 * image]) for image in images])
    cutouts = ssl.CutoutSet.from_arrays(flux, Table({"objid": np.arange(len(images))}), bands=bands)
    catalogue = ssl.measure_structure(cutouts).catalogue
    assert cutouts.catalogue.colnames == ["objid"]  # the set that came is left alone
    return np.asarray(catalogue["asymmetry"]), np.asarray(catalogue["gini"])


def test_a_companion_makes_a_galaxy_asymmetric_and_a_concentrated_one_is_uneven():
    galaxy, companion = disk(6), disk(3, 15)
    asymmetry, gini = measured(galaxy, galaxy + companion, galaxy + companion + disk(3, -15), disk(12))
    np.testing.assert_allclose(asymmetry, [0, 2 * companion.sum() / (galaxy + companion).sum(), 0, 0], atol=1e-9)
    assert gini[0] > gini[1] > gini[3] > 0


def test_a_galaxy_between_pixels_is_as_symmetric_as_one_on_them():
    row, column = np.indices((64, 64)) - 31.5
    galaxies = [np.exp(-np.hypot(column - x, (row - y) / 0.7) / 3) for x, y in ((0, 0), (0.5, -0.5), (0.5, 1.0))]
    asymmetry, _ = measured(*galaxies)
    assert asymmetry.max() < 0.01


def test_each_side_of_a_cutout_has_its_own_margin():
    asymmetry, gini = measured(disk(6, side=32)[12:20] + disk(2, 8, side=32)[12:20])
    assert asymmetry[0] > 0.1 and gini[0] > 0.1


def test_light_in_the_corners_does_not_count():
    corner = disk(2, -29)
    np.testing.assert_allclose(measured(disk(6) + corner), measured(disk(6)))


def test_noise_makes_a_galaxy_hardly_asymmetric():
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 64, 64))
    galaxy, companion = disk(6), disk(3, 15)
    asymmetry, _ = measured(galaxy + noise[0], galaxy + companion + noise[1])
    assert asymmetry[0] < 0.1  # the noise alone sums to more than the light of the galaxy
    assert abs(asymmetry[1] - 2 * companion.sum() / (galaxy + companion).sum()) < 0.1


def test_an_empty_image_has_numbers():
    asymmetry, gini = measured(np.zeros((64, 64)))
    assert asymmetry == gini == 0


def test_an_empty_set_is_refused(blobs):
    with pytest.raises(ValueError, match="the set is empty"):
        ssl.measure_structure(blobs[:0])


def test_pictures_are_measured_in_their_middle_plane():
    picture = np.zeros((1, 3, 16, 16), np.uint8)
    picture[:, 1, 7:9, 7:9] = 200
    cutouts = ssl.CutoutSet.from_arrays(picture, Table({"objid": [1]}), bands="RGB")
    assert ssl.measure_structure(cutouts).catalogue["gini"][0] > 0.9


def test_an_image_at_any_distance_keeps_its_middle_and_its_seed():
    image = torch.from_numpy(disk(8)).float().expand(50, 3, 64, 64)
    seen, again = (ssl.at_any_distance(image, random.Random(0)) for _ in range(2))
    assert torch.equal(seen, again) and seen.shape == image.shape
    sizes = (seen[:, 0] > 0.5).sum(dim=(1, 2)).float()
    assert sizes.max() > 1.5 * sizes.min()  # some came nearer, others went away
    assert (seen[:, :, 32, 32] > 0.3).all()
