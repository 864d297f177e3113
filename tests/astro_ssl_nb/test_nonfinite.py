from itertools import count

import numpy as np
import pytest
import torch

import astro_ssl_nb as ssl


def test_what_is_not_finite_stops_with_the_rows(learn, backbone, parts, tmp_path, monkeypatch):
    images = parts[2].images[:8].copy()
    images[[2, 5], 2, 3, 3] = np.nan
    holed = ssl.CutoutSet.from_arrays(images, parts[2].catalogue[:8])
    with pytest.raises(ValueError, match=r"2 of 8 cutouts.*rows \[2, 5\] first.*`nonfinite_rows`"):
        ssl.embed(None, holed, arch="resnet10t")
    with pytest.raises(ValueError, match=r"2 of 8 cutouts are not finite \(rows \[2, 5\].*neither are their pixels"):
        ssl.embed(backbone, holed)
    spoilt = ssl.property_learner(learn.dls, "resnet10t")
    with torch.no_grad():
        next(spoilt.model[0].parameters()).fill_(np.nan)
    with pytest.raises(ValueError, match="tensors of the network are not finite"):
        ssl.save_backbone(spoilt, tmp_path / "spoilt.safetensors")
    assert not list(tmp_path.iterdir())
    with (
        spoilt.no_bar(),
        spoilt.no_logging(),
        pytest.raises(FloatingPointError, match="the loss is nan after step 1: all"),
    ):
        spoilt.fit(1)
    monkeypatch.chdir(tmp_path)
    with spoilt.no_bar(), spoilt.no_logging():
        spoilt.lr_find(num_it=6, suggest_funcs=None, show_plot=False)  # which goes on until the loss explodes


def test_what_is_not_finite_is_found_in_whatever_batch_it_is(blobs):
    images = blobs.images.copy()
    images[0, 2, 3, 3] = np.nan  # the last of 300 are looked at after it
    holed = ssl.CutoutSet.from_arrays(images, blobs.catalogue)
    with pytest.raises(ValueError, match=r"1 of 300 cutouts are not finite \(rows \[0\] first"):
        ssl.embed(None, holed, arch="resnet10t", stretch=ssl.Stretch.fit(blobs))


def test_a_search_for_the_rate_ends_where_the_loss_explodes_and_brings_the_weights_back(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the search keeps its files here
    steps = count(1)

    def explodes(prediction, target):
        return ssl.masked_l1(prediction, target) * (np.nan if next(steps) == 4 else 1)

    searched = ssl.property_learner(learn.dls, "resnet10t", loss_func=explodes)
    before = [weight.detach().to(learn.dls.device, copy=True) for weight in searched.model.parameters()]
    with searched.no_bar(), searched.no_logging():
        searched.add_cb(ssl.StopAtNaN())
        searched.lr_find(start_lr=1e-3, end_lr=1e-2, num_it=12, suggest_funcs=None, show_plot=False)
    assert next(steps) == 5, "no step after the fourth"
    assert all(torch.equal(one, other) for one, other in zip(before, searched.model.parameters(), strict=True))
