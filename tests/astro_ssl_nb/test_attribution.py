import numpy as np
import pytest
import torch
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.learners import predict_properties


def spread(maps, rows, columns):
    """Strength of a saliency map in a patch, over its whole strength."""
    strength = np.abs(maps)
    return strength[:, rows, columns].sum() / strength.sum()


CENTRE, CORNER = slice(5, 11), slice(0, 6)  # patches of one size in cutouts of 16 pixels


def test_a_magnitude_rests_on_the_source_and_not_on_the_sky(learn, parts):
    maps = ssl.saliency(learn, parts[2][:20], "modelMag_r")
    assert maps.shape == (20, 16, 16)
    assert spread(maps, CENTRE, CENTRE) > 0.5
    assert spread(maps, CENTRE, CENTRE) > 5 * spread(maps, CORNER, CORNER)


def test_saliency_follows_the_source_that_is_moved(learn, parts):
    images = np.roll(parts[2][:20].images, (-5, 5), axis=(2, 3))
    moved = ssl.CutoutSet.from_arrays(images, Table({"objid": np.arange(20)}))
    maps = ssl.saliency(learn, moved, "modelMag_r")
    assert spread(maps, slice(0, 6), slice(10, 16)) > 0.5
    assert spread(maps, slice(0, 6), slice(10, 16)) > 5 * spread(maps, slice(10, 16), slice(0, 6))


def test_pixels_sum_to_what_the_light_changes(learn, parts):
    some = parts[2][:8]
    sky = ssl.CutoutSet.from_arrays(np.zeros_like(some.images), some.catalogue)
    column = [one.name for one in learn.dls.properties].index("modelMag_r")
    with learn.no_bar():
        change = (predict_properties(learn, some) - predict_properties(learn, sky))[:, column]
    total = ssl.saliency(learn, some, "modelMag_r", steps=128).sum(axis=(1, 2))
    np.testing.assert_allclose(total, change, atol=0.05 * np.abs(change).max())


class Energy(torch.nn.Module):
    """A network whose one output is the sum of the squares of its input, and whose gradient grows with the light."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x.square().sum((1, 2, 3))[:, None]


def test_the_gradient_is_taken_in_the_middle_of_each_step(parts):
    dls = ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES[1:2], bs=25)
    learn, some = ssl.property_learner(dls, "resnet10t"), parts[2][:3]
    learn.model = Energy().to(dls.device)
    light = dls.stretch(torch.from_numpy(some.images))
    sky = dls.stretch(torch.zeros(some.shape))
    # Where the gradient grows evenly, that of the middle is the mean: one step sums to the whole change.
    wanted = (light.square() - sky.square()).sum((1, 2, 3)).numpy() * dls.target_std[0]
    np.testing.assert_allclose(ssl.saliency(learn, some, "modelMag_g", steps=1).sum((1, 2)), wanted, rtol=1e-4)


def test_a_class_of_a_saved_backbone_rests_on_the_source(backbone, parts):
    rows = ssl.labelled_subset(parts[0].labels("class"), 10, seed=0)
    few = ssl.few_shot_learner(parts[0][rows], weights=backbone)
    maps = {name: ssl.saliency(few, parts[2][:10], name) for name in few.dls.vocab}
    assert spread(maps["WIDE"], CENTRE, CENTRE) > 5 * spread(maps["WIDE"], CORNER, CORNER)
    # With two classes, what speaks for the one speaks against the other.
    np.testing.assert_allclose(maps["WIDE"], -maps["NARROW"], atol=1e-3 * np.abs(maps["WIDE"]).max())


def test_the_learner_is_left_as_it_was(learn, parts):
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    ssl.saliency(learn, parts[2][:2], "modelMag_r")
    assert all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())


def test_an_unknown_output_is_refused_with_those_there_are(learn, parts):
    with pytest.raises(ValueError, match="no output 'redshift': take one of modelMag_u"):
        ssl.saliency(learn, parts[2][:2], "redshift")
