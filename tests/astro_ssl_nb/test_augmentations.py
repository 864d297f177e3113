import random

import numpy as np
import pytest
import torch

from astro_ssl_nb import augmentations
from astro_ssl_nb.augmentations import MAX_SHIFT, ZOOM, distort, turn_and_shift


def test_augmentation_turns_all_ways_and_shifts_within_its_bound():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(4000, 1, 1, 1)
    out = turn_and_shift(x, random.Random(0))
    assert out.shape == x.shape
    # The centre of a turned, unshifted image is one of 8 arrangements of its four middle pixels.
    middles = {tuple(image[3:5, 3:5].ravel().tolist()) for image in out[:, 0]}
    original = x[0, 0, 3:5, 3:5]
    turned = [torch.rot90(m, k) for m in (original, original.T) for k in range(4)]
    assert {tuple(m.ravel().tolist()) for m in turned} <= middles
    came_from = out[:, 0, 3, 3]  # one of the four middle pixels, but for the shift
    for places in (came_from // 8, came_from % 8):
        assert places.unique().tolist() == list(range(3 - MAX_SHIFT, 5 + MAX_SHIFT))
    assert torch.equal(turn_and_shift(x, random.Random(1)), turn_and_shift(x, random.Random(1)))
    assert not torch.equal(out, turn_and_shift(x, random.Random(1)))


def test_corners_that_a_rotation_brings_in_are_filled_with_sky(monkeypatch):
    monkeypatch.setattr(augmentations, "NOISE", 0)
    flat = torch.ones(50, 2, 16, 16)
    torch.testing.assert_close(distort(flat, random.Random(0), gain=0), flat)


def test_objects_grow_and_shrink_by_the_same_factor(monkeypatch):
    monkeypatch.setattr(augmentations, "NOISE", 0)
    y, x = np.mgrid[:64, :64] - 31.5
    blob = torch.tensor(np.exp(-(x**2 + y**2) / 50)).expand(400, 1, 64, 64)
    zoom = (distort(blob, random.Random(0), gain=0).sum((1, 2, 3)) / blob[0].sum()).sqrt()
    assert zoom.aminmax() == pytest.approx((1 / ZOOM, ZOOM), abs=0.02)


def test_images_that_cannot_be_turned_are_refused():
    with pytest.raises(ValueError, match="48 x 32 pixels cannot be turned"):
        turn_and_shift(torch.zeros(2, 3, 32, 48), random.Random(0))
